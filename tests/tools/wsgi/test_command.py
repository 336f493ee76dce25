"""python3 -m icey wsgi: the flags, what it says, what it exits with, and its restarts."""
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import types
from importlib.machinery import SourceFileLoader

import pytest

import icey
from icey.tools.serve import treewatch
from icey.tools.wsgi import command, reloading
from tests.support import BLOCKED, ROOT
from tests.support.programs import without_slowness

pytestmark = pytest.mark.needs("threading")

ORDERLY = 0 if "signal" not in BLOCKED else -signal.SIGTERM
APP = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    keys = "wsgi.url_scheme REMOTE_ADDR SCRIPT_NAME PATH_INFO wsgi.multiprocess".split()
    return [("%s " % VERSION).encode(), " ".join(str(environ[key]) for key in keys).encode()]
"""


@pytest.fixture
def shop(tmp_path):
    (tmp_path / "shop.py").write_text("VERSION = 1\n" + APP)
    return tmp_path


PASSED = """import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.argv[2], sys.argv[2:])
"""


class Serving:
    """`python3 -m icey wsgi` with these arguments, in a process that is ended with the block.

    passed: a socket that is passed as systemd does."""

    def __init__(self, *arguments, cwd=None, passed=None):
        command = [sys.executable, "-m", "icey", "wsgi", *map(str, arguments)]
        options = {}
        if passed is not None:
            command = [sys.executable, "-c", PASSED, str(passed.fileno()), *command]
            options["pass_fds"] = [passed.fileno()]
        self.process = subprocess.Popen(command, cwd=str(cwd), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, universal_newlines=True, **options)
        self.first = self.process.stdout.readline()
        found = re.search(r"https?://([^:/]+):(\d+)/", self.first)
        self.port = int(found.group(2)) if found else None

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def ask(self, target="/", headers=None):
        """(status, body)"""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", target, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def says(self, text):
        """Waits for a line of stderr with this text in it."""
        for line in self.process.stderr:
            if text in line:
                return line
        raise AssertionError("it has not said %r" % text)

    def end(self):
        """(exit status, stderr) after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        _, err = self.process.communicate(timeout=20)
        return self.process.returncode, err


def test_it_serves_an_application_of_the_current_folder(shop):
    with Serving("shop:app", "0", "--script-name", "/shop", "--proxy", "127.0.0.1", cwd=shop) as serving:
        assert serving.first == "Serving shop:app at http://127.0.0.1:%d/ (Ctrl-C ends it)\n" % serving.port
        assert serving.ask("/shop/a") == (200, "1 http 127.0.0.1 /shop /a False")
        headers = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https"}
        assert serving.ask("/b", headers) == (200, "1 https 192.0.2.1 /shop /b False")
        status, err = serving.end()
    assert status == ORDERLY
    if ORDERLY == 0:
        assert re.search(r" 127\.0\.0\.1 GET /shop/a 200 .*\n.* 192\.0\.2\.1 GET /b 200 ", err)


@pytest.mark.needs("fork", "signal")
def test_workers_load_the_application_themselves(shop, tmp_path):
    with Serving("shop:app", "--bind", "127.0.0.1:0", "--workers", "1", "--chdir", shop, "-q", cwd=os.getcwd()) as serving:
        assert serving.ask() == (200, "1 http 127.0.0.1  / True")
        assert serving.end()[0] == ORDERLY


@pytest.mark.needs("fork", "signal", "ssl")
@pytest.mark.parametrize("workers", [(), ("--workers", "1")])
def test_files_of_other_options_are_seen_from_the_folder_of_chdir(shop, workers):
    from icey.tools.cli.certificate import self_signed_files

    cert, key = (os.path.basename(path) for path in self_signed_files(str(shop), ["127.0.0.1"]))
    (shop / "shop.py").write_text("import os\nos.chdir('/')\nVERSION = 1\n" + APP)
    with Serving("shop:app", "0", "--chdir", shop, "--cert", cert, "--key", key, *workers, cwd=os.getcwd()) as serving:
        assert serving.first.startswith("Serving shop:app at https://127.0.0.1:")
        assert serving.end()[0] == ORDERLY


