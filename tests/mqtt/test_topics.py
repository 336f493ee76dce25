"""Which filter takes which topic (section 4.7), and that a thousand filters cost a message no more than one."""
import pytest

from icey.mqtt.topics import KEPT, Routes, takes
from tests.support import seeds

TABLE = [  # filter, topics that it takes, topics that it does not
    ("sport/tennis/player1/#", ["sport/tennis/player1", "sport/tennis/player1/ranking", "sport/tennis/player1/score/wimbledon"],
     ["sport/tennis", "sport/tennis/player2", "sport/tennis/player10"]),
    ("sport/#", ["sport", "sport/a/b"], ["sports", "/sport", "Sport"]),
    ("#", ["a", "/", "a/b/c", "//", "a/$x"], ["$SYS", "$SYS/a", "$"]),
    ("sport/tennis/+", ["sport/tennis/player1", "sport/tennis/"], ["sport/tennis/player1/ranking", "sport/tennis"]),
    ("sport/+", ["sport/"], ["sport"]),
    ("+/+", ["/finance", "a/b", "/"], ["finance", "a/b/c", "$SYS/x"]),
    ("/+", ["/finance", "/"], ["finance", "a/b"]),
    ("+", ["finance", "a b"], ["/finance", "$x", "a/"]),
    ("$SYS/#", ["$SYS", "$SYS/a/b"], ["SYS/a"]),
    ("$SYS/monitor/+", ["$SYS/monitor/Clients"], ["$SYS/monitor"]),
    ("+/monitor/Clients", ["x/monitor/Clients"], ["$SYS/monitor/Clients"]),
    ("a/+/c", ["a/b/c", "a//c", "a/$b/c"], ["a/c", "a/b/d", "a/b/c/d"]),
    ("a/+/+/#", ["a/b/c", "a/b/c/d/e"], ["a/b"]),
    ("", [], ["a"]),
    ("a", ["a"], ["A", "a/", "/a"]),
    ("$share/group/a/+", ["a/b"], ["$share/group/a/b"]),
    ("$share/group", ["$share/group"], ["group"]),
]


@pytest.mark.parametrize("wanted, taken, others", TABLE, ids=[row[0] for row in TABLE])
def test_the_examples_of_the_specification_and_more(wanted, taken, others):
    routes = Routes(None)
    routes.add(wanted, wanted)
    for topic in taken:
        assert routes.find(topic) == (wanted,) and takes(wanted, topic)
    for topic in others:
        assert routes.find(topic) == (None,) and not takes(wanted, topic)


def test_a_route_is_called_once_whatever_filters_it_has():
    routes = Routes("rest")
    for wanted in ("a/#", "a/b", "+/b"):
        routes.add(wanted, "one")
    routes.add("a/b", "two")
    assert sorted(routes.find("a/b")) == ["one", "two"]
    assert routes.find("x") == ("rest",)


def test_what_is_removed_is_not_found_and_leaves_nothing():
    routes = Routes(None)
    for wanted in ("a/b/c", "a/+/c", "a/#", "a"):
        routes.add(wanted, wanted)
    assert set(routes.find("a/b/c")) == {"a/b/c", "a/+/c", "a/#"}
    routes.remove("a/+/c", "a/+/c")
    assert set(routes.find("a/b/c")) == {"a/b/c", "a/#"}
    for wanted in ("a/b/c", "a/#"):
        routes.remove(wanted, wanted)
    assert routes.find("a/b/c") == (None,) and routes.find("a") == ("a",)
    routes.remove("a", "a")
    assert not routes._root.below
    with pytest.raises(KeyError):
        routes.remove("a", "a")


def test_found_routes_are_remembered_up_to_a_bound():
    routes = Routes(None)
    routes.add("a/#", 1)
    for number in range(KEPT + 10):
        assert routes.find("a/%d" % number) == (1,)
    assert len(routes.found) <= KEPT


def test_the_tree_agrees_with_the_rule_at_random():
    rng = seeds.rng()
    for _ in range(seeds.rounds(40, 400)):
        filters = {"/".join(levels(rng, ("a", "b", "", "$x", "+", "+"))) + rng.choice(("", "", "/#")) for _ in range(30)}
        filters |= {"#"} if rng.random() < 0.3 else set()
        routes = Routes(None)
        for wanted in sorted(filters):
            routes.add(wanted, wanted)
        gone = rng.sample(sorted(filters), len(filters) // 3)
        for _ in range(40):
            topic = "/".join(levels(rng, ("a", "b", "", "$x", "c"))) or "a"
            expected = {wanted for wanted in filters if takes(wanted, topic)}
            assert set(routes.find(topic)) == (expected or {None}), topic
            if gone:
                wanted = gone.pop()
                routes.remove(wanted, wanted)
                filters.discard(wanted)


def levels(rng, names):
    return [rng.choice(names) for _ in range(rng.randrange(1, 5))]


class Counted(dict):
    """A dictionary that counts how often it was looked into."""

    looks = 0

    def __contains__(self, key):
        Counted.looks += 1
        return super().__contains__(key)


def test_a_thousand_filters_cost_a_new_topic_no_more_than_ten(monkeypatch):
    def looks(filters):
        routes = Routes(None)
        for number in range(filters):
            routes.add("house/%d/+/temperature" % number, number)
        def counted(level):
            level.below = Counted({name: counted(below) for name, below in level.below.items()})
            return level
        counted(routes._root)
        Counted.looks = 0
        assert routes.find("house/7/kitchen/temperature") == (7,)
        return Counted.looks

    assert looks(1000) == looks(10) < 40
