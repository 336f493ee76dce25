"""PacketStream, its states: every legal move, every illegal one refused, and who is told of them."""

import pytest

from icey import (
    AsyncPacketQueue,
    FlagPacket,
    GraphError,
    PacketFlags,
    PacketProcessor,
    PacketStream,
    PacketStreamAdapter,
    PacketStreamState,
    RawPacket,
    StateError,
    SyncPacketQueue,
)
from icey.packets.stream import MOVES
from tests.support import packets
from tests.support.loops import clock, debug, loop, turns  # noqa: F401
from tests.support.packets import Boom, Do, Pass, closing, events, needs_threads, output, stopping, wait

no_thread_stays = packets.no_thread_stays
NONE, ACTIVE, PAUSED, STOPPING, STOPPED, CLOSED, ERROR = PacketStreamState


def in_state(state, loop):
    """A stream in this state."""
    stream = PacketStream(state.name, close_on_error=False)
    stream.on_error += lambda stream, exc: None
    if state is STOPPING:
        stream.synchronize_output(loop)  # whose loop does not turn
    stream.attach(Boom())
    if state is not NONE:
        stream.start()
    if state is PAUSED:
        stream.pause()
    elif state in (STOPPING, STOPPED):
        stream.stop()
    elif state is CLOSED:
        stream.close()
    elif state is ERROR:
        stream.write(b"boom")
    assert stream.state is state
    return stream


@pytest.fixture
def put(loop):
    made = []

    def put(state):
        made.append(in_state(state, loop))
        return made[-1]

    yield put
    for stream in made:
        stream.close()
    turns(loop)


# what each verb does in each state: the state it leads to, or the error; STOPPING stays until its queue is flushed

VERBS = {
    "start": {NONE: ACTIVE, ACTIVE: ACTIVE, PAUSED: ACTIVE, STOPPING: StateError, STOPPED: ACTIVE, CLOSED: StateError,
              ERROR: StateError},
    "stop": {NONE: StateError, ACTIVE: STOPPED, PAUSED: STOPPED, STOPPING: STOPPING, STOPPED: STOPPED, CLOSED: CLOSED,
             ERROR: StateError},
    "pause": {NONE: StateError, ACTIVE: PAUSED, PAUSED: PAUSED, STOPPING: StateError, STOPPED: StateError,
              CLOSED: StateError, ERROR: StateError},
    "resume": {NONE: StateError, ACTIVE: ACTIVE, PAUSED: ACTIVE, STOPPING: StateError, STOPPED: StateError,
               CLOSED: StateError, ERROR: StateError},
    "close": {NONE: CLOSED, ACTIVE: CLOSED, PAUSED: CLOSED, STOPPING: STOPPING, STOPPED: CLOSED, CLOSED: CLOSED,
              ERROR: CLOSED},
    "reset": {NONE: NONE, ACTIVE: StateError, PAUSED: StateError, STOPPING: StateError, STOPPED: NONE, CLOSED: NONE,
              ERROR: StateError},
}
PAIRS = [(verb, state) for verb in VERBS for state in PacketStreamState]


@pytest.mark.parametrize("verb, state", PAIRS, ids=["%s in %s" % (verb, state.name) for verb, state in PAIRS])
def test_each_verb_in_each_state(put, verb, state):
    stream, outcome = put(state), VERBS[verb][state]
    if outcome is StateError:
        with pytest.raises(StateError, match="%s.*Contract: .*Instead: " % state.name):
            getattr(stream, verb)()
        assert stream.state is state
    else:
        getattr(stream, verb)()
        assert stream.state is outcome


@pytest.mark.parametrize("old, new", [(old, new) for old in PacketStreamState for new in PacketStreamState
                                      if new not in MOVES[old]], ids=lambda state: state.name)
def test_every_illegal_move_is_StateError(put, old, new):
    stream = put(old)
    seen = events(stream)
    with pytest.raises(StateError, match="PacketStream cannot go from %s to %s" % (old.name, new.name)):
        stream._move(new)
    assert stream.state is old and seen == []