@pytest.mark.needs("fork")
def test_workers_whose_application_does_not_load_say_what_one_process_says(shop):
    (shop / "shop.py").write_text("VERSION = \n")
    done = subprocess.run([sys.executable, "-m", "icey", "wsgi", "shop:app", "0", "--workers", "1"], cwd=str(shop), timeout=60,
                          stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, universal_newlines=True,
                          env=dict(os.environ, PYTHONPATH=ROOT))
    assert done.returncode == 1 and "shop does not import: SyntaxError" in done.stderr
    said = without_slowness(done.stderr).rstrip()
    assert said.endswith("before all were ready: nothing is served") and "Traceback" not in said


def changed(path, text):
    """Writes a file as editors do, whole or not at all. What is compiled counts for a file of its size and its second."""
    new = str(path) + ".new"
    with open(new, "w") as file:
        file.write(text)
    os.replace(new, str(path))


@pytest.mark.skipif(os.name != "posix", reason="the listener is handed over where descriptors are")
def test_reload_starts_anew(shop):
    with Serving("shop:app", "0", "--reload", "-q", cwd=shop) as serving:
        assert "starts anew" in serving.first and serving.ask()[1][:2] == "1 "
        changed(shop / "shop.py", "VERSION = 2  # more\n" + APP)
        assert serving.says("Changed") == "Changed: shop.py\n" and serving.says("Serving again")
        assert serving.ask()[1][:2] == "2 "
        assert serving.end()[0] == ORDERLY


@pytest.mark.needs("fork")
def test_reload_stays_on_the_unix_socket_that_systemd_opened(shop):
    """Nobody else would make it anew."""
    path = str(shop / "socket")

    def answer():
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            client.connect(path)
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return b"".join(iter(lambda: client.recv(4096), b"")).partition(b"\r\n\r\n")[2]

    with socket.socket(socket.AF_UNIX) as systemd:
        systemd.bind(path)
        systemd.listen()
        serving = Serving("shop:app", "0", "--reload", "-q", cwd=shop, passed=systemd)
    with serving:
        assert path in serving.first and answer()[:2] == b"1 "
        for version in (2, 3):
            changed(shop / "shop.py", "VERSION = %d%s\n" % (version, version * "#") + APP)
            assert serving.says("Serving again") and answer()[:2] == b"%d " % version
        assert serving.end()[0] == ORDERLY


@pytest.mark.skipif(os.name != "posix", reason="the listener is handed over where descriptors are")
def test_reload_ends_an_application_as_any_end_does(shop):
    (shop / "shop.py").write_text("import atexit\nVERSION = 1\natexit.register(print, 'ended', VERSION)\n" + APP)
    with Serving("shop:app", "0", "--reload", "-q", cwd=shop) as serving:
        changed(shop / "shop.py", "VERSION = 2  # more\n" + APP)
        assert serving.says("Serving again") and serving.ask()[1][:2] == "2 "
        assert serving.process.stdout.readline() == "ended 1\n"


@pytest.mark.skipif(os.name != "posix", reason="the listener is handed over where descriptors are")
def test_reload_sees_a_change_that_comes_while_the_application_is_imported(shop):
    (shop / "shop.py").write_text("""VERSION = 1
import os
with open("new", "w") as file:
    file.write(%r)
os.replace("new", __file__)
""" % ("VERSION = 2  # more\n" + APP) + APP)
    with Serving("shop:app", "0", "--reload", "-q", cwd=shop) as serving:
        assert serving.says("Changed") == "Changed: shop.py\n" and serving.says("Serving again")
        assert serving.ask()[1][:2] == "2 "
        assert serving.end()[0] == ORDERLY


def test_what_is_written_before_it_is_read_is_no_change(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "made_at_import.py").write_text("VERSION = 1\n")
    (tmp_path / "never_read.py").write_text("VERSION = 1\n")
    path_stats = SourceFileLoader.path_stats
    try:
        with pytest.raises(ZeroDivisionError), reloading.Reading() as reading:
            import made_at_import
            1 / 0
    finally:
        del sys.modules["made_at_import"]
    assert made_at_import.VERSION == 1 and SourceFileLoader.path_stats is path_stats
    assert reading.changed() == []
    for path in tmp_path.glob("*.py"):
        path.write_text("VERSION = 10\n")
    assert reading.changed() == [str(tmp_path / "made_at_import.py")]
    (tmp_path / "made_at_import.py").unlink()
    assert reading.changed() == []  # on its way, perhaps


