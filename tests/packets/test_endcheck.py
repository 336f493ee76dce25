"""Debug mode names the stage that keeps FINAL from who stands behind it."""
import pytest

import icey
from icey.base import log
from icey.packets import endcheck
from icey.packets.packet import PacketFlags

FINAL = PacketFlags.FINAL


class Upper(icey.PacketProcessor):
    """Forgets the flags."""

    def process(self, packet):
        self.emit(bytes(packet.data).upper())


class Passing(icey.PacketProcessor):
    def process(self, packet):
        self.emit(packet)


class Choosy(Passing):
    def accepts(self, packet):
        return not packet.flags


class Deaf(icey.PacketProcessor):
    """Emits nothing."""

    def process(self, packet):
        pass


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr(log, "_write", lambda level, area, text, args, exc: lines.append(text % args))
    monkeypatch.setenv("ICEY_DEBUG", "1")
    return lines


def play(*stages, slot=None, last=FINAL, name="words"):
    stream = icey.PacketStream(name)
    for order, stage in enumerate(stages):
        stream.attach(stage, order)
    if slot is not None:
        stream.on_packet += slot
    stream.start()
    stream.write(b"a")
    stream.write(b"", last)
    stream.close()
    return stream


def test_the_stage_is_named_with_what_stands_behind_it_and_the_way_out(said):
    play(Passing(), Upper(), Passing())
    assert len(said) == 1
    assert said[0].startswith("words: Upper was given FINAL and kept it, so Passing was never told of the end.")
    assert "Instead: self.emit(data, packet.flags)" in said[0]


def test_the_last_stage_keeps_it_from_the_slots(said):
    play(Upper(), slot=str, name="")
    assert len(said) == 1 and "a stream: Upper was given FINAL and kept it, so the output was never told of" in said[0]


def test_so_does_one_that_takes_all(said):
    play(Deaf(), Passing())
    assert len(said) == 1 and "Deaf was given FINAL" in said[0]


@pytest.mark.parametrize("stages, slot", [
    ((), str), ((Passing(), Passing()), str), ((Passing(), Deaf()), None), ((Upper(),), None), ((Choosy(), Passing()), str)])
def test_who_passes_it_on_or_has_nobody_behind_is_not(said, stages, slot):
    play(*stages, slot=slot)
    assert said == []


def test_a_stream_that_was_closed_before_the_end_has_none_to_tell_of(said):
    play(Upper(), Passing(), last=0)
    assert said == []


def test_behind_queues_it_waits_until_they_are_flushed(said):
    with icey.Loop(True) as loop:
        stream = icey.PacketStream("s")
        stream.attach(icey.SyncPacketQueue(loop, 16))
        stream.attach(Upper(), 1)
        stream.synchronize_output(loop)
        stream.on_packet += lambda packet: None
        stream.start()
        stream.write(b"a")
        stream.write(b"", FINAL)
        stream.close()
        assert said == []
        loop.run()
    assert len(said) == 1 and "Upper was given FINAL and kept it, so SyncPacketQueue" in said[0]


@pytest.mark.needs("threading")
def test_behind_a_thread(said):
    queue = icey.AsyncPacketQueue(16)
    stream = icey.PacketStream("s")
    stream.attach(queue)
    stream.attach(Upper(), 1)
    stream.attach(Passing(), 2)
    with icey.Loop(True) as loop:
        stream.on_close += lambda stream: loop.post(loop.stop)
        stream.start()
        stream.write(b"a")
        stream.write(b"", FINAL)
        stream.close()
        handle = loop.call_later(20, loop.stop)
        loop.run()
        handle.stop()
    assert len(said) == 1 and "Upper was given FINAL and kept it, so Passing" in said[0]


def test_a_failed_stream_has_told_already(said):
    class Failing(icey.PacketProcessor):
        def process(self, packet):
            if packet.flags:
                raise ValueError("at the end")
            self.emit(packet)

    errors = []
    stream = icey.PacketStream("s")
    stream.attach(Failing())
    stream.attach(Passing(), 1)
    stream.on_error += lambda stream, exc: errors.append(exc)
    stream.start()
    stream.write(b"", FINAL)
    assert len(errors) == 1 and said == []


def test_a_stream_that_is_started_again_is_looked_at_again(said):
    stream = icey.PacketStream("s")
    stream.attach(Upper())
    stream.attach(Passing(), 1)
    for _ in range(2):
        stream.start()
        stream.write(b"", FINAL)
    stream.close()
    assert len(said) == 2


def test_a_loop_in_debug_mode_is_enough_and_release_mode_looks_at_nothing(said, monkeypatch):
    monkeypatch.setenv("ICEY_DEBUG", "0")
    with icey.Loop(True) as strict, icey.Loop(False) as loop:
        assert endcheck.end_check([], [icey.SyncPacketQueue(strict)]) is not None
        assert endcheck.end_check([icey.TimerSource(strict, 1.0, bytes)], []) is not None
        assert endcheck.end_check([icey.Signal()], [icey.SyncPacketQueue(loop), Upper()]) is None
    play(Upper(), Passing())
    assert said == []
