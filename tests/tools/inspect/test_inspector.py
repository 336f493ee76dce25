"""Inspector: who may look, when it is measured, and how it begins and ends."""
import contextlib
import os
import socket
import sys
import weakref

import pytest

import icey
from icey.base import log
from icey.base.application import run
from icey.base.errors import StateError
from icey.tools.inspect import Inspector, inspector as inspectors, picture
from icey.tools.inspect.page import PAGE, POLICY
from tests.support import http, inspecting, lacks
from tests.support.inspecting import Window
from tests.support.loops import in_thread
from tests.support.streams import PYPY, collect, turn

debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site
inspector, window = inspecting.inspector, inspecting.window
TOKEN = "a1B2c3"


@pytest.fixture(autouse=True)
def found(monkeypatch):
    """Streams are known by watch() alone: to look through all objects of a test run takes PyPy half a second."""
    if PYPY:
        monkeypatch.setattr(picture, "_found", list)


def has(family, host):
    """Whether a socket can be bound there."""
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.bind((host, 0))
            return True
    except OSError:
        return False


@pytest.fixture
def guarded(loop, site):
    """A Window on an inspector that asks for a token."""
    inspector = Inspector(loop, token=TOKEN)
    yield Window(site, inspector)
    inspector.abort()
    turn(loop, 2)


# what there is

def test_the_page_its_policy_and_what_keeps_others_out(window):
    answer = window.ask("/")
    assert answer.status == 200 and answer.body == PAGE and answer["content-type"] == "text/html; charset=utf-8"
    assert answer["content-security-policy"] == POLICY
    assert (answer["cache-control"], answer["x-content-type-options"], answer["referrer-policy"], answer["x-frame-options"],
            answer["cross-origin-resource-policy"]) == ("no-store", "nosniff", "no-referrer", "DENY", "same-origin")


def test_every_answer_is_neither_kept_nor_framed_nor_taken_by_others(window):
    for target in ("/", "/state.json", "/metrics", "/nothing"):
        answer = window.ask(target)
        assert [answer[name] for name in ("cache-control", "x-frame-options")] == ["no-store", "DENY"]
        assert "access-control-allow-origin" not in answer
    client = window.client()
    client.send(("GET /events HTTP/1.1\r\nHost: %s\r\n\r\n" % window.host).encode())
    head = client.read_until(b"\r\n\r\n").lower()
    assert b"content-type: text/event-stream" in head and b"cache-control: no-store" in head and b"nosniff" in head


def test_head_and_what_comes_behind_it_on_the_connection(window):
    client = window.client()
    for target in ("/", "/state.json", "/metrics", "/events"):
        assert window.ask(target, method="HEAD", client=client).status == 200
    assert window.ask("/state.json", client=client).status == 200


def test_metrics_are_text_for_prometheus(window):
    answer = window.ask("/metrics")
    assert answer["content-type"].startswith("text/plain; version=0.0.4")
    assert b"\nicey_loop_held_seconds_total{} 0\n" in answer.body


# who may look

def test_it_answers_to_its_address_and_to_localhost(window):
    port = window.inspector.address.port
    for host in ("127.0.0.1:%d" % port, "localhost:%d" % port, "LOCALHOST:%d" % port):
        assert window.status(host=host) == 200
        assert window.status("/state.json", "Origin: http://" + host.lower(), host=host) == 200
    assert window.status("/state.json", "Sec-Fetch-Site: same-origin") == 200
    assert window.status("/state.json", "Sec-Fetch-Site: none") == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "127.0.0.2:{port}",
                                  "[::1]:{port}", "localhost", "localhost.evil.example:{port}", "0.0.0.0:{port}",
                                  "127.1:{port}", "2130706433:{port}", "localhost.:{port}", "127.0.0.1:0{port}"])
def test_another_host_is_refused(window, host):
    answer = window.ask(host=host.format(port=window.inspector.address.port))
    assert answer.status in (403, 400) and b"handles" not in answer.body


def test_no_host_is_refused(window):
    assert window.status(host="", version="1.0") == 403
    assert window.status(host="") == 400
    assert window.status("/state.json", "Host: evil.example") == 400


