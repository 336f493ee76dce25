"""Foreign programs that the interop tests talk to: run to their end, or kept running while a test talks to them.

    status, said = run("curl", url)                    # stdout and stderr together
    program = Program("openssl", "s_server", ...)      # then expect, tell, wait; end() in any case
    page = Chromium(folder)("--dump-dom", url)

A program gets a process group of its own, so that what it starts goes with it.
"""
import os
import re
import signal
import subprocess
import tempfile
import time

import pytest

from tests.support import tool

PATIENCE = 20.0  # real seconds, for what takes a moment


def run(name, *arguments, input="", **options):
    """(exit status, stdout and stderr in one text) of the program `name`, which reads `input`."""
    done = subprocess.run([tool(name), *arguments], input=input.encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=2 * PATIENCE, **options)
    return done.returncode, done.stdout.decode("utf-8", "replace").replace("\r\n", "\n")


def without_slowness(text):
    """`text` without what debug mode says of slots that held the loop: on a busy machine that is no fault of theirs."""
    return re.sub("(?m)^.* held the loop for .*\n", "", text)


class Program:
    """A running program. What it says, on stdout and stderr, is gathered in a file; `tell` writes to its stdin."""

    def __init__(self, name, *arguments, **options):
        self._log = tempfile.TemporaryFile()
        try:
            self.process = subprocess.Popen([tool(name), *arguments], stdin=subprocess.PIPE, stdout=self._log,
                                            stderr=subprocess.STDOUT, start_new_session=True, **options)
        except BaseException:
            self._log.close()
            raise

    @property
    def said(self):
        """All it has said so far."""
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), size, 0).decode("utf-8", "replace").replace("\r\n", "\n")

    def expect(self, pattern):
        """Waits until it has said something like `pattern`: the match."""
        overdue = time.monotonic() + PATIENCE
        while True:
            ended = self.process.poll() is not None
            found = re.search(pattern, self.said)
            if found:
                return found
            if ended or time.monotonic() > overdue:
                pytest.fail("expected %r of %s, which said: %s" % (pattern, self.process.args, self.said[-2000:]))
            time.sleep(0.01)

    def tell(self, text):
        """Writes to its stdin."""
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def wait(self):
        """Waits until it has ended by itself: its exit status."""
        self.process.stdin.close()
        return self.process.wait(PATIENCE)

    def kill(self):
        """Ends it on the spot, with all that it has started."""
        if self.process.returncode is None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.process.wait(PATIENCE)

    def end(self):
        """It is not needed any more."""
        self.kill()
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        self._log.close()


class Chromium:
    """A headless Chromium with a profile of its own, in `folder`; chromium(*arguments) -> what it writes to stdout."""

    FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--no-proxy-server",
             "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-breakpad",
             "--disable-dev-shm-usage")

    def __init__(self, folder):
        self._home = os.path.join(folder, "home")
        self._profile = os.path.join(folder, "profile")
        self.errors = ""  # what it wrote to stderr

    def trust(self, authority):
        """Has it trust the certificates that `authority`, a PEM file, has signed."""
        place = os.path.join(self._home, ".pki", "nssdb")
        os.makedirs(place)
        for arguments in (["-N", "--empty-password"], ["-A", "-t", "C,,", "-n", "the tests'", "-i", authority]):
            status, said = run("certutil", "-d", "sql:" + place, *arguments)
            assert status == 0, said

    def __call__(self, *arguments):
        process = subprocess.Popen([tool("chromium"), *self.FLAGS, "--user-data-dir=" + self._profile, *arguments],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   env=dict(os.environ, HOME=self._home), start_new_session=True)
        try:
            out, err = process.communicate(timeout=3 * PATIENCE)
        finally:
            try:  # it starts helpers, which have to go with it
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.communicate()
        self.errors = err.decode("utf-8", "replace")
        assert process.returncode == 0, self.errors
        return out.decode("utf-8")
