"""A server with one of the applications, in a process of its own: python serve.py icey|gunicorn|waitress FRAMEWORK

The first line says the port. Under icey, Python's validator stands around the application.
"""

import os
import socket
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(os.path.dirname(HERE)))
sys.path.insert(1, HERE)
THREADS = 4


def validated(app):
    """`app` within the validator. That one takes no read() without a size, which frameworks call where the body has an end."""
    from wsgiref.validate import validator

    def inner(environ, start_response):
        environ.pop("wsgi.input_terminated")
        return app(environ, start_response)

    return validator(inner)


def icey(app):
    import icey

    loop = icey.Loop()
    server = icey.http.Server(loop, "127.0.0.1", 0)
    server.on_request += icey.http.WSGI(app, threads=THREADS)
    server.start()
    print(server.address.port, flush=True)
    icey.run(loop, server)
    loop.close()


def listener():
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(128)
    print(sock.getsockname()[1], flush=True)
    return sock


def waitress(app):
    from waitress import create_server

    create_server(app, sockets=[listener()], threads=THREADS).run()


def gunicorn(app):
    from gunicorn.app.base import BaseApplication

    class Application(BaseApplication):
        def load_config(self):
            for name, value in {"bind": "fd://%d" % sock.fileno(), "worker_class": "gthread", "threads": THREADS,
                                "loglevel": "critical"}.items():
                self.cfg.set(name, value)

        def load(self):
            return app

    sock = listener()
    sock.set_inheritable(True)
    Application().run()


if __name__ == "__main__":
    import apps

    app = apps.make(sys.argv[2])
    if sys.argv[1] == "icey":
        app = validated(app)
    {"icey": icey, "plain": icey, "waitress": waitress, "gunicorn": gunicorn}[sys.argv[1]](app)