@pytest.mark.parametrize("field", [
    "Origin: null", "Origin: http://evil.example", "Origin: https://{host}", "Origin: http://{host}.evil.example",
    "Origin: http://localhost", "Origin: http://127.0.0.1", "Origin: ", "Origin: {host}", "Sec-Fetch-Site: cross-site",
    "Sec-Fetch-Site: same-site", "Sec-Fetch-Site: Cross-Site", "Origin: http://{host}\r\nOrigin: http://evil.example",
    "Sec-Fetch-Site: none\r\nSec-Fetch-Site: cross-site", "Origin: http://{host} http://evil.example"])
@pytest.mark.parametrize("target", ["/", "/events"])
def test_a_page_of_others_is_refused(window, field, target):
    assert window.status(target, field.format(host=window.host)) == 403


def test_a_target_that_names_a_host_is_looked_at_too(window):
    assert window.status("http://%s/state.json" % window.host) == 200
    assert window.status("http://evil.example/state.json") == 403
    assert window.status("http://%s/state.json" % window.host, host="evil.example") == 403
    assert window.status("http://user@%s/state.json" % window.host) in (400, 403)


@pytest.mark.parametrize("target", ["/admin", "/state", "/state.json/", "//state.json", "/../state.json", "/events/x",
                                    "/favicon.ico", "/.git/config", "/debug", "*"])
def test_a_guessed_path_is_404_and_tells_nothing(window, target):
    answer = window.ask(target, method="OPTIONS" if target == "*" else "GET")
    assert answer.status == 404 and answer.body == b"there is nothing here\n"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "FROB"])
def test_nothing_can_be_done_but_look(window, method):
    answer = window.ask("/state.json", "Content-Length: 0", method=method)
    assert answer.status in (405, 501) and b"handles" not in answer.body
    if answer.status == 405:
        assert answer["allow"] == "GET, HEAD"


