"""What errors mean: exit statuses and lines."""
import pytest

import icey
from icey.http.semantics.url import URL
from icey.tools.cli import failures

HERE = URL.parse("http://u:p@a.test/x")


@pytest.mark.parametrize("exc, status, text", [
    (icey.ResolveError("cannot resolve 'a.test': no"), 3, "cannot resolve 'a.test': no"),
    (icey.ConnectError("cannot connect to a.test:80: refused"), 4, "cannot connect to a.test:80: refused"),
    (icey.TLSError("bad certificate"), 5, "http://a.test/x: bad certificate"),
    (icey.TLSError("self-signed certificate"), 5,
     "http://a.test/x: self-signed certificate; --ca FILE trusts the one who signed it, -k any"),
    (icey.TLSError("unable to get local issuer certificate"), 5,
     "http://a.test/x: unable to get local issuer certificate; --ca FILE trusts the one who signed it, -k any"),
    (icey.Deadline("waited 30 s"), 6, "http://a.test/x: waited 30 s"),
    (icey.Truncated("cut"), 7, "http://a.test/x: cut"),
    (icey.PeerClosed("closed"), 7, "http://a.test/x: closed"),
    (icey.BadResponse("odd"), 7, "http://a.test/x: odd"),
    (icey.IncompleteBody("cut: 2 of 10 bytes had come"), 7, "http://a.test/x: cut: 2 of 10 bytes had come"),
    (ConnectionResetError(104, "Connection reset by peer"), 7, "http://a.test/x: Connection reset by peer"),
    (icey.QueueFull("full"), 7, "http://a.test/x: full"),
    (ValueError("Content-Length is a number"), 2, "http://a.test/x: Content-Length is a number"),
    (TypeError("a body is bytes"), 2, "http://a.test/x: a body is bytes"),
    (icey.NetError("file.bin ended 5 bytes early"), 1, "http://a.test/x: file.bin ended 5 bytes early"),
    (FileNotFoundError(2, "No such file", "x"), 1, "http://a.test/x: No such file"),
    (icey.StateError("the body was sent", "pass bytes", "a rule"), 1, "http://a.test/x: the body was sent"),
    (ZeroDivisionError("oops"), 1, "http://a.test/x: oops"),
])
def test_what_an_error_means(exc, status, text):
    trouble = failures.trouble_of(exc, HERE)
    assert (trouble.status, str(trouble)) == (status, text)


def test_a_connection_that_ends_in_the_handshake_is_tls_s():
    assert failures.trouble_of(icey.Truncated("cut"), HERE, asked=False).status == 5
