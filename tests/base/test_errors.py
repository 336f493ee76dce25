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
    assert str(kind("why")) == "%d why" % status
    error = kind("why", 431, [("A", "b")])
    assert (error.status, error.headers) == (431, [("A", "b")])
    assert kind.status == status


def test_WebSocketError_has_the_close_code():
    error = icey.WebSocketError(1002, "bad frame")
    assert (error.close_code, error.reason, str(error)) == (1002, "bad frame", "1002 bad frame")
