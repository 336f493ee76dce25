"""A server for the interop tests: python tests/interop/app.py prints its URL and runs until SIGTERM.

    /hello          13 bytes
    /echo           the request's body, streamed back as it comes, with backpressure
    /collected      the request's body, gathered first (up to 8 MiB), then sent back
    /later          /hello, 20 ms later
    /connections    how many connections were made, as a number
"""
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


ROUTES = {
    "/hello": hello,
    "/echo": echo,
    "/collected": collected,
    "/later": lambda exchange: exchange.loop.call_later(0.02, hello, exchange),
    "/connections": lambda exchange: exchange.respond(200, b"%d" % exchange.server.connections_made),
}


def route(exchange):
    ROUTES.get(exchange.request.path, lambda exchange: exchange.respond(404))(exchange)


def main():
    with icey.Loop() as loop:
        server = icey.http.Server(loop, "127.0.0.1", 0)
        server.on_request += route
        server.start()
        loop.call_soon(lambda: print("http://%s/" % server.address, flush=True))
        icey.run(loop, server)


if __name__ == "__main__":
    main()
