"""The HTTP servers that http_hello.py and bodies.py measure, and what starts each: `raw`, `icey`, `against`, `go`, `node`,
`uvicorn`, `waitress`.

    raw      epoll, recv, send: nothing is parsed, the answer is a constant. The floor: no Python server can cost less. It reads
             up to 72 KiB at once, and takes what is asked for only by its length.
    icey     `icey.http.Server` as a user gets it: default limits and deadlines, no access log.
    against  the same from a second checkout.
    go       net/http of Go, of whatever version there is; on one core, as all are.
    node     the http module of Node.
    uvicorn  uvicorn with uvloop and httptools, all C, without an access log: the usual fast stack of Python.
    waitress an all-Python server of WSGI applications, with its default of four threads.

Each is what a user of that server would write, and offers the same (icey: one of it, as a server of one page would):

    GET  /headers  "Hello, World!" with three more headers
    GET  /stream   the same in two pieces, chunked
    POST /...      the body is read as it comes, and its size is the answer
    GET  /...      "Hello, World!", text/plain

It measures nothing. Every server prints the port it has found.
"""

import importlib.util
import os
import select
import shutil
import socket
import subprocess
import sys

import harness

BODY = b"Hello, World!"
READ = 73728  # bytes of a read of RAW's: 64 KiB and a head
PEERS = ("go", "node", "uvicorn", "waitress")
GO_PLACES = ("/usr/lib/go/bin/go", "/usr/local/go/bin/go")  # Debian's golang-go, and go.dev's archive

# -- RAW -------------------------------------------------------------------------------------------------------------

RAW_ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: raw\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
    b"Content-Type: text/plain\r\n%sContent-Length: 13\r\n\r\n" + BODY
)


def serve_raw(closing=False, size=0, pipelined=0):
    """Answer every read with the constant, whatever was read: on loopback a request of 1 KiB is never split.

    closing: close behind the answer. size: bytes of a request that comes in several reads. pipelined: bytes of a request of
    which several come in one read.
    """
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    listener.setblocking(False)
    epoll = select.epoll()
    epoll.register(listener.fileno(), select.EPOLLIN)
    print(listener.getsockname()[1], flush=True)
    answer = RAW_ANSWER % (b"Connection: close\r\n" if closing else b"")
    listening, connections, came = listener.fileno(), {}, {}
    poll, register = epoll.poll, epoll.register
    while True:
        for fd, _ in poll():
            if fd == listening:
                sock = listener.accept()[0]
                sock.setblocking(False)
                connections[sock.fileno()] = sock
                came[sock.fileno()] = 0
                register(sock.fileno(), select.EPOLLIN)
                continue
            sock = connections[fd]
            try:
                data = sock.recv(READ)
                if data:
                    if size:
                        came[fd] += len(data)
                        if came[fd] >= size:
                            came[fd] -= size
                            sock.send(answer)
                    elif pipelined:
                        came[fd] += len(data)
                        whole, came[fd] = divmod(came[fd], pipelined)
                        sock.send(answer * whole)
                    else:
                        sock.send(answer)
            except OSError:
                data = b""
            if closing or not data:
                del connections[fd]
                sock.close()


# -- icey ------------------------------------------------------------------------------------------------------------


def serve_icey(root, handler="hello", keep_alive=None):
    """The server as a user writes it. `keep_alive` (seconds, None: the default) is for idle.py, which waits longer."""
    icey = harness.serve_from(root)

    def hello(exchange):
        exchange.respond(200, BODY, content_type="text/plain")

    def headers(exchange):
        exchange.respond(200, BODY, "text/plain", [
            ("ETag", '"5f2c-61a8b"'), ("Cache-Control", "no-cache"), ("X-Content-Type-Options", "nosniff")])

    def stream(exchange):
        exchange.response.headers["Content-Type"] = "text/plain"
        exchange.send(b"Hello, ")
        exchange.send(b"World!")
        exchange.end()

    def sink(exchange):
        exchange.data = 0
        exchange.on_payload += payload
        exchange.on_complete += complete

    def payload(exchange, view):
        exchange.data += len(view)

    def complete(exchange):
        exchange.respond(200, b"%d" % exchange.data, "text/plain")

    limits = None if keep_alive is None else icey.Limits(keep_alive_timeout=keep_alive)
    loop = icey.Loop()
    server = icey.http.Server(loop, "127.0.0.1", 0, limits=limits)
    server.on_request += {"hello": hello, "headers": headers, "stream": stream, "sink": sink}[handler]
    server.start()
    print(server.address.port, flush=True)
    loop.run()


