"""What is measured while somebody looks: rates, the slowest callbacks, and for whom they ran."""
import functools
import gc
import weakref

import pytest

import icey
from icey.tools.inspect import looking
from icey.tools.inspect.looking import Look, Reports
from tests.support import streams
from tests.support.loops import in_thread
from tests.support.streams import collect, turn

debug, clock, reports, loop = streams.debug, streams.clock, streams.reports, streams.loop


@pytest.fixture
def own():
    """Ids of what is the inspector's."""
    return set()


@pytest.fixture
def look(loop, own):
    look = Look(loop, lambda owner: id(owner) in own)
    yield look
    look.end()


@pytest.fixture
def every(monkeypatch):
    """Callbacks are noted down that took no time."""
    monkeypatch.setattr(looking, "SLOW", 0.0)


def who(look):
    return [(row["who"].partition(" (")[0].rpartition(".")[2], row["calls"], row["longest"]) for row in look.slots()]


def test_rates_are_of_half_a_second_at_least(loop, clock, look):
    assert look.rates() == {"turns": None, "busy": None}
    look.begin()
    look.begin()
    for _ in range(10):
        loop.call_soon(clock.advance, 0.01)
        turn(loop)
    assert look.rates() == {"turns": None, "busy": None}, "0.1 s are too few"
    clock.advance(0.9)
    assert look.rates() == {"turns": 10.0, "busy": 0.1}
    clock.advance(0.1)
    assert look.rates() == {"turns": 10.0, "busy": 0.1}, "who looks again at once sees the same"
    clock.advance(0.9)
    assert look.rates() == {"turns": 0.0, "busy": 0.0}
    look.end()
    look.end()
    assert look.rates() == {"turns": None, "busy": None}


def test_the_slowest_come_first_with_calls_and_times(loop, clock, look):
    def quick():
        clock.advance(0.001)

    def slow(seconds):
        clock.advance(seconds)

    look.begin()
    for seconds in (0.01, 0.03, 0.02):
        loop.call_soon(slow, seconds)
        loop.call_soon(quick)
        turn(loop)
    assert who(look) == [("slow", 3, pytest.approx(0.03)), ("quick", 3, pytest.approx(0.001))]
    assert look.slots()[0]["total"] == pytest.approx(0.06)
    look.end()
    loop.call_soon(slow, 5)
    turn(loop)
    look.begin()
    assert look.slots() == []


def test_what_took_less_than_a_tenth_of_a_millisecond_is_not_noted_down(loop, clock, look):
    look.begin()
    for seconds in (0.0, 0.00009, 0.00011):
        loop.call_soon(clock.advance, seconds)
    turn(loop)
    assert [row["calls"] for row in look.slots()] == [1]


def test_of_a_timer_and_an_idler_it_is_what_they_call(loop, clock, look):
    def tick(timer):
        clock.advance(0.001)

    def idle(idler):
        clock.advance(0.002)

    look.begin()
    icey.Timer(loop, 0, tick).start()
    icey.Timer(loop, 0, functools.partial(tick)).start()
    timer = icey.Timer(loop, 0)
    timer.on_timeout += lambda timer: clock.advance(0.003)
    timer.start()
    idler = icey.Idler(loop, idle).start()
    turn(loop)
    idler.stop()
    found = look.slots()
    assert sorted((row["calls"], round(row["longest"], 4)) for row in found) == [(1, 0.002), (1, 0.003), (2, 0.001)]
    assert found[0]["who"].startswith("on_timeout: ") and "test_looking.py" in found[0]["who"]
    assert "Timer.due" in found[0]["runs"]


def test_servers_are_told_apart_by_their_slots(loop, clock, look):
    def first(exchange):
        clock.advance(0.01)
        exchange.respond(200, b"1")

    def second(exchange):
        clock.advance(0.02)
        exchange.respond(200, b"2")

    look.begin()
    servers = [icey.http.Server(loop, "127.0.0.1", 0) for _ in range(2)]
    answers = []
    client = icey.http.Client(loop)
    for server, slot in zip(servers, (first, second)):
        server.on_request += slot
        server.start()
        client.request("GET", "http://%s/" % server.address, done=lambda answer, error: answers.append(answer.body))
    while len(answers) < 2:
        loop.run_once(0)
    seen = [row["who"].partition(" (")[0] for row in look.slots()[:2]]
    assert [text.rpartition(".")[2] for text in seen] == ["second", "first"] and seen[0].startswith("on_request: ")
    client.abort()
    for server in servers:
        server.close()
    turn(loop, 3)