def test_what_the_table_allows():
    assert {old.name: sorted(new.name for new in after) for old, after in MOVES.items()} == {
        "NONE": ["ACTIVE", "CLOSED"], "ACTIVE": ["ERROR", "PAUSED", "STOPPING"], "PAUSED": ["ACTIVE", "ERROR", "STOPPING"],
        "STOPPING": ["ERROR", "STOPPED"], "STOPPED": ["ACTIVE", "CLOSED", "NONE"], "CLOSED": ["NONE"], "ERROR": ["CLOSED"]}


@pytest.mark.parametrize("state", PacketStreamState, ids=lambda state: state.name)
def test_writing_is_for_active_streams(put, state):
    stream = put(state)
    if state is ACTIVE:
        stream.write(b"x")
    else:
        contract = "close is asynchronous" if state is CLOSED else "start, then send"
        with pytest.raises(StateError, match="write.* that is %s. Contract: %s" % (state.name, contract)):
            stream.write(b"x")


@pytest.mark.parametrize("state", PacketStreamState, ids=lambda state: state.name)
def test_active_stopped_and_closed_say_it(put, state):
    stream = put(state)
    assert stream.active is (state is ACTIVE)
    assert stream.stopped is (state in (STOPPING, STOPPED))
    assert stream.closed is (state is CLOSED)
    assert repr(stream) == "<PacketStream %r %s>" % (state.name, state.name)


