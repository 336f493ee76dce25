"""The parent of many workers, with scripted workers and a virtual clock. With real processes: test_processes.py."""
import os
import signal
import socket

import pytest

import icey
from icey.tools.testing import VirtualClock
from tests.support import needs
from tests.support.loops import debug  # noqa: F401

needs("fork", "signal", "unix")  # before the import of what needs them

from icey.workers import supervisor as module, worker  # noqa: E402
from icey.workers.supervisor import FIRST_WAIT, LAST, LATE, LONGEST_WAIT, START, YOUNG, Supervisor, ended_how  # noqa: E402

GRACE, LINGER = 4.0, 0.5
CRASH = 3 << 8  # what waitpid says of a process that ended with status 3


class Systemd:
    watchdog = None

    def __init__(self, told):
        self.told = told
        self.status = ""  # what `systemctl status` shows

    def tell(self, *lines):
        self.told.append(lines[0])
        for line in lines[1:]:
            if line.startswith("STATUS="):
                self.status = line[7:]

    def close(self):
        pass


class World:
    """The system, as far as the parent asks for it: processes that begin, say what a test has them say, and end."""

    def __init__(self, monkeypatch, debug):
        self.clock = VirtualClock(1000.0)
        self.loop = icey.Loop(debug, clock=self.clock)
        self.begun = []  # (pid, when)
        self.channels = {}
        self.ended = {}  # pid: status
        self.signals = []  # (pid, signal)
        self.logged = []
        self.told = []  # what systemd hears
        self.refuses = 0  # forks
        self.pid = 50
        self.orphans = []  # processes that somebody else left behind
        monkeypatch.setattr(module, "socket", self)
        monkeypatch.setattr(module, "os", self)
        monkeypatch.setattr(module, "_kill", self.kill)
        monkeypatch.setattr(module.log, "warning", self.log)
        monkeypatch.setattr(module.log, "error", self.log)
        self.supervisor = None

    # what module.os and module.socket have
    WNOHANG, WIFSIGNALED, WTERMSIG, WEXITSTATUS = os.WNOHANG, os.WIFSIGNALED, os.WTERMSIG, os.WEXITSTATUS
    socketpair = staticmethod(socket.socketpair)

    def getpid(self):
        return self.pid

    def waitpid(self, pid, options):
        if pid == -1:
            if self.orphans:
                return self.orphans.pop(), 0
            raise ChildProcessError
        if not options:
            self.ended.setdefault(pid, signal.SIGKILL)
        return (pid, self.ended[pid]) if pid in self.ended else (0, 0)

    def kill(self, pid, number):
        self.signals.append((pid, number))
        if number == signal.SIGKILL:
            self.ended.setdefault(pid, number)

    def log(self, area, text, *args, exc=None):
        self.logged.append(text % args)

    # for the tests

    def start(self, count=2):
        world = self

        class Scripted(Supervisor):
            def _fork(self, channel, ours):
                if world.refuses:
                    world.refuses -= 1
                    raise OSError(11, "no more processes")
                pid = 100 + len(world.begun)
                world.begun.append((pid, world.clock()))
                world.channels[pid] = channel.dup()
                return pid

        self.supervisor = Scripted(self.loop, "app:serve", count, GRACE, LINGER)
        self.supervisor._notifier.close()
        self.supervisor._notifier = Systemd(self.told)
        self.supervisor.listen(lambda loop: [icey.TCPListener(loop, "127.0.0.1:0")])
        self.supervisor.start()
        return self.supervisor

    def turn(self, times=3):
        for _ in range(times):
            self.loop.run_once(0)

    def say(self, data, *pids):
        for pid in pids:
            self.channels[pid].send(data)
        self.turn()

    def wait(self, seconds, alive=True):
        """Time passes; who has not ended shows life."""
        left = seconds
        while left > 0:
            step = min(0.25, left)
            left -= step
            self.clock.advance(step)
            if alive:
                for pid in self.supervisor.children:
                    if pid not in self.ended and self.supervisor.children[pid].state != module.STARTING:
                        self.channels[pid].send(worker.ALIVE)
            self.turn()

    def end(self, pid, status=CRASH):
        self.ended.setdefault(pid, status)
        self.channels[pid].close()
        self.supervisor.reap()
        self.turn()

    def pids(self):
        return [pid for pid, _ in self.begun]

    def close(self):
        for channel in self.channels.values():
            channel.close()
        if self.supervisor is not None:
            self.supervisor.abandon()
            for handle in self.loop.handles:
                handle.abort()
        self.loop.run_once(0)
        self.loop.close()


