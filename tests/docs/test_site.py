"""The site, as .docs/build.py makes it and icey serves it: links resolve, and every public name and attribute has its entry."""
import importlib.util
import inspect
import os
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

import icey
from tests.support import ROOT

_spec = importlib.util.spec_from_file_location("build", os.path.join(ROOT, ".docs", "build.py"))
build = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(build)

FEWEST = {"pages": 150, "names": 160, "attributes": 350, "methods": 550}


class Page(HTMLParser):
    """`links` and `ids` of a page, and what its `text` is."""

    def __init__(self, text):
        super().__init__()
        self.links, self.ids, self.text = [], set(), ""
        self._quiet = 0
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.ids.update(value for value in (found.get("id"), found.get("name") if tag == "a" else None) if value)
        self.links += [found[name] for name in ("href", "src") if found.get(name)]
        self._quiet += tag in ("script", "style")

    def handle_endtag(self, tag):
        self._quiet -= tag in ("script", "style")

    def handle_data(self, data):
        if not self._quiet:
            self.text += data


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("site")
    done = subprocess.run([sys.executable, os.path.join(ROOT, ".docs", "build.py"), str(out)], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, timeout=300)
    assert done.returncode == 0, done.stdout
    return out


@pytest.fixture(scope="session")
def site(folder):
    """path -> Page, of all that can be reached from the first page, fetched by our client from our server."""
    found, wanted, seen, failed = {}, ["/"], [], []
    with icey.Loop() as loop:
        server = icey.http.Server(loop, "127.0.0.1", 0)
        server.on_request += icey.http.StaticFiles(str(folder), listing=False)
        server.start()
        client = icey.http.Client(loop, cookies=False)

        def ask(path):
            client.request("GET", "http://%s%s" % (server.address, path), done=lambda answer, error: come(path, answer, error))

        def come(path, answer, error):
            if error is not None or answer.status != 200:
                failed.append((path, error or answer.status))
            elif "text/html" in answer.headers["content-type"]:
                found[path] = page = Page(answer.body.decode())
                for link in page.links:
                    target = icey.http.URL("http://site" + path).join(link) if not re.match(r"[a-z]+:", link) else None
                    if target is not None and target.path not in wanted:
                        wanted.append(target.path)
                        ask(target.path)
            seen.append(path)
            if len(seen) == len(wanted):
                client.close()
                server.close()

        ask("/")
        loop.run()
    assert failed == []
    return found


def listed(faults):
    """An assertion's text: the faults, a line each."""
    return "%d:\n%s" % (len(faults), "\n".join(map(str, sorted(faults)[:100])))


def test_every_page_is_reached_from_the_first(site, folder):
    built = {"/" + path.relative_to(folder).as_posix() for path in folder.rglob("*.html")}
    assert len(built) >= FEWEST["pages"]
    lost = built - set(site) - {"/index.html"}
    assert not lost, listed(lost)


def test_every_anchor_that_is_linked_to_is_there(site):
    missing = []
    for path, page in site.items():
        for link in page.links:
            where, mark, anchor = link.partition("#")
            if mark and anchor and not re.match(r"[a-z]+:", link):
                target = str(icey.http.URL("http://site" + path).join(where).path) if where else path
                if target in site and anchor not in site[target].ids:
                    missing.append((path, link))
    assert not missing, listed(missing)


def entries():
    """(page, anchor, kind) of what has to have an entry: public names, the public attributes and methods of their classes."""
    shown = build.homes()
    for door, name, value in build.public_names():
        yield build.home_of(door, value), build.name_of(name, value), "names"
    for home, names in shown.items():
        for name in names:
            value = getattr(sys.modules[home], name)
            for member in build.members(value) if inspect.isclass(value) else ():
                yield home, "%s.%s" % (name, member), "methods" if callable(getattr(value, member, None)) else "attributes"


def test_every_public_name_and_attribute_has_an_entry_that_says_something(site, folder):
    missing, count = [], {"names": 0, "attributes": 0, "methods": 0}
    for home, anchor, kind in set(entries()):
        page = site["/%s.html" % home.replace(".", "/")]
        count[kind] += 1
        if anchor not in page.ids:
            missing.append((home, anchor))
    assert not missing, listed(missing)
    assert all(count[kind] >= FEWEST[kind] for kind in count), count


