"""What the broker is asked for, and when: without a connection of bytes."""
import pytest

import icey
from icey.mqtt.core import REFUSED
from icey.mqtt.outbox import Outbox
from icey.mqtt.subscriptions import FILTERS, MOST_ASKED, Subscriptions


class Connection:
    """Notes what is asked."""

    def __init__(self):
        self.sent, self.core = [], self

    def uses(self, ident):
        return any(ident == sent[1] for sent in self.sent)

    def subscribe(self, ident, wanted):
        return "+", ident, [coded[2:].decode() + str(qos) for coded, qos in wanted]

    def unsubscribe(self, ident, filters):
        return "-", ident, [coded[2:].decode() for coded in filters]

    def put(self, made):
        self.sent.append(made)

    def take(self):
        """What was asked since the last time."""
        sent, self.sent = self.sent, []
        return [(kind, what) for kind, _, what in sent]


@pytest.fixture
def all_of_them():
    return Subscriptions(Outbox(10), "rest")


def test_what_was_wanted_before_is_asked_for_together(all_of_them):
    for number in range(FILTERS + 1):
        assert not all_of_them.add("t%d" % number, 0, "route", None)
    connection = Connection()
    all_of_them.connected(connection, False)
    assert [len(what) for _, what in connection.take()] == [FILTERS, 1]


def test_order_is_kept_and_what_is_void_is_not_asked(all_of_them):
    connection = Connection()
    all_of_them.connected(connection, False)
    for number in range(MOST_ASKED):
        all_of_them.add("t%d" % number, 0, "route", None)
    assert len(connection.take()) == MOST_ASKED
    all_of_them.add("a", 0, "route", None)
    all_of_them.remove("t0", None)
    all_of_them.remove("t0", None)
    all_of_them.add("b", 0, "route", None)
    all_of_them.remove("b", None)  # it was never asked for
    all_of_them.remove("t1", None)
    all_of_them.add("t1", 1, "route", None)  # left and wanted again: asked for with what is wanted now
    assert connection.take() == []
    for ident in range(1, 5):
        all_of_them.answered(ident, b"\0")
    assert connection.take() == [("+", ["a0"]), ("-", ["t0"]), ("-", ["b"]), ("+", ["t11"])]


def test_granted_refused_and_once_more(all_of_them):
    connection, done = Connection(), []
    all_of_them.connected(connection, False)
    all_of_them.add("a", 0, "route", "done a")
    all_of_them.add("b", 0, "route", "done b")
    assert all_of_them.answered(1, b"\0") == (["done a"], [])
    dones, (refused,) = all_of_them.answered(2, bytes([REFUSED]))
    assert dones == [] and refused.filter == "b" and isinstance(refused, icey.MqttRefused)
    assert all_of_them.add("a", 0, "route", "now"), "granted before"
    assert not done
    all_of_them.lost()
    connection = Connection()
    all_of_them.connected(connection, True)
    assert connection.take() == [("+", ["b0"])]
    all_of_them.lost()
    connection = Connection()
    all_of_them.connected(connection, False)
    assert connection.take() == [("+", ["a0", "b0"])]


def test_who_joins_a_filter_that_was_granted_has_it_asked_for_again(all_of_them):
    """What the broker keeps, it sends to a new SUBSCRIBE alone."""
    connection = Connection()
    all_of_them.connected(connection, False)
    all_of_them.add("a", 1, "route", None)
    all_of_them.add("a", 0, "early", None)
    all_of_them.answered(1, b"\1")
    assert connection.take() == [("+", ["a1"])], "one SUBSCRIBE for both"
    assert not all_of_them.add("a", 0, "other", "done") and connection.take() == [("+", ["a1"])]
    assert all_of_them.answered(2, b"\1") == (["done"], [])
    all_of_them.lost()
    all_of_them.add("a", 0, "third", None)
    connection = Connection()
    all_of_them.connected(connection, True)
    assert connection.take() == [("+", ["a1"])], "although the session has it"
    all_of_them.answered(3, b"\1")
    all_of_them.remove("a", "third")
    assert connection.take() == []


def test_a_filter_left_while_away_is_left_on_the_next_connection_of_the_session(all_of_them):
    all_of_them.connected(Connection(), False)
    all_of_them.add("a", 0, "route", None)
    all_of_them.answered(1, b"\0")
    all_of_them.lost()
    all_of_them.remove("a", "route")
    connection = Connection()
    all_of_them.connected(connection, True)
    assert connection.take() == [("-", ["a"])]
    all_of_them.left(2)
    all_of_them.lost()
    connection = Connection()
    all_of_them.connected(connection, True)
    assert connection.take() == []


def test_adding_and_removing_while_away_leaves_nothing_behind(all_of_them):
    for _ in range(100):
        all_of_them.add("a", 0, "route", None)
        all_of_them.remove("a", None)
    assert len(all_of_them._requests) == 0 and len(all_of_them._leaving) == 1
    all_of_them.clear()
    assert all_of_them.routes.find("a") == ("rest",)


def test_what_cannot_be_removed(all_of_them):
    assert not all_of_them.remove("a", None)
    all_of_them.add("a", 0, "route", None)
    assert not all_of_them.remove("a", "other") and all_of_them.remove("a", "route") and not all_of_them.remove("a", "route")


def busy():
    """A connection with as many requests out as there may be, and what it is asked for."""
    some, connection = Subscriptions(Outbox(10), "rest"), Connection()
    some.connected(connection, False)
    return some, connection


def test_a_higher_qos_that_has_to_wait_is_asked_for_although_the_lower_one_is_granted_first(monkeypatch):
    monkeypatch.setattr("icey.mqtt.subscriptions.MOST_ASKED", 1)
    some, connection = busy()
    some.add("a", 0, "route", "done 0")
    some.add("a", 1, "other", "done 1")  # it waits: one request is out
    assert some.answered(1, b"\0") == ([], [])
    assert connection.take() == [("+", ["a0"]), ("+", ["a1"])]
    assert some.answered(2, b"\1") == (["done 0", "done 1"], [])


def test_a_filter_left_for_the_second_time_while_the_first_waits_is_left(monkeypatch):
    monkeypatch.setattr("icey.mqtt.subscriptions.MOST_ASKED", 2)
    some, connection = busy()
    some.add("a", 0, "route", None)
    some.answered(1, b"\0")
    some.remove("a", None)
    some.add("a", 0, "route", None)
    some.remove("a", None)  # it waits: two requests are out
    some.left(2)
    assert connection.take() == [("+", ["a0"]), ("-", ["a"]), ("+", ["a0"]), ("-", ["a"])]
