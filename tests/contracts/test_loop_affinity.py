"""Contract: loop affinity. Whatever is not documented as thread-safe refuses every thread but its loop's, and says why.

The table below names each public entry of the loop-affine classes with arguments to call it by. A public method that is
in neither table fails a test here: who adds one decides which it is.
"""
import inspect
import re
import socket
import threading

import pytest

import icey
from icey import AffinityError, Handle, Idler, Loop, Poll, Stream, Synchronizer, TCPListener, TCPSocket, ThreadSignal, Timer
from icey.base.signal import Event
from tests.support import extension, lacks
from tests.support.loops import clock, debug, in_thread, loop, turns  # noqa: F401

HANDLE = {"close": (), "abort": (), "ref": (), "unref": (), "__exit__": (None, None, None)}
STREAM = dict(HANDLE, send=(b"data",), send_owned=(b"data",), pause=(), resume=(), shutdown=())

GUARDED = {
    Loop: {"run": (), "run_once": (0,), "stop": (), "call_soon": (int,), "call_later": (1, int), "fileno": (),
           "timeout": ()},
    Handle: HANDLE,
    Timer: dict(HANDLE, start=(), stop=(), again=()),
    Idler: dict(HANDLE, start=(), stop=()),
    Synchronizer: HANDLE,
    Poll: HANDLE,
    Stream: STREAM,
    TCPSocket: dict(STREAM, connect=("127.0.0.1", 1), set_no_delay=(), set_keep_alive=()),
    TCPListener: dict(HANDLE, pause=(), resume=(), accept_waiting=()),
}
THREAD_SAFE = {Loop: {"post", "close"}, Synchronizer: {"post"}}  # close: where the loop does not run

MAKE = {
    Handle: lambda loop, sock: Handle(loop),
    Timer: lambda loop, sock: Timer(loop, 3600),
    Idler: lambda loop, sock: Idler(loop, int),
    Synchronizer: lambda loop, sock: Synchronizer(loop, int),
    Poll: lambda loop, sock: Poll(loop, sock),
    Stream: lambda loop, sock: Stream(loop, sock),
    TCPSocket: lambda loop, sock: TCPSocket(loop, sock),
    TCPListener: lambda loop, sock: TCPListener(loop, ("127.0.0.1", 0)),
}

if not lacks("ssl"):
    import ssl

    def make_tls(loop, sock):
        """One whose handshake is under way."""
        return icey.start_tls(Stream(loop, sock), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), server_side=True)

    GUARDED[icey.TLSSocket] = GUARDED[TCPSocket]
    MAKE[icey.TLSSocket] = make_tls

ENTRIES = [(cls, name) for cls in GUARDED for name in GUARDED[cls]]
EVENTS = [(cls, name) for cls in GUARDED for name in dir(cls) if isinstance(inspect.getattr_static(cls, name), Event)]


def called(pair):
    return "%s.%s" % (pair[0].__name__, pair[1])


@pytest.fixture
def sock():
    near, far = socket.socketpair()
    with near, far:
        yield near


@pytest.fixture
def make(loop, sock):
    made = []

    def make(cls):
        loop.run_once(0)
        if cls is Loop:
            return loop
        made.append(MAKE[cls](loop, sock))
        return made[-1]

    yield make
    for thing in made:
        thing.abort()
    turns(loop)


def test_every_public_method_is_in_one_of_the_tables():
    for cls, guarded in GUARDED.items():
        methods = {name for name in dir(cls) if not name.startswith("_") and inspect.isfunction(getattr(cls, name))}
        told = {name for name in guarded if name[0] != "_"} | THREAD_SAFE.get(cls, set())
        assert methods - extension.of(cls) == told, cls.__name__


@pytest.mark.parametrize("entry", ENTRIES, ids=called)
def test_every_entry_that_is_not_documented_as_thread_safe_is_AffinityError_from_another_thread(make, entry):
    cls, name = entry
    thing = make(cls)
    with pytest.raises(AffinityError, match="^%s was touched from thread" % cls.__name__):
        in_thread(getattr(thing, name), *GUARDED[cls][name])
    assert not (thing.closed if cls is Loop else thing.closing)


@pytest.mark.parametrize("event", EVENTS, ids=called)
@pytest.mark.parametrize("verb", ["attach", "detach", "detach_all", "+=", "-="])
def test_signals_of_handles_included(make, event, verb):
    cls, name = event
    thing = make(cls)
    if verb in ("detach", "detach_all", "-="):
        getattr(thing, name).attach(print)

    def touch():
        signal = getattr(thing, name)
        if verb == "+=":
            signal += print
        elif verb == "-=":
            signal -= print
        else:
            getattr(signal, verb)(*(() if verb == "detach_all" else (print,)))

    before = len(getattr(thing, name))
    with pytest.raises(AffinityError, match=cls.__name__):
        in_thread(touch)
    assert len(getattr(thing, name)) == before
    getattr(thing, name).detach_all()


