"""python3 -m icey serve: the flags, what it says, what it exits with. What it serves is tests/http/server/test_static.py's."""
import errno
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import pytest

import icey
from icey.tools.cli import certificate, listening
from icey.tools.cli.certificate import self_signed, self_signed_files
from icey.tools.serve import command as serve
from tests.support import BLOCKED
from tests.support.programs import without_slowness

with_signals = pytest.mark.needs("signal")
ORDERLY = 0 if "signal" not in BLOCKED else -signal.SIGTERM  # without the module only Ctrl-C is caught


@pytest.fixture
def site(tmp_path):
    folder = tmp_path / "site"
    (folder / "sub").mkdir(parents=True)
    (folder / "page.txt").write_bytes(b"from a file")
    (folder / ".hidden").write_bytes(b"hidden")
    (folder / "sub" / "start.html").write_bytes(b"<p>start")
    return folder


class Serving:
    """`python3 -m icey serve` with these arguments, in a process that is ended with the block."""

    def __init__(self, *arguments, cwd=None):
        self.process = subprocess.Popen([sys.executable, "-m", "icey", "serve", *map(str, arguments)], cwd=cwd,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        universal_newlines=True)
        self.first = self.process.stdout.readline()
        found = re.search(r"https?://(\[.+\]|[^:/]+):(\d+)/", self.first)
        self.host, self.port = (found.group(1).strip("[]"), int(found.group(2))) if found else (None, None)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def ask(self, target="/page.txt", method="GET", headers=None, tls=None):
        """(status, body, headers). tls: an ssl.SSLContext, for https."""
        if tls is None:
            connection = http.client.HTTPConnection(self.host, self.port, timeout=20)
        else:
            connection = http.client.HTTPSConnection(self.host, self.port, timeout=20, context=tls)
        try:
            connection.request(method, target, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.headers
        finally:
            connection.close()

    def end(self, number=signal.SIGTERM):
        """(exit status, the rest of stdout, stderr) after this signal."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, out, err


def refused(*arguments):
    """(exit status, stderr) of a call that does not come to serve anything."""
    done = subprocess.run([sys.executable, "-m", "icey", "serve", *map(str, arguments)], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, universal_newlines=True)
    assert done.stdout == ""
    return done.returncode, done.stderr


# -- what is served, and where ---------------------------------------------------------------------------------------

def test_it_serves_the_current_folder_and_says_where(site):
    with Serving("--port", "0", cwd=str(site)) as serving:
        assert serving.first == "Serving %s at http://127.0.0.1:%d/ (Ctrl-C ends it)\n" % (
            os.path.realpath(site), serving.port)
        assert serving.ask()[:2] == (200, b"from a file")
        assert serving.ask("/.hidden")[0] == 404
        assert b"Index of /" in serving.ask("/")[1]
        assert serving.end()[0] == ORDERLY


@pytest.mark.parametrize("arguments", [["{site}", "0"], ["--directory={site}", "-p0"], *(
    pytest.param(arguments, marks=pytest.mark.slow) for arguments in (
        ["0", "{site}"], ["{site}", "--port", "0"], ["-d", "{site}", "0"], ["{site}", "--quiet", "0"]))], ids=" ".join)
def test_folder_and_port_as_http_server_takes_them_and_in_any_order(site, arguments):
    with Serving(*[argument.format(site=site) for argument in arguments]) as serving:
        assert serving.ask()[:2] == (200, b"from a file")


def test_a_folder_whose_name_is_a_number_is_given_by_its_path(tmp_path):
    (tmp_path / "8000").mkdir()
    (tmp_path / "8000" / "page.txt").write_bytes(b"number")
    with Serving("./8000", "0", cwd=str(tmp_path)) as serving:
        assert serving.ask()[1] == b"number"


def test_a_name_to_bind_is_looked_up(site):
    with Serving(site, "0", "--bind", "localhost") as serving:
        assert serving.host in ("127.0.0.1", "::1")
        assert serving.ask()[0] == 200


@pytest.mark.parametrize("given, shown", [("0.0.0.0", "127.0.0.1"), ("", "127.0.0.1")])
def test_every_interface_is_shown_as_one_that_answers(site, given, shown):
    with Serving(site, "0", "--bind", given) as serving:
        assert serving.host == shown and "every interface" in serving.first
        assert serving.ask()[0] == 200


@pytest.mark.needs("ipv6")
@pytest.mark.parametrize("given", ["[::1]", *(pytest.param(given, marks=pytest.mark.slow) for given in ("::1", "::"))])
def test_ipv6(site, given):
    with Serving(site, "0", "-b", given) as serving:
        assert serving.host == "::1"
        assert serving.ask()[0] == 200


@pytest.mark.needs("unix")
def test_a_unix_socket(site, tmp_path):
    path = str(tmp_path / "s")
    with Serving(site, "--bind", "unix:" + path) as serving:
        assert " at unix:%s (" % path in serving.first
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            client.sendall(b"GET /page.txt HTTP/1.0\r\n\r\n")
            assert client.makefile("rb").read().endswith(b"\r\n\r\nfrom a file")
        assert serving.end()[0] == ORDERLY
    assert os.path.exists(path) is (ORDERLY != 0)


def test_the_flags_of_what_is_served(site):
    with Serving(site, "0", "--hidden", "--no-listing", "--index", "start.html", "--cache-control", "max-age=5", "--cors",
                 "-H", "X-One: 1", "--header", "X-Two:2") as serving:
        assert serving.ask("/.hidden")[:2] == (200, b"hidden")
        assert serving.ask("/")[0] == 403
        status, body, headers = serving.ask("/sub/")
    assert (status, body, headers["Cache-Control"], headers["Access-Control-Allow-Origin"], headers["X-One"],
            headers["X-Two"]) == (200, b"<p>start", "max-age=5", "*", "1", "2")


def test_cors_answers_preflights_and_lets_scripts_read_what_went_wrong(site):
    with Serving(site, "0", "--cors") as serving:
        status, _, headers = serving.ask("/page.txt", "OPTIONS", {
            "Origin": "http://app.test", "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "range"})
        assert (status, headers["Access-Control-Allow-Origin"], headers["Access-Control-Allow-Headers"]) == (204, "*", "range")
        for target, fields, status in (("/missing", {}, 404), ("/page.txt", {"Range": "bytes=99-"}, 416)):
            answer = serving.ask(target, headers=fields)
            assert (answer[0], answer[2]["Access-Control-Allow-Origin"]) == (status, "*")


def test_a_foreign_name_that_leads_here_is_421_unless_it_is_allowed(site):
    with Serving(site, "0", "--allow-host", "tunnel.example") as serving:
        for host, status in (("evil.example", 421), ("evil.example:%d" % serving.port, 421), ("192.168.0.1", 421),
                             ("localhost:%d" % serving.port, 200), ("127.0.0.1", 200), ("Tunnel.example:80", 200)):
            assert serving.ask(headers={"Host": host})[0] == status
        assert b"--allow-host" in serving.ask(headers={"Host": "evil.example"})[1]
    with Serving(site, "0", "--bind", "0.0.0.0") as serving:
        assert serving.ask(headers={"Host": "evil.example"})[0] == 200
    with Serving(site, "0", "--live") as serving:
        page = {"Host": "evil.example", "Origin": "http://evil.example", "Upgrade": "websocket", "Connection": "Upgrade",
                "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}
        assert serving.ask("/.icey-live", headers=page)[0] == 421


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs symbolic links")
def test_links_out_of_the_folder_are_followed_on_demand(site, tmp_path):
    (tmp_path / "outside").write_bytes(b"outside")
    os.symlink(str(tmp_path / "outside"), str(site / "link"))
    with Serving(site, "0") as serving:
        assert serving.ask("/link")[0] == 404
    with Serving(site, "0", "--follow-symlinks") as serving:
        assert serving.ask("/link")[1] == b"outside"


# -- HTTPS -----------------------------------------------------------------------------------------------------------

@pytest.fixture
def ended(monkeypatch):
    """Has main() serve and end at once."""
    monkeypatch.setattr(serve, "run", lambda loop, server: loop.run_once(0) and server.close() or loop.run())


@pytest.mark.needs("ssl")
def test_https_with_a_certificate_and_its_key(site, tmp_path):
    import ssl
    cert, key = self_signed_files(str(tmp_path), ["127.0.0.1"])
    with Serving(site, "0", "--cert", cert, "--key", key) as serving:
        assert serving.first == "Serving %s at https://127.0.0.1:%d/ (Ctrl-C ends it)\n" % (
            os.path.realpath(site), serving.port)
        assert serving.ask(tls=ssl.create_default_context(cafile=cert))[:2] == (200, b"from a file")
        assert serving.end()[0] == ORDERLY


@pytest.mark.needs("ssl")
def test_https_self_signed(site):
    import ssl
    anybody = ssl.create_default_context()
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    with Serving(site, "0", "--self-signed") as serving:
        assert " at https://127.0.0.1:%d/ (" % serving.port in serving.first
        assert serving.ask(tls=anybody)[:2] == (200, b"from a file")
        own = ssl.get_server_certificate((serving.host, serving.port))
        assert serving.ask(tls=ssl.create_default_context(cadata=own))[0] == 200
        with pytest.raises(ssl.SSLCertVerificationError):
            serving.ask(tls=ssl.create_default_context())
        with pytest.raises(OSError):
            serving.ask()


@pytest.mark.needs("ssl")
def test_https_with_the_key_in_the_certificate_s_file(site, tmp_path, capsys, ended):
    (tmp_path / "both.pem").write_text("".join(self_signed(["127.0.0.1"])))
    assert serve.main([str(site), "0", "--cert", str(tmp_path / "both.pem")], "PROG") == 0
    assert " at https://127.0.0.1:" in capsys.readouterr().out


@pytest.mark.needs("ssl")
@pytest.mark.parametrize("bind, hosts", [
    ("127.0.0.1", ["localhost", "127.0.0.1", "::1"]), ("0.0.0.0", ["localhost", "127.0.0.1", "::1"]),
    ("127.0.0.2", ["127.0.0.2", "localhost", "127.0.0.1", "::1"]), ("[::1]", ["localhost", "127.0.0.1", "::1"]),
    ("a.test", ["a.test", "localhost", "127.0.0.1", "::1"]), ("unix:/s", ["localhost", "127.0.0.1", "::1"])])
def test_self_signed_is_for_this_machine_and_what_it_is_bound_to(monkeypatch, bind, hosts):
    from icey.net import tls
    made = []
    monkeypatch.setattr(certificate, "self_signed_files", lambda folder, hosts: made.extend(hosts) or (folder, "key"))
    monkeypatch.setattr(tls, "server_context", lambda cert, key: os.path.isdir(cert) and "context")
    assert listening.tls_of(serve._parser("PROG").parse_args(["--self-signed", "--bind", bind])) == "context"
    assert made == hosts


def test_https_without_the_ssl_module_is_one_line_and_status_1(monkeypatch, capsys):
    monkeypatch.delattr(icey.net, "tls", raising=False)
    monkeypatch.setitem(sys.modules, "icey.net.tls", None)
    assert serve.main(["0", "--self-signed"], "PROG") == 1
    assert capsys.readouterr().err == "PROG: HTTPS needs Python's ssl module, which is missing here\n"


# -- the log ---------------------------------------------------------------------------------------------------------

def test_each_answer_is_a_line_on_stderr(site):
    with Serving(site, "0") as serving:
        serving.ask()
        serving.ask("/none", "HEAD")
        _, out, err = serving.end()
    assert out == ""
    assert [re.sub(r"^[-\d]+ [\d:]+ |[\d.]+ms$", "", line) for line in err.splitlines()] == [
        "127.0.0.1 GET /page.txt 200 11 ", "127.0.0.1 HEAD /none 404 0 "]


def test_the_log_is_written_at_once(site):
    with Serving(site, "0") as serving:
        serving.ask()
        assert "GET /page.txt 200" in serving.process.stderr.readline()


def test_the_log_s_format(site):
    with Serving(site, "0", "--log-format", "combined") as serving:
        serving.ask(headers={"User-Agent": 'a "b"'})
        assert serving.end()[2].endswith(r'"GET /page.txt HTTP/1.1" 200 11 "-" "a \"b\""' + "\n")


def test_the_log_as_json(site):
    with Serving(site, "0", "--log-format", "json") as serving:
        serving.ask()
        told = json.loads(serving.end()[2])
    assert (told["method"], told["target"], told["status"], told["bytes"]) == ("GET", "/page.txt", 200, 11)


def test_quiet_writes_nothing(site):
    with Serving(site, "0", "--quiet") as serving:
        serving.ask()
        assert serving.end() == (ORDERLY, "", "")


def test_a_reader_of_the_output_that_goes_away_does_not_end_it(site):
    with Serving(site, "0") as serving:
        serving.process.stderr.close()
        serving.process.stdout.close()
        assert [serving.ask()[0] for _ in range(3)] == [200, 200, 200]


# -- the end ---------------------------------------------------------------------------------------------------------

@with_signals
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_ends_it_with_status_0(site, number):
    with Serving(site, "0") as serving:
        serving.ask()
        assert serving.end(number)[0] == 0


def test_ctrl_c_ends_it_with_status_0_even_without_the_signal_module(site):
    with Serving(site, "0") as serving:
        assert serving.end(signal.SIGINT)[0] == 0


@pytest.fixture
def half(site):
    """A server with an answer under way that its client does not read."""
    with open(str(site / "big"), "wb") as file:
        file.truncate(16 << 20)
    with Serving(site, "0") as serving, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(20)
        client.connect(("127.0.0.1", serving.port))
        client.sendall(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.recv(4).startswith(b"HTTP")
        yield serving, client


@with_signals
def test_the_first_signal_finishes_what_is_under_way(half):
    serving, client = half
    serving.process.send_signal(signal.SIGINT)
    left = []
    reader = threading.Thread(target=lambda: left.append(sum(iter(lambda: len(client.recv(1 << 20)), 0))))
    assert serving.process.stderr.readline() == (
        "Stopping: 1 request is being answered, at most 10 s (Ctrl-C again: now)\n")
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", serving.port)).close()
    reader.start()
    reader.join(20)
    assert left and left[0] > 16 << 20
    client.close()
    log = serving.process.communicate(timeout=20)[1]
    assert serving.process.returncode == 0
    assert re.fullmatch(r"\S+ \S+ 127\.0\.0\.1 GET /big 200 16777216 [0-9.]+ms\n", without_slowness(log))


@with_signals
def test_the_second_signal_ends_it_now(half):
    serving, client = half
    serving.process.send_signal(signal.SIGTERM)
    assert serving.process.stderr.readline().startswith("Stopping")
    began = time.monotonic()
    status, _, log = serving.end(signal.SIGTERM)
    assert status == 128 + signal.SIGTERM and re.fullmatch(r"\S+ \S+ 127\.0\.0\.1 GET /big 200 [0-9]+ [0-9.]+ms cut\n", log)
    assert time.monotonic() - began < 9


# -- by several processes

@pytest.mark.needs("fork", "signal")
@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_several_workers_serve_and_end_with_status_0(site, number):
    with Serving(site, "0", "--workers", "2") as serving:
        assert serving.first.startswith("Serving ")
        for _ in range(4):
            assert serving.ask()[:2] == (200, b"from a file")
        assert serving.ask(headers={"Host": "foreign.example"})[0] == 421
        status, out, err = serving.end(number)
        assert (status, out) == (0, "")
        assert err.count("GET /page.txt") == 5 and "Traceback" not in err


@pytest.mark.needs("fork", "signal", "ssl")
def test_a_renewed_certificate_is_that_of_the_next_workers(site, tmp_path):
    import ssl

    cert, key = self_signed_files(str(tmp_path), ["127.0.0.1"])
    later = tmp_path / "later"
    later.mkdir()
    renewed = self_signed_files(str(later), ["127.0.0.1"])
    with Serving(site, "0", "--workers", "1", "--cert", cert, "--key", key) as serving:
        def shown():
            return ssl.get_server_certificate((serving.host, serving.port)).strip()

        with open(cert) as first:
            assert shown() == first.read().strip()
        os.replace(renewed[0], cert)
        os.replace(renewed[1], key)
        serving.process.send_signal(signal.SIGHUP)
        with open(cert) as second:
            wanted = second.read().strip()
        overdue = time.monotonic() + 20
        while shown() != wanted:
            assert time.monotonic() < overdue
        assert serving.end()[0] == 0


@pytest.mark.parametrize("arguments, status, text", [
    (["--workers", "0"], 2, "a number of workers is 1 or more, not '0'"), (["--workers", "many"], 2, "not 'many'"),
    (["--workers", "2", "--live"], 2, "--live is for one process: leave --workers out"),
    (["--workers", "2", "--open"], 2, "--open is for one process: leave --workers out"),
    pytest.param(["--workers", "2", "--open", "--bind", "unix:/s"], 2, "--open needs a port: no browser asks a Unix socket",
                 marks=pytest.mark.needs("unix"))])
def test_what_workers_cannot_do_is_one_line(site, arguments, status, text, capsys):
    try:
        assert serve.main([str(site), "0", *arguments]) == status
    except SystemExit as exc:
        assert exc.code == status
    assert text in capsys.readouterr().err


def test_where_there_is_no_fork_it_says_what_to_do(site, monkeypatch, capsys):
    monkeypatch.delattr(os, "fork", raising=False)
    assert serve.main([str(site), "0", "--workers", "2"]) == 1
    assert capsys.readouterr().err.startswith("icey serve: --workers: ")


# -- what cannot be --------------------------------------------------------------------------------------------------

def test_a_port_that_is_taken_is_one_line_and_status_1(site):
    with Serving(site, "0") as serving:
        assert refused(site, serving.port) == (
            1, "python3 -m icey serve: 127.0.0.1:%d is taken: another program listens there; --port 0 picks a free "
               "port\n" % serving.port)


@pytest.mark.needs("unix")
def test_a_unix_socket_that_is_taken(site, tmp_path):
    path = str(tmp_path / "s")
    with Serving(site, "--bind", "unix:" + path):
        assert refused(site, "--bind", "unix:" + path) == (
            1, "python3 -m icey serve: unix:%s is taken: another program listens there\n" % path)


@pytest.mark.needs("unix")
def test_a_unix_socket_where_there_is_a_file(site, tmp_path):
    path = str(tmp_path / "s")
    with open(path, "w"):
        pass
    assert refused(site, "--bind", "unix:" + path) == (
        1, "python3 -m icey serve: unix:%s is there already, and is no socket\n" % path)


def with_ssl(*values):
    return pytest.param(*values, marks=pytest.mark.needs("ssl"))


@pytest.mark.parametrize("arguments, status, text", [
    (["/no/such/folder"], 2, "'/no/such/folder' is not there"),
    ([__file__], 2, "%r is not a folder" % __file__),
    (["--nope"], 2, "unrecognized arguments: --nope (--help tells more)"),
    (["--por", "1"], 2, "unrecognized arguments: --por (--help tells more)"),
    (["--port", "http"], 2, "argument -p/--port: a port is 0 to 65535, not 'http' (--help tells more)"),
    (["--port", "65536"], 2, "argument -p/--port: a port is 0 to 65535, not '65536' (--help tells more)"),
    (["70000"], 2, "a port is 0 to 65535, not '70000'"),
    (["1", "--port", "2"], 2, "one port at a time: 1 or 2"),
    (["a", "b"], 2, "one folder at a time: 'a' or 'b'"),
    (["a", "1", "b"], 2, "unrecognized arguments: b (--help tells more)"),
    (["a", "-d", "b"], 2, "one folder at a time: 'a' or 'b'"),
    (["--log-format", "xml"], 2, None),
    (["--header", "nothing"], 2, "a header is 'NAME: VALUE', not 'nothing'"),
    (["--header", "a b: c"], 2, None),
    (["--header", "a: b\nc: d"], 2, None),
    (["--cache-control", "a\nb"], 2, None),
    (["--bind", "192.0.2.7", "0"], 1, "192.0.2.7 is no address of this machine"),
    (["--key", "key.pem"], 2, "--key goes with --cert"),
    (["--cert", "cert.pem", "--self-signed"], 2, "--cert or --self-signed, not both"),
    with_ssl(["--cert", "/no/such/file"], 2, "'/no/such/file' is not there"),
    with_ssl(["--cert", __file__, "--key", "/no/such/key"], 2, "'/no/such/key' is not there"),
    with_ssl(["--cert", __file__], 2, None),
    with_ssl(["--cert", "/"], 2, "'/' is no file"),
    (["--bind", "unix:"], 2, None),
    (["--bind", "unix:/no/such/folder/s"], 1, None),
], ids=lambda value: " ".join(value)[:30].replace("\n", "") if isinstance(value, list) else "")
def test_a_mistake_is_one_line(arguments, status, text, capsys):
    if arguments[-1].startswith("unix:") and not hasattr(socket, "AF_UNIX"):
        pytest.skip("no Unix sockets")
    try:
        left = serve.main(arguments, "PROG")
    except SystemExit as exc:
        left = exc.code
    out, err = capsys.readouterr()
    assert (left, out) == (status, "")
    assert err == "PROG: %s\n" % text if text else re.fullmatch("PROG: .+\n", err)


@pytest.mark.needs("ssl", "unix")
def test_what_cannot_be_reached_is_not_said_to_be_missing(site, tmp_path, capsys):
    """As a folder of certificates, which is the administrator's: the system's reason is told."""
    loop, why = str(tmp_path / "loop"), os.strerror(errno.ELOOP)
    os.symlink("loop", loop)
    assert serve.main([str(site), "0", "--cert", loop], "PROG") == serve.main([loop, "0"], "PROG") == 2
    assert capsys.readouterr().err == ("PROG: %r is out of reach: %s\n" % (loop, why)) * 2


@pytest.mark.needs("ssl")
def test_a_certificate_that_may_not_be_read(site, monkeypatch, capsys):
    def refuse(cert, key):
        raise PermissionError(errno.EACCES, "Permission denied", cert)

    monkeypatch.setattr(icey.tls, "server_context", refuse)
    assert serve.main([str(site), "0", "--cert", __file__], "PROG") == 2
    assert capsys.readouterr().err == "PROG: cannot read %s: Permission denied\n" % __file__


@pytest.mark.needs("ssl")
def test_without_a_place_for_a_certificate_of_its_own(site, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    assert serve.main([str(site), "0", "--self-signed"], "PROG") == 1
    assert capsys.readouterr().err == "PROG: cannot make a certificate: %s\n" % os.strerror(errno.ENOENT)


@pytest.mark.needs("ssl")
def test_a_certificate_without_its_key_says_how_to_name_that(site, tmp_path, capsys):
    cert, _ = self_signed_files(str(tmp_path), ["127.0.0.1"])
    assert serve.main([str(site), "0", "--cert", cert], "PROG") == 2
    assert capsys.readouterr().err.endswith("; --key FILE, where the key is not in it\n")


def test_a_name_nobody_knows(monkeypatch, capsys):
    def getaddrinfo(*arguments, **options):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert serve.main(["--bind", "nosuch"], "PROG") == 1
    assert serve.main(["--bind", "nosuch:80"], "PROG") == 1
    assert capsys.readouterr().err == (
        "PROG: cannot find the address of 'nosuch': Name or service not known\n"
        "PROG: cannot find the address of 'nosuch:80': Name or service not known; the port goes into --port\n")


def test_a_name_that_is_none(capsys):
    assert serve.main(["--bind", "a" * 70 + ".b"], "PROG") == 1
    assert capsys.readouterr().err.startswith("PROG: cannot find the address of 'aaa")


@pytest.mark.parametrize("number, text", [
    (errno.EACCES, "not allowed to listen on 127.0.0.1:80: ports below 1024 are the administrator's"),
    (errno.EPERM, "not allowed to listen on 127.0.0.1:80: ports below 1024 are the administrator's"),
    (errno.EMFILE, "cannot listen on 127.0.0.1:80: " + os.strerror(errno.EMFILE)),
])
def test_what_the_system_refuses(monkeypatch, capsys, number, text):
    def listener(loop, address):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(listening, "TCPListener", listener)
    assert serve.main(["80"], "PROG") == 1
    assert capsys.readouterr().err == "PROG: %s\n" % text


def test_the_first_address_of_a_name_that_works_is_taken(monkeypatch):
    tried = []

    def listener(loop, address):
        tried.append(str(address))
        if len(tried) == 1:
            raise OSError(errno.EADDRNOTAVAIL, "no")
        return icey.TCPListener(loop, address)

    found = [(socket.AF_INET6, 1, 6, "", ("::1", 0, 0, 0)), (socket.AF_INET, 1, 6, "", ("127.0.0.1", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **options: found)
    monkeypatch.setattr(listening, "TCPListener", listener)
    monkeypatch.setattr(serve, "run", lambda loop, server: server.close() or loop.run())
    assert serve.main(["--bind", "twice", "--quiet"], "PROG") == 0
    assert tried == ["[::1]:0", "127.0.0.1:0"]


# -- odd surroundings ------------------------------------------------------------------------------------------------

def test_without_stdout_and_stderr(monkeypatch, site):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    monkeypatch.setattr(serve, "run", lambda loop, server: server.close() or loop.run())
    assert serve.main([str(site), "0"], "PROG") == 0
    assert serve.main(["/no/such/folder"], "PROG") == 2


def test_closed_stdout_and_stderr(monkeypatch, site, tmp_path):
    with open(str(tmp_path / "out"), "w") as closed:
        pass
    monkeypatch.setattr(sys, "stdout", closed)
    monkeypatch.setattr(sys, "stderr", closed)
    monkeypatch.setattr(serve, "run", lambda loop, server: server.close() or loop.run())
    assert serve.main([str(site), "0"], "PROG") == 0
    assert serve.main(["/no/such/folder"], "PROG") == 2


def test_a_keyboard_interrupt_out_of_the_loop_stops_in_order(monkeypatch, site, capsys):
    servers = []

    def run(loop, server):
        servers.append(server)
        raise KeyboardInterrupt

    monkeypatch.setattr(serve, "run", run)
    monkeypatch.setitem(sys.modules, "signal", None)
    assert serve.main([str(site), "0"], "PROG") == 0
    assert servers[0].closed


def test_a_second_ctrl_c_while_it_is_being_closed(monkeypatch, site):
    monkeypatch.setattr(serve.Loop, "__exit__", lambda loop, *exc, leave=serve.Loop.__exit__: leave(loop, *exc) or interrupt())
    monkeypatch.setattr(serve, "run", lambda loop, server: server.close() or loop.run())
    assert serve.main([str(site), "0"], "PROG") == 130


def interrupt():
    raise KeyboardInterrupt


@pytest.mark.skipif(os.name == "nt", reason="names there have no newline")
def test_a_folder_s_odd_name_cannot_break_the_first_line(tmp_path):
    folder = tmp_path / "a\nhttp:"
    folder.mkdir()
    with Serving(folder, "0") as serving:
        assert r"a\nhttp:" in serving.first and serving.port


def test_help_explains_every_flag(capsys):
    with pytest.raises(SystemExit) as left:
        serve.main(["--help"], "PROG")
    said = capsys.readouterr().out
    assert left.value.code == 0 and said.startswith("usage: PROG [options] [DIR] [PORT]\n")
    assert max(map(len, said.splitlines())) < 80
    for action in serve._parser("PROG")._actions:
        assert action.help
    assert "127.0.0.1, this machine only" in re.sub(r"\s+", " ", said)


@pytest.mark.slow
@pytest.mark.needs("signal")
@pytest.mark.skipif(os.name != "posix", reason="needs a script")
def test_open_has_the_browser_show_it_while_it_serves(site, tmp_path, monkeypatch):
    script = tmp_path / "browser"
    script.write_text("#!/bin/sh\nexec %s -m icey get -o %s \"$1\"page.txt\n" % (sys.executable, tmp_path / "seen"))
    script.chmod(0o755)
    monkeypatch.setenv("BROWSER", "%s %%s" % script)
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "TERM"):
        monkeypatch.delenv(name, raising=False)
    with Serving(site, "0", "--open") as serving:
        log = serving.process.stderr.readline()
        while "GET /page.txt 200" not in log:  # what get says is among it
            assert log
            log = serving.process.stderr.readline()
        assert serving.end()[0] == ORDERLY
