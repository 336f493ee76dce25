"""icey in sub-interpreters: a server and a client in two of one process at once, each with a loop on a thread of its own, and
what is still alive when an interpreter ends. A process a case: what goes wrong here ends the process."""
import os
import subprocess
import sys
import textwrap

import pytest

from tests.support import ROOT
from tests.support.interpreters import NAME, lacks_them
from tests.support.programs import without_slowness

pytestmark = [pytest.mark.skipif(lacks_them(), reason="this Python has no " + NAME), pytest.mark.needs("threading")]
mode = pytest.mark.parametrize("debug", ["0", "1"], ids=["release", "debug"])
# 3.9 to 3.11 refuse it; 3.8 takes the youngest thread's state for the interpreter's own, and stops the process.
ends_with_threads = pytest.mark.skipif(sys.version_info < (3, 12), reason="this Python ends no interpreter whose threads live")

HEAD = """
import os, sys, threading, traceback
from tests.support.interpreters import Interpreter

def failed(*what):  # at once: other threads may wait for ever
    traceback.print_exception(*what)
    sys.stderr.flush()
    os._exit(1)

sys.excepthook = failed
threading.excepthook = lambda args: failed(*args[:3])
"""
TAIL = """
assert threading.enumerate() == [threading.main_thread()], threading.enumerate()
print("ended")
"""


def play(script, debug="0"):
    """Runs `script` in a process; returns the lines that it and its interpreters print."""
    env = dict(os.environ, ICEY_DEBUG=debug)
    env.pop("COVERAGE_PROCESS_START", None)  # it would measure in the main interpreter alone
    done = subprocess.run([sys.executable, "-c", HEAD + textwrap.dedent(script) + TAIL], cwd=ROOT, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, timeout=60, env=env)
    assert (done.returncode, without_slowness(done.stderr)) == (0, ""), done.stderr + done.stdout
    lines = done.stdout.split("\n")
    assert lines.pop() == "" and lines.pop() == "ended"
    return lines


@mode
def test_a_server_in_one_and_a_client_in_the_other(debug):
    assert play('''
        SERVER = """
        import os, icey
        loop = icey.Loop()
        server = icey.http.Server(loop, "127.0.0.1", 0).start()

        def answer(exchange):
            exchange.respond(200, exchange.request.target.encode())
            if exchange.request.target == "/19":
                server.stop()

        server.on_request += answer
        os.write(told, b"%d" % server.address.port)
        loop.run()
        loop.close()
        """
        CLIENT = """
        import os, icey
        port, loop = int(os.read(told, 99)), icey.Loop()
        client, came = icey.http.Client(loop), []

        def more(answer, error):
            assert error is None, error
            came.append(answer.body)
            ask() if len(came) < 20 else client.close()

        def ask():
            client.request("GET", "http://127.0.0.1:%d/%d" % (port, len(came)), done=more)

        ask()
        loop.run()
        loop.close()
        assert came == [b"/%d" % n for n in range(20)], came
        """
        reader, writer = os.pipe()
        for _ in range(2):  # once more, in new ones
            interpreters = Interpreter(), Interpreter()
            threads = [interpreters[0].begin(SERVER, told=writer), interpreters[1].begin(CLIENT, told=reader)]
            for thread in threads:
                thread.join()
            for interpreter in interpreters:
                interpreter.close()
    ''', debug) == []


@mode
def test_thread_hosts_in_two_of_them(debug):
    """The loops on threads that the interpreters start themselves, and end."""
    assert play('''
        SERVER = """
        import os, threading, icey

        def setup(loop):
            server = icey.http.Server(loop, "127.0.0.1", 0).start()
            server.on_request += lambda exchange: exchange.respond(200, b"hello")
            os.write(told, b"%d" % server.address.port)

        with icey.hosts.ThreadHost(setup) as host:
            os.read(over, 1)
            assert host.call(threading.current_thread).name == "icey"
        assert not host.alive and "icey" not in [thread.name for thread in threading.enumerate()]
        """
        CLIENT = """
        import os, threading, icey

        port, came = int(os.read(told, 99)), []
        with icey.hosts.ThreadHost() as host:
            answered = threading.Event()

            def ask():
                client = icey.http.Client(host.loop)
                client.request("GET", "http://localhost:%d/" % port,  # a name: the resolver has a thread
                               done=lambda *what: (came.append(what), client.close(), answered.set()))

            host.call(ask)
            answered.wait()
        (answer, error), = came
        assert answer.body == b"hello", error
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("icey")]
        os.write(over, b"!")
        """
        (reader, writer), (over, end) = os.pipe(), os.pipe()
        interpreters = Interpreter(), Interpreter()
        threads = [interpreters[0].begin(SERVER, told=writer, over=over), interpreters[1].begin(CLIENT, told=reader, over=end)]
        for thread in threads:
            thread.join()
        for interpreter in interpreters:
            interpreter.close()
    ''', debug) == []


def test_run_takes_no_signals_there():
    assert play('''
        import signal
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        interpreter = Interpreter()
        interpreter.run("""
        import icey, signal
        loop = icey.Loop()
        before = signal.getsignal(signal.SIGTERM)
        same = []
        loop.call_soon(lambda: same.append(signal.getsignal(signal.SIGTERM) == before))
        assert icey.run(loop) is None and same == [True]
        loop.close()
        """)
        interpreter.close()
        assert handlers == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        with __import__("icey").Loop() as loop:  # here it takes them, all the same
            loop.call_soon(os.kill, os.getpid(), signal.SIGTERM)
            loop.call_later(50, print, "late")
            assert __import__("icey").run(loop) == signal.SIGTERM
    ''') == []


