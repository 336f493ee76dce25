"""The order in which messages go out, which wait, and their packet identifiers."""
from icey.mqtt.outbox import ENTRY, HIGHEST, Message, Outbox
from icey.mqtt.packets import DUP, QOS_1


def message(name, qos=1):
    return Message(qos << 1, b"\0\1t", name, None)


def unused(ident):
    return False


def test_all_wait_in_one_order_and_only_so_many_of_qos_1_are_on_their_way():
    box = Outbox(2)
    for name, qos in ((b"a", 1), (b"b", 0), (b"c", 1), (b"d", 1), (b"e", 0)):
        box.put(message(name, qos))
    assert box and box.size == 20 and not box.full
    gone = []
    while True:
        one = box.take()
        if one is None:
            break
        gone.append(one.data)
        if one.flags & QOS_1:
            box.sent(one, unused)
    assert gone == [b"a", b"b", b"c"] and box.full and box.size == 8 and box.unacknowledged == 8
    assert box.acknowledged(1).data == b"a" and box.acknowledged(1) is None
    assert box.take().data == b"d" and box.take().data == b"e" and box.take() is None


def test_what_is_not_acknowledged_is_sent_again_in_its_order_with_dup():
    box = Outbox(10)
    for name in (b"a", b"b", b"c", b"d"):
        box.sent(message(name), unused)
    box.acknowledged(2)
    assert [(ident, one.data, one.flags) for ident, one in box.again()] == [
        (1, b"a", QOS_1 | DUP), (3, b"c", QOS_1 | DUP), (4, b"d", QOS_1 | DUP)]


def test_identifiers_go_round_past_those_in_use():
    box = Outbox(10)
    box._last = HIGHEST - 1
    taken = [box.sent(message(b"x"), lambda ident: ident in (1, 2)) for _ in range(3)]
    assert taken == [HIGHEST, 3, 4]
    box._last = HIGHEST - 1
    assert box.free(unused) == 1


def test_what_it_costs_counts_each_message():
    box = Outbox(10)
    assert not box and box.cost == 0
    for _ in range(10):
        box.put(message(b"", 0))
    assert box.cost > 10 * 100
    box.sent(box.take(), unused)
    assert box.cost < 10 * ENTRY
    box.clear()
    assert not box and box.cost == 0
