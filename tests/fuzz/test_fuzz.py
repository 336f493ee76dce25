"""The fuzzers for a few seconds, with a seed that stays the same; run the scripts themselves for more."""
import pytest

from icey.http import Server, WebSocketCore, memo, websocket
from icey.http.connection import ServerConnection
from tests.fuzz import fuzz_parser, fuzz_server, fuzz_websocket, mutate


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


def test_the_parser():
    failures, said = ran(fuzz_parser, 6000, 20261)
    assert not failures, said
    assert said.startswith("seed 20261: 6000 messages")


@pytest.mark.parametrize("debug", [False, True], ids=["release", "debug"])
@pytest.mark.parametrize("limits", [None, fuzz_server.SMALL], ids=["default", "small"])
def test_a_live_server(debug, limits):
    failures, said = ran(fuzz_server, 1500, 20262, debug=debug, limits=limits)
    assert not failures, said
    assert "0 failures" in said


def test_a_websocket():
    failures, said = ran(fuzz_websocket, 6000, 20263)
    assert not failures, said
    assert said.startswith("seed 20263: 6000 inputs")


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


def unbounded(begin):
    """A core's _begin that forgets the limit."""
    def broken(core, *args):
        core._most = 1 << 30
        begin(core, *args)
    return broken


def test_the_scripts_take_arguments(capsys, monkeypatch):
    monkeypatch.setattr(fuzz_parser, "faulthandler", Watch)
    monkeypatch.setattr(fuzz_websocket, "faulthandler", Watch)
    assert fuzz_server.main(["--count", "10", "--seed", "1", "--debug", "--small"]) == 0
    assert fuzz_parser.main(["--count", "10"]) == 0
    assert fuzz_websocket.main(["--count", "10"]) == 0
    assert "0 failures" in capsys.readouterr().out


def test_seeds_are_short_and_many():
    assert len(mutate.requests()) > 200 and len(mutate.responses()) > 60 and len(mutate.accepted()) > 50
