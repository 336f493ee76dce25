"""Runs a command in a network of its own: python tests/support/alone.py COMMAND [ARGUMENT...].

Where several runs share a machine, a port that one of them has closed may be another one's a moment later: then a client that
is to be refused is answered, and a server gets a stranger. On Linux, as root, each run gets a loopback of its own (a network
namespace); elsewhere the command is run as it is.
"""
import os
import socket
import struct
import sys

NEW_NETWORK = 0x40000000  # linux/sched.h: CLONE_NEWNET
GET_FLAGS, SET_FLAGS, UP = 0x8913, 0x8914, 1  # linux/sockios.h: SIOCGIFFLAGS, SIOCSIFFLAGS; linux/if.h: IFF_UP


def leave():
    """Whether this process is in a network of its own now, with a loopback that works."""
    try:
        import ctypes
        import fcntl

        if ctypes.CDLL(None, use_errno=True).unshare(NEW_NETWORK):
            return False
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            name = struct.pack("16sh", b"lo", 0)
            flags, = struct.unpack_from("16xh", fcntl.ioctl(sock, GET_FLAGS, name))
            fcntl.ioctl(sock, SET_FLAGS, struct.pack("16sh", b"lo", flags | UP))
        return True
    except (AttributeError, ImportError, OSError):
        return False


if __name__ == "__main__":
    leave()
    os.execvp(sys.argv[1], sys.argv[1:])
