"""The page: one file that needs nothing from elsewhere, whose script alone may run. How it looks is in tests/interop."""
import base64
import hashlib
import re

from icey.tools.inspect import page, script


def test_the_policy_lets_this_script_run_and_nothing_else():
    text = page.PAGE.decode()
    inside = text[text.index("<script>") + 8:text.index("</script>")]
    assert inside == script.SCRIPT and text.count("<script") == 1
    told = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
    assert page.POLICY.endswith("script-src 'sha256-%s'" % told)
    assert page.POLICY.startswith("default-src 'none'; ") and "unsafe" not in page.POLICY.partition("script-src")[2]
    assert "frame-ancestors 'none'" in page.POLICY


def test_nothing_is_from_elsewhere_and_nothing_is_read_as_html():
    text = page.PAGE.decode()
    assert set(re.findall(r"https?://[^\s\"')]+", text)) == {"http://www.w3.org/2000/svg"}
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "setTimeout(", "Function(", "srcdoc",
                "DOMParser", "createContextualFragment", "import(", " on"):
        assert way not in script.SCRIPT or way == " on", way
    assert not re.search(r"<[^>]+\son[a-z]+=", page.BODY), "no handler in the HTML"
    assert "</script" not in script.SCRIPT and "<!--" not in script.SCRIPT


def test_it_is_named_for_those_who_do_not_see_it():
    ids = re.findall(r'id="([a-z]+)"', page.BODY)
    assert len(ids) == len(set(ids)) and set(re.findall(r'at\("([a-z]+)"\)', script.SCRIPT)) <= set(ids)
    assert page.BODY.count("<section") == page.BODY.count('aria-label="') - page.BODY.count('role="region"')
    assert '<html lang="en">' in page.PAGE.decode() and 'role="status"' in page.BODY


def test_its_parts_are_readable():
    """Small functions, and lines that fit."""
    longest = max(len(body.splitlines()) for body in re.split(r"\n(?=function |const |class )", script.SCRIPT))
    assert longest <= 40
    assert max(map(len, script.SCRIPT.splitlines())) <= 128
