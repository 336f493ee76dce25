"""An MQTT client: messages of 128 bytes to a broker and from it, QoS 0 and 1, beside paho-mqtt and gmqtt.

    python tests/bench/mqtt.py                      # five rounds, about three minutes
    python tests/bench/mqtt.py --rounds 1           # a look
    python tests/bench/mqtt.py --count 20000 --task in0 --subject icey --json result.json
    python tests/bench/mqtt.py --against ~/older    # a second checkout of icey, in turn with this one

    out0, out1    publishes so many messages: until the kernel has them (QoS 0), or the broker has acknowledged all (QoS 1, 64
                  on their way: gmqtt knows no such bound)
    in0, in1      receives them, from a publisher of bytes made before; each is looked at

The broker is mosquitto, on one core; the client, a process of its own that is on the other, tells its CPU time a message and
the most memory it had. The peers work as their documentation has it: paho-mqtt on its network thread (out) and in loop_forever
(in), gmqtt on asyncio. A message that is missing, or wrong, ends the benchmark.

Goals: at least 3 x paho-mqtt, and ahead of gmqtt, in every task. See harness.py for the rules all benchmarks share. Needs
mosquitto; a peer that is not installed is left out. Not here: brokers that die (tests/interop/test_mqtt.py).
"""

import argparse
import json
import os
import resource
import shutil
import socket
import sys
import tempfile
import time

import harness

SIZE, COUNT, INFLIGHT, TOPIC = 128, 50000, 64, "bench/topic"
TASKS = ("out0", "out1", "in0", "in1")
SUBJECTS = ("icey", "paho-mqtt", "gmqtt")
GOALS = {"paho-mqtt": 1 / 3, "gmqtt": 1.0}
DATA = bytes(range(SIZE))
CONFIG = """\
listener %d 127.0.0.1
allow_anonymous true
max_queued_messages 0
max_inflight_messages 0
persistence false
log_type error
"""

# -- the clients, each a child ---------------------------------------------------------------------------------------


