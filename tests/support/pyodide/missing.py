"""A plugin of pytest for the run inside Pyodide: a test that asks for what is not there is skipped, and says what it was.

There is no network, no thread, no process and no pair of sockets. Where icey goes on without, it is left to find that out:
FACED says which of its modules do.
"""
import _thread
import os
import socket
import subprocess
import sys
import threading

import pytest

FACED = {"icey.base.waker", "icey.base.threadpool", "icey.net.dns"}
ODD = {
    "test_a_nonblocking_pipe_is_waited_for_without_turning_the_loop": "a pipe does not tell its reader of the end",
    "test_a_files_tag_is_strong_and_changes_with_what_it_is_made_of": "a file's times have milliseconds",
    "test_the_best_poller_is_epoll_and_else_the_default_selector": "the best poller is the one that sleeps",
    "test_the_loop_goes_on_while_a_thread_reads": "no thread reads",
    "test_what_a_thread_reads_while_the_stream_is_paused_comes_when_it_goes_on": "no thread reads",
    "test_stop_and_start_while_a_thread_reads_loses_nothing_of_an_open_file": "no thread reads",
    "test_what_a_thread_has_read_is_not_overwritten_by_pauses_that_follow_at_once": "no thread reads",
    "test_a_source_with_an_interval_goes_on_behind_a_pause_in_which_a_read_came": "no thread reads",
    "test_what_a_thread_has_read_while_the_source_was_stopped_comes_first_at_the_next_start": "no thread reads",
    "test_where_warnings_are_errors_a_collected_loop_gives_its_descriptors_back": "what skipped tests left is collected, too",
}

left_alone = {}  # (owner, name): the function as it is there


def missing(owner, name, what):
    """Whoever calls the function `name` of `owner` has no `what`."""
    original = left_alone[owner, name] = getattr(owner, name)

    def asked(*args, **kwargs):
        caller = sys._getframe(1)
        if caller.f_globals.get("__name__") not in FACED and caller.f_code.co_name != "_fallback_socketpair":
            pytest.skip("Pyodide has no " + what)
        return original(*args, **kwargs)

    setattr(owner, name, asked)


def pytest_collection_modifyitems(items):
    for item in items:
        why = ODD.get(item.originalname)
        if why:
            item.add_marker(pytest.mark.skip(reason="Pyodide: " + why))


for name in ("bind", "listen", "accept", "connect", "connect_ex"):
    missing(socket.socket, name, "network")
missing(socket, "socketpair", "socket pairs")
missing(threading.Thread, "start", "threads")
missing(_thread, "start_new_thread", "threads")
missing(subprocess.Popen, "__init__", "processes")
missing(os, "fork", "processes")