def test_callables_of_any_kind_and_none_is_kept(loop, look, every):
    class Callable:
        __hash__ = None

        def __call__(self, *args):
            pass

        def method(self, *args):
            pass

    class Slotted:
        __slots__ = ("__weakref__",)

        def __eq__(self, other):
            raise ValueError

        def __getattr__(self, name):
            raise KeyError(name)

        def method(self):
            pass

    look.begin()
    thing, other, big = Callable(), Slotted(), Callable()
    functions = [thing, thing.method, functools.partial(thing, 1), int, [].clear, dict, lambda big=big: big, other.method]
    for fn in functions:
        loop.call_soon(fn)
        turn(loop)
    assert len(look.slots()) == len(functions) - 1, "an object and a partial of it are one"
    gone = [weakref.ref(one) for one in (thing, other, big)]
    del thing, other, big, functions, fn
    collect()
    assert [one() for one in gone] == [None, None, None]


def test_functions_made_again_and_again_are_one(loop, look, every):
    look.begin()
    for number in range(100):
        loop.call_soon(lambda number=number: number)
    turn(loop)
    assert [row["calls"] for row in look.slots()] == [100]


def test_so_many_are_told_apart_and_no_more(loop, look, every, monkeypatch):
    monkeypatch.setattr(looking, "MOST_SLOTS", 5)
    look.begin()
    for number in range(20):
        loop.call_soon(eval("lambda: %d" % number))
    turn(loop)
    assert len(look.slots()) == 5


def test_what_is_hidden_is_not_told(loop, look, every, own):
    mine, theirs = icey.Timer(loop, 0, lambda timer: None), icey.Timer(loop, 0, lambda timer: None)
    own.add(id(mine))
    look.begin()
    mine.start()
    theirs.start()
    turn(loop)
    assert [row["calls"] for row in look.slots()] == [1]


# streams

def test_a_stream_dies_while_it_is_counted_and_another_is_not_taken_for_it(look):
    look.begin()
    for _ in range(5):
        stream = icey.PacketStream("s")
        stream.start()
        assert look.entered([stream]) == {id(stream): 0}
        stream.write(b"x")
        assert look.entered([stream]) == {id(stream): 1}
        gone = weakref.ref(stream)
        stream.close()
        del stream
        collect()
        assert gone() is None
    assert look.entered([]) == {}


def test_one_that_is_not_shown_any_more_is_not_counted(look):
    look.begin()
    stream = icey.PacketStream("s")
    stream.start()
    look.entered([stream])
    stream.write(b"x")
    look.entered([])
    stream.write(b"x")
    assert look.entered([stream]) == {id(stream): 0}
    in_thread(stream.write, b"x")
    assert look.entered([stream]) == {id(stream): 1}
    stream.close()


# errors

def test_reports_are_bounded_and_equal_ones_are_one(loop, clock, reports, monkeypatch):
    noted = Reports(loop)
    for number in range(looking.MOST_ERRORS + 10):
        loop.report(type("Error%d" % number, (Exception,), {})("secret"), None)
        clock.advance(1)
    rows = noted.rows()
    assert len(rows) == looking.MOST_ERRORS and noted.count == looking.MOST_ERRORS + 10
    assert (rows[0]["type"], rows[0]["ago"], rows[0]["text"]) == ("Error59", 1.0, "") and rows[-1]["type"] == "Error10"
    for _ in range(3):
        loop.report(KeyError("secret"), icey.Timer(loop, 1))
    assert (noted.rows()[0]["type"], noted.rows()[0]["count"], noted.rows()[0]["handle"]) == ("KeyError", 3, "Timer")
    noted.end()
    loop.report(ValueError(), None)
    assert noted.count == looking.MOST_ERRORS + 13
    reports.clear()


def test_an_exception_that_was_noted_dies(loop, reports):
    noted, caught = Reports(loop), []

    class Error(Exception):
        pass

    def fail(big):
        raise Error("secret")

    class Big:
        pass

    big = Big()
    gone = weakref.ref(big)
    loop.call_soon(fail, big)
    del big
    turn(loop)
    reports.clear()
    collect()
    assert gone() is None and noted.rows()[0]["type"] == "Error" and caught == []
    assert not [one for one in gc.get_objects() if type(one) is Error] if hasattr(gc, "get_objects") else True
    noted.end()


def test_the_program_s_name(monkeypatch):
    for argv, name in ((["/a/b/c.py"], "c.py"), (["C:\\x\\y.py"], "y.py"), ([""], "python"), ([], "python"),
                       (["/a/shop/__main__.py"], "shop"), (["__main__.py"], "__main__.py"), (["-c"], "python -c")):
        monkeypatch.setattr("sys.argv", argv)
        assert looking.program() == name