# -- the others ------------------------------------------------------------------------------------------------------


def serve_uvicorn():
    import uvicorn

    plain = (b"content-type", b"text/plain")
    length = (b"content-length", b"%d" % len(BODY))
    more = [(b"etag", b'"5f2c-61a8b"'), (b"cache-control", b"no-cache"), (b"x-content-type-options", b"nosniff")]

    async def app(scope, receive, send):
        path, body = scope["path"], BODY
        if scope["method"] == "POST":
            size, going = 0, True
            while going:
                message = await receive()
                size += len(message.get("body", b""))
                going = message.get("more_body", False)
            body = b"%d" % size
            headers = [plain, (b"content-length", b"%d" % len(body))]
        elif path == "/headers":
            headers = [plain, length, *more]
        elif path == "/stream":
            await send({"type": "http.response.start", "status": 200, "headers": [plain]})
            await send({"type": "http.response.body", "body": b"Hello, ", "more_body": True})
            await send({"type": "http.response.body", "body": b"World!", "more_body": True})
            await send({"type": "http.response.body", "body": b""})
            return
        else:
            headers = [plain, length]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    listener = listen()
    config = uvicorn.Config(app, loop="uvloop", http="httptools", ws="none", lifespan="off", access_log=False,
                            log_level="warning", backlog=1024, timeout_keep_alive=30)
    uvicorn.Server(config).run(sockets=[listener])


def serve_waitress():
    import logging

    import waitress

    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # it tells of each request that waits for a thread
    plain = ("Content-Type", "text/plain")
    length = ("Content-Length", str(len(BODY)))
    more = [("ETag", '"5f2c-61a8b"'), ("Cache-Control", "no-cache"), ("X-Content-Type-Options", "nosniff")]

    def app(environ, start_response):
        path = environ["PATH_INFO"]
        if environ["REQUEST_METHOD"] == "POST":
            size, source = 0, environ["wsgi.input"]
            for data in iter(lambda: source.read(65536), b""):
                size += len(data)
            body = b"%d" % size
            start_response("200 OK", [plain, ("Content-Length", str(len(body)))])
            return [body]
        if path == "/stream":
            start_response("200 OK", [plain])
            return iter([b"Hello, ", b"World!"])
        start_response("200 OK", [plain, length] + more * (path == "/headers"))
        return [BODY]

    waitress.create_server(app, sockets=[listen()]).run()


def listen():
    """A listening socket, whose port is told."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    print(listener.getsockname()[1], flush=True)
    return listener


NODE = """\
"use strict";
const BODY = "Hello, World!";
const server = require("http").createServer((request, response) => {
  if (request.method === "POST") {
    let size = 0;
    request.on("data", (piece) => { size += piece.length; });
    request.on("end", () => {
      const text = String(size);
      response.writeHead(200, { "Content-Type": "text/plain", "Content-Length": text.length });
      response.end(text);
    });
  } else if (request.url === "/headers") {
    response.writeHead(200, { "Content-Type": "text/plain", "Content-Length": BODY.length, "ETag": '"5f2c-61a8b"',
      "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff" });
    response.end(BODY);
  } else if (request.url === "/stream") {
    response.writeHead(200, { "Content-Type": "text/plain" });
    response.write("Hello, ");
    response.write("World!");
    response.end();
  } else {
    response.writeHead(200, { "Content-Type": "text/plain", "Content-Length": BODY.length });
    response.end(BODY);
  }
});
server.keepAliveTimeout = 30000;
server.listen({ port: 0, host: "127.0.0.1", backlog: 1024 }, () => console.log(server.address().port));
"""

GO = """\
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
)

