"""Nothing of an exchange needs the garbage collector: with it off, nothing is left of one that is over."""
import gc

import pytest

import icey
from icey.http import FormParser, Responder
from tests.support import http, needs, streams

needs("ssl")
from tests.support import https  # noqa: E402

certs = https.certs
debug, clock, reports, loop, site = http.debug, http.clock, http.reports, http.loop, http.site

pytestmark = pytest.mark.skipif(streams.PYPY, reason="it has nothing but a collector")

KINDS = ("Exchange", "ServerConnection", "FormParser", "MultipartReader", "PairReader", "Form", "FormFile", "_Gather", "_Feed",
         "Parser", "TCPSocket", "Request", "Response", "Responder", "LingeringClose", "Adapter", "TLSSocket", "Engine",
         "HeaderReader")

PARTS = b"--b\r\nContent-Disposition: form-data; name=\"a\"; filename=\"f\"\r\n\r\n%s\r\n--b--\r\n" % bytes(5000)
FORM = http.request("POST", "/", "Content-Type: multipart/form-data; boundary=b", body=PARTS)
PAIRS = http.request("POST", "/", "Content-Type: application/x-www-form-urlencoded", body=b"a=1&b=2")


@pytest.fixture
def uncollected():
    """The collector is off; at the end as much lives as in the beginning."""
    streams.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
        left = sorted(type(thing).__name__ for thing in gc.get_objects() if type(thing).__name__ in KINDS)
        assert left == []
    finally:
        gc.enable()  # what was frozen stays so: thawed, pytest's own objects would be looked at by each collection to come


def read_form(exchange):
    FormParser.read(exchange, lambda exchange, form: exchange.respond(200, b"%d" % len(form.files)))


def respond_later(exchange):
    exchange.loop.call_soon(exchange.respond, 200, b"late")


def in_pieces(exchange):
    exchange.on_close += http.ignore
    exchange.on_drain += http.ignore
    exchange.response.headers["X-A"] = "b"
    exchange.send(b"piece")
    exchange.end()


def by_file(exchange):
    import tempfile

    file = tempfile.TemporaryFile()
    file.write(b"content")
    file.flush()
    exchange.send_file(file, 0, 7)
    exchange.end()


def all_slots(exchange):
    for name in ("on_payload", "on_complete", "on_drain", "on_end", "on_close"):
        getattr(exchange, name).attach(lambda *args: exchange)
    exchange.collect(lambda exchange, body: exchange.respond(200, body))


def upgrade(exchange):
    exchange.response.status = 101
    exchange.response.headers["Upgrade"] = "echo"
    exchange.response.headers["Connection"] = "Upgrade"
    exchange.send_header()
    exchange.replace_adapter(icey.Adapter())


def raises(exchange):
    raise icey.HttpError(404, "not here")


class Handles(Responder):
    def on_complete(self, request, response):
        self.exchange.respond(200, b"by a responder")


SENT = {
    "plain": (lambda exchange: exchange.respond(200, b"x"), http.request()),
    "long way": (lambda exchange: exchange.respond(200, b"x", headers={"X-A": "b"}), http.request("HEAD")),
    "later": (respond_later, http.request()),
    "pieces": (in_pieces, http.request()),
    "1.0": (in_pieces, http.request(version="1.0")),
    "file": (by_file, http.request()),
    "error": (raises, http.request()),
    "unanswered": (http.ignore, http.request()),
    "upload": (all_slots, http.request("POST", body=bytes(10000))),
    "chunks": (all_slots, http.request("POST", chunks=[b"x"] * 100)),
    "half an upload": (all_slots, http.request("POST", body=bytes(1000))[:-10]),
    "too large": (lambda exchange: exchange.collect(http.ignore, 10), http.request("POST", body=bytes(1000))),
    "unread": (lambda exchange: exchange.respond(200), http.request("POST", body=bytes(1000))),
    "form": (read_form, FORM),
    "half a form": (read_form, FORM[:-10]),
    "cut form": (read_form, http.request("POST", "/", "Content-Type: multipart/form-data; boundary=b", body=PARTS[:-10])),
    "no form": (read_form, http.request("POST", "/", "Content-Type: text/plain", body=b"x")),
    "pairs": (read_form, PAIRS),
    "half the pairs": (read_form, PAIRS[:-2]),
    "malformed": (http.ignore, b"nonsense\r\n\r\n"),
    "upgrade": (upgrade, http.request("GET", "/", "Upgrade: echo", "Connection: Upgrade") + b"behind"),
}


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("kind", SENT)
def test_nothing_is_left(site, uncollected, kind, end):
    if kind == "unanswered" and end == "close":
        end = "reset"  # who only says its end may still want its answer
    slot, sent = SENT[kind]
    site.serve(slot)
    client = site.client()
    client.send(sent)
    site.turn(8)
    getattr(client, end)()
    assert site.gone()
    site.turn(3)


@pytest.mark.parametrize("options", [{}, {"proxy_protocol": ["10.0.0.0/8"]}, {"responder": Handles}])
def test_nothing_is_left_of_a_server(site, uncollected, options):
    server = site.serve(lambda exchange: exchange.respond(200), **options)
    site.client().close()
    site.turn(3)
    server.stop(5.0)
    site.until(lambda: site.server.closed)
    site.turn(3)
    site.server = None
    del server
    assert not [thing for thing in gc.get_objects() if type(thing).__name__ in ("Server", "Watchdog", "Unanswered", "Gate")]


def test_nothing_is_left_of_a_responder(site, uncollected):
    site.serve(responder=Handles)
    client = site.client()
    assert client.get().body == b"by a responder"
    client.close()
    assert site.gone()
    site.turn(3)


def test_between_two_requests_nothing_of_the_first_is_left(site, uncollected):
    site.serve(read_form)
    client = site.client()
    for _ in range(3):
        client.send(FORM)
        assert client.answer().body == b"1"
        site.turn(2)
        names = [type(thing).__name__ for thing in gc.get_objects()]
        assert not {"FormParser", "MultipartReader", "Form", "FormFile", "_Feed", "Exchange"}.intersection(names)
    client.close()
    assert site.gone()


def test_a_form_given_up_by_hand(uncollected):
    for kind, data in (("multipart/form-data; boundary=b", PARTS[:-20]), ("application/x-www-form-urlencoded", b"a=1&b")):
        parser = FormParser(kind)
        parser.feed(data)
        del parser


def test_a_connection_over_TLS(site, certs, uncollected):
    site.serve(lambda exchange: exchange.respond(200, b"x"), tls=https.server_context(certs))
    client = https.client(site, certs)
    assert client.get().body == b"x"
    client.close()
    assert site.gone()
    site.turn(3)
    site.clients.clear()
