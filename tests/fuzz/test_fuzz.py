"""The fuzzers for a few seconds, with a seed that stays the same; run the scripts themselves for more."""
import pytest

from icey.http import Server, WebSocketCore
from icey.http.http1 import headcache as memo
from icey.http.server.connection import ServerConnection
from icey.http.websocket import frames as websocket
from icey.mqtt import MqttCore, core as mqtt
from tests.fuzz import fuzz_mqtt, fuzz_parser, fuzz_server, fuzz_websocket, mutate
from tests.support import seeds


class Watch:
    """In the place of faulthandler, which needs a real stderr."""

    def dump_traceback_later(seconds, exit):
        assert seconds and exit

    def cancel_dump_traceback_later():
        pass


def ran(fuzz, *args, **options):
    said = []
    failures = fuzz.run(*args, say=said.append, **options)
    return failures, "\n".join(said)


def counts(few, many):
    return pytest.mark.parametrize("count", [few, pytest.param(many, marks=pytest.mark.slow)])


@counts(1000, 6000)
def test_the_parser(count):
    seed = seeds.seed(20261)
    failures, said = ran(fuzz_parser, count, seed)
    assert not failures, said
    assert said.startswith("seed %d: %d messages" % (seed, count))


@counts(200, 1500)
@pytest.mark.parametrize("debug", [False, True], ids=["release", "debug"])
@pytest.mark.parametrize("limits", [None, fuzz_server.SMALL], ids=["default", "small"])
def test_a_live_server(debug, limits, count):
    failures, said = ran(fuzz_server, count, seeds.seed(20262), debug=debug, limits=limits)
    assert not failures, said
    assert "0 failures" in said


@counts(700, 6000)
def test_a_websocket(count):
    seed = seeds.seed(20263)
    failures, said = ran(fuzz_websocket, count, seed)
    assert not failures, said
    assert said.startswith("seed %d: %d inputs" % (seed, count))


@counts(1500, 15000)
def test_an_mqtt_core(count):
    seed = seeds.seed(20264)
    failures, said = ran(fuzz_mqtt, count, seed)
    assert not failures, said
    assert said.startswith("seed %d: %d inputs" % (seed, count))


def test_a_run_is_repeated_by_its_seed(monkeypatch):
    fed = []

    def note(rng, pieces, options, memo):
        fed.append((pieces, options))
        return "noted"

    monkeypatch.setattr(fuzz_parser, "check", note)
    for seed in (1, 1, 2):
        assert not fuzz_parser.run(50, seed, say=len)
    assert fed[:50] == fed[50:100] != fed[100:]


def test_what_is_found_is_told_with_seed_and_input(monkeypatch, capsys):
    monkeypatch.setattr(fuzz_parser, "check", lambda *args: 1 // 0)
    monkeypatch.setattr(fuzz_parser, "faulthandler", Watch)
    assert fuzz_parser.main(["--count", "100", "--seed", "3"]) == 1
    said = capsys.readouterr().out
    assert said.startswith("seed 3, 100 messages")
    assert "seed 3, message 0: ZeroDivisionError" in said
    assert "10 failures: enough" in said


def test_a_difference_is_found(monkeypatch):
    def trusting(line):  # what is remembered was never checked
        name, _, value = line.partition(":")
        return name.lower(), value.strip(" \t")

    monkeypatch.setattr(memo, "field", trusting)
    failures, said = ran(fuzz_parser, 3000, 4)
    assert failures and "the strict reader tells" in said


def test_an_exception_in_the_engine_is_found(monkeypatch):
    monkeypatch.setattr(ServerConnection, "_next", lambda self: 1 // 0)
    failures, said = ran(fuzz_server, 200, 5)
    assert failures and "on_error got" in said


def test_a_server_that_neither_answers_nor_closes_is_found(monkeypatch):
    monkeypatch.setattr(fuzz_server, "PATIENT", 20)
    monkeypatch.setattr(Server, "_sweep", lambda self, timer: None)
    monkeypatch.setattr(ServerConnection, "_refuse", lambda self, exc: None)
    failures, said = ran(fuzz_server, 200, 6)
    assert failures and "neither answered nor closed" in said


def test_what_is_wrong_with_a_websocket_is_found(monkeypatch):
    for seed, (name, broken, text) in enumerate([
        ("_control_over", lambda core, opcode, payload: 1 // 0, "ZeroDivisionError"),
        ("_begin", unbounded(WebSocketCore._begin), "the limit is"),
    ]):
        with monkeypatch.context() as patch:
            patch.setattr(WebSocketCore, name, broken)
            failures, said = ran(fuzz_websocket, 2000, seed)
            assert failures and text in said
    monkeypatch.setattr(websocket, "turned", lambda key, count: key)
    failures, said = ran(fuzz_websocket, 2000, 7)
    assert failures and "in one piece it tells" in said and "seed 7, input " in said


def test_what_is_wrong_with_an_mqtt_core_is_found(monkeypatch):
    for seed, (home, name, broken, text) in enumerate([
        (MqttCore, "_suback", lambda core, rest: 1 // 0, "ZeroDivisionError"),
        (MqttCore, "_topic", lambda core, raw: raw.decode("utf-8", "replace"), "a plain reader finds"),
        (mqtt, "EXACT", {}, "IndexError"),
        (mqtt, "joined", lambda pieces: b"".join(pieces[1:]), "in one piece it tells"),
    ]):
        with monkeypatch.context() as patch:
            patch.setattr(home, name, broken)
            failures, said = ran(fuzz_mqtt, 3000, seed)
            assert failures and text in said and "seed %d, input " % seed in said


def unbounded(begin):
    """A core's _begin that forgets the limit."""
    def broken(core, *args):
        core._most = 1 << 30
        begin(core, *args)
    return broken


def test_the_scripts_take_arguments(capsys, monkeypatch):
    monkeypatch.setattr(fuzz_parser, "faulthandler", Watch)
    monkeypatch.setattr(fuzz_websocket, "faulthandler", Watch)
    monkeypatch.setattr(fuzz_mqtt, "faulthandler", Watch)
    assert fuzz_mqtt.main(["--count", "10"]) == 0
    assert fuzz_server.main(["--count", "10", "--seed", "1", "--debug", "--small"]) == 0
    assert fuzz_parser.main(["--count", "10"]) == 0
    assert fuzz_websocket.main(["--count", "10"]) == 0
    assert "0 failures" in capsys.readouterr().out


def test_seeds_are_short_and_many():
    assert len(mutate.requests()) > 200 and len(mutate.responses()) > 60 and len(mutate.accepted()) > 50
