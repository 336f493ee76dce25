"""python3 -m icey ws as a process: both sides, pipes, a signal. What they say in detail is test_ws.py's."""
import os
import re
import select
import signal
import subprocess
import sys

import pytest

from tests.support import BLOCKED, lacks

pytestmark = pytest.mark.skipif(os.name == "nt", reason="stdin cannot be polled there")

# No proxy; and release mode: in debug mode a machine that is busy has slow callbacks logged, between the lines looked at here.
ENVIRON = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy") and name != "ICEY_DEBUG"}
ORDERLY = 0 if "signal" not in BLOCKED else -signal.SIGTERM  # without the module only Ctrl-C is caught


def start(*arguments, **options):
    return subprocess.Popen([sys.executable, "-m", "icey", "ws", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            env=ENVIRON, **options)


def test_a_server_and_its_clients():
    with start("--listen", "0", stdin=subprocess.DEVNULL) as server:
        try:
            url = re.search(rb"ws://127\.0\.0\.1:\d+/", server.stdout.readline()).group().decode()
            lines = b"".join(b"%d\n" % number for number in range(3000))
            with start(url, "-n", "3000", stdin=subprocess.PIPE) as client, start(url, stdin=subprocess.PIPE) as other:
                other.stdin.write(b"first\n")
                other.stdin.flush()
                assert other.stdout.readline() == b"first\n"  # at once, and it waits for more
                assert client.communicate(lines, timeout=60) == (lines, b"")
                other.send_signal(signal.SIGINT)
                assert other.communicate(timeout=60) == (b"", b"")
            assert (client.returncode, other.returncode) == (0, 130)
            server.send_signal(signal.SIGTERM)
            out, err = server.communicate(timeout=60)
        finally:
            server.kill()
    assert (out, server.returncode) == (b"", ORDERLY)
    assert len(re.findall(rb"(?m)^127\.0\.0\.1:\d+ opened /$", err)) == 2
    assert len(re.findall(rb"(?m)^127\.0\.0\.1:\d+ closed 1000 \(normal closure\)$", err)) >= 1 + (ORDERLY == 0)


AT_A_TERMINAL = "import os, sys; os.setpgrp(); from icey.__main__ import main; sys.exit(main(sys.argv[1:]))"


@pytest.mark.needs("signal")
@pytest.mark.skipif(not hasattr(os, "openpty") or bool(lacks("termios")), reason="needs pseudo-terminals")
def test_a_terminal_is_as_it_was_at_ctrl_z_and_when_a_signal_ends_the_program():
    import termios

    def until(text):
        seen = b""
        while text not in seen:
            assert select.select([master], [], [], 60)[0], seen
            seen += os.read(master, 4096)

    def edits():
        return not termios.tcgetattr(slave)[3] & (termios.ICANON | termios.ECHO)

    master, slave = os.openpty()
    with start("--listen", "0", stdin=subprocess.DEVNULL) as server:
        url = re.search(rb"ws://127\.0\.0\.1:\d+/", server.stdout.readline()).group().decode()
        with subprocess.Popen([sys.executable, "-c", AT_A_TERMINAL, "ws", url], stdin=slave, stdout=slave, stderr=slave,
                              env=dict(ENVIRON, TERM="xterm")) as client:
            try:
                until(b"> ")
                os.write(master, b"half")
                until(b"> half")
                assert edits()
                for _ in range(2):
                    client.send_signal(signal.SIGTSTP)
                    assert os.WIFSTOPPED(os.waitpid(client.pid, os.WUNTRACED)[1]) and not edits()
                    client.send_signal(signal.SIGCONT)
                    until(b"> half")
                    assert edits()
                client.send_signal(signal.SIGWINCH)
                until(b"> half")
                os.write(master, b" whole\r")
                until(b"< half whole\r\n")
                client.send_signal(signal.SIGHUP)
                assert client.wait(60) == -signal.SIGHUP and not edits()
            finally:
                client.kill()
                server.kill()
    os.close(master)
    os.close(slave)
