"""resolve(): names to addresses, off the loop; cancelling, errors, and threads that hold up nothing.

The system's resolver is a scripted one but for `localhost` and for what no resolver is asked: no test reaches the network.
"""
import gc
import os
import socket
import subprocess
import sys
import threading
import time
import traceback
import warnings
import weakref

import pytest

import icey
from icey.base import threadpool
from icey.net import dns
from tests.support import lacks, streams
from tests.support.loops import in_thread
from tests.support.packets import LONG, turn_until, wait_for
from tests.support.streams import collect, names, turn, watch

debug, clock, reports, loop = streams.debug, streams.clock, streams.reports, streams.loop
threaded = pytest.mark.needs("threading")

V4, V6 = int(socket.AF_INET), int(socket.AF_INET6)


def row(host, port=80, family=None, *more):
    """What getaddrinfo answers with for one address."""
    family = family or (V6 if ":" in host else V4)
    return (family, socket.SOCK_STREAM, 6, "", (host, port) + (more or ((0, 0) if family == V6 else ())))


def address(text):
    return icey.Address.parse(text)


class System:
    """The system's resolver: what each name has, and a gate that holds up whoever asks."""

    def __init__(self):
        self.names = {}
        self.asked = []
        self.threads = set()
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, host, port, family=0, type=0, proto=0, flags=0):
        host = host.decode("ascii")  # as bytes, lest the socket module look for a codec
        self.asked.append(host)
        self.threads.add(threading.get_ident())
        assert self.gate.wait(LONG)
        found = self.names.get(host, [row("192.0.2.1", port)])
        if isinstance(found, Exception):
            raise found
        return found


def resolver_threads():
    return [thread for thread in threading.enumerate() if thread.name == dns.THREAD]


@pytest.fixture(autouse=True)
def no_thread_stays():
    yield
    for thread in resolver_threads():
        thread.join(LONG)
    assert resolver_threads() == []


@pytest.fixture
def system(monkeypatch):
    system = System()
    monkeypatch.setattr(dns.socket, "getaddrinfo", system)
    yield system
    system.gate.set()


@pytest.fixture
def held(system, monkeypatch):
    """The system, answering nobody until its gate is set; no loop waits for the threads that are stuck there."""
    monkeypatch.setattr(threadpool, "JOIN", 0.0)
    system.gate.clear()
    return system


@pytest.fixture
def said(monkeypatch):
    """What is logged."""
    lines = []
    monkeypatch.setattr(threadpool.log, "warning", lambda area, text, *args: lines.append((area, text % args)))
    return lines


@pytest.fixture
def unthreaded(monkeypatch):
    """A Python without `threading`."""
    monkeypatch.setitem(sys.modules, "threading", None)


def asked(loop, *hosts):
    """What comes for each of `hosts`, asked for at once; the loop runs until all has come."""
    came = []
    for host in hosts:
        icey.resolve(loop, host, 80, lambda addresses, error, host=host: came.append((host, addresses, error)))
    assert came == []
    loop.run()
    return came


# answers

@pytest.mark.parametrize("found, addresses", [
    ([row("192.0.2.1")], ["192.0.2.1:80"]),
    ([row("2001:db8::1"), row("192.0.2.1")], ["[2001:db8::1]:80", "192.0.2.1:80"]),
    ([row("192.0.2.2"), row("192.0.2.1"), row("192.0.2.2"), row("192.0.2.1")], ["192.0.2.2:80", "192.0.2.1:80"]),
    ([row("fe80::1", 80, V6, 0, 3), row("fe80::1", 80, V6, 0, 4), row("fe80::1", 80, V6, 0, 3)],
     ["[fe80::1%3]:80", "[fe80::1%4]:80"]),
    ([(99, 1, 6, "", (99, b"raw")), row("192.0.2.1")], ["192.0.2.1:80"]),
], ids=["one", "both families", "duplicates", "scopes", "a family we do not speak"])
def test_an_answer_is_the_systems_addresses_in_its_order_without_duplicates(loop, system, found, addresses):
    system.names["name.test"] = found
    assert asked(loop, "name.test") == [("name.test", [address(text) for text in addresses], None)]


