"""The flags of icey get: which are wrong, and what the right ones come to. What they do is test_get.py's."""
import io
import os
import re
import sys

import pytest

import icey
from icey.http.semantics.url import URL
from icey.tools.cli.console import Trouble
from icey.tools.get import options as getoptions

HERE = "http://127.0.0.1/"


def prepared(*arguments, environ=(), stdin=None):
    options = getoptions.parse(list(arguments), "PROG")
    getoptions.prepare(options, dict(environ), stdin)
    return options


def refusal(*arguments, **options):
    """(status, text) of a mistake."""
    with pytest.raises(Trouble) as refused:
        prepared(*arguments, **options)
    return refused.value.status, str(refused.value)


@pytest.mark.parametrize("arguments, text", [
    ([], "the following arguments are required: URL"),
    (["--nope", HERE], "unrecognized arguments: --nope"),
    (["--redirect", "1", HERE], "unrecognized arguments: --redirect"),
    (["--redirects", "-1", HERE], None),
    (["--redirects", "many", HERE], "argument --redirects: a number from 0 to 9999 is wanted, not 'many'"),
    (["-C", "100", HERE], "argument -C/--continue-at: only -C - is known, which goes on where the file ends, not '100'"),
    (["--timeout", "0", HERE], "argument --timeout: a number of seconds is wanted, not '0'"),
    (["--timeout", "soon", HERE], "argument --timeout: a number of seconds is wanted, not 'soon'"),
    (["--timeout", "nan", HERE], "argument --timeout: a number of seconds is wanted, not 'nan'"),
    (["--timeout", "\x1b", HERE], r"argument --timeout: a number of seconds is wanted, not '\x1b'"),
], ids=lambda value: " ".join(value).replace("\x1b", "ESC") if isinstance(value, list) else "")
def test_a_wrong_flag_is_one_line_and_status_2(arguments, text, capsys):
    with pytest.raises(SystemExit) as left:
        getoptions.parse(arguments, "PROG")
    out, err = capsys.readouterr()
    assert (left.value.code, out) == (2, "")
    assert re.fullmatch("PROG: .+ \\(--help tells more\\)\n", err)
    assert text is None or err.startswith("PROG: " + text)


@pytest.mark.parametrize("arguments, text", [
    (["-o", "a", "-O"], "-o and -O: the file has one name"),
    (["-o", "-", "-O"], "-o and -O: the file has one name"),
    (["-o", "a", HERE], "-o FILE is for one URL; -O names several files"),
    (["-J"], "-J goes with -O"),
    (["-d", "a", "-F", "a=b"], "-d and --form: a request has one body"),
    (["-I", "-d", "a"], "-I asks by HEAD, without a body: no -d, --form, -X with it"),
    (["-I", "-X", "GET"], "-I asks by HEAD, without a body: no -d, --form, -X with it"),
    (["--json", "-d", "1", "-d", "2"], "--json sends one -d"),
    (["--key", "k"], "--key goes with --cert"),
    (["--resume"], "--resume (-C -) needs the file: -o FILE or -O"),
    (["-C", "-", "-o", "-"], "--resume (-C -) needs the file: -o FILE or -O"),
    (["--resume", "-o", "a", "-i"], "--resume (-C -) asks for the rest of a file by GET: no -d, --form, -X, -I, -i, -J, "
                                    "--json, --compressed with it"),
    (["-X", "A B"], "'A B' is no method to ask by"),
    (["-X", "CONNECT"], "'CONNECT' is no method to ask by"),
    (["--proxy", "http://p", "--no-proxy"], "--proxy and --no-proxy contradict each other"),
    (["-H", "nothing"], "a header is 'NAME: VALUE', not 'nothing'"),
    (["-H", "a b: c"], None),
    (["-H", "a: b\nc: d"], None),
    (["-H", "a: \u20ac"], None),
    (["-F", "a"], "a form's field is NAME=VALUE, not 'a'"),
    (["-F", "=a"], "a form's field is NAME=VALUE, not '=a'"),
    (["-F", "a\0=b"], None),
    (["-F", "a=b", "-H", "content-type: x/y"], "a form says its Content-Type itself: not by -H"),
    (["-u", "a:b\nc"], None),
    (["--digest"], "--digest needs -u USER:PASSWORD"),
    (["--proxy", "ftp://p"], "ftp: a proxy is http, https, socks5 or socks5h (--proxy)"),
    (["--proxy", "http://"], None),
    (["ftp://127.0.0.1/"], "ftp: only http and https are spoken here"),
    (["file:///etc/passwd"], "file: only http and https are spoken here"),
    (["http://"], None),
    ([""], None),
    (["-O"], "http://127.0.0.1/ has no file name that -O could take: -o FILE"),
], ids=lambda value: " ".join(value).replace("\n", "").replace("\0", "") if isinstance(value, list) else "")
def test_what_cannot_be_is_found_before_anybody_is_asked(arguments, text):
    status, said = refusal(*arguments, HERE)
    assert status == 2
    assert said and text in (None, said)


