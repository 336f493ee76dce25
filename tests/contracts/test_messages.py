"""What the errors say: each of three parts, what happened, which contract, what to do instead; and the programs that earn them.

The first half reads every place in icey that makes a contract error. The second is a table of programs a user could write
against a contract, each with the error it gets and what that says; every one runs in release and in debug mode, those with
a stream on every transport (see tests/support/transports.py).
"""
import ast
import re
import struct

import pytest

import icey
from icey import (
    AffinityError,
    AsyncPacketQueue,
    BorrowError,
    ContractError,
    FlagPacket,
    GraphError,
    PacketFlags,
    PacketProcessor,
    PacketStream,
    PacketStreamAdapter,
    QueueFull,
    RawPacket,
    Signal,
    StateError,
    StreamSink,
    SyncPacketQueue,
    ThreadSignal,
    TimerSource,
)
from icey.tools.testing import VirtualClock
from tests.support import package, packets, transports
from tests.support.loops import in_thread
from tests.support.streams import PYPY, finish
from tests.support.transports import hold, until

no_thread_stays = packets.no_thread_stays

# every place that makes one

KINDS = {"AffinityError", "BorrowError", "GraphError", "StateError", "ContractError"}


def makers():
    """(where, class, arguments) of each contract error made in the package."""
    for path in package.files():
        for node in ast.walk(package.tree(path)) if any(kind + "(" in package.text(path) for kind in KINDS) else ():
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KINDS:
                yield "icey/%s:%d" % (path, node.lineno), node.func.id, node.args


MAKERS = list(makers())


def literal(node):
    """The text of an argument as far as it stands in the source: of a template its first half."""
    while isinstance(node, (ast.BinOp, ast.IfExp)):
        node = node.left if isinstance(node, ast.BinOp) else node.body
    return node.value if isinstance(node, ast.Constant) else None


def test_there_are_places():
    assert len(MAKERS) > 30 and {kind for _, kind, _ in MAKERS} >= KINDS - {"ContractError"}


@pytest.mark.parametrize("where, kind, arguments", MAKERS, ids=[where for where, _, _ in MAKERS])
def test_every_contract_error_says_what_happened_and_what_to_do(where, kind, arguments):
    assert 2 <= len(arguments) <= 3, "what happened, what to do, and the contract where it is not the class's own"
    what, fix = literal(arguments[0]), literal(arguments[1])
    for text in (what, fix):
        assert text is None or (len(text) > 3 and not text.endswith((".", "!", " ")) and text == text.lstrip()), text
    if len(arguments) == 3:
        contract = literal(arguments[2])
        assert contract is None or contract[0] == contract.strip()[0] and not contract.endswith("."), contract


@pytest.mark.parametrize("kind", [AffinityError, BorrowError, GraphError, StateError])
def test_the_text_has_three_parts(kind):
    error = kind("it happened", "do it so")
    assert isinstance(error, (ContractError, RuntimeError))
    assert str(error) == "it happened. Contract: %s. Instead: do it so." % kind.contract
    assert str(kind("it happened", "do it so", "another")) == "it happened. Contract: another. Instead: do it so."


# the programs

class Desk:
    """What a program is given: a loop, in its mode, and streams on one transport."""

    def __init__(self, debug, transport, tmp_path_factory):
        clock = VirtualClock()
        self.debug = debug
        self.reported = []
        self.kept = []  # what exports a view: the errors make cycles, and before 3.12 a collector that meets it in one crashes
        self.loop = icey.Loop(debug, clock=clock, selector=transports.Selector(clock))
        self.loop.on_error += lambda loop, exc, handle: self.reported.append(exc)
        self.loop.run_once(0)
        self.transport = transports.of(transport, self.loop, tmp_path_factory)
        self.socket = self.transport.socket

    def link(self):
        """A connection: a stream, its other end, and the kernel under it."""
        return self.transport()

    def stream(self):
        """A stream, connected."""
        return self.link().stream

    def turn(self):
        self.loop.run_once(0)

    def told(self):
        """The exception that the loop is told of."""
        until(self.loop, lambda: self.reported)
        return self.reported[0]

    def hear(self, slot):
        """Has `slot` receive b"hello"; raises what the loop is told."""
        stream, far, _ = self.link()
        heard = []
        stream.on_recv += lambda stream, view: heard.append(1)
        stream.on_recv += slot
        far.send(b"hello")
        until(self.loop, lambda: heard)
        if self.reported:
            raise self.reported[0]

    def packets(self, *stages, start=True, **options):
        """A PacketStream of these stages, its error raised by `raised`."""
        stream = PacketStream(**options)
        for order, stage in enumerate(stages):
            stream.attach(stage, order)
        if start:
            stream.start()
        return stream

    def close(self):
        self.kept.clear()
        self.transport.close()
        finish(self.loop)