def test_the_system_is_asked_for_stream_sockets_of_any_family(loop, monkeypatch):
    calls = []
    monkeypatch.setattr(dns.socket, "getaddrinfo", lambda *arguments: calls.append(arguments) or [row("192.0.2.1", 8080)])
    icey.resolve(loop, "name.test", 8080, lambda addresses, error: calls.append(addresses))
    loop.run()
    assert calls == [(b"name.test", 8080, 0, socket.SOCK_STREAM), [address("192.0.2.1:8080")]]


@pytest.mark.parametrize("host, family", [
    ("127.0.0.1", V4), ("::1", V6), ("fe80::1%1", V6), ("", V4)])
def test_a_numeric_host_is_its_own_answer_and_nobody_is_asked(loop, system, host, family):
    assert asked(loop, host) == [(host, [icey.Address(host, 80)], None)]
    assert system.asked == []
    assert loop.services == {}


def test_localhost_needs_no_network(loop):
    (_, addresses, error), = asked(loop, "localhost")
    assert error is None
    assert {found.host for found in addresses} <= {"127.0.0.1", "::1"}
    assert all(found.port == 80 and found.numeric for found in addresses)


@pytest.mark.parametrize("host", ["name.test", "127.0.0.1"])
def test_the_answer_comes_once_from_the_loop_then_on_close(loop, system, host):
    seen = []
    handle = icey.resolve(loop, host, 80, lambda *answer: seen.append(
        (threading.get_ident(), loop.running, handle.closing, handle in loop.handles)))
    handle.on_close += lambda handle: seen.append(("close", handle.closed))
    assert seen == []
    assert handle in loop.handles
    loop.run()
    turn(loop, 3)
    assert seen == [(threading.get_ident(), True, False, True), ("close", True)]
    assert handle not in loop.handles


def test_the_same_name_asked_twice_is_two_answers(loop, system):
    assert names(asked(loop, "name.test", "name.test")) == ["name.test"] * 2
    assert system.asked == ["name.test"] * 2


def test_a_lookup_is_shown_by_its_name(loop, system):
    handle = icey.resolve(loop, "name.test", 80, print)
    assert repr(handle) == "<Lookup name.test:80 open>"
    handle.close()


# errors

@pytest.mark.parametrize("failure, text, errno", [
    (socket.gaierror(-2, "Name or service not known"), "cannot resolve 'no.test': Name or service not known", -2),
    (socket.gaierror(-3, "Temporary failure in name resolution"),
     "cannot resolve 'no.test': Temporary failure in name resolution", -3),
    (OSError(24, "Too many open files"), "cannot resolve 'no.test': Too many open files", 24),
    (UnicodeError("label empty or too long"), "cannot resolve 'no.test': label empty or too long", None),
], ids=["unknown", "no server", "no descriptor", "no host name"])
def test_a_failure_is_resolve_error_with_its_cause(loop, system, failure, text, errno):
    system.names["no.test"] = failure
    (_, addresses, error), = asked(loop, "no.test")
    assert addresses == []
    assert type(error) is icey.ResolveError
    assert (str(error), error.errno) == (text, errno)
    assert error.__cause__ is failure


@pytest.mark.parametrize("found", [[], [(99, 1, 6, "", (99, b"raw"))]], ids=["none", "none we speak"])
def test_a_name_without_an_address_of_ours_is_resolve_error(loop, system, found):
    system.names["no.test"] = found
    (_, addresses, error), = asked(loop, "no.test")
    assert addresses == []
    assert str(error) == "cannot resolve 'no.test': it has neither an IPv4 nor an IPv6 address"


@pytest.mark.parametrize("host", ["a" * 64 + ".test", "a..test", ".", "\udc80.test"])
def test_what_can_be_no_host_name_is_resolve_error(loop, host):
    (_, addresses, error), = asked(loop, host)
    assert addresses == []
    assert str(error).startswith("cannot resolve %r: " % host)
    assert isinstance(error.__cause__, UnicodeError)


