"""TreeWatch: what it tells of changes in a folder, and when. Time is virtual, the folder is real."""
import os
import shutil

import pytest

import icey
from icey.tools.serve import treewatch
from icey.tools.serve.treewatch import INTERVAL, PATIENCE, SETTLE, TreeWatch
from tests.support import seeds, streams
from tests.support.streams import turn

debug, clock, reports, loop = streams.debug, streams.clock, streams.reports, streams.loop

WALL = 10 ** 18  # 2001: none of the files is dated so
LINKS = pytest.mark.skipif(not hasattr(os, "symlink") or os.name == "nt", reason="needs symbolic links")


class Tree:
    """A folder and its watch. `told`: what on_change brought."""

    def __init__(self, loop, clock, root):
        self.loop, self.clock, self.root = loop, clock, root
        self.told, self.limits = [], []
        self.wall = WALL
        self.watch = None

    def begin(self, **options):
        """Watches, and has the first look done."""
        options.setdefault("wall", lambda: self.wall)
        self.watch = TreeWatch(self.loop, str(self.root), **options)
        self.watch.on_change += lambda watch, names: self.told.append(names)
        self.watch.on_limit += self.limits.append
        self.watch.wake()
        turn(self.loop, 3)
        return self.watch

    def write(self, name, data=b""):
        path = os.path.join(str(self.root), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)

    def touch(self, name, second):
        os.utime(os.path.join(str(self.root), name), (second, second))

    def path(self, name):
        return os.path.join(str(self.root), name)

    def wait(self, seconds):
        until = self.clock() + seconds
        while self.clock() < until:
            self.loop.run_once(until - self.clock())
        turn(self.loop, 3)

    def news(self, seconds=INTERVAL + SETTLE + 0.01):
        """What was told in this time."""
        self.wait(seconds)
        told, self.told[:] = list(self.told), []
        return told