@pytest.fixture
def world(monkeypatch, debug):
    world = World(monkeypatch, debug)
    yield world
    world.close()


@pytest.fixture
def running(world):
    """A world with two workers that run: 100 and 101."""
    world.start()
    world.say(worker.READY, 100, 101)
    assert world.told == ["READY=1"]
    world.told.clear()
    return world


# starting

def test_as_many_as_there_are_to_be_are_started_and_systemd_hears_when_all_are_ready(world):
    world.start(3)
    assert world.pids() == [100, 101, 102]
    world.say(worker.READY, 100, 102)
    assert world.told == []
    world.say(worker.READY, 101)
    assert (world.told, world.signals, world.logged) == (["READY=1"], [], [])


def test_where_the_first_are_not_ready_all_is_given_up(world):
    world.start()
    world.say(worker.READY, 100)
    world.end(101)
    assert world.logged == ["worker 101 ended with status 3 before all were ready: nothing is served"]
    assert world.signals == [(100, signal.SIGTERM)]
    world.end(100, 0)
    assert world.supervisor.closed and world.supervisor.status == 1
    assert world.pids() == [100, 101]


def test_one_that_said_that_it_is_ready_before_it_ended_is_replaced(world):
    world.start()
    for pid in (100, 101):
        world.channels[pid].send(worker.READY)  # it lies there when the signal comes
    world.ended[100] = signal.SIGKILL
    world.channels[100].close()
    world.supervisor.reap()
    world.turn()
    assert world.told == ["READY=1"] and not world.supervisor.closing
    assert "another takes its place" in world.logged[0]


def test_one_that_takes_too_long_to_be_ready_is_killed(world):
    world.start(1)
    world.wait(START - 0.5)
    assert world.signals == []
    world.wait(2.0)
    assert world.signals == [(100, signal.SIGKILL)]
    world.end(100)
    assert "was not ready within 30 s (serve() has not returned; a longer grace gives it longer), and" in world.logged[0]


def test_where_no_process_is_to_be_had_at_first_it_says_so_and_ends(world):
    world.refuses = 1
    world.start()
    assert world.logged == ["no worker could be started: [Errno 11] no more processes: nothing is served"]
    world.loop.run()
    assert world.supervisor.closed and world.supervisor.status == 1


@pytest.mark.parametrize("begun", [0, 1])
def test_where_none_is_to_be_had_in_a_reload_the_old_ones_go_on(running, begun):
    fork = running.supervisor._fork
    left = [begun]

    def scarce(channel, ours):
        if not left[0]:
            raise OSError(11, "no more processes")
        left[0] -= 1
        return fork(channel, ours)

    running.supervisor._fork = scarce
    running.supervisor.reload()
    assert running.logged == ["no worker could be started: [Errno 11] no more processes: the old workers go on"]
    assert running.signals == [(102, signal.SIGTERM)] * begun
    assert running.told == ["RELOADING=1", "READY=1"]
    del running.supervisor._fork
    running.supervisor.reload()
    assert len(running.pids()) == 4 + begun


def test_where_no_channel_is_to_be_had_it_is_tried_again(running, monkeypatch):
    def none():
        raise OSError(24, "too many open files")

    running.wait(YOUNG)
    monkeypatch.setattr(running, "socketpair", none, raising=False)
    running.end(100)
    running.turn()
    assert running.logged[1:] == ["no worker could be started: [Errno 24] too many open files"]
    monkeypatch.setattr(running, "socketpair", socket.socketpair)
    running.wait(FIRST_WAIT * 4)
    assert running.pids() == [100, 101, 102]


