"""Receive buffers are borrowed: what happens to one that is kept, and the two ways to keep its bytes.

    python3 examples/borrowed.py

Every read of every stream goes into the same memory, lent to the slot as a view. That is what makes reading cheap, and
it means that the view is dead when the slot returns. Three slots show it, each on a connection of its own:

    keeps the view      using it later raises ValueError, at once and for certain
    keeps a slice       Python does not revoke slices; debug mode finds them and names the slot in a BorrowError
    keeps the bytes     bytes(view) copies; send_owned(view) hands them on, copying only what the kernel refuses
"""
import os
import sys

try:
    import icey
except ImportError:  # run from a checkout, with nothing installed
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    import icey

stash: list = []


def keeps_the_view(sock, view):
    stash.append(view)  # wrong


def keeps_a_slice(sock, view):
    stash.append(view[:3])  # wrong too, and worse: the next read of anybody changes these bytes


def keeps_the_bytes(sock, view):
    stash.append(bytes(view))  # right: a copy
    sock.send_owned(view)      # right: the stream copies what it has to queue


def hear(slot, debug):
    """Has `slot` receive b"hello" in a loop of its own: (what it stashed, what it sent back, what the loop says)."""
    complaints, answer = [], bytearray()
    del stash[:]
    with icey.Loop(debug=debug) as loop:
        loop.on_error += lambda loop, exc, handle: complaints.append("%s: %s" % (type(exc).__name__, exc))
        listener = icey.TCPListener(loop, icey.Address("127.0.0.1", 0))
        listener.on_accept += lambda listener, sock: sock.on_recv.attach(slot)
        client = icey.TCPSocket(loop)
        client.on_connect += lambda sock: (sock.send(b"hello"), sock.shutdown())
        client.on_recv += lambda sock, view: answer.extend(view)
        client.on_close += lambda sock: listener.close()
        client.connect(listener.address)
        loop.run()
    return stash[0], bytes(answer), "\n".join(complaints)


def main():
    view, _, _ = hear(keeps_the_view, debug=False)
    try:
        used = bytes(view)
    except ValueError as error:
        used = "ValueError: %s" % error
    print("a kept view, used later, release mode:\n   ", used)
    piece, _, complaint = hear(keeps_a_slice, debug=True)
    print("a kept slice, debug mode:\n   ", complaint or bytes(piece))  # PyPy cannot tell: it overwrites the bytes
    kept, sent_back, silence = hear(keeps_the_bytes, debug=True)
    print("kept and sent back in the two right ways:\n   ", kept, sent_back)
    if "--check" in sys.argv:
        assert str(used).startswith("ValueError")
        assert "BorrowError" in complaint and "keeps_a_slice" in complaint or bytes(piece) == b"\xdd\xdd\xdd"
        assert kept == sent_back == b"hello" and not silence
        print("OK")


if __name__ == "__main__":
    main()
