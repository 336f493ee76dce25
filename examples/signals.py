"""Signals: order, detaching and attaching in the middle of an emit, once, stopping; and the one kind for threads.

    python3 examples/signals.py

A Signal is a list of callables and nothing else: no lock, no queue, no thread; emitting costs about as much as calling.
What happens when slots change the list while it is called is a rule, not an accident:

    a slot detached during an emit is not called any more, one attached waits for the next emit

The events of sockets and timers are signals too, guarded by their loop. Use ThreadSignal where threads really meet.
"""
import os
import sys
import threading

try:
    import icey
except ImportError:  # run from a checkout, with nothing installed
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    import icey

heard: list = []


def says(name, then=None):
    def slot(*args):
        heard.append(name)
        return then() if then is not None else None
    return slot


def emitted(signal):
    """What one emit calls, as a string."""
    del heard[:]
    stopped = signal.emit("anything", 42)
    return " ".join(heard) + (" (stopped)" if stopped else "")


def main():
    order = icey.Signal()
    order += says("second")
    order += says("third")
    order.attach(says("first"), priority=10)
    order.attach(says("once"), priority=-1, once=True)

    change = icey.Signal()
    last = says("last")
    change += says("changes", lambda: (change.detach(last), change.attach(says("new"), priority=-1)) and None)
    change += last

    stop = icey.Signal(stoppable=True)
    stop += says("takes it", lambda: True)
    stop += says("never asked")

    found = [(what, emitted(signal)) for what, signal in [
        ("in order of priority, then of attachment", order), ("again: the one for once is gone", order),
        ("changed in the middle", change), ("and the next time", change), ("stopped", stop)]]

    with icey.Loop() as loop:
        news, where = icey.ThreadSignal(), []
        news.attach(lambda what: where.append(("here", threading.get_ident())))
        news.attach(lambda what: where.append(("loop", threading.get_ident())), loop=loop)
        thread = threading.Thread(target=news.emit, args=("from another thread",))
        thread.start()
        thread.join()
        loop.run()  # one posted call

    for what, said in found:
        print("%-42s %s" % (what, said))
    print("%-42s %s" % ("a ThreadSignal, emitted by a thread", "one slot ran there, the other on the loop"))
    if "--check" in sys.argv:
        assert [said for _, said in found] == [
            "first second third once", "first second third", "changes", "changes new", "takes it (stopped)"]
        assert [name for name, _ in where] == ["here", "loop"]
        assert where[0][1] != where[1][1] == threading.get_ident()
        print("OK")


if __name__ == "__main__":
    main()