def test_where_none_can_be_started_it_is_tried_again(world):
    world.start()
    world.say(worker.READY, 100, 101)
    world.refuses = 3
    world.wait(YOUNG)
    world.end(100)
    assert world.pids() == [100, 101]
    world.wait(FIRST_WAIT * 20)
    assert world.pids() == [100, 101, 102]
    assert world.logged[1:] == ["no worker could be started: [Errno 11] no more processes"] * 3


# ending by themselves

@pytest.mark.parametrize("status, words", [
    (CRASH, "ended with status 3"), (0, "ended with status 0"), (signal.SIGKILL, "was killed by SIGKILL"),
    (signal.SIGSEGV, "was killed by SIGSEGV"), (100, "was killed by signal 100")])
def test_one_that_ends_is_replaced_at_once(running, status, words):
    running.wait(YOUNG)
    running.end(100, status)
    assert running.logged == ["worker 100 %s; another takes its place" % words]
    running.turn()
    assert running.pids() == [100, 101, 102]
    assert running.begun[2][1] == running.clock()
    assert ended_how(status) == words


def test_twenty_crashes_in_a_row_back_off_and_do_not_spin(running):
    running.wait(YOUNG)
    running.end(100)
    times = []
    for pid in range(102, 122):
        while running.pids()[-1] != pid:
            running.wait(0.05)
        times.append(running.clock())
        running.say(worker.READY, pid)
        running.end(pid)
    waits = [after - before for before, after in zip(times, times[1:])]
    doubled = [min(FIRST_WAIT * 2 ** n, LONGEST_WAIT) for n in range(19)]
    assert all(due - 0.001 <= wait <= due + 0.06 for wait, due in zip(waits, doubled)), waits
    assert waits[-1] > LONGEST_WAIT - 0.1
    assert 101 in running.supervisor.children


def test_those_that_end_after_a_long_start_back_off_too(running):
    """Its import takes longer than YOUNG, and fails in the end."""
    running.wait(YOUNG)
    running.end(100)
    for pid, wait in ((102, FIRST_WAIT), (103, 2 * FIRST_WAIT), (104, 4 * FIRST_WAIT)):
        running.turn()
        running.wait(2 * YOUNG)
        assert running.pids()[-1] == pid
        running.end(pid)
        running.wait(wait - 0.02)
        assert running.pids()[-1] == pid
        running.wait(0.04)


def test_one_that_lived_ends_the_row(running):
    running.end(100)
    running.wait(FIRST_WAIT)
    running.say(worker.READY, 102)
    running.wait(YOUNG)
    running.end(102)
    running.turn()
    assert running.pids()[-1] == 103


def test_process_1_takes_in_what_its_workers_left_behind(running):
    running.pid, running.orphans = 1, [900, 101, 901]
    running.supervisor.reap()
    running.turn()
    running.wait(FIRST_WAIT)
    assert running.orphans == []
    assert running.pids() == [100, 101, 102] and 101 not in running.supervisor.children
    running.pid, running.orphans = 50, [902]
    running.supervisor.reap()
    assert running.orphans == [902]


def test_who_runs_wakes_nobody(running):
    """The parent sleeps until its tick, whatever its workers say."""
    before = running.loop.timeout()
    for _ in range(3):
        running.channels[100].send(worker.ALIVE)
    assert running.supervisor.children[100].poll.closed
    assert running.loop.timeout() == before > 0.5
    running.wait(1.0, alive=False)
    assert running.supervisor.children[100].beat == running.clock()


def test_more_than_there_are_processors(world):
    world.start(50)
    world.say(worker.READY, *range(100, 150))
    assert world.told == ["READY=1"] and len(world.supervisor.children) == 50


