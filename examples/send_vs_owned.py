"""send() borrows, send_owned() keeps: what arrives when a buffer is changed after it was sent, beside asyncio.

    python3 examples/send_vs_owned.py

Four times the same: 8 MiB of "A" are sent, the kernel takes some, the rest is queued; then the program writes "B" over
its buffer, which it may do only if somebody else has a copy. The peer then reads, and tells how it was.

    send_owned   copies what the kernel did not take: all A. The buffer is yours when the call returns
    send         copies nothing: the buffer is the queue, and B arrives. Leave it alone until on_drain or done()
    send, debug  the same, but the change is noticed before it is sent: BorrowError, with the place of the send
    asyncio      keeps a copy up to Python 3.11; borrows from 3.12 on, and nobody says so
"""
import asyncio
import os
import socket
import sys

try:
    import icey
except ImportError:  # run from a checkout, with nothing installed
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    import icey

SIZE = 8 << 20


def judged(count, tail):
    return "all A" if tail == b"A" and count == SIZE else "B arrived" if tail == b"B" else "%d bytes arrived" % count


def with_icey(verb, debug):
    near, far = socket.socketpair()
    memory, complaints, arrived = bytearray(b"A" * SIZE), [], [0, b""]

    def received(stream, view):
        arrived[:] = arrived[0] + len(view), bytes(view[-1:])

    with icey.Loop(debug=debug) as loop:
        loop.on_error += lambda loop, exc, handle: complaints.append(exc)
        sender, reader = icey.Stream(loop, near), icey.Stream(loop, far)
        getattr(sender, verb)(memory)
        memory[:] = b"B" * SIZE  # with send(): wrong, the queue still has it
        sender.close()
        reader.on_recv += received
        loop.run()
    return "BorrowError: " + str(complaints[0]) if complaints else judged(*arrived)


async def with_asyncio():
    near, far = socket.socketpair()
    memory, count, tail = bytearray(b"A" * SIZE), 0, b""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=near)
    transport.write(memory)
    memory[:] = b"B" * SIZE
    transport.close()
    far.setblocking(False)
    with far:
        while count < SIZE:
            data = await loop.sock_recv(far, 1 << 16)
            count, tail = count + len(data), data[-1:]
    return judged(count, tail)


def main():
    found = {"send_owned": with_icey("send_owned", False), "send": with_icey("send", False),
             "send, debug": with_icey("send", True)}
    found["asyncio, Python %d.%d" % sys.version_info[:2]] = asyncio.run(with_asyncio())
    for what, result in found.items():
        print("%-22s %s" % (what, result))
    if "--check" in sys.argv:
        assert found["send_owned"] == "all A" and found["send"] == "B arrived"
        assert "BorrowError" in found["send, debug"] and os.path.basename(__file__) in found["send, debug"]
        assert list(found.values())[-1] == ("all A" if sys.version_info < (3, 12) else "B arrived")
        print("OK")


if __name__ == "__main__":
    main()