class Defers(PacketProcessor):
    deferred = True


PROGRAMS = []
COPY = "copy what you keep, bytes\\(view\\), or hand it on at once with send_owned\\(view\\)"
HOP = "hop to its thread with loop\\.post\\(fn, \\*args\\)"
PACKETS = "PacketStream is zero-copy until a boundary"
LIVE = "stop\\(\\) it, change it, start\\(\\) it again"
SOCKET = "(TCPSocket|TLSSocket|Pipe)"


def breaks(kind, what, contract=None, fix=None, *, only=None, cpython=False, threads=False):
    """Declares a program: it raises `kind` and says these (regular expressions). only: in this mode alone."""
    def declare(program):
        marks = []
        if cpython:
            marks.append(pytest.mark.skipif(PYPY, reason="PyPy does not tell who exports a buffer"))
        if threads:
            marks.append(packets.needs_threads)
        with_streams = {"link", "stream", "socket", "hear"} & set(program.__code__.co_names)  # what it asks its desk for
        for transport in transports.KINDS if with_streams else ["tcp"]:
            for debug in (False, True):
                if only is None or only is debug:
                    name = "%s-%s-%s" % (program.__name__, transport, "debug" if debug else "release")
                    PROGRAMS.append(pytest.param(program, transport, debug, kind, what, contract, fix, id=name,
                                                 marks=marks + transports.marks(transport)))
        return program
    return declare


# 1. loop affinity

@breaks(AffinityError, "Timer was touched from thread", "loop affinity", HOP)
def starts_a_timer_from_another_thread(desk):
    in_thread(icey.Timer(desk.loop, 1).start)


@breaks(AffinityError, SOCKET + " was touched from thread", "loop affinity", HOP)
def sends_from_another_thread(desk):
    in_thread(desk.stream().send, b"data")


@breaks(AffinityError, SOCKET + " was touched from thread", "loop affinity", HOP)
def closes_a_stream_from_another_thread(desk):
    in_thread(desk.stream().close)


@breaks(AffinityError, SOCKET + " was touched from thread", "loop affinity", HOP)
def attaches_a_slot_from_another_thread(desk):
    in_thread(desk.stream().on_recv.attach, print)


@breaks(AffinityError, SOCKET + " was touched from thread", "loop affinity", HOP)
def detaches_a_slot_from_another_thread(desk):
    in_thread(desk.stream().on_recv.detach, print)


@breaks(AffinityError, "Loop was touched from thread", "loop affinity", HOP)
def makes_a_timer_in_another_thread(desk):
    in_thread(icey.Timer, desk.loop, 1)


@breaks(AffinityError, "Loop was touched from thread", "loop affinity", HOP)
def calls_soon_from_another_thread(desk):
    in_thread(desk.loop.call_soon, print)


@breaks(AffinityError, "Loop was touched from thread", "loop affinity", HOP)
def stops_a_loop_from_another_thread(desk):
    in_thread(desk.loop.stop)


@breaks(AffinityError, "Loop was touched from thread", "loop affinity", HOP)
def runs_a_loop_in_a_second_thread(desk):
    in_thread(desk.loop.run)


@breaks(AffinityError, "Loop was touched from thread", "loop affinity", HOP)
def closes_a_running_loop_from_another_thread(desk):
    caught = []
    desk.loop.call_soon(lambda: caught.append(pytest.raises(AffinityError, in_thread, desk.loop.close)))
    desk.turn()
    raise caught[0].value


@breaks(AffinityError, SOCKET + " was touched from thread", "loop affinity", HOP)
def writes_packets_to_a_socket_from_another_thread(desk):
    in_thread(desk.packets(StreamSink(desk.stream())).write, b"data")


@breaks(AffinityError, "Timer was touched from thread", "loop affinity", HOP)
def starts_a_source_from_another_thread(desk):
    in_thread(TimerSource(desk.loop, 1, bytes).start)