def test_connect_and_upgrades_are_refused(window):
    assert window.status("127.0.0.1:%d" % window.inspector.address.port, method="CONNECT") in (403, 404)
    answer = window.ask("/state.json", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
                        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
    assert answer.status == 200 and "upgrade" not in answer


def test_pipelined_requests_are_judged_one_by_one(window):
    client = window.client()
    good = "GET /state.json HTTP/1.1\r\nHost: %s\r\n\r\n" % window.host
    bad = good.replace(window.host, "evil.example")
    client.send((good + bad + good).encode())
    assert [client.answer().status for _ in range(3)] == [200, 403, 200]


# tokens

@pytest.mark.parametrize("target, fields", [
    ("/state.json?token=" + TOKEN, []), ("/state.json?a=b&token=%61" + TOKEN[1:], []),
    ("/state.json", ["Authorization: Bearer " + TOKEN]), ("/state.json", ["Authorization: bearer  " + TOKEN]),
    ("/?token=" + TOKEN, []), ("/metrics", ["Authorization: Bearer " + TOKEN])])
def test_who_knows_the_token_looks(guarded, target, fields):
    assert guarded.status(target, *fields) == 200


@pytest.mark.parametrize("target, fields", [
    ("/state.json", []), ("/state.json?token=", []), ("/state.json?token", []), ("/state.json?token=wrong", []),
    ("/state.json?TOKEN=" + TOKEN, []), ("/state.json?token=%s0" % TOKEN, []), ("/state.json?token=" + TOKEN[:-1], []),
    ("/state.json?token=%s&token=wrong" % TOKEN, []), ("/state.json?token=wrong&token=%s" % TOKEN, []),
    ("/state.json?token=%s" % TOKEN.lower(), []), ("/state.json?token=%C3%A9%00%FF", []),
    ("/state.json", ["Cookie: token=" + TOKEN]),
    ("/state.json", ["Authorization: Basic " + TOKEN]), ("/state.json", ["Authorization: " + TOKEN]),
    ("/state.json", ["Authorization: Bearer"]), ("/state.json", ["Authorization: Bearer \xe9"]),
    ("/state.json?token=" + TOKEN, ["Authorization: Bearer wrong"]), ("/", []), ("/events", []), ("/metrics", []),
    ("/guessed", [])])
def test_who_does_not_know_the_token_does_not(guarded, target, fields):
    answer = guarded.ask(target, *fields)
    assert answer.status == 401 and answer["www-authenticate"] == "Bearer" and TOKEN.encode() not in answer.body


def test_a_token_is_in_no_picture(guarded):
    url = "http://%s/?token=%s" % (guarded.host, TOKEN)
    assert guarded.inspector.url == url
    for target in ("/state.json", "/metrics"):
        assert TOKEN.encode() not in guarded.ask(target + "?token=" + TOKEN).body
    assert TOKEN not in repr(guarded.inspector)


@pytest.mark.parametrize("token", ["", "a b", "a/b", "\xe9", "a\r\nX: y", "\u0661", b"abc", 7])
def test_what_is_no_token(loop, token):
    with pytest.raises(ValueError, match="a token is letters and digits"):
        Inspector(loop, token=token)
    assert loop.handles == ()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1", "::ffff:192.0.2.1", "example.org"])
def test_where_others_reach_it_a_token_is_asked_for(loop, host):
    with pytest.raises(ValueError, match="needs a token"):
        Inspector(loop, host)
    assert loop.handles == ()


def test_an_address_that_cannot_be_had(loop):
    with Inspector(loop) as first:
        with pytest.raises(OSError):
            Inspector(loop, "127.0.0.1", first.address.port)
        with pytest.raises(ValueError, match="is a name"):
            Inspector(loop, "example.org", token=TOKEN)
    turn(loop, 2)
    assert loop.handles == ()


def test_on_every_interface_each_address_is_its_name(loop, site):
    inspector = Inspector(loop, "0.0.0.0", token=TOKEN)
    port = inspector.address.port
    assert inspector.url == "http://127.0.0.1:%d/?token=%s" % (port, TOKEN)
    window = Window(site, inspector)
    for host in ("127.0.0.1", "127.0.0.2") if has(socket.AF_INET, "127.0.0.2") else ("127.0.0.1",):
        named = "%s:%d" % (host, port)
        assert window.status("/?token=" + TOKEN, host=named, address=icey.Address(host, port)) == 200
        assert window.status("/?token=" + TOKEN, host="0.0.0.0:%d" % port, address=icey.Address(host, port)) == 403
        assert window.status("/", host=named, address=icey.Address(host, port)) == 401
    inspector.abort()
    turn(loop, 2)


@pytest.mark.skipif(not has(getattr(socket, "AF_INET6", socket.AF_INET), "::1"), reason="no IPv6 here")
@pytest.mark.parametrize("host", ["::1", "::"])
def test_ipv6_and_ipv4_mapped_into_it(loop, site, host):
    inspector = Inspector(loop, host, token=TOKEN)
    port = inspector.address.port
    assert inspector.url == "http://[::1]:%d/?token=%s" % (port, TOKEN)
    window = Window(site, inspector)
    target = "/?token=" + TOKEN
    for name in ("[::1]:%d" % port, "localhost:%d" % port):
        assert window.status(target, host=name, address=icey.Address("::1", port)) == 200
    assert window.status(target, host="127.0.0.1:%d" % port, address=icey.Address("::1", port)) == 403
    if host == "::":
        for name in ("127.0.0.1:%d" % port, "localhost:%d" % port):
            assert window.status(target, host=name, address=icey.Address("127.0.0.1", port)) == 200
    inspector.abort()
    turn(loop, 2)


# names that a program gives

def test_watch_names_streams_and_handles(loop, window):
    stream, timer = icey.PacketStream("by itself"), loop.call_later(60, print)
    window.inspector.watch("camera", stream)
    window.inspector.watch("the \u202eend<b>", timer)
    window.inspector.watch("x" * 10000, timer)
    state = window.state()
    assert [row["name"] for row in state["streams"] if row["name"]] == ["camera"]
    assert [len(row["name"]) for row in state["handles"]] == [300]
    window.inspector.watch("the \u202eend<b>", timer)
    assert [row["name"] for row in window.state()["handles"]] == ["the \u202eend<b>"]


@pytest.mark.parametrize("name, thing, exc, text", [
    ("x", 7, TypeError, "names a PacketStream or a handle .* not a int"), ("x", [], TypeError, "not a list"),
    ("x", None, TypeError, "not a NoneType"), ("x", icey.Signal(), TypeError, "not a Signal"),
    ("a stream", "x", TypeError, "name and thing are swapped"), (7, "a stream", TypeError, "a name is a str")])
def test_watch_says_what_it_takes(inspector, name, thing, exc, text):
    name, thing = [icey.PacketStream() if one == "a stream" else one for one in (name, thing)]
    with pytest.raises(exc, match=text):
        inspector.watch(name, thing)


def test_watch_of_a_handle_elsewhere_and_of_a_closed_inspector(loop, inspector):
    with icey.Loop() as other:
        with pytest.raises(ValueError, match="on another loop"):
            inspector.watch("x", icey.Timer(other, 1, print))
    with pytest.raises(icey.AffinityError):
        in_thread(inspector.watch, "x", icey.PacketStream())
    inspector.close()
    with pytest.raises(StateError):
        inspector.watch("x", icey.PacketStream())


# when it is measured

def watched(loop):
    """Whether anybody watches the calls or the turns of `loop`, besides debug mode."""
    before = loop.held
    seen = []

    class Probe:
        def __eq__(self, other):
            seen.append(other)
            return False

    loop.unwatch_calls(Probe())
    assert loop.held == before
    return len(seen) > loop.debug


def test_nothing_is_measured_while_nobody_looks(loop, site, window):
    assert not watched(loop)
    window.ask("/")
    assert not watched(loop)
    window.state()
    assert watched(loop)
    site.wait(inspectors.LINGER + 1.1)
    assert not watched(loop)


def test_it_is_measured_while_somebody_follows_and_a_little_longer_when_gone(loop, site, window):
    first, second = window.follow(), window.follow()
    assert window.event(first)["loop"]["turns"] is None and window.event(second)["loop"]["turns"] is None
    assert watched(loop)
    site.wait(1)
    assert window.event(first)["loop"]["turns"] is not None and window.event(second)["loop"]["turns"] is not None
    first.close()
    site.wait(10)
    assert watched(loop)
    second.close()
    site.wait(3)
    assert not watched(loop)


def test_a_picture_that_cannot_be_made_is_reported_and_the_next_one_comes(loop, site, window, reports, monkeypatch):
    client = window.follow()
    window.event(client)
    made = inspectors.Picture.state
    monkeypatch.setattr(inspectors.Picture, "state", lambda self: 1 / 0)
    site.wait(1.5)
    monkeypatch.setattr(inspectors.Picture, "state", made)
    assert [type(exc) for exc, _ in reports] == [ZeroDivisionError]
    reports.clear()
    site.wait(1)
    assert window.event(client)["loop"]["errors"] == 1


def test_one_who_never_reads_is_left_and_costs_no_memory(loop, site, window, monkeypatch):
    text = "x" * 100_000
    monkeypatch.setattr(inspectors.Picture, "state", lambda self: {"text": text})
    idle, reader = window.client(), window.follow()
    idle.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    idle.send(("GET /events HTTP/1.1\r\nHost: %s\r\n\r\n" % window.host).encode())
    for handle in loop.handles:
        if isinstance(handle, icey.TCPSocket):  # else the system takes a little more each time that it is asked
            handle.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
    for _ in range(200):
        site.wait(1)
        assert window.event(reader) == {"text": text}
        streams = [handle for handle in loop.handles if isinstance(handle, icey.TCPSocket)]
        assert sum(stream.queued for stream in streams) < 500_000
    assert len(streams) == 1, "one that took nothing for so long was cut"


def test_one_who_sends_no_more_has_gone(loop, site, window):
    client = window.follow()
    client.sock.shutdown(socket.SHUT_WR)
    site.wait(3)
    assert not watched(loop) and client.read_to_reset() is not None


@pytest.mark.parametrize("cost, rest", [(0.1, 5), (0.0, 1)], ids=["its own time", "that of others"])
def test_pictures_come_less_often_where_they_take_long_by_themselves(loop, site, window, monkeypatch, cost, rest):
    spent = [0.0]

    def state(self):
        site.clock.advance(0.1)  # with what the machine does for others in between
        spent[0] += cost
        return {"at": site.clock()}

    monkeypatch.setattr(inspectors, "_spent", lambda: spent[0])
    monkeypatch.setattr(inspectors.Picture, "state", state)
    client = window.follow()
    times = [window.event(client)["at"]]
    for _ in range(4):
        site.wait(rest)
        times.append(window.event(client)["at"])
    rests = [round(after - before, 3) for before, after in zip(times, times[1:])]
    assert rests[0] == pytest.approx(1.1, abs=0.2), "the rates come with the second picture"
    assert all(rest <= one < rest + 0.5 for one in rests[1:]), rests


# its life

def test_it_keeps_no_loop_running_and_shows_nothing_of_itself(loop, site, window):
    client = window.follow()
    assert window.event(client)["handles"] == []
    state = window.state()
    assert (state["loop"]["handles"], state["loop"]["keeping"], state["handles"], state["servers"]) == (0, 0, [], [])
    site.wait(7)
    state = window.event(client)
    assert state["handles"] == [] and state["kinds"] == [] and state["slots"] == []
    assert loop.run_once(0) is False


def test_a_program_ends_while_somebody_looks(loop, window):
    client = window.follow()
    loop.call_later(3, int)
    loop.run()
    assert not [handle for handle in loop.handles if handle.has_ref]
    window.inspector.abort()
    turn(loop, 2)
    assert loop.handles == () and client.ended or client.read_to_reset() is not None


@pytest.mark.parametrize("end", ["close", "abort"])
def test_its_end_ends_all_of_it(loop, site, window, end):
    client = window.follow()
    window.event(client)
    closed = []
    window.inspector.on_close += closed.append
    getattr(window.inspector, end)()
    turn(loop, 3)
    assert closed == [window.inspector] and loop.handles == () and not watched(loop)
    window.inspector.close()
    window.inspector.abort()
    with Inspector(loop, "127.0.0.1", window.inspector.address.port):
        pass
    turn(loop, 2)


def test_a_loop_that_is_closed_takes_it_along(debug, clock):
    loop = icey.Loop(debug, clock=clock)
    inspector = Inspector(loop)
    site = http.Site(loop, clock)
    window = Window(site, inspector)
    window.event(window.follow())
    closed = []
    inspector.on_close += closed.append
    with pytest.warns(ResourceWarning, match="TCPListener") if debug else contextlib.nullcontext():
        loop.close()  # as of a server that was left open
    assert closed == [inspector] and inspector.closed
    inspector.close()
    site.close()


def test_two_inspectors_of_a_loop_see_the_same_and_not_each_other_s_counts(loop, site, window):
    stream = icey.PacketStream("s", auto_start=True)
    stream.write(b"before")
    other = Inspector(loop)
    second = Window(site, other)
    for one in (window.inspector, other):
        one.watch("s", stream)

    def entered(window):
        return [row["entered"] for row in window.state()["streams"] if row["name"] == "s"]

    assert entered(window) == entered(second) == [0]
    stream.write(b"1")
    assert entered(window) == entered(second) == [1]
    other.abort()
    turn(loop, 2)
    stream.write(b"2")
    assert entered(window) == [2]
    stream.close()


def test_inspectors_of_two_loops(loop, window, clock):
    other = icey.Loop(loop.debug, clock=clock)
    theirs = Inspector(other)
    timer = other.call_later(60, print)
    assert window.state()["handles"] == []
    site = http.Site(other, clock)
    assert [row["kind"] for row in Window(site, theirs).state()["handles"]] == ["Timer"]
    site.close()
    timer.stop()
    theirs.abort()
    turn(other, 3)
    other.close()


def test_nothing_of_it_is_left(loop, site):
    inspector = Inspector(loop)
    window = Window(site, inspector)
    window.event(window.follow())
    gone = weakref.ref(inspector)
    inspector.abort()
    site.close()
    turn(loop, 3)
    del inspector, window
    collect()
    assert gone() is None


@pytest.mark.skipif(not hasattr(os, "fork") or lacks("fork"), reason="no fork here")
def test_in_a_forked_child_it_is_refused_and_the_parent_goes_on(window):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of threads that other tests have left
        pid = os.fork()
    if not pid:
        try:
            window.inspector.close()
        except icey.AffinityError:
            os._exit(7)
        os._exit(1)
    assert os.waitpid(pid, 0)[1] >> 8 == 7
    assert window.status() == 200


# ICEY_INSPECT

@pytest.fixture
def said(monkeypatch):
    """What is logged."""
    lines = []
    monkeypatch.setattr(log, "_write", lambda level, area, text, args, exc: lines.append(text % args))
    return lines


@pytest.mark.parametrize("where, host", [("127.0.0.1:0", "127.0.0.1"), ("0", "127.0.0.1"), ("localhost:0", "127.0.0.1"),
                                         ("0.0.0.0:0", "0.0.0.0")])
def test_begin(loop, where, host):
    inspector = inspectors.begin(loop, where)
    assert inspector.address.host == host and ("token=" in inspector.url) is (host == "0.0.0.0")
    inspector.abort()
    turn(loop, 2)


@pytest.mark.parametrize("where", ["", "x", "unix:/tmp/x", "example.org:80", "127.0.0.1", "127.0.0.1:70000", "99999", "\u0661",
                                   "::1:80", "localhost", "[::1]"])
def test_what_icey_inspect_cannot_be(loop, where):
    with pytest.raises(ValueError):
        inspectors.begin(loop, where)
    assert loop.handles == ()


def test_icey_run_begins_one_and_ends_it(monkeypatch, said, debug):
    monkeypatch.setenv("ICEY_INSPECT", "127.0.0.1:0")
    loop, seen = icey.Loop(debug), []
    for _ in range(2):
        timer = loop.call_later(0, lambda: seen.append([type(one).__name__ for one in loop.handles]))
        run(loop)
        assert timer.count == 1
    assert ["Inspector" in kinds for kinds in seen] == [True, True]
    loop.close()
    assert [text.startswith("this loop is shown on http://127.0.0.1:") for text in said] == [True, True]


def test_the_port_is_free_again_when_icey_run_returns(monkeypatch, said, debug):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    monkeypatch.setenv("ICEY_INSPECT", str(port))
    with icey.Loop(debug) as loop, icey.Loop(debug) as other:
        for one in (loop, other, loop):
            one.call_later(0, int)
            run(one)
    shown = "this loop is shown on http://127.0.0.1:%d/" % port
    assert said == [shown] * 3


@pytest.mark.parametrize("where, text", [("nonsense", "ICEY_INSPECT=nonsense: an address is host:port"),
                                         ("192.0.2.1:1", "ICEY_INSPECT=192.0.2.1:1: ")])
def test_where_there_can_be_none_the_program_runs(monkeypatch, said, where, text):
    monkeypatch.setenv("ICEY_INSPECT", where)
    with icey.Loop(False) as loop:
        timer = loop.call_later(0, int)
        run(loop)
        assert timer.count == 1
    assert said[0].startswith(text)


def test_icey_run_begins_what_it_is_given_rather_than_what_the_environment_says(monkeypatch, said):
    monkeypatch.setenv("ICEY_INSPECT", "nonsense")
    with icey.Loop(False) as loop:
        loop.call_later(0, lambda: seen.extend(type(one).__name__ for one in loop.handles))
        seen = []
        run(loop, inspect="0")
    assert "Inspector" in seen and len(said) == 1 and said[0].startswith("this loop is shown on http://127.0.0.1:")


@pytest.mark.parametrize("where, error", [("nonsense", ValueError), ("", ValueError), (8000, TypeError),
                                          ("192.0.2.1:1", OSError)])
def test_what_icey_run_is_given_and_cannot_be_is_raised(said, where, error):
    with icey.Loop(False) as loop:
        timer = loop.call_later(0, int)
        with pytest.raises(error):
            run(loop, inspect=where)
        assert timer.count == 0 and said == []
        run(loop)
        assert timer.count == 1


@pytest.mark.parametrize("missing", ["icey.base.inspected", "icey.tools", "icey.tools.inspect",
                                     "icey.tools.inspect.inspector"])
def test_a_copy_without_the_inspector_says_how_to_add_it(monkeypatch, said, missing):
    monkeypatch.setenv("ICEY_INSPECT", "127.0.0.1:0")
    for name in [name for name in sys.modules if name.startswith(missing + ".")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    with icey.Loop(False) as loop:
        run(loop)
        with pytest.raises(ModuleNotFoundError, match="made without inspect"):
            run(loop, inspect="0")
    assert len(said) == 1 and "made without inspect" in said[0] and "vendor DEST --only ... inspect" in said[0]


def test_a_python_that_lacks_what_it_needs(monkeypatch, said):
    monkeypatch.setenv("ICEY_INSPECT", "127.0.0.1:0")
    monkeypatch.delitem(sys.modules, "icey.tools.inspect.inspector")
    monkeypatch.setitem(sys.modules, "hmac", None)
    with icey.Loop(False) as loop:
        run(loop)
    assert "hmac" in said[0]