CHANGES = {
    "attach": lambda stream, loop: stream.attach(Pass()),
    "attach_source": lambda stream, loop: stream.attach_source(PacketStreamAdapter()),
    "detach": lambda stream, loop: stream.detach(stream.processors[0]),
    "detach_source": lambda stream, loop: stream.detach_source(PacketStreamAdapter()),
    "synchronize_output": lambda stream, loop: stream.synchronize_output(loop),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("state", PacketStreamState, ids=lambda state: state.name)
def test_the_graph_changes_only_while_it_does_not_run(put, loop, state, change):
    stream = put(state)
    if state in (NONE, STOPPED, CLOSED):
        change(stream, loop)
    else:
        before = stream.describe()
        with pytest.raises(GraphError, match="that is %s. Contract: live graphs do not change. Instead: stop" % state.name):
            change(stream, loop)
        assert stream.describe() == before


# a whole life

def test_the_events_of_a_life():
    stream = PacketStream()
    seen = events(stream)
    stream.start()
    stream.pause()
    stream.resume()
    stream.stop()
    stream.start()
    stream.close()
    stream.reset()
    assert seen == [("NONE", "ACTIVE"), ("ACTIVE", "PAUSED"), ("PAUSED", "ACTIVE"), ("ACTIVE", "STOPPING"),
                    ("STOPPING", "STOPPED"), ("STOPPED", "ACTIVE"), ("ACTIVE", "STOPPING"), ("STOPPING", "STOPPED"),
                    ("STOPPED", "CLOSED"), ("close",), ("CLOSED", "NONE")]


def test_closing_twice_closes_once():
    stream = PacketStream()
    seen = events(stream)
    stream.start()
    stream.close()
    stream.close()
    assert seen.count(("close",)) == 1


def test_a_stream_that_never_started_closes_too():
    stream = PacketStream()
    seen = events(stream)
    stream.close()
    assert seen == [("NONE", "CLOSED"), ("close",)]


def test_a_stream_closed_after_stop():
    stream = PacketStream()
    seen = events(stream)
    stream.start()
    stream.stop()
    stream.stop()
    stream.close()
    assert seen[-3:] == [("STOPPING", "STOPPED"), ("STOPPED", "CLOSED"), ("close",)]


@pytest.mark.parametrize("started", [False, True])
def test_with_synchronized_output_on_close_comes_on_that_loop(loop, started):
    stream = PacketStream()
    stream.synchronize_output(loop)
    seen = events(stream)
    if started:
        stream.start()
        stream.stop()
        turns(loop)
    stream.close()
    assert ("close",) not in seen
    turns(loop)
    assert seen[-1] == ("close",)


def test_between_close_and_on_close_it_cannot_be_started(loop):
    stream = PacketStream()
    stream.synchronize_output(loop)
    stream.close()
    with pytest.raises(StateError, match="start.* that is closing. Contract: close is asynchronous"):
        stream.start()
    turns(loop)
    assert stream.closed


def test_reset_takes_a_close_back_that_has_not_come(loop):
    stream = PacketStream()
    seen = events(stream)
    stream.synchronize_output(loop)
    stream.close()
    stream.reset()
    turns(loop)
    assert seen == [] and stream.state is NONE
    stream.start()
    stream.close()
    assert seen[-1] == ("close",)


def test_reset_leaves_an_empty_stream_that_may_be_built_anew():
    source, stage = PacketStreamAdapter(), Pass()
    stream = PacketStream()
    came = output(stream)
    stream.attach_source(source)
    stream.attach(stage)
    stream.start()
    source.emit(b"x")
    stream.close()
    stream.reset()
    assert (stream.state, stream.sources, stream.processors, stream.error) == (NONE, [], [], None)
    source.emit(b"nobody takes it")
    stream.attach(stage)
    stream.start()
    stream.write(b"y")
    stream.close()
    assert came == [b"x", b"y"] and stage.seen == [b"x", b"y"] and stream.dropped == 0


def test_what_a_slot_builds_and_starts_when_reset_tells_stays(loop):
    stream, came, told = PacketStream(), [], []
    stream.attach(Do(lambda packet: came.append("old")))

    def build(stream, new, old):
        if new is NONE:
            assert stream.processors == [] and stream.error is None
            stream.attach(Do(lambda packet: came.append("new")))
            stream.start()

    class Adapter(PacketStreamAdapter):
        def on_stream_state(self, state):
            told.append(state)

    stream.attach_source(Adapter())
    stream.on_state += build
    stream.start()
    stream.stop()
    stream.reset()
    stream.write(b"x")
    assert came == ["new"] and told == [ACTIVE, STOPPING, STOPPED, NONE] and stream.sources == []
    stream.close()


def test_a_failed_stream_forgets_its_error_by_reset():
    stream = PacketStream()
    stream.on_error += lambda stream, exc: None
    stream.attach(Boom())
    stream.start()
    stream.write(b"boom")
    assert stream.closed and type(stream.error) is ZeroDivisionError
    stream.reset()
    assert stream.error is None


# restarting

def test_a_stopped_stream_starts_again_changed_or_not():
    stream = PacketStream()
    first, second = Pass(), Pass()
    came = output(stream)
    stream.attach(first)
    for data in (b"1", b"2"):
        stream.start()
        stream.write(data)
        stream.stop()
    stream.detach(first)
    stream.attach(second)
    stream.start()
    stream.write(b"3")
    assert came == [b"1", b"2", b"3"] and first.seen == [b"1", b"2"] and second.seen == [b"3"]


def test_restart_behind_a_queue_of_a_loop(loop):
    stream = PacketStream()
    queue = stream.synchronize_output(loop)
    came = output(stream)
    for number in range(3):
        stream.start()
        stream.write(b"%d" % number)
        stream.stop()
        assert stream.state is STOPPING
        turns(loop)
        assert stream.state is STOPPED
    assert came == [b"0", b"1", b"2"] and queue.dropped == 0


@needs_threads
def test_restart_behind_a_queue_with_a_thread():
    stream = PacketStream()
    stream.attach(AsyncPacketQueue())
    came = output(stream)
    for number in range(20):
        stopped = stopping(stream)
        stream.start()
        stream.write(b"%d" % number)
        stream.stop()
        wait(stopped)
        assert len(came) == number + 1
    assert came == [b"%d" % number for number in range(20)]


@needs_threads
def test_restart_from_the_slot_that_hears_of_the_stop():
    stream = PacketStream()
    stream.attach(AsyncPacketQueue())
    came, restarts = output(stream), []

    def again(stream, new, old):
        if new is STOPPED and len(restarts) < 10:
            restarts.append(1)
            stream.start()
            stream.write(b"%d" % len(restarts))
            stream.stop()
        elif new is STOPPED:
            stream.close()

    stream.on_state += again
    closed = closing(stream)
    stream.start()
    stream.stop()
    wait(closed)
    assert came == [b"%d" % number for number in range(1, 11)]


# auto_start

def test_the_first_write_starts_a_stream_that_is_auto_start():
    stream = PacketStream(auto_start=True)
    came = output(stream)
    stream.write(b"x")
    assert stream.active and came == [b"x"]


def test_so_does_the_first_packet_of_a_source():
    source, stream = PacketStreamAdapter(), PacketStream(auto_start=True)
    came = output(stream)
    stream.attach_source(source)
    source.emit(b"x")
    assert stream.active and came == [b"x"] and stream.dropped == 0


@pytest.mark.parametrize("end", ["stop", "close"])
def test_auto_start_starts_once(end):
    source, stream = PacketStreamAdapter(), PacketStream(auto_start=True)
    stream.attach_source(source)
    stream.write(b"x")
    getattr(stream, end)()
    with pytest.raises(StateError):
        stream.write(b"y")
    source.emit(b"z")
    assert stream.dropped == 1


def test_auto_start_does_not_start_what_lint_refuses():
    class Defers(PacketProcessor):
        deferred = True

    stream = PacketStream(auto_start=True)
    stream.attach(Defers())
    with pytest.raises(GraphError):
        stream.write(b"x")
    assert stream.state is NONE


# FINAL

@pytest.mark.parametrize("by", ["write", "source"])
def test_a_FINAL_packet_stops_the_stream_behind_it(by):
    source, stream = PacketStreamAdapter(), PacketStream()
    came = []
    stream.attach_source(source)
    stream.on_packet += lambda packet: came.append((packet.flags, stream.state))
    stream.start()
    (stream.write if by == "write" else source.emit)(FlagPacket(PacketFlags.FINAL))
    assert came == [(1, ACTIVE)] and stream.state is STOPPED


def test_FINAL_behind_what_a_queue_holds(loop):
    stream = PacketStream()
    stream.synchronize_output(loop)
    came = output(stream)
    stream.start()
    stream.write(b"a")
    stream.write(RawPacket(b"b", PacketFlags.FINAL))
    assert stream.state is STOPPING
    turns(loop)
    assert came == [b"a", b"b"] and stream.state is STOPPED


def test_FINAL_stops_a_stream_that_a_slot_paused_meanwhile():
    stream = PacketStream()
    stream.on_packet += lambda packet: stream.pause()
    stream.start()
    stream.write(b"x", PacketFlags.FINAL)
    assert stream.state is STOPPED


def test_FINAL_in_a_stream_that_a_slot_closed_meanwhile():
    stream = PacketStream()
    stream.on_packet += lambda packet: stream.close()
    stream.start()
    stream.write(b"x", PacketFlags.FINAL)
    assert stream.closed


# pausing

def test_a_paused_stream_drops_what_sources_bring_and_counts_it():
    source, stream = PacketStreamAdapter(), PacketStream()
    came = output(stream)
    stream.attach_source(source)
    for data in (b"a", b"b", b"c"):
        source.emit(data)
        if data == b"a":
            stream.start()
            source.emit(b"A")
            stream.pause()
    stream.resume()
    source.emit(b"d")
    assert came == [b"A", b"d"] and stream.dropped == 3


def test_what_is_in_a_queue_comes_although_it_is_paused(loop):
    stream = PacketStream()
    stream.synchronize_output(loop)
    came = output(stream)
    stream.start()
    stream.write(b"x")
    stream.pause()
    for _ in range(3):
        loop.run_once(0)
    assert came == [b"x"]
    stream.close()
    turns(loop)


# who is told

class Told(PacketProcessor):
    def __init__(self, name, told):
        self.name = name
        self.told = told

    def on_stream_state(self, state):
        self.told.append((self.name, state.name))


def test_adapters_are_told_the_later_before_the_earlier_when_it_ends():
    told = []

    class Source(PacketStreamAdapter):
        on_stream_state = Told("source", told).on_stream_state

    stream = PacketStream()
    stream.attach_source(Source())
    stream.attach(Told("late", told), 5)
    stream.attach(Told("early", told), 1)
    stream.on_state += lambda stream, new, old: told.append(("slot", new.name))
    order = ["source", "early", "late"]
    stream.start()
    stream.pause()
    assert told == [(name, state) for state in ("ACTIVE", "PAUSED") for name in order + ["slot"]]
    told.clear()
    stream.close()
    assert told == [(name, state) for state in ("STOPPING", "STOPPED", "CLOSED") for name in order[::-1] + ["slot"]]


def test_what_an_adapter_or_a_slot_raises_on_the_way_is_logged_and_the_others_are_told(caplog):
    class Raises(PacketProcessor):
        def on_stream_state(self, state):
            raise KeyError(state.name)

    packets.needs("logging")
    told = []
    stream = PacketStream()
    stream.attach(Raises())
    stream.attach(Told("other", told))
    stream.on_close += lambda stream: 1 // 0
    stream.on_close += lambda stream: told.append("closed")
    stream.start()
    stream.close()
    assert stream.closed and told[-1] == "closed" and len(told) == 5
    texts = [record.getMessage() for record in caplog.records]
    assert texts == ["on_stream_state of Raises"] * 4 + ["a slot of on_close"]


def test_a_slot_for_once_and_one_detached_meanwhile():
    seen = []
    stream = PacketStream()

    def first(stream, new, old):
        seen.append("first")
        stream.on_state.detach(last)

    def last(stream, new, old):
        seen.append("last")

    stream.on_state.attach(first, once=True)
    stream.on_state += last
    stream.start()
    stream.pause()
    assert seen == ["first"]


# moves made by slots

@pytest.mark.parametrize("trigger", ["ACTIVE", "STOPPING", "STOPPED", "CLOSED"])
@pytest.mark.parametrize("call", ["stop", "close"])
@pytest.mark.parametrize("kind", ["direct", "loop", "thread"])
def test_stop_and_close_from_a_slot_of_on_state(loop, trigger, call, kind):
    stream = PacketStream()
    if kind == "loop":
        stream.attach(SyncPacketQueue(loop))
    elif kind == "thread":
        packets.needs("threading")
        stream.attach(AsyncPacketQueue())
    done = []

    def slot(stream, new, old):
        if new.name == trigger and not done:
            done.append(1)
            getattr(stream, call)()

    stream.on_state += slot
    seen = events(stream)
    closed = closing(stream)
    stream.start()
    stream.close()
    if kind == "loop":
        loop.run()
    wait(closed)
    assert stream.closed and seen.count(("close",)) == 1 and done


def test_a_source_that_ends_in_its_start_stops_the_stream_and_is_stopped():
    class Short(PacketStreamAdapter):
        running = False

        def start(self):
            self.emit(b"all there is", PacketFlags.FINAL)
            self.running = True

        def stop(self):
            self.running = False

    source, stream = Short(), PacketStream()
    came = output(stream)
    stream.attach_source(source, sync_state=True)
    stream.start()
    assert came == [b"all there is"] and stream.state is STOPPED and not source.running


def test_closing_from_a_processor_tells_when_the_write_has_returned():
    stream = PacketStream()
    seen = events(stream)
    stream.attach(Do(lambda packet: (stream.close(), seen.append("closing"))))
    came = output(stream)
    stream.start()
    del seen[:]
    stream.write(b"x")
    assert seen == [("ACTIVE", "STOPPING"), "closing", ("STOPPING", "STOPPED"), ("STOPPED", "CLOSED"), ("close",)]
    assert came == [] and stream.dropped == 1, "what it emitted came too late"
