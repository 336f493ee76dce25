"""The error tree: what catches what, and errors that teach."""
import pytest

import icey

TREE = {
    "ContractError": ("IceyError", RuntimeError),
    "AffinityError": ("ContractError",),
    "BorrowError": ("ContractError",),
    "GraphError": ("ContractError",),
    "StateError": ("ContractError",),
    "QueueFull": ("IceyError", BufferError),
    "NetError": ("IceyError", OSError),
    "ResolveError": ("NetError",),
    "ConnectError": ("NetError",),
    "TLSError": ("NetError",),
    "PeerClosed": ("NetError",),
    "Deadline": ("NetError", TimeoutError),
    "ProtocolError": ("IceyError", ValueError),
    "HttpError": ("ProtocolError",),
    "BadRequest": ("HttpError",),
    "TooLarge": ("HttpError",),
    "IncompleteBody": ("HttpError",),
    "WebSocketError": ("ProtocolError",),
    "MqttError": ("ProtocolError",),
    "MqttRefused": ("NetError",),
}


@pytest.mark.parametrize("name", TREE)
def test_the_tree(name):
    for base in TREE[name]:
        assert issubclass(getattr(icey, name), getattr(icey, base) if isinstance(base, str) else base)


def test_IceyError_is_the_root():
    assert icey.IceyError.__bases__ == (Exception,)


@pytest.mark.parametrize("kind", [icey.AffinityError, icey.BorrowError, icey.GraphError, icey.StateError])
def test_a_contract_error_says_what_happened_which_contract_and_what_to_do(kind):
    error = kind("it happened", "do that")
    assert (error.what, error.fix) == ("it happened", "do that")
    assert kind.contract != icey.ContractError.contract
    assert str(error) == "it happened. Contract: %s. Instead: do that." % kind.contract


def test_a_contract_error_without_advice_leaves_that_part_out():
    assert str(icey.ContractError("it happened")) == "it happened. Contract: runtime contract."
    assert str(icey.StateError("it happened", contract="mine")) == "it happened. Contract: mine."
    assert icey.StateError.contract == "calls follow states"


def test_ConnectError_keeps_the_attempts():
    attempts = [("127.0.0.1:1", OSError(111, "refused"))]
    assert icey.ConnectError("no", attempts).attempts == attempts
    assert icey.ConnectError("no", iter(attempts)).attempts == attempts
    assert icey.ConnectError("no").attempts == []
    assert str(icey.ConnectError("cannot connect")) == "cannot connect"


def test_a_Deadline_is_caught_as_TimeoutError_and_as_OSError():
    for kind in (TimeoutError, OSError, icey.NetError):
        with pytest.raises(kind, match="late"):
            raise icey.Deadline("late")


def test_HttpError_has_status_reason_and_headers():
    error = icey.HttpError(404, "nothing here", [("X-Why", "gone")])
    assert (error.status, error.reason, error.headers) == (404, "nothing here", [("X-Why", "gone")])
    assert str(error) == "404 nothing here"
    assert (icey.HttpError().status, icey.HttpError().headers, str(icey.HttpError())) == (500, [], "500")


@pytest.mark.parametrize("kind, status", [(icey.BadRequest, 400), (icey.TooLarge, 413), (icey.RequestTimeout, 408),
                                          (icey.NotSupported, 501), (icey.IncompleteBody, 400)])
def test_the_kinds_of_HttpError_know_their_status_and_take_another(kind, status):
    assert kind().status == status
    assert str(kind("why")) == ("why" if kind is icey.IncompleteBody else "%d why" % status)  # a client's error, too
    error = kind("why", 431, [("A", "b")])
    assert (error.status, error.headers) == (431, [("A", "b")])
    assert kind.status == status


def test_WebSocketError_has_the_close_code():
    error = icey.WebSocketError(1002, "bad frame")
    assert (error.close_code, error.reason, str(error)) == (1002, "bad frame", "1002 bad frame")


def test_behind_the_lines_of_a_stack_the_contract_begins_on_a_line_of_its_own():
    error = icey.AffinityError("it was touched\nmade at:\n  file.py:1 in make\n", "hop")
    assert str(error) == "it was touched\nmade at:\n  file.py:1 in make\nContract: loop affinity. Instead: hop."


@pytest.mark.parametrize("status", ["Not found", "404", 404.0, b""])
def test_a_status_that_is_no_number(status):
    with pytest.raises(TypeError, match=r"^HttpError\(status, reason\): a status is a number, not "):
        icey.HttpError(status)


def test_a_full_queue_of_small_sends_says_why_so_few_bytes_fill_it():
    assert str(icey.QueueFull.of(90, 20, 100)) == "90 bytes queued, 20 more would pass max_queue 100: wait for on_drain"
    assert str(icey.QueueFull.of(86, 8, 3000)) == (
        "86 bytes queued, 8 more would pass max_queue 3000 (each small send counts for more): wait for on_drain")