@pytest.mark.skipif(os.name != "posix", reason="the listener is handed over where descriptors are")
def test_reload_waits_for_an_application_that_does_not_load(shop):
    (shop / "shop.py").write_text("VERSION = \n" + APP)
    with Serving("shop:app", "0", "--reload", "-q", cwd=shop) as serving:
        assert "SyntaxError" in serving.says("waiting for a change") and serving.ask()[0] == 500
        assert serving.end()[0] == ORDERLY


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="the listener is handed over where descriptors are")
def test_reload_starts_anew_and_waits_while_the_application_does_not_load(shop):
    with Serving("shop:app", "0", "--reload", "-q", cwd=shop) as serving:
        assert "starts anew" in serving.first and serving.ask()[1][:2] == "1 "
        changed(shop / "shop.py", "VERSION = 2  # more\n" + APP)
        assert serving.says("Changed") == "Changed: shop.py\n" and serving.says("Serving again")
        assert serving.ask()[1][:2] == "2 "
        changed(shop / "shop.py", "VERSION = \n" + APP)
        assert "SyntaxError" in serving.says("waiting for a change")
        assert serving.ask()[0] == 500
        changed(shop / "shop.py", "VERSION = 3  # still more\n" + APP)
        assert serving.says("Serving again") and serving.says("Changed") and serving.says("Serving again")
        assert serving.ask()[1][:2] == "3 "
        assert serving.end()[0] == ORDERLY


# -- wrong arguments -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("arguments, status, said", [
    (["shop:ap"], 2, "did you mean 'app'?"), (["shop:app", "80", "-p", "81"], 2, "one port at a time: 80 or 81"),
    (["shop:app", "-b", "127.0.0.1:80", "81"], 2, "one port at a time"),
    (["shop:app", "-b", "127.0.0.1:99999"], 2, "a port is 0"),
    (["shop:app", "--proxy", "nonsense!"], 2, "--proxy: "), (["shop:app", "--script-name", "shop"], 2, "script_name is a path"),
    (["shop:app", "--script-name", "shop", "--workers", "2"], 2, "script_name is a path"),
    (["shop:app", "--chdir", "nowhere"], 2, "cannot change to"), (["shop:app", "--key", "k"], 2, "--key goes with --cert"),
    (["shop:app", "--workers", "2", "--reload"], 2, "--reload is for one process"),
    (["shop:app", "-b", "no.such.host."], 1, "no.such"),
    (["shop:ap", "--reload"], 2, "did you mean"),
])
def test_what_is_wrong_is_said_in_a_line(shop, monkeypatch, capsys, arguments, status, said):
    monkeypatch.chdir(shop)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    try:
        assert command.main(arguments) == status
    finally:
        sys.modules.pop("shop", None)
    out, err = capsys.readouterr()
    assert err.startswith("icey wsgi: ") and said in err and err.count("\n") == 1 and not out


@pytest.mark.parametrize("arguments", [[], ["shop:app", "x"], ["shop:app", "-t", "0"], ["shop:app", "--max-body", "-1"]])
def test_wrong_flags_are_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        command.main(arguments)
    assert caught.value.code == 2 and capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("bind, expected", [
    ("127.0.0.1", ("127.0.0.1", 8000)), ("127.0.0.1:80", ("127.0.0.1", 80)), ("localhost:0", ("localhost", 0)),
    ("[::1]:80", ("[::1]", 80)), ("::1", ("::1", 8000)), ("::", ("::", 8000)), (":80", ("", 80)),
    ("unix:/run/x:1", ("unix:/run/x:1", 8000)),
])
def test_where_it_listens(bind, expected):
    options = command._parser("x").parse_args(["a:b", "--bind", bind])
    assert command._where(options) == expected


# -- restarts --------------------------------------------------------------------------------------------------------

def test_the_command_of_this_process(monkeypatch):
    monkeypatch.setattr(sys, "orig_argv", ["python3", "-W", "error", "-m", "icey", "wsgi", "a:b"], raising=False)
    assert reloading.command() == [sys.executable, "-W", "error", "-m", "icey", "wsgi", "a:b"]


