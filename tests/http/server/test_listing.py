"""The page of a folder: what is on it, in which order, and that no name can be more than a name."""

import os
import socket
import stat
from html.parser import HTMLParser

import pytest

from icey.http.server.listing import (
    Entry,
    human_size,
    listing_steps,
    natural_key,
    quote,
    read_steps,
    sort_of,
    sort_steps,
)
from tests.support import seeds


def all_of(steps):
    """A function that goes through the steps of a generator function at once, and returns what they come to."""
    def come_to(*args, **options):
        made = steps(*args, **options)
        while True:
            try:
                next(made)
            except StopIteration as end:
                return end.value
    return come_to


read_folder, sort_entries, render_listing = all_of(read_steps), all_of(sort_steps), all_of(listing_steps)


class Page(HTMLParser):
    """What a browser would see: links, elements, attributes, text."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.links, self.tags, self.attributes, self.text, self.title = [], [], [], "", ""
        self._open = []
        self.feed(page.decode("utf-8"))
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        self._open.append(tag)
        if tag == "a":
            self.links.append([dict(attrs)["href"], ""])

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        if "title" in self._open:
            self.title += data
        elif "style" not in self._open:
            self.text += data
            if "a" in self._open:
                self.links[-1][1] += data

    def rows(self):
        """The links to entries: not the way here, not the column heads."""
        return [tuple(link) for link in self.links if not link[0].startswith(("?", "./", "../"))]


def entry(name, folder=False, size=0, mtime=784111777):
    return Entry(name, folder, size, mtime)


def names(entries):
    return [each.name for each in entries]


MIXED = [entry("b10", size=5, mtime=30), entry("b2", size=70, mtime=10), entry("A1", size=5, mtime=20),
         entry("zoo", True, mtime=5), entry("Art", True, mtime=50)]


# -- the page

def test_the_page_shows_names_sizes_and_dates():
    page = Page(render_listing(["docs"], [entry("guide.txt", size=1234), entry("img", True)]))
    assert page.title == "Index of /docs/"
    assert page.rows() == [("img/", "img/"), ("guide.txt", "guide.txt")]
    assert "1.2 KiB" in page.text and "1994-11-06 08:49" in page.text and "Modified (UTC)" in page.text
    assert "1 folder and 1 file, 1.2 KiB" in page.text
    assert ["../", "Parent folder"] in page.links


def test_the_page_is_self_contained():
    text = render_listing(["a"], MIXED).decode()
    page = Page(text.encode())
    assert not {"script", "link", "img", "iframe", "object", "base"} & set(page.tags)
    assert not [name for name in page.attributes if name.startswith("on")]
    assert "http:" not in text and "https:" not in text and "url(" not in text and "@import" not in text
    assert "prefers-color-scheme: dark" in text and '<meta charset="utf-8">' in text


def test_the_root_has_no_parent():
    page = Page(render_listing([], []))
    assert page.title == "Index of /"
    assert [link for link in page.links if link[0].startswith("..")] == []
    assert "This folder is empty." in page.text


def test_the_way_here_is_relative():
    page = Page(render_listing(["a", "b&c", "d"], [], root="/static/"))
    assert page.title == "Index of /static/a/b&c/d/"
    assert page.links[:4] == [["../../../", "/static/"], ["../../", "a/"], ["../", "b&c/"], ["./", "d/"]]


@pytest.mark.parametrize("entries, text", [
    ([entry("a", True)], "1 folder"), ([entry("a", True), entry("b", True)], "2 folders"),
    ([entry("a", size=7)], "1 file, 7 B"), ([entry("a", size=7), entry("b", size=1)], "2 files, 8 B"),
    ([entry("a", True), entry("b", size=1), entry("c", size=1)], "1 folder and 2 files, 2 B"),
])
def test_the_foot_counts(entries, text):
    assert ("<footer>%s</footer>" % text).encode() in render_listing([], entries)


def test_the_foot_says_that_there_are_more():
    assert b"Only 2 entries are shown; this folder has more." in render_listing([], MIXED[:2], more=True)


def test_a_date_that_cannot_be_told_is_left_out():
    assert b"<time" not in render_listing([], [entry("a", mtime=1e30)])


@pytest.mark.parametrize("name, href, text", [
    ("plain.txt", "plain.txt", "plain.txt"),
    ("<script>alert(1)</script>", "%3Cscript%3Ealert%281%29%3C%2Fscript%3E", "<script>alert(1)</script>"),
    ('" onmouseover="x', "%22%20onmouseover%3D%22x", '" onmouseover="x'),
    ("' &amp; '", "%27%20%26amp%3B%20%27", "' &amp; '"),
    ("javascript:alert(1)", "javascript%3Aalert%281%29", "javascript:alert(1)"),
    ("100%25 ?#.txt", "100%2525%20%3F%23.txt", "100%25 ?#.txt"),
    ("naïve €.txt", "na%C3%AFve%20%E2%82%AC.txt", "naïve €.txt"),
    ("\\evil", "%5Cevil", "\\evil"),
    ("a\nb\tc\x7f", "a%0Ab%09c%7F", "a\u240ab\u2409c\u2421"),
    ("c1\x85", "c1%C2%85", "c1\ufffd"),
    ("--%s%(x)s{0}", "--%25s%25%28x%29s%7B0%7D", "--%s%(x)s{0}"),
])
def test_a_name_is_only_a_name(name, href, text):
    page = Page(render_listing([name], [entry(name), entry(name, True)]))
    assert page.rows() == [(href + "/", text + "/"), (href, text)]
    assert page.title == "Index of /%s/" % text
    assert "script" not in page.tags and not [key for key in page.attributes if key.startswith("on")]


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_a_name_that_is_no_utf8_is_shown_and_linked():
    page = Page(render_listing([], [entry(os.fsdecode(b"caf\xe9.txt"))]))
    assert page.rows() == [("caf%E9.txt", "caf?.txt")]


def test_a_lone_surrogate_does_not_break_the_page():
    assert b">a??b</bdi>" in render_listing(["a\udc80\ud800b"], [])


# -- order

@pytest.mark.parametrize("sort, order", [
    ("name", ["Art", "zoo", "A1", "b2", "b10"]), ("-name", ["zoo", "Art", "b10", "b2", "A1"]),
    ("size", ["Art", "zoo", "A1", "b10", "b2"]), ("-size", ["Art", "zoo", "b2", "A1", "b10"]),
    ("date", ["zoo", "Art", "b2", "A1", "b10"]), ("-date", ["Art", "zoo", "b10", "A1", "b2"]),
])
def test_folders_come_first_and_then_the_order_asked_for(sort, order):
    assert names(sort_entries(MIXED, sort)) == order
    assert names(sort_entries(MIXED[::-1], sort)) == order
    assert [text.rstrip("/") for _, text in Page(render_listing([], MIXED, sort=sort)).rows()] == order


@pytest.mark.parametrize("ordered", [
    ["file1", "file2", "file10", "file10a", "file011"], ["a", "B", "c"], ["1", "02", "10", "a"], ["", "0", "x", "x0"],
    ["a1b2", "a1b10", "a2b1"], ["Readme", "readme"],
])
def test_natural_order(ordered):
    assert sorted(seeds.rng(1).sample(ordered, len(ordered)), key=natural_key) == ordered


@pytest.mark.parametrize("query, sort", [
    ("", "name"), ("sort=size", "size"), ("sort=-date", "-date"), ("x=1&sort=-name", "-name"), ("sort=junk", "name"),
    ("sort=junk&sort=size", "size"), ("sort", "name"), ("sort=", "name"), ("resort=size", "name"),
    ("sort=<script>", "name"),
])
def test_the_order_is_read_from_the_query(query, sort):
    assert sort_of(query) == sort


@pytest.mark.parametrize("sort, heads", [
    ("name", ["?sort=-name", "?sort=size", "?sort=date"]), ("-name", ["?sort=name", "?sort=size", "?sort=date"]),
    ("size", ["?sort=name", "?sort=-size", "?sort=date"]), ("-date", ["?sort=name", "?sort=size", "?sort=date"]),
])
def test_the_column_heads_turn_the_order_around(sort, heads):
    page = Page(render_listing([], MIXED, sort=sort))
    assert [link[0] for link in page.links if link[0].startswith("?")] == heads
    assert page.attributes.count("aria-sort") == 1


@pytest.mark.parametrize("size, text", [
    (0, "0 B"), (1, "1 B"), (999, "999 B"), (1000, "1.0 KiB"), (1024, "1.0 KiB"), (1234, "1.2 KiB"), (10188, "9.9 KiB"),
    (10189, "10 KiB"), (1023487, "999 KiB"), (1023488, "1.0 MiB"), (5_000_000, "4.8 MiB"), (3 * 1024**3, "3.0 GiB"),
    (2**63, "8.0 EiB"), (2**75, "32768 EiB"),
])
def test_sizes_for_people(size, text):
    assert human_size(size) == text


@pytest.mark.parametrize("name, quoted", [("a-b_c.d~e", "a-b_c.d~e"), ("a/b", "a%2Fb"), ("a b+c", "a%20b%2Bc")])
def test_quote(name, quoted):
    assert quote(name) == quoted


# -- reading

@pytest.fixture
def folder(tmp_path):
    (tmp_path / "file.txt").write_bytes(b"12345")
    (tmp_path / "sub").mkdir()
    (tmp_path / ".hidden").write_bytes(b"")
    return tmp_path


def test_a_folder_is_read(folder):
    entries, more = read_folder(str(folder))
    found = {each.name: each for each in entries}
    assert sorted(found) == ["file.txt", "sub"] and not more
    assert (found["file.txt"].folder, found["file.txt"].size) == (False, 5)
    assert (found["sub"].folder, found["sub"].size) == (True, 0)
    assert found["file.txt"].mtime == os.stat(folder / "file.txt").st_mtime


def test_hidden_names_are_shown_on_demand(folder):
    assert sorted(names(read_folder(str(folder), hidden=True)[0])) == [".hidden", "file.txt", "sub"]


@pytest.mark.skipif(os.scandir not in os.supports_fd, reason="no scandir of a descriptor here")
def test_a_folder_is_read_through_its_descriptor(folder):
    fd = os.open(folder, os.O_RDONLY)
    try:
        assert sorted(names(read_folder(fd)[0])) == ["file.txt", "sub"]
        assert stat.S_ISDIR(os.fstat(fd).st_mode)  # still open
    finally:
        os.close(fd)


def test_more_than_the_limit_is_cut_off(folder):
    for index in range(5):
        (folder / str(index)).write_bytes(b"")
    entries, more = read_folder(str(folder), limit=4)
    assert len(entries) == 4 and more
    entries, more = read_folder(str(folder), limit=7)
    assert len(entries) == 7 and not more


@pytest.mark.skipif(os.name == "nt", reason="links and FIFOs need rights there")
def test_what_cannot_be_served_is_left_out(folder, monkeypatch):
    os.symlink("file.txt", folder / "link")
    os.symlink("sub", folder / "folderlink")
    os.symlink("nowhere", folder / "broken")
    os.symlink("loop", folder / "loop")
    os.mkfifo(folder / "fifo")
    monkeypatch.chdir(folder)  # the whole path may be too long for a socket
    if hasattr(socket, "AF_UNIX"):
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("sock")
    assert sorted(names(read_folder(".")[0])) == ["file.txt", "folderlink", "link", "sub"]
    asked = []
    entries, _ = read_folder(".", follow=lambda name: asked.append(name) or name == "link")
    assert sorted(names(entries)) == ["file.txt", "link", "sub"]
    assert sorted(asked) == ["broken", "folderlink", "link", "loop"]


def test_a_folder_that_is_gone_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_folder(str(tmp_path / "gone"))