def test_a_name_in_another_script_is_asked_for_by_its_idna_form(loop, system):
    if lacks("idna"):
        pytest.skip("no codec")
    asked(loop, "b\xfccher.test.")
    assert system.asked == ["xn--bcher-kva.test."]


def test_without_the_codec_names_in_ascii_are_looked_up_and_others_told(loop, system, monkeypatch):
    monkeypatch.setattr("icey.net.address._IDNA", "no-such-codec")
    (_, addresses, error), = asked(loop, "b\xfccher.test")
    assert (addresses, str(error)) == (
        [], "cannot resolve 'b\xfccher.test': this Python has no IDNA codec: write the name as xn--...")
    (_, addresses, error), = asked(loop, "xn--bcher-kva.test")
    assert (addresses, error) == ([address("192.0.2.1:80")], None)


@pytest.mark.parametrize("host, port", [
    (None, 80), (b"name.test", 80), ("na\0me", 80), ("name.test", 65536), ("name.test", "80")])
def test_what_is_no_host_or_no_port_is_value_error_at_once(loop, host, port):
    with pytest.raises(ValueError):
        icey.resolve(loop, host, port, print)
    assert loop.handles == ()


def test_an_exception_in_done_is_reported_with_the_lookup_which_closes_all_the_same(loop, system, reports):
    def done(addresses, error):
        raise ZeroDivisionError
    handle = icey.resolve(loop, "name.test", 80, done)
    loop.run()
    assert [of for _, of in reports] == [handle]
    reports.take(ZeroDivisionError)
    assert handle.closed


def test_a_keyboard_interrupt_in_done_passes_through_and_the_lookup_closes(loop, system):
    def done(addresses, error):
        raise KeyboardInterrupt
    handle = icey.resolve(loop, "name.test", 80, done)
    with pytest.raises(KeyboardInterrupt):
        loop.run()
    loop.run()
    assert handle.closed


# the loop it belongs to

def test_another_thread_gets_affinity_error(loop, system):
    turn(loop)
    handle = icey.resolve(loop, "name.test", 80, print)
    for touch in (lambda: icey.resolve(loop, "127.0.0.1", 80, print), lambda: icey.resolve(loop, "name.test", 80, print),
                  handle.close, handle.abort):
        with pytest.raises(icey.AffinityError):
            in_thread(touch)
    assert not handle.closing
    handle.close()


def test_on_a_closed_loop_it_is_state_error(loop, system):
    loop.close()
    with pytest.raises(icey.StateError, match="closed loop"):
        icey.resolve(loop, "name.test", 80, print)


@threaded
def test_a_lookup_keeps_its_loop_running_unless_it_is_unrefd(loop, held):
    came = []
    handle = icey.resolve(loop, "name.test", 80, lambda addresses, error: came.append(addresses))
    handle.unref()
    loop.run()
    assert came == []
    handle.ref()
    held.gate.set()
    loop.run()
    assert len(came) == 1


def test_an_idle_resolver_keeps_no_loop_running(loop, system):
    asked(loop, "name.test")
    assert loop.handles == (loop.services["resolver"],)
    loop.run()


# cancelling

@pytest.mark.parametrize("end", ["close", "abort"])
@pytest.mark.parametrize("host", ["name.test", "127.0.0.1"])
def test_a_cancelled_lookup_is_on_close_only(loop, system, host, end):
    came = []
    handle = icey.resolve(loop, host, 80, lambda *answer: came.append(answer))
    seen = watch(handle, "close")
    getattr(handle, end)()
    assert seen == []
    assert handle.closing
    loop.run()
    wait_for(lambda: dns_is_idle(loop))
    turn(loop, 3)
    assert (came, seen) == ([], [("close",)])
    handle.close()


def dns_is_idle(loop):
    """No name is with the threads of `loop`."""
    loop.run_once(0)
    pool = loop.services.get("resolver")
    return pool is None or not pool.running


