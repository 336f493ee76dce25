"""A forward proxy: a plain request is asked again on the client's behalf, CONNECT becomes a tunnel. Or a reverse proxy.

    python3 examples/proxy.py 3128        then, elsewhere: curl -x http://127.0.0.1:3128 http://...
    python3 examples/proxy.py 8080 --to http://127.0.0.1:8000      one server before another
Bodies go through as they come, both ways: whoever takes them slowly has the other side paused. What is between two neighbours
goes no further (RFC 9110 section 7.6), and what one side cuts is cut on the other.
"""
import argparse
import os
import sys
import tempfile

try:
    import icey
except ImportError:  # run from a checkout, with nothing installed
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    import icey

HOP = {"connection", "keep-alive", "proxy-connection", "proxy-authorization", "proxy-authenticate", "te", "trailer",
       "transfer-encoding", "upgrade", "expect", "host"}  # "host": whom the target names is asked, whatever Host says


class Pipe(icey.Adapter):
    """What comes in on its stream goes out on the other one."""
    def __init__(self, other):
        self.other = other
        self.on_drain, self.on_close, self.on_end = other.resume, other.close, other.shutdown
        self.on_error = lambda exc: other.abort()

    def on_data(self, view):
        if not self.other.closing and not self.other.send_owned(view):
            self.stream.pause()


def onward(message):
    """The fields of a message that are for those beyond: without those of HOP, and those that Connection names."""
    named = {name.strip().lower() for value in message.headers.get_all("connection") for name in value.split(",")}
    fields = [(name, value) for name, value in message.headers.items() if name.lower() not in HOP | named]
    return [*fields, ("Via", message.version + " icey")]


def tunnel(exchange):
    try:
        target = icey.Address.parse(exchange.request.target)
    except ValueError as wrong:
        raise icey.HttpError(400, str(wrong)) from None
    upstream = icey.TCPSocket(exchange.loop)
    upstream.on_connect += lambda upstream: (
        exchange.send_header(), exchange.replace_adapter(Pipe(upstream)), Pipe(exchange.connection.stream).use(upstream))
    upstream.on_error += lambda upstream, exc: exchange.respond(502, str(exc).encode())
    exchange.on_close += lambda exchange: upstream.close()
    upstream.connect(target, timeout=10)