def test_somebody_else_may_have_waited_for_it(running, monkeypatch):
    def waitpid(pid, options):
        if pid == 100:
            raise ChildProcessError
        return 0, 0

    running.wait(YOUNG)
    monkeypatch.setattr(running, "waitpid", waitpid, raising=False)
    running.supervisor.reap()
    running.turn()
    assert running.pids() == [100, 101, 102]


# loops that do not turn

def test_one_that_does_not_turn_its_loop_is_killed_and_replaced(running):
    for _ in range(int(GRACE + 1.25) * 4):
        running.say(worker.ALIVE, 101)
        running.wait(0.25, alive=False)
    assert running.signals == [(100, signal.SIGKILL)]
    running.end(100)
    assert running.logged == ["worker 100 has not turned its loop for 4 s, and was killed; another takes its place"]
    assert running.pids() == [100, 101, 102]


def test_signs_of_life_that_wait_are_read_before_it_is_judged(running):
    running.clock.advance(GRACE - 1.0)
    running.turn()
    for pid in (100, 101):
        running.channels[pid].send(worker.ALIVE)
    running.clock.advance(2.0)
    running.turn()
    assert running.signals == []


def test_while_the_parent_was_stopped_so_were_they(running):
    running.clock.advance(1000.0)
    running.turn()
    running.wait(GRACE + 1.0)
    assert running.signals == []


def test_one_that_hangs_since_then_is_killed_none_the_less(running):
    running.say(worker.ALIVE, 100, 101)
    running.clock.advance(1000.0)
    running.turn()
    for _ in range(int(GRACE + 1.25) * 4):
        running.say(worker.ALIVE, 101)
        running.wait(0.25, alive=False)
    assert running.signals == [(100, signal.SIGKILL)]


# SIGHUP

def test_a_reload_stops_the_old_when_all_the_new_are_ready(running):
    running.supervisor.reload()
    running.turn()
    assert running.pids() == [100, 101, 102, 103] and running.told == ["RELOADING=1"]
    running.say(worker.READY, 102)
    assert running.signals == []
    running.say(worker.READY, 103)
    assert running.signals == [(100, signal.SIGTERM), (101, signal.SIGTERM)]
    assert running.told == ["RELOADING=1", "READY=1"]
    running.end(100, 0)
    running.end(101, 0)
    running.wait(1.0)
    assert (running.pids(), running.logged) == ([100, 101, 102, 103], [])


@pytest.mark.parametrize("ready", [False, True])
def test_a_reload_that_fails_leaves_the_old(running, ready):
    running.supervisor.reload()
    if ready:
        running.say(worker.READY, 102)
    running.end(103)
    assert running.logged == ["worker 103 ended with status 3 before all were ready: the old workers go on"]
    assert running.signals == [(102, signal.SIGTERM)]
    running.end(102, 0)
    running.wait(1.0)
    assert sorted(running.supervisor.children) == [100, 101]
    assert running.told == ["RELOADING=1", "READY=1"] and running.supervisor.status == 0
    assert running.supervisor._notifier.status == "the last reload failed"
    running.supervisor.reload()
    running.say(worker.READY, 104, 105)
    assert running.supervisor._notifier.status == ""
    assert running.signals[1:] == [(100, signal.SIGTERM), (101, signal.SIGTERM)]


def test_of_those_that_end_in_a_reload_that_fails_there_are_others(running):
    running.supervisor.reload()
    running.end(100)
    assert running.pids() == [100, 101, 102, 103]
    running.end(103)
    running.end(102, 0)
    assert running.pids() == [100, 101, 102, 103, 104]
    assert running.supervisor.children[104].generation == 1


def test_reloads_that_come_meanwhile_are_one_more(running):
    for _ in range(3):
        running.supervisor.reload()
    assert running.pids() == [100, 101, 102, 103]
    running.say(worker.READY, 102, 103)
    assert running.pids() == [100, 101, 102, 103, 104, 105]
    running.say(worker.READY, 104, 105)
    running.wait(1.0)
    assert running.pids() == [100, 101, 102, 103, 104, 105]