def test_a_lookup_cancelled_in_its_own_done_closes_once(loop, system):
    handle = icey.resolve(loop, "name.test", 80, lambda addresses, error: handle.close())
    seen = watch(handle, "close")
    loop.run()
    turn(loop, 2)
    assert seen == [("close",)]


@threaded
def test_a_lookup_cancelled_while_the_system_is_asked_drops_the_answer(loop, held):
    came = []
    handle = icey.resolve(loop, "name.test", 80, lambda *answer: came.append(answer))
    wait_for(lambda: held.asked)
    seen = watch(handle, "close")
    handle.close()
    loop.run()
    assert seen == [("close",)]
    held.gate.set()
    wait_for(lambda: dns_is_idle(loop))
    assert came == []


@threaded
def test_a_lookup_cancelled_before_its_turn_is_not_asked_for(loop, held):
    came = []
    handles = [icey.resolve(loop, "name%d.test" % n, 80, lambda *answer: came.append(answer)) for n in range(6)]
    wait_for(lambda: len(held.asked) == 4)
    handles[4].close()
    held.gate.set()
    loop.run()
    assert sorted(held.asked) == ["name0.test", "name1.test", "name2.test", "name3.test", "name5.test"]
    assert len(came) == 5


def test_a_cancelled_lookup_lets_go_of_done(loop, system):
    class Done:
        def __call__(self, addresses, error):
            raise AssertionError
    done = Done()
    gone = weakref.ref(done)
    handle = icey.resolve(loop, "127.0.0.1", 80, done)
    del done
    handle.close()
    turn(loop)
    collect()
    assert gone() is None


# threads

@threaded
def test_a_hundred_names_at_once_take_four_threads(loop, held):
    came = []
    for n in range(100):
        icey.resolve(loop, "name%d.test" % n, 80, lambda addresses, error: came.append(addresses[0].host))
    wait_for(lambda: len(held.asked) == 4)
    assert len(resolver_threads()) == 4
    assert all(thread.daemon for thread in resolver_threads())
    held.gate.set()
    loop.run()
    assert came == ["192.0.2.1"] * 100
    assert len(held.threads) == 4
    assert threading.get_ident() not in held.threads


@threaded
def test_names_one_after_another_take_one_thread(loop, system):
    left = list(range(5))

    def done(addresses, error):
        if left:
            icey.resolve(loop, "name%d.test" % left.pop(), 80, done)
    done(None, None)
    loop.run()
    assert len(system.asked) == 5
    assert len(resolver_threads()) == 1


@threaded
def test_a_thread_more_only_while_all_are_busy(loop, held):
    for n in range(1, 7):
        icey.resolve(loop, "name.test", 80, lambda addresses, error: None)
        assert len(resolver_threads()) == min(n, 4)
    held.gate.set()
    loop.run()
    asked(loop, "name.test", "name.test")
    assert len(resolver_threads()) == 4


@threaded
def test_the_threads_end_with_the_loop(debug, system):
    with icey.Loop(debug) as loop:
        asked(loop, *["name.test"] * 4)
        assert resolver_threads()
    assert resolver_threads() == []


@threaded
def test_closing_a_loop_waits_for_its_threads_a_second_together_and_leaves_the_stuck_ones(debug, system, monkeypatch):
    waits, times = [], iter([10.0, 10.0, 10.75, 11.5])
    monkeypatch.setattr(threadpool, "monotonic", lambda: next(times))
    monkeypatch.setattr(threading.Thread, "join", lambda thread, timeout: waits.append(timeout))
    system.gate.clear()
    with icey.Loop(debug) as loop:
        for _ in range(3):
            icey.resolve(loop, "name.test", 80, print)
        wait_for(lambda: len(system.asked) == 3)
    monkeypatch.undo()
    assert waits == [1.0, 0.25, 0.0]
    system.gate.set()
    wait_for(lambda: not resolver_threads())


