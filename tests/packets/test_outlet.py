"""The events of a PacketStream: signals that are not assigned to, whose owner holds no stream."""
import gc
import weakref

import pytest

import icey


def test_an_event_of_the_class_says_what_it_is():
    assert icey.PacketStream.on_packet.__doc__ == "on_packet(packet): the output"
    assert icey.PacketStream.on_close.name == "on_close"


def test_a_signal_is_not_assigned_to():
    stream = icey.PacketStream()
    stream.on_packet += print
    for value in (None, print, icey.Signal(), icey.PacketStream().on_packet, stream.on_close):
        with pytest.raises(TypeError, match="PacketStream.on_packet is a signal"):
            stream.on_packet = value
    assert list(stream.on_packet) == [print]


def test_a_signal_outlives_its_stream_and_takes_slots_still():
    stream, came = icey.PacketStream(), []
    signal, known = stream.on_packet, weakref.ref(stream)
    del stream
    gc.collect()
    assert known() is None
    signal += came.append
    signal.emit(1)
    assert came == [1]