def forward(exchange):
    """Asks whom the request names."""
    target = exchange.request.target
    scheme = target.partition("://")[0].lower()
    if exchange.request.method == "TRACE" or target == "*":  # it would show others the fields that are for us
        raise icey.HttpError(405, "not through this proxy", {"Allow": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, CONNECT"})
    if target.startswith("/"):
        raise icey.HttpError(400, "this is a proxy: ask it for a whole URL")
    if scheme not in ("http", "https"):
        raise icey.HttpError(501, "no proxy for %s:" % scheme)
    pass_on(exchange, target, [])


def reverse(exchange, origin):
    """Asks the one server that stands behind, and tells it who asks for what: see http.forwarded."""
    request = exchange.request
    if request.method == "TRACE" or not request.target.startswith("/"):
        raise icey.HttpError(405, "not through this server", {"Allow": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"})
    pass_on(exchange, origin.rstrip("/") + request.target, [
        ("X-Forwarded-For", exchange.peer.host), ("X-Forwarded-Host", request.host),
        ("X-Forwarded-Proto", "https" if exchange.secure else "http")])


def pass_on(exchange, url, more):
    """Asks for `url`, with the fields `more`, and answers what is answered."""
    def answer(upstream):
        exchange.response.status = upstream.response.status
        exchange.response.headers = icey.http.Headers(onward(upstream.response))
        exchange.send_header()
    request = exchange.request
    told = {name.lower() for name, _ in more}
    fields = [(name, value) for name, value in onward(request) if name.lower() not in told] + more
    chunked = "transfer-encoding" in request.headers
    if chunked:
        fields.append(("Transfer-Encoding", "chunked"))  # ours: each neighbour frames for itself
    try:
        upstream = icey.http.ClientConnection(exchange.loop, url, method=request.method, headers=fields)
    except ValueError as wrong:
        raise icey.HttpError(400, str(wrong)) from None
    upstream.on_headers += answer
    upstream.on_payload += lambda upstream, view: exchange.send_owned(view) or upstream.pause()
    upstream.on_complete += lambda upstream: (exchange.end(), upstream.close())
    upstream.on_error += lambda up, exc: exchange.abort() if up.response else exchange.respond(502, str(exc).encode())
    exchange.on_drain += lambda exchange: upstream.resume()
    exchange.on_close += lambda exchange: upstream.close()
    upstream.start()
    if chunked or "content-length" in request.headers:
        exchange.on_payload += lambda exchange, view: upstream.send_owned(view) or exchange.pause()
        exchange.on_complete += lambda exchange: upstream.end()
        upstream.on_drain += lambda upstream: exchange.resume()


def check(loop, proxy):
    """Asks an origin through the proxy, in clear and over TLS; then long bodies through both kinds, there and back."""
    from icey.tools.cli.certificate import self_signed_files
    answers, asked = [], []
    with tempfile.TemporaryDirectory() as folder:
        context = icey.tls.server_context(*self_signed_files(folder, ["127.0.0.1"]))
        client = icey.http.Client(loop, proxy=proxy, tls=icey.tls.client_context(ca=folder + "/cert.pem"))
    for scheme, tls in (("http", None), ("https", context)):
        origin = icey.http.Server(loop, "127.0.0.1", 0, tls=tls).start()
        origin.on_request += lambda exchange: asked.append(exchange.request)
        origin.on_request += lambda exchange: exchange.respond(200, b"%d" % exchange.secure * 99999)
        client.request("GET", "%s://%s/" % (scheme, origin.address), headers=[("X-Hop", "1"), ("Connection", "x-hop")],
                       done=lambda *both: answers.append(both))
    client.request("GET", proxy + "/", done=lambda *both: answers.append(both))  # the proxy asks itself, for no whole URL
    while len(answers) < 3:
        loop.run_once()
    assert sorted(answer.body for answer, _ in answers[:3] if answer.status == 200) == [b"0" * 99999, b"1" * 99999], answers
    assert [answer.status for answer, _ in answers].count(400) == 1, answers
    assert [request.headers.get("x-hop") for request in asked if "via" in request.headers] == [None], asked

    def echo(exchange):  # each piece as it comes: both bodies are under way at once
        exchange.on_payload += lambda exchange, view: exchange.send_owned(view) or exchange.pause()
        exchange.on_drain += lambda exchange: exchange.resume()
        exchange.on_complete += lambda exchange: exchange.end()

    body, origin, front = os.urandom(5 << 20), icey.http.Server(loop, "127.0.0.1", 0), icey.http.Server(loop, "127.0.0.1", 0)
    origin.on_request += lambda exchange: (asked.append(exchange.request), echo(exchange))
    front.on_request += lambda exchange: reverse(exchange, "http://%s" % origin.address)
    origin.start(), front.start()
    direct = icey.http.Client(loop)
    direct.request("POST", "http://%s/there" % front.address, body=body, done=lambda *both: answers.append(both))
    client.request("PUT", "http://%s/there" % origin.address, body=iter([body]), done=lambda *both: answers.append(both))
    while len(answers) < 5:
        loop.run_once()
    assert [answer.body == body for answer, _ in answers[3:]] == [True, True], answers
    hosts = {request.method: request.headers.get("x-forwarded-host") for request in asked}
    assert hosts == {"GET": None, "PUT": None, "POST": str(front.address)}, hosts
    [handle.close() for handle in loop.handles]
    loop.run()


options = argparse.ArgumentParser(description="A forward proxy, or a reverse one.")
options.add_argument("port", nargs="?", type=int, default=0, help="the port to listen on (default: any that is free)")
options.add_argument("--to", metavar="URL", help="be a reverse proxy: stand before this server")
options.add_argument("--inspect", metavar="PORT", help="and show on a page at this port what the loop does")
options.add_argument("--check", action="store_true", help="ask through it, then exit")
chosen = options.parse_args()
with icey.Loop() as loop:
    server = icey.http.Server(loop, "127.0.0.1", chosen.port).start()
    if chosen.to:
        server.on_request += lambda exchange: reverse(exchange, chosen.to)
    else:
        server.on_request += lambda exchange: (tunnel if exchange.request.method == "CONNECT" else forward)(exchange)
    print("proxy: http://%s" % server.address, flush=True)
    check(loop, "http://%s" % server.address) if chosen.check else icey.run(loop, server, inspect=chosen.inspect)