class Meter:
    """Begins when the connection stands; a task is done when `left` is 0."""

    def __init__(self, count):
        self.count = self.left = count

    def begin(self):
        """Tells the parent too: it may feed now."""
        print("ready", flush=True)
        self.began, self.cpu = time.perf_counter(), time.process_time()

    def take(self, data):
        if data != DATA:
            raise harness.BenchError("a wrong message: %r" % data)
        self.left -= 1

    def tell(self):
        print(json.dumps({
            "cpu_us": (time.process_time() - self.cpu) / self.count * 1e6,
            "rate": self.count / (time.perf_counter() - self.began),
            "rss_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}), flush=True)


def icey_client(root, port, task, meter):
    icey = harness.serve_from(root)
    loop, qos = icey.Loop(), int(task[-1])
    client = icey.mqtt.Client(loop, "mqtt://127.0.0.1:%d" % port, max_inflight=INFLIGHT)

    def publish(client):
        while todo:
            todo.pop()
            if not client.publish(TOPIC, DATA, qos=qos, done=done):
                break
        if len(todo) > 0 and client.crowded:
            client.want_drain()

    def done():
        meter.left -= 1
        if not meter.left:
            client.close()

    def take(client, topic, view):
        meter.take(view)
        if not meter.left:
            client.close()

    def connected(client, resumed):
        if task.startswith("out"):
            meter.begin()
            publish(client)
        else:
            client.subscribe(TOPIC, take, qos=qos, done=meter.begin)

    todo = [None] * meter.count
    client.on_connect += connected
    client.on_drain += publish
    client.start()
    loop.run()
    if meter.left:
        raise harness.BenchError("%d messages are missing" % meter.left)
    meter.tell()


def paho_client(root, port, task, meter):
    import threading

    import paho.mqtt.client as paho

    qos, over = int(task[-1]), threading.Event()
    client = paho.Client(paho.CallbackAPIVersion.VERSION2)
    client.max_inflight_messages_set(INFLIGHT)
    if task.startswith("out"):
        connected = threading.Event()

        def on_publish(*args):
            meter.left -= 1
            if not meter.left:
                over.set()

        client.on_connect = lambda *args: connected.set()
        client.on_publish = on_publish
        client.connect("127.0.0.1", port)
        client.loop_start()
        connected.wait()
        meter.begin()
        for _ in range(meter.count):
            client.publish(TOPIC, DATA, qos)
        over.wait()
        meter.tell()
        client.disconnect()
        client.loop_stop()
        return

    def on_message(client, data, message):
        meter.take(message.payload)
        if not meter.left:
            client.disconnect()

    client.on_connect = lambda *args: client.subscribe(TOPIC, qos)
    client.on_subscribe = lambda *args: meter.begin()
    client.on_message = on_message
    client.connect("127.0.0.1", port)
    client.loop_forever()
    meter.tell()


def gmqtt_client(root, port, task, meter):
    import asyncio

    import gmqtt
    from gmqtt.mqtt.constants import MQTTv311

    async def main():
        qos, over, ready = int(task[-1]), asyncio.Event(), asyncio.Event()
        client = gmqtt.Client("bench-%d" % os.getpid())

        def on_message(client, topic, payload, qos, properties):
            meter.take(payload)
            if not meter.left:
                over.set()
            return 0

        client.on_message = on_message
        client.on_subscribe = lambda *args: ready.set()
        await client.connect("127.0.0.1", port, version=MQTTv311)
        if task.startswith("in"):
            client.subscribe(TOPIC, qos=qos)
            await ready.wait()
            meter.begin()
            await over.wait()
        else:
            meter.begin()
            for number in range(meter.count):
                client.publish(TOPIC, DATA, qos=qos)
                if number % 64 == 63:
                    await asyncio.sleep(0)
            if qos:
                while not client._persistent_storage.is_empty:
                    await asyncio.sleep(0.01)
            transport = client._connection._transport
            while transport.get_write_buffer_size():
                await asyncio.sleep(0.01)
            meter.left = 0
        meter.tell()
        await client.disconnect()

    asyncio.run(main())


CLIENTS = {"icey": icey_client, "paho-mqtt": paho_client, "gmqtt": gmqtt_client}

# -- the parent ------------------------------------------------------------------------------------------------------


class Broker:
    """A mosquitto on the server's core."""

    def __init__(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            self.port = taken.getsockname()[1]
        self._config = tempfile.NamedTemporaryFile("w", suffix=".conf")
        self._config.write(CONFIG % self.port)
        self._config.flush()
        os.chmod(self._config.name, 0o644)
        program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/sbin")
        if program is None:
            raise harness.BenchError("mosquitto is not installed")
        self._process = harness.spawn([program, "-c", self._config.name], harness.SERVER_CPU)

    def __enter__(self):
        until = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return self
            except ConnectionRefusedError:
                if time.monotonic() > until or self._process.poll() is not None:
                    raise harness.BenchError("mosquitto did not start") from None

    def __exit__(self, *exc_info):
        harness.end(self._process)
        self._config.close()


def feed(port, count, qos):
    """Publishes `count` messages, by bytes made before; with QoS 1 a few hundred at a time."""
    def coded(text):
        return len(text).to_bytes(2, "big") + text

    def receive(size):
        while size:
            size -= len(sock.recv(size))

    sock = socket.create_connection(("127.0.0.1", port))
    sock.sendall(b"\x10\x10\x00\x04MQTT\x04\x02\x00\x00\x00\x04feed")
    receive(4)
    sent = 0
    while sent < count:
        burst = min(400, count - sent)
        made = []
        for ident in range(1, burst + 1):
            rest = coded(TOPIC.encode()) + (ident.to_bytes(2, "big") if qos else b"") + DATA
            made.append(bytes((0x30 | qos << 1, len(rest) & 127 | 128, len(rest) >> 7)) + rest)
        sock.sendall(b"".join(made))
        if qos:
            receive(4 * burst)
        sent += burst
    sock.sendall(b"\xe0\x00")
    sock.close()


def measure(broker, python, root, subject, task, count):
    """One client, one task: what it tells."""
    command = [python, os.path.abspath(__file__), "--client", subject, "--port", str(broker.port), "--task", task,
               "--count", str(count), "--root", root]
    process = harness.spawn(command, harness.CLIENT_CPU, stdout=-1, universal_newlines=True)
    try:
        if process.stdout.readline().strip() != "ready":
            raise harness.BenchError("the client did not start: %s" % " ".join(command))
        if task.startswith("in"):
            feed(broker.port, count, int(task[-1]))
        told = process.communicate(timeout=120)[0]
    finally:
        harness.end(process)
    if process.returncode:
        raise harness.BenchError("the client failed: %s" % " ".join(command))
    return json.loads(told)


def installed(python, subject):
    module = {"icey": "sys", "paho-mqtt": "paho.mqtt.client", "gmqtt": "gmqtt"}[subject]
    process = harness.spawn([python, "-c", "import " + module], harness.CLIENT_CPU, stderr=-1)
    process.communicate()
    return not process.returncode


def main():
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--count", type=int, default=COUNT, help="messages of a task (default %d)" % COUNT)
    options.add_argument("--task", action="append", choices=TASKS)
    options.add_argument("--subject", action="append", choices=SUBJECTS)
    options.add_argument("--python", default=sys.executable, help="the Python of the clients")
    options.add_argument("--against", help="a second checkout of icey")
    options.add_argument("--json")
    options.add_argument("--client", choices=SUBJECTS, help=argparse.SUPPRESS)
    options.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options.add_argument("--root", default=harness.ROOT, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.client:
        CLIENTS[chosen.client](chosen.root, chosen.port, chosen.task[0], Meter(chosen.count))
        return 0
    harness.die_on_sigterm()
    subjects = [(name, name, harness.ROOT) for name in chosen.subject or SUBJECTS if installed(chosen.python, name)]
    if chosen.against:
        subjects.append(("against", "icey", os.path.abspath(chosen.against)))
    for name in chosen.subject or SUBJECTS:
        if name not in [each[0] for each in subjects]:
            print("%s is not installed: left out" % name)
    print(harness.machine(chosen.python))
    results = {}
    with Broker() as broker:
        for _ in range(chosen.rounds):
            for task in chosen.task or TASKS:
                for label, subject, root in subjects:
                    one = measure(broker, chosen.python, root, subject, task, chosen.count)
                    results.setdefault(task, {}).setdefault(label, []).append(one)
    rows, summary = [], {}
    for task, found in results.items():
        for label, rounds in found.items():
            one = {name: harness.spread([each[name] for each in rounds]) for name in ("cpu_us", "rate", "rss_kib")}
            if "icey" in found:
                one["x"] = harness.spread([ours["cpu_us"] / each["cpu_us"] for ours, each in zip(found["icey"], rounds)])
            summary.setdefault(task, {})[label] = one
            ratio = ["%.2f" % one["x"][which] for which in ("median", "min", "max")] if "x" in one else ["", "", ""]
            rows.append([task, label, "%.1f" % one["cpu_us"]["median"], *ratio, "%.0f/s" % one["rate"]["median"],
                         "%.1f MiB" % (one["rss_kib"]["median"] / 1024)])
    harness.print_table(["task", "client", "CPU us", "icey x", "least", "most", "rate", "memory"], rows)
    for task, found in summary.items():
        for label, goal in GOALS.items():
            if label in found and "x" in found[label] and found[label]["x"]["median"] > goal:
                print("%s: not %.1f x %s" % (task, 1 / goal, label))
    harness.report(summary, chosen.json, {"rounds": results})
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except harness.BenchError as exc:
        sys.exit(str(exc))