def test_a_reload_while_one_waits_to_be_begun(running):
    running.end(100)
    running.supervisor.reload()
    running.say(worker.READY, 102, 103)
    running.wait(LONGEST_WAIT)
    assert running.pids() == [100, 101, 102, 103]


# the end

def test_a_stop_ends_with_the_last_of_them(running):
    running.supervisor.stop()
    running.turn()
    assert running.signals == [(100, signal.SIGTERM), (101, signal.SIGTERM)] and running.told == ["STOPPING=1"]
    assert all(listener.closed for listener in running.supervisor.listeners)
    running.end(100, 0)
    assert not running.supervisor.closed
    running.end(101, 0)
    assert running.supervisor.closed and running.supervisor.status == 0
    running.loop.run()
    assert running.pids() == [100, 101] and running.logged == []


def test_a_second_stop_is_now(running):
    running.supervisor.stop()
    running.supervisor.stop(signal.SIGINT)
    assert [running.channels[pid].recv(100) for pid in (100, 101)] == [worker.NOW] * 2
    assert running.supervisor.status == 128 + signal.SIGINT
    running.end(100, 0)
    running.wait(LAST - 0.25)
    assert len(running.signals) == 2
    running.wait(0.25)
    assert running.signals[2:] == [(101, signal.SIGKILL)]  # it did not hear


def test_one_that_does_not_stop_is_killed(running):
    running.supervisor.stop()
    running.wait(GRACE + LINGER + LATE)
    assert running.signals == [(100, signal.SIGTERM), (101, signal.SIGTERM)]
    running.wait(2.0)
    assert running.signals[2:] == [(100, signal.SIGKILL), (101, signal.SIGKILL)]


def test_an_old_one_that_does_not_stop_is_killed_and_logged(running):
    running.supervisor.reload()
    running.say(worker.READY, 102, 103)
    running.end(101, 0)
    running.wait(GRACE + LINGER + LATE + 2.0)
    running.end(100)
    assert running.logged == ["worker 100 did not stop within 6.5 s, and was killed"]
    assert running.pids() == [100, 101, 102, 103]


@pytest.mark.parametrize("begun", [False, True])
def test_a_stop_in_the_midst_of_a_start_or_of_a_reload(world, begun):
    world.start()
    if begun:
        world.say(worker.READY, 100, 101)
        world.supervisor.reload()
    world.supervisor.stop()
    world.supervisor.reload()
    for pid in list(world.supervisor.children):
        assert (pid, signal.SIGTERM) in world.signals
        world.end(pid, 0)
    assert world.supervisor.closed and world.supervisor.status == 0
    assert world.pids() == [100, 101] + [102, 103] * begun


def test_without_an_address_there_is_nothing_to_run(world):
    with pytest.raises(ValueError):
        Supervisor(world.loop, "app:serve", 1, GRACE, LINGER).listen(lambda loop: [])


def test_what_systemd_passed_and_is_nothing_to_listen_on_is_told_in_words(world, monkeypatch):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        monkeypatch.setattr("icey.workers.systemd.listen_fds", lambda: [sock.fileno()])
        with pytest.raises(OSError, match="descriptor %d, which systemd passed, .* ListenStream=" % sock.fileno()):
            Supervisor(world.loop, "app:serve", 1, GRACE, LINGER).listen(lambda loop: [])


def test_systemds_watchdog_hears_that_it_lives(running):
    running.supervisor._notifier.watchdog = 2.0
    running.wait(4.0)
    assert running.told == ["WATCHDOG=1"] * 4


@pytest.mark.parametrize("serve, options, error", [
    (5, {}, TypeError), ("nothing", {}, ValueError), ("__main__:serve", {}, ValueError),
    (print, {"count": 0}, ValueError), (print, {"count": "2"}, ValueError),
    (print, {"grace": -1}, ValueError), (print, {"linger": float("nan")}, ValueError)])