@pytest.mark.parametrize("name, begin", [("icey.__main__", ["-m", "icey"]), (None, ["tool.pyz"]), ("other", ["tool.pyz"])])
def test_the_command_before_python_3_10(monkeypatch, name, begin):
    monkeypatch.delattr(sys, "orig_argv", raising=False)
    monkeypatch.setattr(sys, "argv", ["tool.pyz", "wsgi", "a:b"])
    monkeypatch.setattr(sys, "warnoptions", ["error"])
    spec = name and type("Spec", (), {"name": name})
    monkeypatch.setitem(sys.modules, "__main__", type("Main", (), {"__spec__": spec}))
    assert reloading.command() == [sys.executable, "-Werror", *begin, "wsgi", "a:b"]


def test_what_is_installed_is_not_watched(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert reloading._is_installed(os.path.realpath(icey.__file__)) and reloading._is_installed(os.path.realpath(os.__file__))
    assert reloading._is_installed(os.sep + os.path.join("x", "site-packages", "flask", "app.py"))
    assert not reloading._is_installed(str(tmp_path / "shop.py"))
    assert os.getcwd() in reloading._folders()


class Listener:
    address = icey.Address("127.0.0.1", 80)


def test_only_a_module_that_is_loaded_counts_unless_none_is(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reloading, "_loaded", lambda: {os.path.realpath(str(tmp_path / "shop.py"))})
    monkeypatch.setattr(Listener, "sock", open(os.devnull), raising=False)
    with icey.Loop() as loop, Listener.sock:
        for loaded, names, counts in ((True, ["shop.py"], True), (True, ["other.py"], False), (True, ["a.txt"], False),
                                      (False, ["other.py"], True), (False, ["a.txt"], False)):
            server = icey.http.Server(loop, "127.0.0.1", 0).start()
            reloader = reloading.Reloader(loop, server, Listener, loaded, reloading.Reading())
            watch, = reloader._watches
            assert isinstance(watch, treewatch.TreeWatch) and watch.awake
            reloader._look(watch, names)
            assert server.stopping == bool(reloader.changed) == counts
            if reloader._fd is not None:
                os.close(reloader._fd)
            server.close()
            loop.run()
            assert watch.closed
    capsys.readouterr()


def test_a_folder_of_too_many_files_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reloading, "_folders", lambda: [str(tmp_path)])
    monkeypatch.setattr(treewatch, "MOST", 2)
    monkeypatch.setattr(treewatch, "PATIENCE", 0.0)
    for name in "abc":
        (tmp_path / name).write_text("")
    monkeypatch.setattr(Listener, "sock", open(os.devnull), raising=False)
    with icey.Loop() as loop, Listener.sock:
        server = icey.http.Server(loop, "127.0.0.1", 0).start()
        reloading.Reloader(loop, server, Listener, True, reloading.Reading())
        for _ in range(10):
            loop.run_once(0)
        server.abort()
        loop.run()
    assert "%s has more: not all changes" % tmp_path in capsys.readouterr().err


@pytest.fixture
def restart(monkeypatch, tmp_path):
    """A function that restarts in a folder; it returns what was done, in order. raises: by what is done at the end."""
    done = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(reloading.HANDED, "")
    monkeypatch.setattr(reloading, "command", lambda: ["python3", "-m", "icey"])
    monkeypatch.setattr(os, "execv", lambda path, words: done.append((path, words)))

    def begin(folder, fd=None, raises=None):
        def at_the_end():
            done.append("at the end")
            if raises is not None:
                raise raises

        monkeypatch.setattr("atexit._run_exitfuncs", at_the_end)
        reloading.Reloader.restart(types.SimpleNamespace(_fd=fd), str(folder))
        return done

    return begin


@pytest.mark.parametrize("raises", [None, ValueError("of a function"), SystemExit(3)])
def test_a_restart_does_what_is_to_be_done_at_the_end(restart, tmp_path, raises):
    (tmp_path / "there").mkdir()
    assert restart(tmp_path / "there", raises=raises) == ["at the end", (sys.executable, ["python3", "-m", "icey"])]
    assert os.path.basename(os.getcwd()) == "there" and os.environ[reloading.HANDED] == ""


def test_a_restart_hands_the_socket_on(restart, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    with open(os.devnull) as file:
        restart(tmp_path, file.fileno())
        assert os.environ[reloading.HANDED] == str(file.fileno()) and os.get_inheritable(file.fileno())


def test_ctrl_c_while_a_restart_does_what_is_to_be_done_is_no_restart(restart, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        restart(tmp_path, raises=KeyboardInterrupt())