@breaks(AffinityError, "made at:(.|\n)*test_messages.py(.|\n)*touched at:(.|\n)*test_messages.py", "loop affinity", HOP,
        only=True)
def is_told_both_places_in_debug(desk):
    stream = desk.stream()
    in_thread(lambda: stream.pause())


# 2. signals

@breaks(TypeError, "on_recv is a signal: attach a slot with \\+= or .attach\\(fn\\), do not assign to it")
def assigns_a_function_to_an_event(desk):
    desk.stream().on_recv = print


@breaks(TypeError, "on_packet is a signal: attach a slot with \\+=")
def assigns_a_function_to_an_adapters_signal(desk):
    PacketStreamAdapter().on_packet = print


@breaks(TypeError, "a slot must be callable, not None")
def attaches_what_cannot_be_called(desk):
    Signal().attach(None)


@breaks(StateError, "attach\\(loop=...\\) got a closed loop", "calls follow states", "attach to a loop that is open")
def has_a_slot_run_on_a_closed_loop(desk):
    desk.close()
    ThreadSignal().attach(print, loop=desk.loop)


# 3. receive buffers are borrowed

@breaks(ValueError, "released")
def uses_a_view_after_the_slot_returned(desk):
    kept = []
    desk.hear(lambda stream, view: kept.append(view))
    bytes(kept[0])


@breaks(TypeError, "read-only|cannot modify")
def writes_into_a_view(desk):
    def slot(stream, view):
        view[0] = 0
    desk.hear(slot)


@breaks(BorrowError, "outlived its callback: .*keeps_a_slice.*test_messages.py:\\d+", "receive buffers are borrowed", COPY,
        only=True, cpython=True)
def keeps_a_slice(desk):
    kept = []
    desk.hear(lambda stream, view: kept.append(view[1:]))


@breaks(BorrowError, "outlived its callback: .*keeps_a_cast", "receive buffers are borrowed", COPY, only=True, cpython=True)
def keeps_a_cast(desk):
    kept = []
    desk.hear(lambda stream, view: kept.append(view.cast("b")))


@breaks(BorrowError, "outlived its callback: .*keeps_what_reads_from_it", "receive buffers are borrowed", COPY, cpython=True)
def keeps_what_reads_from_it(desk):
    desk.hear(lambda stream, view: desk.kept.append(struct.iter_unpack("B", view)))


@breaks(BorrowError, "outlived its callback", "receive buffers are borrowed", COPY, cpython=True)
def keeps_it_in_an_adapter(desk):
    class Keeps(icey.Adapter):
        def on_data(self, view):
            desk.kept.append(struct.iter_unpack("B", view))

    stream, far, _ = desk.link()
    Keeps().use(stream)
    far.send(b"hello")
    raise desk.told()


# 4. send() borrows, send_owned() keeps

@breaks(BorrowError, "send\\(\\) was given a lent receive view", "send borrows", "send_owned\\(view\\), which copies",
        only=True)
def lends_a_lent_view_on(desk):
    desk.hear(lambda stream, view: stream.send(view))


@breaks(BorrowError, "chang(.|\n)*changes_what_it_sent", "send", "send_owned", only=True)
def changes_what_it_sent(desk):
    (stream, _, kernel), memory = desk.link(), bytearray(b"hello")
    hold(stream, kernel)
    stream.send(memory)
    memory[0] = 0
    kernel.unstall()
    raise desk.told()


@breaks(BufferError, "[Ee]xisting exports", cpython=True)
def resizes_what_it_sent(desk):
    (stream, _, kernel), memory = desk.link(), bytearray(b"hello")
    hold(stream, kernel)
    stream.send(memory)
    memory.append(0)


@breaks(ValueError, "contiguous memory: pass bytes\\(data\\)")
def sends_every_second_byte(desk):
    desk.stream().send(memoryview(b"abcdef")[::2])


@breaks(TypeError, "bytes-like|buffer interface|not 'str'|str")
def sends_text(desk):
    desk.stream().send("text")


@breaks(QueueFull, "\\d+ bytes queued, 5 more would pass max_queue 8: wait for on_drain")
def sends_without_looking_at_the_queue(desk):
    stream, _, kernel = desk.link()
    stream.max_queue = 8
    kernel.stall()
    stream.send(b"12345")
    stream.send(b"67890")


# 5. PacketStream is zero-copy until a boundary

