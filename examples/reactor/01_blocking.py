"""01: an echo as one writes it first: wait for a client, wait for its bytes, send them back, wait for more.

    python3 examples/reactor/01_blocking.py      then, in two terminals: nc 127.0.0.1 PORT, with the port that it prints

Breaks without it: recv() waits, and while it waits this thread does nothing else. A second client is connected (the
kernel does that), and even its bytes have arrived, but nobody reads them until the first client leaves.
Idea: whoever waits needs a thread to wait in. So there is a thread for each client.
That works, and is how servers were written for long. It costs a stack for each client, most of them asleep, and what two
threads share needs a lock. The other nine lessons are one thread that waits for all clients at once.
Grown up: icey/net/listener.py, which accepts for a server without waiting
"""
import socket
import sys
import threading


def echo(sock):
    """One client, from its first byte to its last."""
    with sock:
        while True:
            data = sock.recv(65536)  # waits: until bytes come
            if not data:  # no bytes are the end: the client sends no more
                return
            sock.sendall(data)  # waits, too: until the kernel has taken them all


def one_at_a_time(listener):
    while True:
        sock, _ = listener.accept()  # waits: until a client comes
        echo(sock)


def thread_for_each(listener):
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=echo, args=(sock,), daemon=True).start()


def second_client(serve, patience):
    """Two clients come, and the second one speaks: what it hears within `patience` seconds, and when the first has left."""
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=serve, args=(listener,), daemon=True).start()
    address = listener.getsockname()
    with socket.create_connection(address) as first, socket.create_connection(address) as second:
        second.sendall(b"hello")
        second.settimeout(patience)
        try:
            return second.recv(100), None
        except socket.timeout:
            first.close()
            second.settimeout(5)
            return None, second.recv(100)


def check():
    assert second_client(one_at_a_time, 0.1) == (None, b"hello")
    print("breaks: the second client waits while the first says nothing, and is answered when that one has left")
    assert second_client(thread_for_each, 5) == (b"hello", None)
    print("mended: with a thread for each client the second is answered while the first says nothing")


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(check())
    listener = socket.create_server(("127.0.0.1", 0))  # 0: any port that is free
    print("echoing on 127.0.0.1 port %d, to one client at a time; Ctrl-C ends it" % listener.getsockname()[1], flush=True)
    one_at_a_time(listener)