def test_every_entry_says_something(folder):
    silent = []
    for home in build.homes():
        with open(str(folder / (home.replace(".", "/") + ".html")), encoding="utf-8") as file:
            text = file.read()
        for anchor, body in re.findall(r'<div id="([\w.]+)" class="classattr">(.*?)(?=<div id="[\w.]+" class="c|</section>)',
                                       text, re.S):
            if 'class="docstring"' not in body and not anchor.endswith(".__init__"):
                silent.append("%s %s" % (home, anchor))
    assert not silent, listed(silent)


def test_the_search_knows_names_and_pages(folder):
    with open(str(folder / "search.js"), encoding="utf-8") as file:
        index = file.read()
    assert all(word in index for word in ("Loop.call_later", "Exchange.respond", "house"))


# what is found

def test_what_a_user_needs_stands_before_what_an_extension_needs(folder):
    text = (folder / "icey" / "base" / "stream.html").read_text(encoding="utf-8")
    at = [text.index('id="Stream.%s"' % name) for name in ("on_recv", "send", "pause")]
    behind = text.index("For whoever extends Stream")
    assert max(at) < behind < min(text.index('id="Stream.%s"' % name) for name in ("queue", "fd", "begin_close", "emit"))


@pytest.mark.parametrize("attribute, said", [
    ("high_water", "from `high_water` bytes on"), ("link", "`link`: DOWN, CONNECTING, UP, BROKEN"),
    ("fd", "`fd`: see the class"),
    ("close_timeout", "`close_timeout`: seconds that a close waits"), ("nothing", "")])
def test_an_attribute_has_its_own_words_and_not_those_of_all(attribute, said):
    found = build.sentence(inspect.getdoc(icey.Stream), attribute)
    assert said in found and bool(said) == bool(found) and len(found) < 200
    assert found.count("(") == found.count(")")


def test_a_constant_is_told_by_the_comment_behind_it():
    told = {name: text for name, _, text in build.table_of("icey.tools.testing")}
    assert told["AGAIN"].startswith("the kernel has nothing") and "bytes(" not in told["END"]


@pytest.mark.parametrize("said, there", [
    ("Loop.post", ("icey.base.loop", "Loop.post")), ("icey.run", ("icey.base.application", "run")), ("run", None),
    ("http.broadcast", ("icey.http.websocket.broadcast", "broadcast")), ("print", None), ("drop", None),
    ("tls.server_context", ("icey.net.tls", "server_context")),
    ("PacketFlags.FINAL", ("icey.packets.packet", "PacketFlags.FINAL")),
    ("TCPSocket.send", ("icey.base.stream", "Stream.send")), ("Loop.nothing", None),
    ("tools.testing.TestClient", ("icey.tools.testing.testclient", "TestClient"))])
def test_what_a_page_calls_by_name_leads_to_its_entry(said, there):
    assert build.place_of(said) == there


def test_every_page_of_the_guide_is_in_the_navigation(folder):
    pages = {name[:-len(".md")] for name in os.listdir(os.path.join(ROOT, ".docs", "guide"))}
    assert pages == set(build.GUIDE)
    text = (folder / "index.html").read_text(encoding="utf-8")
    assert [name for name in pages if 'href="guide/%s.html"' % name not in text] == []
    assert '<a href="course/testing.html">Testing</a>' in text


@pytest.mark.parametrize("word, title, page", [
    ("database", "I want to call what blocks", "guide.server"), ("tkinter", "I want to be inside Tk", "guide.embedding"),
    ("framing", "I want to read lines and messages", "guide.sockets"),
    ("asyncore", "Example: line_server.py", "course.line_server"),
    ("1013", "WebSocket: A chat", "guide.websocket")])
def test_the_search_knows_the_guide_by_what_one_looks_for(word, title, page):
    made = build.pages()
    found = [one for one in made.documents() if word in " ".join(one.values())]
    assert [one for one in found if one["fullname"].startswith(title) and one["modulename"] == page], found
    assert all("<a " not in one["doc"] for one in found)  # its links would lead elsewhere from another page
