"""An HTTP client: several requests at once, on one loop, and each tells by a callback when its answer is here.

    python3 examples/fetch.py http://127.0.0.1:8000/ http://127.0.0.1:8000/later

`client.request` returns at once; `done(answer, error)` comes once, from the loop, with one of the two. Connections are kept
and shared. Nobody waits for anybody: --check asks a server in the same loop for three pages, of which each takes as long as
its name says, and the quickest is here first. For one request without a loop of your own there is `icey.http.fetch(url)`.
"""
import argparse
import os
import sys

try:
    import icey
except ImportError:  # run from a checkout, with nothing installed
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    import icey


def fetch_all(loop, urls, each):
    """Asks for all of `urls` at once; `each(url, answer, error)` as they are answered."""
    client = icey.http.Client(loop, timeout=20)
    for url in urls:
        client.request("GET", url, done=lambda answer, error, url=url: each(url, answer, error))
    client.close()  # takes no more requests, and ends when these are answered
    return client


def show(url, answer, error):
    print("%s: %s" % (url, error if answer is None else "%d %s, %d bytes" % (answer.status, answer.reason, len(answer.body))))


def check(loop):
    """A server for the client above."""
    server = icey.http.Server(loop, "127.0.0.1", 0)
    server.on_request += lambda exchange: loop.call_later(float(exchange.request.path[1:]), exchange.respond, 200, b"Hello")
    server.start()
    order = []
    urls = ["http://%s/%s" % (server.address, delay) for delay in ("0.4", "0.2", "0")]
    client = fetch_all(loop, urls, lambda *outcome: (order.append(outcome), show(*outcome)))
    client.on_close += lambda client: server.close()
    loop.run()
    assert [(url, answer.body) for url, answer, error in order] == [(url, b"Hello") for url in reversed(urls)], order
    print("OK: three answers, the quickest first")


def main():
    options = argparse.ArgumentParser(description="Fetches URLs, all at once.")
    options.add_argument("urls", nargs="*", metavar="URL")
    options.add_argument("--check", action="store_true", help="fetch from a server in the same loop, then exit")
    chosen = options.parse_args()
    with icey.Loop() as loop:
        if chosen.check:
            check(loop)
        fetch_all(loop, chosen.urls, show)
        loop.run()


if __name__ == "__main__":
    main()