@breaks(BorrowError, "a borrowed packet was used after the write\\(\\) or emit\\(\\) that lent it returned", PACKETS,
        "packet.clone\\(\\) or packet.retain\\(\\)")
def uses_a_packet_after_the_write(desk):
    stream, kept = desk.packets(), []
    stream.on_packet += kept.append
    stream.write(bytearray(b"x"))
    bytes(kept[0].data)


@breaks(ValueError, "released")
def uses_a_packets_view_after_the_write(desk):
    stream, kept = desk.packets(), []
    stream.on_packet += lambda packet: kept.append(packet.data)
    stream.write(bytearray(b"x"))
    bytes(kept[0])


@breaks(BorrowError, "a borrowed packet was used after", PACKETS, "packet.clone\\(\\)")
def clones_a_packet_too_late(desk):
    source, kept = PacketStreamAdapter(), []
    source.on_packet += kept.append
    source.emit(bytearray(b"x"))
    kept[0].clone()


@breaks(BorrowError, "a borrowed packet was used after", PACKETS, "packet.clone\\(\\)")
def writes_a_borrowed_packet_twice(desk):
    stream, packet = desk.packets(), RawPacket(bytearray(b"x"))
    stream.on_packet += lambda packet: bytes(packet.data)
    stream.write(packet)
    stream.write(packet)


@breaks(BorrowError, "something made from a borrowed packet outlived the write", PACKETS, "copy what you keep", cpython=True)
def keeps_what_reads_from_a_packet(desk):
    stream = desk.packets()
    stream.on_packet += lambda packet: desk.kept.append(struct.iter_unpack("B", packet.data))
    stream.write(bytearray(b"x"))


@breaks(GraphError, "cannot start: Defers uses packets after process\\(\\) returned, but its retention is BORROWED"
        " \\(declare it CLONED or RETAINED\\)\nPacketStream", PACKETS, "lint\\(\\) finds nothing")
def defers_without_a_boundary(desk):
    desk.packets(Defers())


@breaks(GraphError, "works on a loop, but what is before it on another loop, and nothing hops between them", PACKETS,
        "lint\\(\\) finds nothing")
def joins_two_loops_without_a_hop(desk):
    with icey.Loop(desk.debug) as other:
        stream = desk.packets(StreamSink(desk.stream()), start=False)
        stream.attach_source(TimerSource(other, 1, bytes))
        stream.start()


@breaks(GraphError, "StreamSink works on a loop, but what is before it on the thread of an AsyncPacketQueue", PACKETS,
        "lint\\(\\) finds nothing", threads=True)
def sends_from_a_queues_thread(desk):
    desk.packets(AsyncPacketQueue(), StreamSink(desk.stream()))


@breaks(GraphError, "Takes takes FlagPacket, but what comes is RawPacket", PACKETS, "lint\\(\\) finds nothing")
def feeds_a_stage_what_it_does_not_take(desk):
    takes, emits = PacketProcessor(), PacketProcessor()
    takes.__class__ = type("Takes", (PacketProcessor,), {})
    takes.takes, emits.emits = FlagPacket, RawPacket
    desk.packets(emits, takes)


@breaks(GraphError, "attach\\(\\) on a PacketStream that is ACTIVE", "live graphs do not change", LIVE)
def attaches_a_stage_to_a_running_stream(desk):
    desk.packets().attach(PacketProcessor())


@breaks(GraphError, "detach\\(\\) on a PacketStream that is PAUSED", "live graphs do not change", LIVE)
def detaches_a_stage_from_a_paused_stream(desk):
    stage = PacketProcessor()
    stream = desk.packets(stage)
    stream.pause()
    stream.detach(stage)


@breaks(GraphError, "attach_source\\(\\) on a PacketStream that is ACTIVE", "live graphs do not change", LIVE)
def attaches_a_source_to_a_running_stream(desk):
    desk.packets().attach_source(Signal())


@breaks(GraphError, "detach_source\\(\\) on a PacketStream that is ACTIVE", "live graphs do not change", LIVE)
def detaches_a_source_from_inside_a_slot(desk):
    stream = desk.packets()
    stream.on_packet += lambda packet: stream.detach_source(None)
    stream.write(b"x")


