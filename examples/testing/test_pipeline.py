"""Pipelines, tested: a PacketStream needs no loop, and a source can be a script."""
import pytest

import icey
from icey.tools.testing import END, ScriptedSocket, virtual_loop


class Shout(icey.PacketProcessor):
    """The program: a stage."""

    def process(self, packet):
        if packet.size:
            self.emit(bytes(packet.data).upper())
        else:
            self.emit(packet)


class Later(icey.PacketProcessor):
    """The program: a stage that keeps packets for later."""

    deferred = True

    def process(self, packet):
        self.emit(packet)


def pipeline(*stages):
    """(a PacketStream of these stages, what comes out of it)"""
    stream, out = icey.PacketStream("tested"), []
    for order, stage in enumerate(stages):
        stream.attach(stage, order)
    stream.on_packet += lambda packet: out.append(bytes(packet.data) if packet.size else packet.flags)
    return stream, out


def test_a_stage():
    stream, out = pipeline(Shout())
    stream.start()
    stream.write(b"hello")
    stream.close()
    assert out == [b"HELLO"]


def test_a_stage_that_keeps_what_is_lent_is_refused():
    stream, _ = pipeline(Later())
    assert len(stream.lint()) == 1
    with pytest.raises(icey.GraphError):
        stream.start()
    stream.close()


def test_a_packet_that_was_lent_is_dead_afterwards():
    stream, _ = pipeline()
    kept = []
    stream.on_packet += kept.append
    stream.start()
    stream.write(bytearray(b"lent"))
    with pytest.raises(icey.BorrowError):
        bytes(kept[0].data)
    stream.close()


def test_a_full_queue_drops_the_oldest_and_counts():
    loop, _ = virtual_loop(debug=True)
    with loop:
        queue = icey.SyncPacketQueue(loop, 2, drop="oldest")
        stream, out = pipeline(queue)
        stream.start()
        for letter in (b"a", b"b", b"c"):
            stream.write(letter)
        stream.close()  # what is queued goes out, from the loop
        loop.run()
    assert (out, queue.dropped) == ([b"b", b"c"], 1)


def test_packets_out_of_a_stream_of_bytes():
    loop, _ = virtual_loop(debug=True)
    with loop:
        sock = icey.Stream(loop, ScriptedSocket(reads=[b"one\ntw", b"o\nthr", b"ee\n", END]))
        stream, out = pipeline(Shout())
        stream.attach_source(icey.PacketSocket(sock, icey.Delimited(b"\n")), sync_state=True)
        stream.start()
        loop.run()
        stream.close()
    assert out == [b"ONE", b"TWO", b"THREE", icey.PacketFlags.FINAL]
