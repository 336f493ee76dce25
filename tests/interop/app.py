"""A server for the interop tests: python tests/interop/app.py prints its URL and runs until SIGTERM.

    /hello          13 bytes
    /echo           the request's body, streamed back as it comes, with backpressure
    /collected      the request's body, gathered first (up to 8 MiB), then sent back
    /later          /hello, 20 ms later
    /connections    how many connections were made, as a number
    /tls            what is known of this connection's TLS, as JSON; it is the last answer on it
    /tls.html       a page that asks for /tls three times, and shows what it got

    --cert FILE [--key FILE]        the same over TLS
    --client-ca FILE                clients have to show a certificate
    --alpn PROTOCOL                 may be given several times, best first
    --sni NAME=CERT,KEY             another certificate for clients that ask for NAME; may be given several times
    --echo                          no HTTP: what comes goes back, until the client's end
"""
import argparse
import json

import icey


def echo(exchange):
    def piece(exchange, view):
        if not exchange.send_owned(view):
            exchange.pause()

    exchange.response.headers["Content-Type"] = "application/octet-stream"
    exchange.on_drain += lambda exchange: exchange.resume()
    exchange.on_complete += lambda exchange: exchange.end()
    exchange.on_payload += piece


def collected(exchange):
    exchange.collect(lambda exchange, body: exchange.respond(200, body, "application/octet-stream"), 8 << 20)


def hello(exchange):
    exchange.respond(200, b"Hello, World!", "text/plain")


PAGE = """\
<!doctype html><title>TLS</title><link rel="icon" href="data:,">
<script>
for (let count = 0; count < 3; count++) {
    const request = new XMLHttpRequest();
    request.open("GET", "/tls", false);
    request.send();
    document.write(request.responseText);
}
</script>
"""


def known_of_tls(exchange):
    stream = exchange.connection.stream
    subject = dict(field for names in (stream.peer_certificate or {}).get("subject", ()) for field in names)
    known = {"version": stream.version, "alpn": stream.alpn, "reused": stream.session_reused,
             "client": subject.get("commonName")}
    exchange.respond(200, json.dumps(known).encode(), "application/json", {"Connection": "close"})


ROUTES = {
    "/hello": hello,
    "/echo": echo,
    "/collected": collected,
    "/later": lambda exchange: exchange.loop.call_later(0.02, hello, exchange),
    "/connections": lambda exchange: exchange.respond(200, b"%d" % exchange.server.connections_made),
    "/tls": known_of_tls,
    "/tls.html": lambda exchange: exchange.respond(200, PAGE.encode(), "text/html"),
}


def route(exchange):
    ROUTES.get(exchange.request.path, lambda exchange: exchange.respond(404))(exchange)


def serve(loop, context):
    server = icey.http.Server(loop, "127.0.0.1", 0, tls=context)
    server.on_request += route
    return server.start()


def serve_echo(loop, context):
    def accept(listener, sock):
        sock = icey.start_tls(sock, context, server_side=True)
        sock.on_recv += lambda sock, view: sock.send_owned(view) or sock.pause()
        sock.on_drain += lambda sock: sock.resume()
        sock.on_error += lambda sock, exc: None  # the client's business

    listener = icey.TCPListener(loop, icey.Address("127.0.0.1", 0))
    listener.on_accept += accept
    return listener


def context_of(options):
    """The SSLContext that the options ask for, None for plain TCP."""
    if options.cert is None:
        return None
    others = {}
    for given in options.sni:
        name, _, files = given.partition("=")
        others[name] = icey.tls.server_context(*files.split(","), alpn=options.alpn)
    return icey.tls.server_context(options.cert, options.key, alpn=options.alpn, client_ca=options.client_ca,
                                   sni=others or None)


def main():
    parser = argparse.ArgumentParser()
    for flag in ("--cert", "--key", "--client-ca"):
        parser.add_argument(flag)
    for flag in ("--alpn", "--sni"):
        parser.add_argument(flag, action="append", default=[])
    parser.add_argument("--echo", action="store_true")
    options = parser.parse_args()
    context = context_of(options)
    with icey.Loop() as loop:
        server = (serve_echo if options.echo else serve)(loop, context)
        scheme = "http" if context is None else "https"
        loop.call_soon(lambda: print("%s://%s/" % (scheme, server.address), flush=True))
        icey.run(loop, server)
        for handle in loop.handles:  # connections that are echoed
            handle.abort()
        loop.run()


if __name__ == "__main__":
    main()