def test_what_cannot_be_run_is_refused_at_once(serve, options, error):
    with pytest.raises(error):
        icey.workers.run(serve, ["127.0.0.1:0"], **options)


@pytest.mark.parametrize("addresses, found", [
    ("127.0.0.1:0", 1), (("127.0.0.1", 0), 1), (icey.Address("127.0.0.1", 0), 1), (("127.0.0.1:0", ("127.0.0.1", 0)), 2),
    (iter(["127.0.0.1:0"]), 1)])
def test_an_address_may_stand_alone(monkeypatch, addresses, found):
    with icey.Loop() as loop:
        monkeypatch.setattr(module, "supervise", lambda serve, listen, **options: listen(loop))
        listeners = icey.workers.run(print, addresses)
        assert [listener.address.host for listener in listeners] == ["127.0.0.1"] * found
        for listener in listeners:
            listener.close()
        loop.run()


def test_where_there_is_no_fork_it_says_so(monkeypatch):
    monkeypatch.delattr(os, "fork")
    with pytest.raises(OSError, match="icey.run"):
        icey.workers.run(print, ["127.0.0.1:0"])


# the child's side of the fork, in this process

class Left(BaseException):
    """os._exit(status) was called."""


@pytest.fixture
def forked(monkeypatch):
    """forked(main) -> the status with which the child ended, and its supervisor; main: what the worker does."""
    loop = icey.Loop()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    wakeup = signal.set_wakeup_fd(-1)
    ends = []

    def leave(status):
        raise Left(status)

    def forked(main):
        monkeypatch.setattr(os, "fork", lambda: 0)
        monkeypatch.setattr(os, "_exit", leave)
        monkeypatch.setattr(worker, "main", main)
        supervisor = Supervisor(loop, "app:serve", 1, GRACE, LINGER)
        supervisor.listen(lambda loop: [icey.TCPListener(loop, "127.0.0.1:0")])
        ends.extend(socket.socketpair())
        with pytest.raises(Left) as left:
            supervisor._fork(*ends)
        monkeypatch.setattr(module, "_is_worker", False)
        return left.value.args[0], supervisor

    yield forked
    signal.set_wakeup_fd(wakeup)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    for sock in ends:
        sock.close()
    for handle in loop.handles:
        handle.abort()
    loop.run_once(0)
    loop.close()


def test_the_child_has_its_own_end_of_the_channel_the_listeners_and_no_other(forked):
    seen = []

    def main(serve, fds, channel, grace, linger):
        seen.append((serve, len(fds), channel.getblocking(), grace, linger))
        seen.append(worker.BLOCKED <= signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        os.close(fds[0])
        with pytest.raises(icey.StateError, match="__main__"):
            icey.workers.run(print, ["127.0.0.1:0"])
        return 3

    status, supervisor = forked(main)
    assert status == 3
    assert seen == [("app:serve", 1, False, GRACE, LINGER), True]
    assert supervisor.listeners[0].sock.fileno() == -1


def test_what_the_child_raises_is_logged_and_never_comes_to_the_parents_code(forked, monkeypatch):
    logged = []
    monkeypatch.setattr(module.log, "error", lambda area, text, *args, exc=None: logged.append(text % args))

    def main(serve, fds, channel, grace, linger):
        os.close(fds[0])
        raise KeyboardInterrupt("as it is")

    status, _ = forked(main)
    assert status == worker.FAILED and logged == ["worker %d: as it is" % os.getpid()]


@pytest.mark.parametrize("status", [1 << 40, -1])
def test_no_status_and_no_stdout_lead_the_child_into_the_parents_code(forked, monkeypatch, status):
    def flush():
        raise RuntimeError("a stdout of the program's")

    def main(serve, fds, channel, grace, linger):
        os.close(fds[0])
        monkeypatch.setattr(module, "_flush", flush)
        return status

    monkeypatch.setattr(module, "_flush", int)
    assert forked(main)[0] == status & 0xFF