@breaks(GraphError, "attach\\(\\) on a PacketStream that is STOPPING", "live graphs do not change", LIVE)
def changes_a_graph_that_is_being_flushed(desk):
    stream = desk.packets(SyncPacketQueue(desk.loop))
    stream.stop()
    stream.attach(PacketProcessor())


@breaks(GraphError, "attach\\(\\) on a PacketStream that is ACTIVE", "live graphs do not change", LIVE)
def synchronizes_the_output_of_a_running_stream(desk):
    desk.packets().synchronize_output(desk.loop)


@breaks(GraphError, "PacketProcessor is in this stream already", "live graphs do not change", "make another one")
def attaches_a_stage_twice(desk):
    stage = PacketProcessor()
    desk.packets(stage, start=False).attach(stage)


@breaks(GraphError, "PacketProcessor is in another stream that runs", "live graphs do not change", "make one for each stream")
def runs_a_stage_in_two_streams(desk):
    stage = PacketProcessor()
    desk.packets(stage)
    desk.packets(stage)


@breaks(GraphError, "a stream cannot be its own source", "live graphs do not change", "feed it from outside")
def makes_a_circle_of_streams(desk):
    first, second = PacketStream(), PacketStream()
    second.attach_source(first)
    first.attach_source(second)


@breaks(ValueError, "an order is -1 to 101, not 102")
def attaches_behind_the_end(desk):
    desk.packets(start=False).attach(PacketProcessor(), 102)


@breaks(QueueFull, "SyncPacketQueue holds 1 packets")
def overfills_a_queue_that_refuses(desk):
    stream = desk.packets(SyncPacketQueue(desk.loop, 1, "error"))
    stream.write(b"x")
    stream.write(b"x")


@breaks(NotImplementedError, "Frame needs a clone\\(\\) to cross a queue")
def queues_a_packet_that_cannot_be_cloned(desk):
    desk.packets(SyncPacketQueue(desk.loop)).write(type("Frame", (icey.Packet,), {})())


# 6. close is asynchronous

@breaks(StateError, "send\\(\\) on a (TCPSocket|TLSSocket|Pipe) that is closing", "close is asynchronous", "make a new one")
def sends_after_close(desk):
    stream = desk.stream()
    stream.close()
    stream.send(b"x")


@breaks(StateError, "send\\(\\) on a (TCPSocket|TLSSocket|Pipe) that is closed", "close is asynchronous", "make a new one")
def sends_in_on_close(desk):
    stream = desk.stream()
    stream.on_close += lambda stream: stream.send(b"x")
    stream.abort()
    raise desk.told()


@breaks(StateError, "start\\(\\) on a Timer that is closing", "close is asynchronous", "make a new one")
def starts_a_closed_timer(desk):
    timer = icey.Timer(desk.loop, 1)
    timer.close()
    timer.start()


@breaks(StateError, "connect\\(\\) on a (TCPSocket|TLSSocket|Pipe) that is closing", "close is asynchronous", "make a new one")
def connects_a_closed_socket(desk):
    sock = desk.socket()
    sock.close()
    sock.connect("127.0.0.1", 1)


@breaks(StateError, "send\\(\\) after shutdown\\(\\)", "close is asynchronous", "send everything first")
def sends_after_shutdown(desk):
    desk.transport.needs("two ways")
    stream = desk.stream()
    stream.shutdown()
    stream.send(b"x")


@breaks(StateError, "close\\(\\) of a loop that is running", "close is asynchronous", "stop\\(\\) it, and close it when run")
def closes_the_loop_that_runs(desk):
    desk.loop.call_soon(desk.loop.close)
    desk.turn()
    raise desk.reported[0]


@breaks(StateError, "run\\(\\) on a closed loop", "close is asynchronous", "build a new Loop")
def runs_a_closed_loop(desk):
    desk.close()
    desk.loop.run()


@breaks(StateError, "call_soon\\(\\) on a closed loop", "close is asynchronous", "build a new Loop")
def calls_soon_on_a_closed_loop(desk):
    desk.close()
    desk.loop.call_soon(print)


@breaks(StateError, "Timer was made on a closed loop", "calls follow states", "make it on an open one")
def makes_a_timer_on_a_closed_loop(desk):
    desk.close()
    icey.Timer(desk.loop, 1)


@breaks(StateError, "run\\(\\) inside a running loop", "one turn at a time", "return to the loop that runs")
def runs_a_loop_inside_itself(desk):
    desk.loop.call_soon(desk.loop.run)
    desk.turn()
    raise desk.reported[0]


