"""The extension interface: public methods for whoever writes a handle, a transport or a protocol.

They are called on the loop's thread only, mostly by the loop and by one another,
and do not look at the thread. icey/README.md
says what each is for; the contract tests, which hold every other public method to affinity, leave these out.
"""
HANDLE = {"check_thread", "require_open", "activate", "deactivate", "begin_close", "finish", "silence", "mute", "free",
          "closed_now", "emit", "slot_failed", "borrow_broken", "slots_changed", "title", "mend"}
STREAM = HANDLE | {"write", "write_file", "use_protocol", "use_socket", "hold", "rest", "want_drain", "look", "last_taken",
                   "last_heard", "note_taken", "read_last", "may_end", "fail", "flush", "settle", "owe", "part", "guard",
                   "connected", "pick_reader", "update_interest", "output_over", "queue_full", "tell_drain", "stop_watchdog",
                   "witness"}
DATAGRAM = HANDLE | {"use_socket", "target_of", "sender_of", "tell_error", "log_error", "look"}
TCP = STREAM | {"announce", "set_option", "limit_opening", "opened"}
TLS = TCP | {"room_made", "handshaken"}
PIPE = STREAM | {"reader_gone"}
TIMER = HANDLE | {"due"}
IDLER = HANDLE | {"turn"}
LOOP = {"soon", "work_came", "report", "add_timer", "timer_left", "check_thread", "require_open", "slots_changed", "free",
        "watch_turns", "unwatch_turns", "watch_calls", "unwatch_calls", "watch_reports", "unwatch_reports"}


def of(cls):
    """The extension methods that a class has by being a loop, a stream, a datagram socket or another handle."""
    from icey import Idler, Loop, Pipe, Stream, TCPSocket, Timer, UDPSocket

    tcp = TLS if hasattr(cls, "handshaken") else TCP
    for base, names in ((Loop, LOOP), (Timer, TIMER), (Idler, IDLER), (TCPSocket, tcp), (Pipe, PIPE), (Stream, STREAM),
                        (UDPSocket, DATAGRAM)):
        if issubclass(cls, base):
            return names
    return HANDLE