def test_a_python_without_zlib(monkeypatch):
    monkeypatch.delattr(icey.http.client, "decoding", raising=False)
    monkeypatch.setitem(sys.modules, "icey.http.client.decoding", None)
    assert refusal("--compressed", HERE) == (1, "--compressed needs Python's zlib module, which is missing here")


@pytest.mark.parametrize("flag", ["-d", "--data", "-F", "--form"])
def test_files_to_send_that_cannot_be_read(flag, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    value = "x=@%s" if flag in ("-F", "--form") else "@%s"
    assert refusal(flag, value % "nosuch", HERE) == (1, "cannot read nosuch: No such file or directory")
    assert refusal(flag, value % ".", HERE) == (1, "cannot read .: Is a directory")
    assert refusal(flag, value % "a\0b", HERE)[0] == 1
    assert refusal(flag, value % "-", HERE) == (1, "cannot read stdin: there is none")
    (tmp_path / "shut").write_bytes(b"")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert refusal(flag, value % "shut", HERE) == (1, "cannot read shut: Permission denied")


def test_a_file_that_is_gone_between_the_look_and_the_reading(tmp_path, monkeypatch):
    def gone(path):
        raise FileNotFoundError(2, "No such file or directory")

    part = getoptions._part(os.devnull)
    monkeypatch.setattr(getoptions, "_part", lambda path: part)
    monkeypatch.setattr("builtins.open", lambda path, mode: gone(path))
    assert refusal("-d", "@x", "-d", "y", HERE) == (1, "cannot read x: No such file or directory")


def test_stdin_that_cannot_be_read():
    closed = io.BytesIO()
    closed.close()
    status, said = refusal("-d", "@-", HERE, stdin=closed)
    assert status == 1 and said.startswith("cannot read stdin: I/O operation on closed file")


@pytest.mark.parametrize("arguments, method", [
    ([], "GET"), (["-I"], "HEAD"), (["-d", "x"], "POST"), (["-F", "a=b"], "POST"), (["-X", "PATCH"], "PATCH"),
    (["-d", "x", "-X", "PUT"], "PUT"),
])
def test_the_method(arguments, method):
    assert prepared(*arguments, HERE).method == method


@pytest.mark.needs("ssl")
def test_each_url_has_its_user_and_its_proxy():
    options = prepared("http://u:p@a.test/", "https://b.test/", "c.test:81/x", environ={
        "http_proxy": "http://proxy:1", "https_proxy": "proxy:2", "no_proxy": "c.test"}, )
    assert [(str(url), auth and auth.first("GET", url), proxy) for url, auth, proxy in options.requests] == [
        ("http://u:p@a.test/", "Basic dTpw", "http://proxy:1"), ("https://b.test/", None, "http://proxy:2"),
        ("http://c.test:81/x", None, None)]


@pytest.mark.parametrize("environ, proxy", [
    ({"all_proxy": "socks5h://u:p@p.test:9050"}, "socks5h://u:p@p.test:9050"), ({"all_proxy": "p.test:1"}, "http://p.test:1"),
    ({"all_proxy": "socks5://p.test", "http_proxy": "q.test:1"}, "http://q.test:1"),
    ({"all_proxy": "socks5://p.test", "http_proxy": ""}, "socks5://p.test"),
    ({"all_proxy": "socks5://p.test", "https_proxy": "q.test:1"}, "socks5://p.test"),
    ({"all_proxy": "socks5://p.test", "no_proxy": "a.test"}, None), ({"all_proxy": ""}, None),
    ({"ALL_PROXY": "socks5://p.test"}, "socks5://p.test"), ({"ALL_PROXY": "q.test", "all_proxy": "p.test"}, "http://p.test"),
    ({"HTTP_PROXY": "p.test"}, None), ({"HTTP_PROXY": "p.test", "ALL_PROXY": "q.test"}, "http://q.test"),
    ({"http_proxy": "p.test", "NO_PROXY": "a.test"}, None),
    ({"http_proxy": "p.test", "NO_PROXY": "a.test", "no_proxy": "b.test"}, "http://p.test")])
def test_the_proxy_for_all_schemes(environ, proxy):
    (_, _, found), = prepared("http://a.test/", environ=environ).requests
    assert found == proxy


@pytest.mark.needs("ssl")
@pytest.mark.parametrize("environ, proxy", [
    ({"HTTPS_PROXY": "p.test"}, "http://p.test"), ({"HTTPS_PROXY": "p.test", "https_proxy": "q.test"}, "http://q.test"),
    ({"HTTPS_PROXY": "p.test", "all_proxy": "q.test"}, "http://p.test"), ({"HTTPS_PROXY": "p.test", "NO_PROXY": "*"}, None)])
def test_the_proxy_for_https(environ, proxy):
    (_, _, found), = prepared("https://a.test/", environ=environ).requests
    assert found == proxy


@pytest.mark.parametrize("text, url", [
    ("a.test", "http://a.test/"), (" a.test ", "http://a.test/"), ("a.test:81/x?to=http://b.test/", "http://a.test:81/x?to=http://b.test/"),
    ("u:p@a.test/?ws://", "http://u:p@a.test/?ws://"), ("HTTP://a.test", "http://a.test/"),
])
def test_a_url_without_a_scheme_is_http(text, url):
    (found, _, _), = prepared(text).requests
    assert str(found) == url


@pytest.mark.parametrize("arguments, environ, said", [
    (["--proxy", "socks4://p.test"], {}, "socks4: a proxy is http, https, socks5 or socks5h (--proxy)"),
    ([], {"all_proxy": "socks://p.test"}, "socks: a proxy is http, https, socks5 or socks5h (all_proxy)"),
    ([], {"http_proxy": "ftp://p.test"}, "ftp: a proxy is http, https, socks5 or socks5h (http_proxy)"),
    (["--proxy", "socks5://secret@p.test"], {},
     "socks5://...@p.test/: user name and password for a SOCKS proxy are 1 to 255 bytes each (RFC 1929) (--proxy)"),
    ([], {"ALL_PROXY": "http://"}, "'http://': the host is missing (ALL_PROXY)")])
def test_what_is_no_proxy(arguments, environ, said):
    assert refusal(*arguments, "http://a.test/", environ=environ) == (2, said)


def test_the_user_given_beats_the_url_s():
    (_, auth, _), = prepared("-u", "a:b", "http://u:p@a.test/").requests
    assert auth.first("GET", URL.parse("http://a.test")) == "Basic YTpi"


def test_help_explains_every_flag_and_status(capsys):
    with pytest.raises(SystemExit) as left:
        getoptions.parse(["--help"], "PROG")
    said = capsys.readouterr().out
    assert left.value.code == 0 and said.startswith("usage: PROG [options] URL [URL...]\n")
    assert max(map(len, said.splitlines())) < 80
    for action in getoptions._parser("PROG")._actions:
        assert action.help
    for status in (0, 1, 2, 3, 4, 5, 6, 7, 8, 130, 141):
        assert re.search(r"\b%d (a |wrong|fine|the |cannot|TLS|Ctrl|nobody)" % status, said), status


def test_as_curl_s_users_type_it():
    options = prepared("-fLq", "-o", "x", "-X", "POST", "-H", "A: b", "-d", "c", HERE)
    assert (options.fail, options.quiet, options.output, options.method, options.fields[0], options.body()) == (
        True, True, "x", "POST", ("A", "b"), b"c")


def test_the_user_agent():
    assert ("User-Agent", "mine/1") in prepared("-A", "mine/1", HERE).fields
    assert prepared("-A", "mine/1", "-H", "user-agent: other", HERE).fields == [("user-agent", "other")]
    assert (prepared(HERE).fields, prepared("-A", "", HERE).fields) == ([], [("User-Agent", "")])  # left out, see below
    status, text = refusal("-A", "a\r\nX: y", HERE)
    assert status == 2 and "User-Agent" in text


def test_the_short_names_of_curl():
    options = prepared("-C", "-", "-o", "a", "-x", "proxy:3128", "-sS", "-R", HERE)
    assert options.resume is True and (options.silent, options.show_error) == (True, True)
    assert options.requests[0][2] == "http://proxy:3128"
    assert prepared("-C-", "-o", "a", HERE).resume is True and prepared(HERE).resume is False
    assert prepared("-x", "", HERE, environ={"http_proxy": "http://proxy"}).requests[0][2] is None
