"""Accept-Encoding, and what is worth being coded."""
import pytest

from icey.http.semantics.codings import is_text, takes


@pytest.mark.parametrize("accepted, taken", [
    ([], False), ([""], False), (["gzip"], True), (["GZIP"], True), (["x-gzip"], True), (["gzip, deflate, br"], True),
    (["deflate", "gzip"], True), (["gzip;q=0"], False), (["gzip; q=0.000"], False), (["gzip ; q = 0.5"], True),
    (["gzip;q=1.0, *;q=0"], True), (["*"], True), (["*;q=0"], False), (["*;q=0, gzip"], True), (["*, gzip;q=0"], False),
    (["identity"], False), (["gzipped"], False), (["gzip;q=high"], False), (["gzip;level=9"], False), (["gzip;q=nan"], False),
    (["br;q=1.0, gzip;q=0.8, *;q=0.1"], True), ([",,gzip,,"], True), (["x-gzip;q=0, gzip"], True), (["gzip;q=0, gzip"], False),
])
def test_whether_gzip_is_taken(accepted, taken):
    assert takes("gzip", accepted) is taken


@pytest.mark.parametrize("kind, text", [
    ("text/html", True), ("Text/HTML; charset=utf-8", True), ("text/event-stream", True), ("application/json", True),
    ("application/javascript", True), ("image/svg+xml", True), ("application/xml ; x=y", True), ("application/ld+json", True),
    (None, False), ("", False), ("image/png", False), ("application/zip", False), ("application/octet-stream", False),
    ("multipart/form-data", False), ("application/jsonx", False),
])
def test_what_is_text(kind, text):
    assert is_text(kind) is text
