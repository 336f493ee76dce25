"""The bill of materials: CycloneDX 1.5, the same for the same copy."""
import hashlib
import json
import re

import pytest

from icey.tools import vendor
from icey.tools.vendor import sbom
from tests.support import vendoring

toy, plan = vendoring.toy, vendoring.plan


@pytest.fixture
def copy(plan, tmp_path, monkeypatch):
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    return vendor.copy(plan, str(tmp_path))


def test_it_names_each_file_with_its_hash(copy):
    bill = sbom.bill(copy)
    there = vendoring.contents(copy)
    assert {one["name"]: one["hashes"] for one in bill["components"]} == {
        path: [{"alg": "SHA-256", "content": hashlib.sha256(content).hexdigest()}] for path, content in there.items()}
    assert {one["type"] for one in bill["components"]} == {"file"}
    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.5", 1)
    main = bill["metadata"]["component"]
    assert (main["type"], main["name"], main["version"], main["purl"]) == ("library", "icey", "9.8", "pkg:generic/icey@9.8")
    assert main["licenses"] == [{"license": {"id": "MIT"}}]
    assert re.fullmatch("urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", bill["serialNumber"])
    assert "timestamp" not in bill["metadata"]


def test_it_is_the_same_for_a_zip_and_another_for_another_copy(copy, toy, plan, tmp_path):
    zipped = vendor.copy(plan, str(tmp_path), zip=True)
    assert json.dumps(sbom.bill(zipped)) == json.dumps(sbom.bill(copy))
    other = vendor.copy(toy.plan(["Loop"]), str(tmp_path / "other"))
    assert sbom.bill(other)["serialNumber"] != sbom.bill(copy)["serialNumber"]


def test_it_says_whether_the_copy_was_changed(copy):
    def state():
        return {one["name"]: one["value"] for one in sbom.bill(copy)["metadata"]["component"]["properties"]}

    assert state() == {"icey:names": "icey", "icey:state": "as vendored"}
    vendoring.write(copy, {"base/loop.py": "mine"})
    assert state()["icey:state"] == "changed: base/loop.py"


def test_the_time_is_that_of_the_build(copy, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert sbom.bill(copy)["metadata"]["timestamp"] == "1970-01-02T00:00:00Z"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "today")
    with pytest.raises(ValueError, match="SOURCE_DATE_EPOCH"):
        sbom.bill(copy)
