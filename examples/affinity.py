"""Loop affinity: an object belongs to its loop, the loop to one thread, and there is one door for the others.

    python3 examples/affinity.py

A worker thread computes something and wants to tell a client of a TCP server. Sending from the worker is refused at
once, with the thread named and the way out; in debug mode with both places, where the socket was made and where it was
touched. The way out is the door: `loop.post(fn, *args)` from any thread, and what is built on it, a Synchronizer (many
posts, one call) and a ThreadSignal with `attach(fn, loop=loop)`.
"""
import os
import sys
import threading

try:
    import icey
except ImportError:  # run from a checkout, with nothing installed
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    import icey

refused: list = []
progress: list = []
threads: set = set()


def work(loop, sock, finished, ticks):
    """Runs in a thread of its own: everything it may do to the loop is to post."""
    try:
        sock.send(b"42")  # wrong: not this thread's socket
    except icey.AffinityError as error:
        refused.append(str(error))
    for step in range(100):
        progress.append(step)
        ticks.post()                 # many of these make one call
    finished.emit(b"42")             # its slot runs on the loop
    loop.post(ticks.close)           # the door itself


def main():
    answer = bytearray()
    with icey.Loop(debug="--debug" in sys.argv) as loop:
        listener = icey.TCPListener(loop, icey.Address("127.0.0.1", 0))
        ticks = icey.Synchronizer(loop, lambda: print("the loop: %d steps so far" % len(progress)))
        finished = icey.ThreadSignal()

        def accepted(listener, sock):
            def deliver(result):
                threads.add(threading.get_ident())
                sock.send(result)  # right: this is the loop's thread
                sock.close()

            finished.attach(deliver, loop=loop)
            listener.close()
            worker = threading.Thread(target=work, args=(loop, sock, finished, ticks))
            worker.start()
            sock.on_close += lambda sock: worker.join()

        listener.on_accept += accepted
        client = icey.TCPSocket(loop)
        client.on_recv += lambda sock, view: answer.extend(view)
        client.connect(listener.address)
        loop.run()
    print("the worker:", refused[0])
    print("the client got %s" % bytes(answer).decode())
    if "--check" in sys.argv:
        assert "Contract: loop affinity. Instead: hop to its thread with loop.post(fn, *args)." in refused[0]
        assert answer == b"42" and threads == {threading.get_ident()}
        print("OK")


if __name__ == "__main__":
    main()