@breaks(StateError, "write\\(\\) on a PacketStream that is CLOSED", "close is asynchronous", "make a new one, or reset")
def writes_to_a_closed_stream(desk):
    stream = desk.packets()
    stream.close()
    stream.write(b"x")


@breaks(StateError, "PacketStream cannot go from CLOSED to ACTIVE", "calls follow states", "from CLOSED it can go to NONE")
def starts_a_closed_stream(desk):
    stream = desk.packets()
    stream.close()
    stream.start()


@breaks(StateError, "start\\(\\) of a PacketStream that is closing", "close is asynchronous", "reset\\(\\) it when on_close")
def starts_a_stream_that_is_closing(desk):
    stream = desk.packets(SyncPacketQueue(desk.loop), start=False)
    stream.close()
    stream.start()


@breaks(StateError, "the loop of a SyncPacketQueue is closed", "close is asynchronous", "give it one that is open")
def starts_a_queue_of_a_closed_loop(desk):
    queue = SyncPacketQueue(desk.loop)
    desk.close()
    desk.packets(queue)


@breaks(StateError, "PacketStream cannot go from ACTIVE to NONE", "calls follow states", "from ACTIVE it can go to")
def resets_a_running_stream(desk):
    desk.packets().reset()


# start, then send

@breaks(StateError, "send\\(\\) before connect\\(\\)", "start, then send", "connect first")
def sends_before_connect(desk):
    desk.socket().send(b"x")


@breaks(StateError, "shutdown\\(\\) before connect\\(\\)", "start, then send", "connect first")
def shuts_down_before_connect(desk):
    desk.socket().shutdown()


@breaks(StateError, "set_no_delay\\(\\) before connect\\(\\)", "start, then send", "connect first")
def tunes_before_connect(desk):
    desk.socket().set_no_delay()


@breaks(StateError, "send\\(\\) on an adapter that is not in use", "start, then send", "adapter.use\\(stream\\) first")
def sends_by_an_adapter_that_stands_nowhere(desk):
    icey.Adapter().send(b"x")


@breaks(StateError, "write\\(\\) on a PacketStream that is NONE", "start, then send", "start\\(\\) it first")
def writes_before_start(desk):
    PacketStream().write(b"x")


@breaks(StateError, "write\\(\\) on a PacketStream that is PAUSED", "start, then send", "resume\\(\\) it first")
def writes_to_a_paused_stream(desk):
    stream = desk.packets()
    stream.pause()
    stream.write(b"x")


@breaks(StateError, "write\\(\\) on a PacketStream that is STOPPED", "start, then send", "start\\(\\) it first")
def writes_behind_FINAL(desk):
    stream = desk.packets()
    stream.write(b"last", PacketFlags.FINAL)
    stream.write(b"more")


@breaks(StateError, "stop\\(\\) of a PacketStream that is NONE", "calls follow states", "start\\(\\) it first")
def stops_a_stream_that_never_started(desk):
    PacketStream().stop()


@breaks(StateError, "resume\\(\\) of a PacketStream that is STOPPED", "calls follow states", "start\\(\\) it")
def resumes_a_stopped_stream(desk):
    stream = desk.packets()
    stream.stop()
    stream.resume()


@pytest.mark.parametrize("program, transport, debug, kind, what, contract, fix", PROGRAMS)
def test_a_program_against_a_contract(program, transport, debug, kind, what, contract, fix, tmp_path_factory):
    desk = Desk(debug, transport, tmp_path_factory)
    try:
        with pytest.raises(kind) as info:
            program(desk)
    finally:
        desk.close()
    error = info.value
    assert re.search(what, str(error)), str(error)
    if contract is None:
        return
    assert type(error) is kind
    assert re.search(contract, error.contract), error.contract
    assert re.search(fix, error.fix), error.fix
    between = "" if error.what.endswith("\n") else ". "  # behind the lines of a stack no sentence ends
    assert str(error) == "%s%sContract: %s. Instead: %s." % (error.what, between, error.contract, error.fix)


def test_there_are_enough_programs():
    assert len({program.values[0] for program in PROGRAMS}) >= 40


def test_every_contract_is_broken_somewhere():
    assert {program.values[3] for program in PROGRAMS} >= {AffinityError, BorrowError, GraphError, StateError, QueueFull}
