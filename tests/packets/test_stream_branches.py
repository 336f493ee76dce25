"""PacketStreams as sources of PacketStreams: sharing, independent ends, retention on each side, teardown."""
import pytest

from icey import AsyncPacketQueue, BorrowError, PacketFlags, PacketStream, PacketStreamAdapter, RawPacket
from tests.support import packets
from tests.support.loops import clock, debug, loop, turns  # noqa: F401
from tests.support.packets import Cloned, Do, Pass, Retained, closing, events, needs_threads, output, wait

no_thread_stays = packets.no_thread_stays


def stream_of(*stages, source=None, start=True, name="", sync=False):
    stream = PacketStream(name)
    for order, stage in enumerate(stages):
        stream.attach(stage, order)
    if source is not None:
        stream.attach_source(source, sync_state=sync)
    if start:
        stream.start()
    return stream


def test_every_branch_gets_every_packet_in_the_order_they_were_attached():
    trunk, seen = stream_of(), []
    for name in "abc":
        branch = stream_of(source=trunk)
        branch.on_packet += lambda packet, name=name: seen.append(name + bytes(packet.data).decode())
    trunk.write(b"1")
    trunk.write(b"2")
    assert seen == ["a1", "b1", "c1", "a2", "b2", "c2"]


def test_a_branch_may_come_and_go_while_the_source_runs():
    trunk = stream_of()
    trunk.write(b"1")
    branch = stream_of(source=trunk)
    came = output(branch)
    trunk.write(b"2")
    branch.stop()
    branch.detach_source(trunk)
    trunk.write(b"3")
    assert came == [b"2"] and branch.dropped == 0 and trunk.active


def test_branches_share_a_borrowed_packet_until_the_outermost_write_returns():
    trunk, kept = stream_of(), []
    branches = [stream_of(Do(kept.append), source=trunk) for _ in range(3)]
    came = [output(branch) for branch in branches]
    trunk.write(bytearray(b"x"))
    assert came == [[b"x"]] * 3 and len({id(packet) for packet in kept}) == 1
    with pytest.raises(BorrowError):
        kept[0].data


def test_a_branch_that_clones_leaves_it_borrowed_for_the_others():
    trunk = stream_of()
    first = stream_of(Cloned(), source=trunk)
    second = stream_of(source=trunk)
    kept, borrowed = [], []
    first.on_packet += kept.append
    second.on_packet += lambda packet: borrowed.append(packet.borrowed)
    memory = bytearray(b"x")
    trunk.write(memory)
    memory[:] = b"y"
    assert kept[0].data == b"x" and borrowed == [True]


def test_a_branch_that_retains_owns_the_packet_of_all():
    trunk = stream_of()
    first = stream_of(Retained(), source=trunk)
    second = stream_of(source=trunk)
    kept = []
    first.on_packet += kept.append
    second.on_packet += kept.append
    trunk.write(bytearray(b"x"))
    assert kept[0] is kept[1] and kept[0].data == b"x"


def test_a_view_taken_before_another_branch_retained_dies_all_the_same():
    trunk, views = stream_of(), []
    stream_of(Do(lambda packet: views.append(packet.data)), source=trunk)
    stream_of(Retained(), source=trunk)
    trunk.write(bytearray(b"x"))
    with pytest.raises(ValueError, match="released"):
        bytes(views[0])


@pytest.mark.parametrize("end", ["stop", "close", "pause"])
def test_a_branch_ends_by_itself_and_counts_what_comes_late(end):
    trunk = stream_of()
    ends, goes_on = stream_of(source=trunk), stream_of(source=trunk)
    came, all_of_it = output(ends), output(goes_on)
    trunk.write(b"1")
    getattr(ends, end)()
    trunk.write(b"2")
    trunk.write(b"3")
    assert came == [b"1"] and all_of_it == [b"1", b"2", b"3"] and ends.dropped == 2 and trunk.dropped == 0


def test_a_branch_that_closes_itself_within_a_packet():
    trunk = stream_of()
    first, second = stream_of(source=trunk), stream_of(source=trunk)
    first.on_packet += lambda packet: first.close()
    came = output(second)
    trunk.write(b"1")
    trunk.write(b"2")
    assert first.closed and first.dropped == 1 and came == [b"1", b"2"]


def test_a_branch_that_closes_its_trunk_within_a_packet():
    trunk = stream_of()
    first, second = stream_of(source=trunk), stream_of(source=trunk)
    first.on_packet += lambda packet: trunk.close()
    seen = events(trunk)
    came = output(second)
    trunk.write(b"1")
    assert trunk.closed and came == [b"1"] and seen[-1] == ("close",) and second.active


def test_FINAL_stops_the_branches_it_reaches_then_the_trunk():
    order, trunk = [], stream_of()
    branches = [stream_of(source=trunk) for _ in range(2)]
    for name, stream in [("trunk", trunk), ("a", branches[0]), ("b", branches[1])]:
        stream.on_state += lambda stream, new, old, name=name: order.append(name) if new.name == "STOPPED" else None
    trunk.write(RawPacket(b"x", PacketFlags.FINAL))
    assert order == ["a", "b", "trunk"]


@pytest.mark.parametrize("data", [b"x", bytearray(b"x")])
def test_a_branch_that_fails_unheard_makes_no_hole_in_the_others(data):
    """What it raises reaches who emits all the same."""
    source, once = PacketStreamAdapter(), []

    def fail(packet):
        raise ArithmeticError(len(once))

    source.on_packet.attach(lambda packet: once.append(bytes(packet.data)), once=True)
    bad = [stream_of(Do(fail), source=source) for _ in range(2)]
    came = output(stream_of(source=source))
    with pytest.raises(ArithmeticError):
        source.emit(data)
    source.emit(b"y")
    assert came == [b"x", b"y"] and once == [b"x"] and all(branch.closed and branch.error for branch in bad)


def test_a_branch_behind_a_synchronized_trunk_runs_on_that_loop(loop):
    trunk = PacketStream()
    trunk.synchronize_output(loop)
    trunk.start()
    branch = stream_of(source=trunk)
    came = output(branch)
    trunk.write(bytearray(b"x"))
    assert came == []
    trunk.close()
    turns(loop)
    assert came == [b"x"] and branch.active


def test_a_tree_started_and_stopped_by_its_leaf():
    trunk = stream_of(start=False, name="trunk")
    middle = stream_of(source=trunk, start=False, sync=True)
    leaf = stream_of(source=middle, start=False, sync=True)
    came = output(leaf)
    leaf.start()
    trunk.write(b"x")
    leaf.close()
    assert came == [b"x"] and trunk.stopped and middle.stopped and leaf.closed


@needs_threads
def test_a_slow_branch_behind_a_thread_that_drops_does_not_hold_up_the_other():
    gate, busy = packets.threading.Event(), packets.threading.Event()
    trunk = stream_of(Pass())
    queue = AsyncPacketQueue(2, "oldest")
    slow, fast = stream_of(queue, source=trunk), stream_of(source=trunk)
    seen = []
    slow.on_packet += lambda packet: (busy.set(), wait(gate), seen.append(bytes(packet.data)))
    came = output(fast)
    closed = closing(slow)
    trunk.write(bytearray(b"0"))
    wait(busy)
    for number in range(1, 8):
        trunk.write(bytearray(b"%d" % number))
    assert came == [b"%d" % number for number in range(8)] and seen == []
    assert (queue.depth, queue.dropped) == (2, 5)
    trunk.close()
    slow.close()
    gate.set()
    wait(closed)
    assert seen == [b"0", b"6", b"7"] and queue.depth == 0