def test_a_resolver_thread_leaves_when_there_is_no_name_left():
    assert play('''
        interpreter = Interpreter()
        interpreter.run("""
        import icey, socket, threading
        loop, came = icey.Loop(), []
        asked = threading.Semaphore(0)

        def system(host, *more):
            asked.release()
            assert not threading.current_thread().daemon and threading.current_thread() is not threading.main_thread()
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 1))]

        socket.getaddrinfo = system
        for count in range(300):  # more than there may be threads, and again and again when all have left
            for _ in range(count % 7):
                icey.resolve(loop, "a.test", 1, lambda addresses, error: came.append(error))
            if count % 3:
                loop.run()
        loop.run()
        assert came == [None] * sum(count % 7 for count in range(300)), came
        while len(threading.enumerate()) > 1:  # they leave by themselves
            pass
        """)
        interpreter.close()
    ''') == []


@ends_with_threads
def test_the_end_waits_for_a_name_that_is_looked_up():
    assert play('''
        (asked, ask), (answer, answered) = os.pipe(), os.pipe()
        interpreter = Interpreter()
        interpreter.run("""
        import icey, os, socket
        loop = icey.Loop()

        def system(host, *more):
            os.write(ask, b"?")
            os.read(answer, 1)
            return []

        socket.getaddrinfo = system
        for _ in range(3):
            icey.resolve(loop, "a.test", 1, print)
        loop.run_once(0)
        """, ask=ask, answer=answer)
        os.read(asked, 1)
        person = threading.Thread(target=lambda: os.write(answered, b"!!!"))
        person.start()
        interpreter.close()
        person.join()
    ''') == []


@ends_with_threads
@mode
def test_a_host_that_is_still_at_work_when_its_interpreter_ends(debug):
    assert play('''
        interpreter = Interpreter()
        interpreter.run("""
        import icey

        def setup(loop):
            server = icey.http.Server(loop, "127.0.0.1", 0).start()
            server.on_close += lambda server: print("closed in order", flush=True)

        host = icey.hosts.ThreadHost(setup).start()
        """)
        interpreter.close()
    ''', debug) == ["closed in order"]


PACKETS = """
import icey, threading

class Tee(icey.PacketProcessor):
    def process(self, packet):
        came.append(bytes(packet.data))
        arrived.set()
        slot()

came, arrived, slot = [], threading.Event(), int
stream = icey.PacketStream()
stream.attach(icey.AsyncPacketQueue(%s))
stream.attach(Tee(), 1)
stream.start()
stream.write(b"hello")
arrived.wait()
"""


def test_a_packet_queue_with_a_thread():
    assert play('''
        interpreter = Interpreter()
        interpreter.run(PACKETS + """
        closed = threading.Event()
        stream.on_close += lambda stream: closed.set()
        stream.close()
        closed.wait()
        while len(threading.enumerate()) > 1:
            pass
        assert came == [b"hello"], came
        """)
        interpreter.close()
    '''.replace("PACKETS + ", "").replace('run("""', 'run("""' + PACKETS.replace("\n", "\n        ") % "")) == []


@ends_with_threads
@pytest.mark.parametrize("drop", ["oldest", "block"])
def test_a_packet_queue_whose_thread_lives_when_its_interpreter_ends(drop):
    """Its packets are dropped; a writer that waits for room goes on, and can still close the stream."""
    assert play('''
        interpreter = Interpreter()
        interpreter.run("""
        import os
        gate, opened = os.pipe()
        inside, begun = threading.Event(), threading.Event()
        threading._register_atexit(begun.set)  # what is registered last is called first

        def slot():
            inside.set()
            os.read(gate, 1)

        def write():
            stream.write(b"1")
            inside.wait()
            for _ in range(2):
                stream.write(b"2")
            begun.wait()
            os.write(opened, b"!")
            stream.on_close += lambda stream: print("closed", flush=True)
            stream.write(b"3")
            stream.close()

        writer = threading.Thread(target=write)
        writer.start()
        inside.wait()
        """)
        interpreter.close()
    '''.replace('run("""', 'run("""' + PACKETS.replace("\n", "\n        ") % ("2, %r" % drop))) == ["closed"]


@pytest.mark.skipif(not (3, 9) <= sys.version_info < (3, 12), reason="an interpreter here has threads, or cannot be isolated")
def test_where_threads_are_refused_names_are_looked_up_on_the_loop():
    assert play('''
        interpreter = Interpreter(isolated=True)
        interpreter.run("""
        import icey
        from icey.base import log
        loop, came = icey.Loop(), []
        log.warning = lambda *what: came.append(what[1])
        icey.resolve(loop, "localhost", 80, lambda addresses, error: came.append(error))
        loop.run()
        assert came == ["%s, so that %s is done on the loop, which stands still meanwhile (said once a pool)", None], came
        loop.close()
        stream = icey.PacketStream()
        stream.attach(icey.AsyncPacketQueue())
        for start in icey.hosts.ThreadHost().start, stream.start:
            try:
                start()
            except RuntimeError as exc:
                assert "thread is not supported" in str(exc), exc
            else:
                raise AssertionError("it started")
        """)
        interpreter.close()
    ''') == []
