"""What tests/autobahn makes of the suite's reports. The suite itself runs in the tox environment `autobahn`."""
import json

import pytest

from tests.autobahn import run, suite


def perfect(parts):
    """A report of a full score."""
    found = {"%s.x%d" % (part, index): ("OK", "OK") for part in parts for index in range(suite.COUNTS[part])}
    for case in suite.INFORMATIONAL:
        part = case.partition(".")[0]
        if part in parts:
            del found["%s.x%d" % (part, sum(key.startswith("7.x") for key in found) - 1)]
            found[case] = ("INFORMATIONAL", "INFORMATIONAL")
    return found


def test_the_quick_part_is_247_cases_and_all_of_them_517():
    assert sum(suite.COUNTS[part] for part in suite.QUICK) == 247
    assert sum(suite.COUNTS.values()) == 517 and set(suite.QUICK) < set(suite.ALL)


def test_a_full_score():
    lines, fine = suite.verdict(perfect(suite.QUICK), suite.QUICK)
    assert fine and len(lines) == 8
    assert "    7:  37 cases: 3 INFORMATIONAL, 34 OK" in lines


@pytest.mark.parametrize("case, both, text", [
    ("1.x0", ("FAILED", "OK"), "1 FAILED"),
    ("1.x0", ("NON-STRICT", "OK"), "1 NON-STRICT"),
    ("1.x0", ("INFORMATIONAL", "INFORMATIONAL"), "1 INFORMATIONAL"),
    ("1.x0", ("OK", "FAILED"), "1 close FAILED"),
    ("1.x0", ("OK", "UNCLEAN"), "1 close UNCLEAN"),
    ("7.1.6", ("FAILED", "FAILED"), "1 FAILED"),
    ("1.x0", None, "15 cases of 16"),
])
def test_anything_else(case, both, text):
    found = perfect(suite.QUICK)
    if both is None:
        del found[case]
    else:
        found[case] = both
    lines, fine = suite.verdict(found, suite.QUICK)
    assert not fine and text in "\n".join(lines)
    if both is not None:
        assert any(line.split()[0] == case for line in lines)


def test_no_report_at_all(tmp_path):
    assert suite.report(str(tmp_path)) == {}
    lines, fine = suite.verdict({}, ["1"])
    assert not fine and lines == ["    1:   0 cases of 16: "]


def test_part_of_a_part():
    assert suite.verdict({"12.1.1": ("OK", "OK")}, ["12.1"]) == ([" 12.1:   1 cases: 1 OK"], True)
    assert not suite.verdict({"12.1.1": ("OK", "OK")}, ["12.3"])[1]


def test_a_report_is_read(tmp_path):
    (tmp_path / "index.json").write_text(json.dumps(
        {"icey": {"1.1.1": {"behavior": "OK", "behaviorClose": "OK", "duration": 1}}, "other": {}}))
    assert suite.report(str(tmp_path)) == {"1.1.1": ("OK", "OK")}


@pytest.mark.parametrize("ci, code", [("true", 1), ("", 0)])
def test_without_python_2_it_is_skipped_but_not_in_ci(monkeypatch, capsys, ci, code):
    def missing():
        raise suite.Missing("no Python 2.7")

    monkeypatch.setattr(suite, "python27", missing)
    monkeypatch.setenv("CI", ci)
    assert run.main([]) == code
    assert capsys.readouterr().out == "skipped: no Python 2.7\n"
