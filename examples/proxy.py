"""A forward proxy: a plain request is asked again on the client's behalf, CONNECT becomes a tunnel.

    python3 examples/proxy.py 3128        then, elsewhere: curl -x http://127.0.0.1:3128 http://...
Whoever reads slowly has the other side paused. A request's body is gathered first (up to 1 MiB).
"""
import os
import sys
import tempfile

try:
    import icey
except ImportError:  # run from a checkout, with nothing installed
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    import icey

HOP = {"connection", "keep-alive", "proxy-connection", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade",
       "expect"}  # fields between two neighbours, not for those beyond (RFC 9110 section 7.6.1)


class Pipe(icey.Adapter):
    """What comes in on its stream goes out on the other one."""
    def __init__(self, other):
        self.other = other
        self.on_drain, self.on_close, self.on_end = other.resume, other.close, other.shutdown

    def on_data(self, view):
        if not self.other.closing and not self.other.send_owned(view):
            self.stream.pause()


def tunnel(exchange):
    upstream = icey.TCPSocket(exchange.loop)
    upstream.on_connect += lambda upstream: (
        exchange.send_header(), exchange.replace_adapter(Pipe(upstream)), Pipe(exchange.connection.stream).use(upstream))
    upstream.on_error += lambda upstream, exc: exchange.respond(502, str(exc).encode())
    exchange.on_close += lambda exchange: upstream.close()
    upstream.connect(icey.Address.parse(exchange.request.target), timeout=10)


def forward(exchange):
    def answer(upstream):
        exchange.response.status = upstream.response.status
        exchange.response.headers = icey.http.Headers([f for f in upstream.response.headers.items() if f[0] not in HOP])
        exchange.send_header()
    request, fields = exchange.request, [f for f in exchange.request.headers.items() if f[0] not in HOP]
    upstream = icey.http.ClientConnection(exchange.loop, request.target, method=request.method, headers=fields)
    upstream.on_headers += answer
    upstream.on_payload += lambda upstream, view: exchange.send_owned(view) or upstream.pause()
    upstream.on_complete += lambda upstream: (exchange.end(), upstream.close())
    upstream.on_error += lambda up, exc: exchange.abort() if up.response else exchange.respond(502, str(exc).encode())
    exchange.on_drain += lambda exchange: upstream.resume()
    exchange.on_close += lambda exchange: upstream.close()
    exchange.collect(lambda exchange, body: upstream.start(body=body or None))


def check(loop, proxy):
    """Asks an origin through the proxy, in clear and over TLS."""
    from icey.tools.certificate import self_signed_files
    answers = []
    with tempfile.TemporaryDirectory() as folder:
        context = icey.tls.server_context(*self_signed_files(folder, ["127.0.0.1"]))
        client = icey.http.Client(loop, proxy=proxy, tls=icey.tls.client_context(ca=folder + "/cert.pem"))
    for scheme, tls in (("http", None), ("https", context)):
        origin = icey.http.Server(loop, "127.0.0.1", 0, tls=tls).start()
        origin.on_request += lambda exchange: exchange.respond(200, b"%d" % exchange.secure * 99999)
        client.request("GET", "%s://%s/" % (scheme, origin.address), done=lambda *both: answers.append(both))
    while len(answers) < 2:
        loop.run_once()
    assert sorted(answer.body for answer, _ in answers) == [b"0" * 99999, b"1" * 99999], answers
    [handle.close() for handle in loop.handles]
    loop.run()


with icey.Loop() as loop:
    port = next((int(argument) for argument in sys.argv[1:] if argument.isdigit()), 0)
    server = icey.http.Server(loop, "127.0.0.1", port).start()
    server.on_request += lambda exchange: (tunnel if exchange.request.method == "CONNECT" else forward)(exchange)
    print("proxy: http://%s" % server.address, flush=True)
    check(loop, "http://%s" % server.address) if "--check" in sys.argv else icey.run(loop, server)