@pytest.mark.parametrize("cls", list(MAKE), ids=lambda cls: cls.__name__)
def test_nothing_can_be_made_on_a_loop_of_another_thread(loop, sock, cls):
    loop.run_once(0)
    with pytest.raises(AffinityError, match="^Loop was touched"):
        in_thread(MAKE[cls], loop, sock)
    assert sock.fileno() >= 0, "what was refused is still the caller's"
    assert loop.handles == ()


@pytest.mark.needs("ssl")
def test_start_tls_is_AffinityError_too_and_leaves_the_stream_as_it_was(make):
    stream = make(Stream)
    with pytest.raises(AffinityError, match="^Stream was touched from thread"):
        in_thread(lambda: icey.start_tls(stream, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), server_side=True))
    assert not stream.closing and stream.protocol is None


def test_it_holds_before_the_loop_first_runs_too(debug):
    with Loop(debug) as loop:
        timer = Timer(loop, 1)
        for touch in (loop.stop, timer.start, lambda: Timer(loop, 1)):
            with pytest.raises(AffinityError):
                in_thread(touch)


def test_the_handles_of_a_loop_are_listed_to_its_own_thread(loop):
    with pytest.raises(AffinityError):
        in_thread(lambda: loop.handles)


def test_plain_state_may_be_read_from_any_thread(loop):
    timer = Timer(loop, 1).start()
    read = in_thread(lambda: (loop.now, loop.running, loop.closed, loop.debug, timer.closed, timer.closing,
                              timer.has_ref, timer.active, timer.count, repr(timer), repr(loop)))
    assert read[1:3] == (False, False)
    timer.stop()


def test_a_running_loop_cannot_be_closed_from_another_thread(loop):
    caught = []

    def other():
        with pytest.raises(AffinityError) as info:
            loop.close()
        caught.append(info.value)

    loop.call_soon(in_thread, other)
    loop.run()
    assert len(caught) == 1 and not loop.closed


# the doors

def test_post_is_the_door_and_what_is_built_on_it(make, loop):
    seen = []
    signal = ThreadSignal()
    signal.attach(lambda: seen.append(("signal", threading.get_ident())), loop=loop)
    synchronizer = Synchronizer(loop, lambda: seen.append(("synchronizer", threading.get_ident())))

    def other():
        loop.post(lambda: seen.append(("post", threading.get_ident())))
        signal.emit()
        synchronizer.post()

    in_thread(other)
    synchronizer.unref()
    loop.run()
    me = threading.get_ident()
    assert seen == [("post", me), ("signal", me), ("synchronizer", me)]
    synchronizer.close()


# the message

def test_the_message_has_three_parts_what_contract_fix(loop):
    timer = Timer(loop, 1)
    with pytest.raises(AffinityError) as info:
        in_thread(timer.start)
    error = info.value
    said = error.what.split("\n")[0]  # in debug the stacks follow
    here = "%d \\(%s\\)" % (threading.get_ident(), threading.current_thread().name)
    assert re.match(r"Timer was touched from thread \d+ \(Thread-.*\), its loop belongs to thread %s$" % here, said)
    assert error.contract == "loop affinity"
    assert error.fix == "hop to its thread with loop.post(fn, *args)"
    end = "" if loop.debug else ". "  # behind a stack no sentence ends
    assert str(error) == "%s%sContract: %s. Instead: %s." % (error.what, end, error.contract, error.fix)


def make_here(loop):
    return Timer(loop, 1)


def touch_here(timer):
    timer.start()


def test_in_debug_with_both_stacks_where_it_was_made_and_where_it_was_touched(loop):
    timer = make_here(loop)
    with pytest.raises(AffinityError) as info:
        in_thread(touch_here, timer)
    text = str(info.value)
    if not loop.debug:
        assert "made at" not in text and __file__ not in text
        return
    made, touched = text.split("touched at:")
    made = made.split("made at:")[1]
    assert "%s:" % __file__ in made and " in make_here" in made and "touch_here" not in made
    assert "%s:" % __file__ in touched and " in touch_here" in touched and "make_here" not in touched
    assert "icey/base" not in made.replace("\\", "/") + touched.replace("\\", "/"), "icey's own frames are left out"


def test_in_debug_a_loop_tells_where_it_was_made_too(loop):
    loop.run_once(0)
    with pytest.raises(AffinityError) as info:
        in_thread(loop.stop)
    assert ("made at:" in str(info.value)) is loop.debug
