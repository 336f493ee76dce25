"""A client in a process of its own, so that its memory can be measured: python tests/interop/download.py HOW URL CA WARMUP

HOW is "slots" (on_payload), "paused" (the same, pausing after each piece), the path of a file to save to, or "put:" and the
path of a file to send. WARMUP: a URL asked for before, by the same client. Prints one line of JSON: the answer's status; bytes
that came, and their CRC-32; by how many bytes the memory of the process was larger at its peak than after the warm-up.
"""
import gc
import json
import sys
import zlib

import icey


class Transfer:
    """One request of `client`."""

    def __init__(self, client, url, how):
        self.size = self.crc = 0
        self.answer = None
        self._how = how
        self._body = open(how[4:], "rb") if how.startswith("put:") else None
        call = client.request("PUT" if self._body else "GET", url, body=self._body, timeout=None, done=self.done)
        if how in ("slots", "paused"):
            call.on_payload += self.piece
        elif self._body is None:
            call.save_to(how)
            call.on_progress += self.progress

    def piece(self, call, view):
        self.size += len(view)
        self.crc = zlib.crc32(view, self.crc)
        if self._how == "paused":
            call.pause()
            call.loop.call_soon(call.resume)

    def progress(self, call, received, total):
        self.size = received

    def done(self, answer, error):
        if self._body is not None:
            self._body.close()
        if error is not None:
            raise error
        self.answer = answer


def memory(name):
    """A field of /proc/self/status, in bytes."""
    with open("/proc/self/status") as file:
        fields = dict(line.split(":", 1) for line in file)
    return int(fields[name].split()[0]) * 1024


def main():
    how, url, ca, warmup = sys.argv[1:]
    with icey.Loop() as loop:
        client = icey.http.Client(loop, tls=icey.tls.client_context(ca=ca), limits=icey.Limits(max_decoded=None))
        Transfer(client, warmup, "slots")
        while client.calls:
            loop.run_once()
        gc.collect()
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # the peak counts from here
        before = memory("VmRSS")
        transfer = Transfer(client, url, how)
        client.close()
        loop.run()
        growth = memory("VmHWM") - before
    print(json.dumps({"status": transfer.answer.status, "size": transfer.size, "crc": transfer.crc, "growth": growth}))


if __name__ == "__main__":
    main()