@pytest.fixture
def tree(loop, clock, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    tree = Tree(loop, clock, root)
    for name in ("a.html", "css/main.css", "deep/er/x", "empty/gone", ".git/config", "__pycache__/m.pyc",
                 "node_modules/p/i.js"):
        tree.write(name, b"data")
        tree.touch(name, 1000)
    os.remove(tree.path("empty/gone"))
    return tree


# -- what is told ----------------------------------------------------------------------------------------------------

CHANGES = [
    ("a new file", lambda tree: tree.write("new.txt"), ["new.txt"]),
    ("its size", lambda tree: (tree.write("a.html", b"longer than it was"), tree.touch("a.html", 1000)), ["a.html"]),
    ("its time", lambda tree: tree.touch("css/main.css", 1001), ["css/main.css"]),
    ("its time, to one before", lambda tree: tree.touch("css/main.css", 999), ["css/main.css"]),
    ("another in its place", lambda tree: (tree.write(".tmp", b"atad"), tree.touch(".tmp", 1000),
                                           os.replace(tree.path(".tmp"), tree.path("a.html"))), ["a.html"]),
    ("removed", lambda tree: os.remove(tree.path("deep/er/x")), ["deep/er/x"]),
    ("a new folder", lambda tree: os.mkdir(tree.path("dir")), ["dir/"]),
    ("a new folder with a file", lambda tree: tree.write("dir/in/a b"), ["dir/", "dir/in/", "dir/in/a b"]),
    ("a folder removed", lambda tree: shutil.rmtree(tree.path("deep")), ["deep/", "deep/er/", "deep/er/x"]),
    ("an empty folder removed", lambda tree: os.rmdir(tree.path("empty")), ["empty/"]),
    ("renamed", lambda tree: os.rename(tree.path("a.html"), tree.path("b.html")), ["a.html", "b.html"]),
    ("a folder renamed", lambda tree: os.rename(tree.path("css"), tree.path("style")),
     ["css/", "css/main.css", "style/", "style/main.css"]),
    ("a file where a folder was", lambda tree: (os.rmdir(tree.path("empty")), tree.write("empty")), ["empty", "empty/"]),
    ("what is well known", lambda tree: tree.write(".well-known/x"), [".well-known/", ".well-known/x"]),
    ("a folder's time", lambda tree: tree.touch("css", 5), None),
    ("a hidden file", lambda tree: tree.write("css/.main.css.swp"), None),
    ("in a hidden folder", lambda tree: tree.write(".git/config", b"changed"), None),
    ("a hidden folder", lambda tree: tree.write("deep/.hidden/file"), None),
    ("compiled Python", lambda tree: tree.write("__pycache__/n.pyc"), None),
    ("a package's folder", lambda tree: tree.write("deep/node_modules/p/i.js"), None),
    ("nothing", lambda tree: None, None),
]


@pytest.mark.parametrize("change, names", [pytest.param(*rest, id=name) for name, *rest in CHANGES])
def test_what_counts_as_a_change(tree, change, names):
    tree.begin()
    assert tree.news() == []
    change(tree)
    assert tree.news() == ([] if names is None else [names])
    assert tree.news(5) == []


def test_the_first_look_tells_nothing_and_waking_twice_is_waking_once(tree):
    watch = tree.begin()
    watch.wake()
    assert watch.awake and tree.news(5) == []


def test_random_changes_are_told_as_what_differs(tree):
    rng = seeds.rng()
    names = ["%s%s" % (folder, name) for folder in ("", "p/", "p/q/", "r/") for name in "abc"]

    def state():
        found = {}
        for here, folders, files in os.walk(str(tree.root)):
            for name in folders + files:
                path = os.path.join(here, name)
                shown = os.path.relpath(path, str(tree.root)).replace(os.sep, "/")
                if not shown.startswith((".git", "__pycache__", "node_modules")):
                    stat = os.stat(path)
                    found[shown + ("/" if name in folders else "")] = (
                        (stat.st_mtime_ns, stat.st_size, stat.st_ino) if name in files else ())
        return found

    tree.begin()
    for _ in range(25):
        before = state()
        for _ in range(rng.randrange(4)):
            name = rng.choice(names)
            if rng.random() < 0.6:
                tree.write(name, bytes(rng.randrange(5)))
            elif rng.random() < 0.5:
                shutil.rmtree(tree.path(name.rpartition("/")[0] or "css"), ignore_errors=True)
            elif os.path.exists(tree.path(name)):
                os.remove(tree.path(name))
        after = state()
        differs = sorted(name for name in {**before, **after} if before.get(name) != after.get(name))
        assert tree.news() == ([differs] if differs else [])


# -- when ------------------------------------------------------------------------------------------------------------

def test_changes_that_follow_each_other_are_told_once(tree):
    tree.begin()
    tree.write("one")
    tree.wait(INTERVAL + 0.01)
    assert tree.told == []
    tree.write("two")
    tree.wait(SETTLE)
    assert tree.told == []
    assert tree.news(SETTLE) == [["one", "two"]]
    assert tree.news(5) == []


def test_changes_without_end_are_told_all_the_same(tree):
    tree.begin()
    for count in range(int((INTERVAL + PATIENCE) / SETTLE) + 2):
        tree.write("log", bytes(count))
        tree.wait(SETTLE)
    assert tree.told == [["log"]]


def test_what_is_changed_and_changed_back_while_it_settles_is_told(tree):
    tree.begin()
    tree.touch("a.html", 1001)
    tree.wait(INTERVAL + 0.01)
    tree.touch("a.html", 1000)
    assert tree.news(1) == [["a.html"]]


def test_a_sleeper_neither_looks_nor_tells(tree, monkeypatch):
    watch = tree.begin()
    tree.write("new")
    tree.wait(INTERVAL + 0.01)  # found, and not told yet
    watch.sleep()
    watch.sleep()
    assert not watch.awake
    monkeypatch.setattr(treewatch.os, "scandir", None)
    assert tree.news(60) == [] and not tree.loop.handles


def test_what_changes_in_its_sleep_is_never_told(tree):
    watch = tree.begin()
    watch.sleep()
    tree.write("new")
    watch.wake()
    assert tree.news(5) == []
    tree.write("newer")
    assert tree.news() == [["newer"]]


def test_it_can_fall_asleep_in_the_midst_of_a_look_and_wake_at_once(tree, monkeypatch):
    monkeypatch.setattr(treewatch, "MOST_AT_ONCE", 1)
    watch = tree.begin()
    watch.sleep()
    watch.wake()
    watch.wake()
    turn(tree.loop, 50)
    tree.write("new")
    assert tree.news(1) == [["new"]]


@pytest.mark.parametrize("dated, told", [
    (WALL - 10 ** 9, []), (WALL, [["a.html"]]), (WALL + 10 ** 9, [["a.html"]]), (WALL + 10 ** 11, [])])
def test_what_is_dated_after_the_wake_has_changed_unless_in_the_future(tree, dated, told):
    os.utime(tree.path("a.html"), ns=(dated, dated))
    tree.watch = TreeWatch(tree.loop, str(tree.root), wall=lambda: tree.wall)
    tree.watch.on_change += lambda watch, names: tree.told.append(names)
    tree.watch.wake()
    tree.wall += 2 * 10 ** 9
    assert tree.news(1) == told
    assert tree.news(5) == []


def test_a_change_between_waking_and_the_first_look_is_told(tree):
    watch = TreeWatch(tree.loop, str(tree.root))  # the real clock: it is that of the files
    watch.on_change += lambda watch, names: tree.told.append(names)
    turn(tree.loop)
    watch.wake()
    tree.write("css/main.css", b"changed")
    assert "css/main.css" in tree.news(1)[0]


# -- a tree of any size and shape ------------------------------------------------------------------------------------

def test_a_turn_looks_at_a_slice(tree, monkeypatch):
    monkeypatch.setattr(treewatch, "MOST_AT_ONCE", 3)
    for number in range(40):
        tree.write("many/%d" % number)
    watch = TreeWatch(tree.loop, str(tree.root), wall=lambda: WALL)
    watch.wake()
    sizes = [0]
    while watch._walk is not None:
        turn(tree.loop)
        sizes.append(len(watch._found))
    assert len(sizes) > 12 and all(after - before <= 3 for before, after in zip(sizes, sizes[1:-1]))
    assert len(watch._known) == 48


def test_a_slice_ends_by_time_too_and_long_looks_are_far_apart(tree):
    seconds = [0.0]

    def ticking():
        seconds[0] += 0.02
        return seconds[0]

    with icey.Loop(clock=ticking) as loop:
        watch = TreeWatch(loop, str(tree.root), wall=lambda: WALL)
        watch.wake()
        turns = 0
        while watch._walk is not None:
            loop.run_once(0)
            turns += 1
        assert turns >= 5
        assert INTERVAL < watch._timer.delay == 4 * watch._spent


def test_what_vanishes_while_it_is_looked_at(tree, monkeypatch):
    monkeypatch.setattr(treewatch, "MOST_AT_ONCE", 1)
    for name in ("m/1", "m/2", "n/1"):
        tree.write(name)
    tree.begin()
    turn(tree.loop, 50)
    for count in range(12):  # at each place of a look
        tree.write("m/3")
        tree.write("n/2")
        tree.news(2)
        tree.wait(INTERVAL - 0.05)
        while tree.watch._walk is None:
            tree.loop.run_once(0.01)
        turn(tree.loop, count)
        shutil.rmtree(tree.path("m"))
        os.remove(tree.path("n/2"))
        told = sum(tree.news(2), [])
        assert "m/3" in told and "n/2" in told and "a.html" not in told


def test_an_entry_that_cannot_be_looked_at_is_not_there(tree, monkeypatch):
    class Entry:
        name = "odd"

        def stat(self):
            raise PermissionError

    assert tree.begin()._note(Entry(), "") is False


def test_the_root_goes_and_comes(tree):
    tree.begin()
    os.rename(str(tree.root), str(tree.root) + "2")
    told, = tree.news()
    assert "a.html" in told and "css/" in told
    os.rename(str(tree.root) + "2", str(tree.root))
    assert tree.news() == [told]


@LINKS
@pytest.mark.parametrize("follow", [False, True])
def test_circles_of_links_end(tree, follow):
    os.symlink(str(tree.root), tree.path("deep/up"))
    os.symlink("self", tree.path("self"))
    tree.begin(follow=follow)
    tree.write("css/more.css")
    assert tree.news() == [["css/more.css"]]
    assert len(tree.watch._known) == 9


@LINKS
def test_links_to_files_are_followed_and_links_to_folders_on_demand(tree, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file").write_bytes(b"")
    os.symlink(str(tmp_path / "out"), tree.path("folder"))
    os.symlink(str(tmp_path / "out" / "file"), tree.path("file"))
    os.symlink("nowhere", tree.path("broken"))
    tree.begin()
    (tmp_path / "out" / "file").write_bytes(b"changed")
    assert tree.news() == [["file"]]
    tree.write("nowhere")
    assert tree.news() == [["broken", "nowhere"]]
    tree.watch.close()
    tree.begin(follow=True)
    (tmp_path / "out" / "file").write_bytes(b"once more")
    assert tree.news() == [["file", "folder/file"]]


def test_no_more_than_so_many_entries_are_watched_and_that_is_told_once(tree, monkeypatch):
    monkeypatch.setattr(treewatch, "MOST", 5)
    watch = tree.begin()
    assert tree.limits == [watch] and len(watch._known) == 5
    tree.write("a.html", b"changed")  # the near ones are watched
    assert tree.news(1) == [["a.html"]] and tree.limits == [watch]


@pytest.mark.skipif(os.name == "nt", reason="the inode of an entry is not told there")
def test_some_files_do_not_count(tree):
    stat = os.stat(tree.path("a.html"))
    tree.begin(ignored={(stat.st_dev, stat.st_ino)})
    tree.touch("a.html", 5)
    assert tree.news() == []


# -- slots and the end -----------------------------------------------------------------------------------------------

def test_a_slot_that_raises_is_reported_and_it_goes_on(tree, reports):
    watch = tree.begin()

    @watch.on_change.attach
    def wrong(watch, names):
        raise KeyError(names)

    for name in ("one", "two"):
        tree.write(name)
        assert tree.news() == [[name]]
        reports.take(KeyError)


def test_a_slot_may_close_it(tree):
    watch = tree.begin()
    watch.on_change += lambda watch, names: watch.close()
    tree.write("new")
    assert tree.news() == [["new"]]
    assert watch.closed and not tree.loop.handles


def test_closed_in_the_midst_of_a_look(tree, monkeypatch):
    monkeypatch.setattr(treewatch, "MOST_AT_ONCE", 2)
    watch = tree.begin()
    closed = []
    watch.on_close += closed.append
    watch.close()
    assert closed == []
    turn(tree.loop, 2)
    assert closed == [watch] and not tree.loop.handles
    with pytest.raises(icey.StateError, match=r"wake\(\) on a TreeWatch"):
        watch.wake()


def test_it_does_not_keep_a_loop_running_and_goes_with_it(tree, monkeypatch):
    monkeypatch.setattr(treewatch, "MOST_AT_ONCE", 2)
    with icey.Loop(False) as loop:
        watch = TreeWatch(loop, str(tree.root))
        watch.wake()
        loop.run()  # to the end of the first look
        assert watch.awake and len(watch._known) == 7
        watch.sleep()
        watch.wake()
        loop.run_once(0)
        assert repr(watch) == "<TreeWatch %s open>" % tree.root
    assert watch.closed