@threaded
def test_a_resolver_that_is_closed_while_its_loop_goes_on_waits_for_nobody(loop, held, monkeypatch):
    monkeypatch.setattr(threadpool, "JOIN", 3600.0)
    icey.resolve(loop, "name.test", 80, print)
    wait_for(lambda: held.asked)
    for handle in loop.handles:
        handle.abort()
    loop.run_once(0)
    assert len(resolver_threads()) == 1
    held.gate.set()


@threaded
def test_a_loop_closed_while_names_are_looked_up_emits_on_close_only_and_waits_for_no_thread(debug, held):
    loop = icey.Loop(debug)
    came = []
    handles = [icey.resolve(loop, "name.test", 80, lambda *answer: came.append(answer)) for _ in range(6)]
    seen = [watch(handle, "close") for handle in handles]
    wait_for(lambda: len(held.asked) == 4)
    loop.close()
    assert seen == [[("close",)]] * 6
    assert len(resolver_threads()) == 4
    held.gate.set()
    wait_for(lambda: not resolver_threads())
    assert came == []
    assert len(held.asked) == 4


@threaded
def test_a_thread_that_is_stuck_keeps_neither_loop_nor_lookup_nor_done_alive(debug, held):
    class Done:
        def __call__(self, addresses, error):
            raise AssertionError
    loop = icey.Loop(debug)
    done = Done()
    handle = icey.resolve(loop, "name.test", 80, done)
    gone = [weakref.ref(thing) for thing in (loop, handle, done)]
    wait_for(lambda: held.asked)
    loop.close()
    del loop, handle, done
    collect()
    assert [thing() for thing in gone] == [None] * 3
    assert len(resolver_threads()) == 1


