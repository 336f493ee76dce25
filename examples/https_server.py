"""An HTTPS server: the same server as any, with a TLS context. Certificates and host names are checked by those who ask.

    python3 examples/https_server.py --cert cert.pem --key key.pem        then: curl --cacert cert.pem https://localhost:8443/
    python3 examples/https_server.py                                      with a certificate made on the spot: curl -k

--check asks it three times, with a client that trusts its certificate, one that trusts the system's authorities alone, and
one for another name: the first gets an answer, the others are told why not.
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

from icey.tools.cli.certificate import self_signed_files


def hello(exchange):
    text = "Hello %s, over %s\n" % (exchange.peer, exchange.connection.stream.version)
    exchange.respond(200, text.encode(), "text/plain; charset=utf-8")


def check(loop, server, cert):
    outcomes = []

    def ask(name, trusted):
        conn = icey.http.ClientConnection(loop, "https://%s/" % server.address, tls=trusted)
        conn.on_payload += lambda conn, view: outcomes.append(bytes(view).decode().strip())
        conn.on_complete += lambda conn: conn.close()
        conn.on_error += lambda conn, exc: outcomes.append("%s: %s" % (name, exc))
        conn.start()

    ask("trusts it", icey.tls.client_context(ca=cert))
    ask("trusts the system's authorities", icey.tls.client_context())
    other = icey.TLSSocket(loop, context=icey.tls.client_context(ca=cert), server_hostname="elsewhere.test")
    other.on_error += lambda sock, exc: outcomes.append("expects elsewhere.test: %s" % exc.reason)
    other.connect(server.address)
    while len(outcomes) < 3:
        loop.run_once()
    server.stop(drain=0)
    loop.run()
    print("\n".join(sorted(outcomes)))
    text = " ".join(outcomes)
    assert "over TLSv1." in text and "self" in text and "elsewhere.test" in text, outcomes
    print("OK: one answer, two refusals")


def main():
    options = argparse.ArgumentParser(description="An HTTPS server.")
    options.add_argument("--port", type=int, default=0, help="the port to listen on (default: any that is free)")
    options.add_argument("--cert", help="the certificate, PEM (default: one made on the spot)")
    options.add_argument("--key", help="its private key, PEM (default: in the same file)")
    options.add_argument("--inspect", metavar="PORT", help="and show on a page at this port what the loop does")
    options.add_argument("--check", action="store_true", help="run clients against it, then exit")
    chosen = options.parse_args()
    with icey.Loop() as loop, tempfile.TemporaryDirectory() as folder:
        cert, key = (chosen.cert, chosen.key) if chosen.cert else self_signed_files(folder, ["localhost", "127.0.0.1"])
        server = icey.http.Server(loop, "127.0.0.1", chosen.port, tls=icey.tls.server_context(cert, key))
        server.on_request += hello
        server.start()
        if chosen.check:
            check(loop, server, cert)
        else:
            print("saying hello at https://%s/, Ctrl-C ends it" % server.address)
            icey.run(loop, server, inspect=chosen.inspect)


if __name__ == "__main__":
    main()