var body = []byte("Hello, World!")

func answer(w http.ResponseWriter, r *http.Request) {
	headers := w.Header()
	headers.Set("Content-Type", "text/plain")
	if r.Method == "POST" {
		size, _ := io.Copy(io.Discard, r.Body)
		w.Write([]byte(strconv.FormatInt(size, 10)))
		return
	}
	switch r.URL.Path {
	case "/headers":
		headers.Set("ETag", "\\"5f2c-61a8b\\"")
		headers.Set("Cache-Control", "no-cache")
		headers.Set("X-Content-Type-Options", "nosniff")
		w.Write(body)
	case "/stream":
		w.Write(body[:7])
		w.(http.Flusher).Flush()
		w.Write(body[7:])
	default:
		w.Write(body)
	}
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	panic(http.Serve(listener, http.HandlerFunc(answer)))
}
"""


def go_tool():
    """The path of the go command, None where there is none."""
    beside = os.path.join(os.path.dirname(sys.executable), "go")
    return shutil.which("go") or next((path for path in (beside, *GO_PLACES) if os.access(path, os.X_OK)), None)


def missing(peer):
    """Why a peer cannot be measured here, None if it can."""
    if peer == "go":
        return None if go_tool() else "no `go` on the PATH (Debian: apt-get install golang-go)"
    if peer == "node":
        return None if shutil.which("node") else "no `node` on the PATH (Debian: apt-get install nodejs)"
    wanted, package = (["waitress"], "waitress") if peer == "waitress" else (
        ["uvicorn", "uvloop", "httptools"], "uvicorn[standard]")
    lacking = [name for name in wanted if importlib.util.find_spec(name) is None]
    if not lacking:
        return None
    return "%s not installed in %s (pip install '%s')" % (", ".join(lacking), sys.executable, package)


def present(peers):
    """Those of `peers` that are installed; says which are not."""
    there = []
    for peer in peers:
        why = missing(peer)
        if why is None:
            there.append(peer)
        else:
            print("left out: %s: %s" % (peer, why), file=sys.stderr)
    return there


def version(peer):
    """What Go or Node is, for the line below a table."""
    if peer == "go":
        return "Go " + subprocess.check_output([go_tool(), "version"], universal_newlines=True).split()[2].replace("go", "")
    return "Node " + subprocess.check_output(["node", "--version"], universal_newlines=True).strip().lstrip("v")


def build(peer, folder):
    """Makes what a peer needs in `folder`; returns its command."""
    if peer in ("uvicorn", "waitress"):
        return [sys.executable, os.path.abspath(__file__), peer]
    path = os.path.join(folder, "server.go" if peer == "go" else "server.js")
    program = os.path.join(folder, "goserver")
    if not os.path.exists(path):
        with open(path, "w") as out:
            out.write(GO if peer == "go" else NODE)
        if peer == "go":
            env = dict(os.environ, GO111MODULE="off", GOFLAGS="", CGO_ENABLED="0",
                       GOCACHE=os.environ.get("GOCACHE") or os.path.join(folder, "gocache"))
            done = subprocess.run([go_tool(), "build", "-o", program, path], env=env, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, universal_newlines=True)
            if done.returncode:
                raise harness.BenchError("go build failed: %s" % done.stdout)
    return [program] if peer == "go" else ["node", path]


def main(argv):
    """As a child: raw [closing] [size=N] [pipelined=N] | icey ROOT [HANDLER [SECONDS]] | uvicorn | waitress"""
    if argv[0] == "raw":
        given = dict(word.partition("=")[::2] for word in argv[1:])
        serve_raw("closing" in given, int(given.get("size", 0)), int(given.get("pipelined", 0)))
    elif argv[0] == "icey":
        serve_icey(argv[1], *argv[2:3], *map(float, argv[3:]))
    elif argv[0] == "uvicorn":
        serve_uvicorn()
    elif argv[0] == "waitress":
        serve_waitress()


if __name__ == "__main__":
    main(sys.argv[1:])