@threaded
def test_the_threads_of_a_loop_that_was_collected_unclosed_end_too(debug, system):
    loop = icey.Loop(debug)
    asked(loop, "name.test")
    system.gate.clear()
    icey.resolve(loop, "stuck.test", 80, print)
    wait_for(lambda: len(system.asked) == 2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del loop
        collect()
    assert any("a Loop was collected" in str(warning.message) for warning in caught)
    del caught  # which holds the loop
    collect()
    system.gate.set()
    wait_for(lambda: not resolver_threads())


@threaded
def test_aborting_every_handle_of_a_loop_leaves_it_able_to_resolve(loop, system):
    asked(loop, "name.test")
    for handle in loop.handles:
        handle.abort()
    turn(loop, 2)
    assert len(asked(loop, "name.test")) == 1


@threaded
def test_names_that_were_with_the_threads_when_these_were_ended_are_on_close_only(loop, held):
    came, closed = [], []
    for _ in range(5):
        icey.resolve(loop, "name.test", 80, lambda *answer: came.append(answer)).on_close += closed.append
    loop.services.pop("resolver").abort()
    held.gate.set()
    loop.run()
    assert (len(came), len(closed)) == (0, 5)
    assert len(asked(loop, "name.test")) == 1


@threaded
def test_while_a_name_is_looked_up_the_loop_turns(loop, held):
    came = []
    ticks = []
    icey.resolve(loop, "name.test", 80, lambda *answer: came.append(answer))
    timer = icey.Timer(loop, 0.01, ticks.append, interval=0.01).start()
    turn_until(loop, lambda: len(ticks) == 3)
    assert came == []
    held.gate.set()
    turn_until(loop, lambda: came)
    timer.stop()


# without threads

def test_without_threading_a_name_is_looked_up_on_the_loop_which_says_so_once(loop, system, unthreaded, said):
    came = asked(loop, "name.test", "other.test")
    assert [host for host, addresses, error in came if addresses] == ["name.test", "other.test"]
    assert system.threads == {threading.get_ident()}
    asked(loop, "name.test")
    assert said == [("threads", "`threading` is missing here, so that Lookup name.test:80 is done on the loop, which stands"
                                " still meanwhile (said once a pool)")]


def test_without_threading_each_loop_says_so(debug, system, unthreaded, said):
    for _ in range(2):
        with icey.Loop(debug) as loop:
            asked(loop, "name.test")
    assert len(said) == 2


def test_without_threading_errors_and_cancelling_are_the_same(loop, system, unthreaded, said):
    system.names["no.test"] = socket.gaierror(-2, "Name or service not known")
    (_, addresses, error), = asked(loop, "no.test")
    assert (addresses, error.errno) == ([], -2)
    cancelled = icey.resolve(loop, "name.test", 80, print)
    seen = watch(cancelled, "close")
    cancelled.close()
    loop.run()
    assert seen == [("close",)]
    assert system.asked == ["no.test"]


@pytest.mark.skipif(not lacks("threading"), reason="threading has not been taken away")
def test_where_threading_has_been_taken_away_no_thread_is_started(loop, system, said):
    asked(loop, "name.test")
    assert system.threads == {threading.get_ident()}
    assert len(said) == 1


@threaded
def test_where_no_thread_can_be_started_a_name_is_looked_up_on_the_loop(loop, system, said, monkeypatch):
    def start(thread):
        raise RuntimeError("can't start new thread")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        asked(loop, "name.test")
    assert system.threads == {threading.get_ident()}
    assert [text.split(", so that")[0] for _, text in said] == ["no thread could be started (can't start new thread)"]
    asked(loop, "name.test")
    assert len(system.threads) == 2


@threaded
def test_where_no_further_thread_can_be_started_the_ones_there_are_do_it_all(loop, held, said, monkeypatch):
    came = []
    icey.resolve(loop, "name.test", 80, lambda *answer: came.append(answer))

    def start(thread):
        raise RuntimeError("can't start new thread")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        for _ in range(3):
            icey.resolve(loop, "name.test", 80, lambda *answer: came.append(answer))
    held.gate.set()
    loop.run()
    assert len(came) == 4
    assert len(held.threads) == 1
    assert said == []


# other processes

def in_child(fn):
    """Calls `fn()` in a forked child; fails with what it raised, or when it hangs."""
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # a process of several threads forks: what this is about
        child = os.fork()
    if not child:
        try:
            os.close(read)
            fn()
        except BaseException:
            os.write(write, traceback.format_exc().encode()[-4000:])
        finally:
            os._exit(0)
    os.close(write)
    until = time.monotonic() + LONG
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > until:
            os.kill(child, 9)
            os.waitpid(child, 0)
            pytest.fail("the child hangs")
        time.sleep(0.005)
    with open(read, "rb") as pipe:
        assert pipe.read().decode() == ""


@threaded
@pytest.mark.needs("fork")
def test_a_forked_child_resolves_on_a_loop_of_its_own_and_lets_go_of_its_parents(debug, held):
    loop = icey.Loop(debug)
    icey.resolve(loop, "name.test", 80, lambda addresses, error: None)
    wait_for(lambda: held.asked)

    def child():
        held.gate = threading.Event()
        held.gate.set()
        with pytest.raises(icey.AffinityError):
            icey.resolve(loop, "name.test", 80, print)
        with icey.Loop(debug) as own:
            assert len(asked(own, "name.test")) == 1
        loop.close()
        gc.collect()

    in_child(child)
    held.gate.set()
    loop.run()
    loop.close()


STUCK = """
import socket, sys, time
import icey
socket.getaddrinfo = lambda *arguments: time.sleep(3600)
loop = icey.Loop()
icey.resolve(loop, "127.0.0.1", 80, lambda addresses, error: print(addresses[0]))
loop.run()
print("threading" in sys.modules)
icey.resolve(loop, "name.test", 80, print).on_close += lambda handle: print("closed")
loop.run_once(0)
loop.close()
"""


@threaded
def test_a_stuck_thread_does_not_keep_the_interpreter_from_ending():
    done = subprocess.run([sys.executable, "-S", "-c", STUCK], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60,
                          universal_newlines=True)
    assert done.returncode == 0, done.stdout
    assert done.stdout.split() == ["127.0.0.1:80", "False", "closed"]
