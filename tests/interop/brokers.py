"""Real brokers: mosquitto, and nats-server with its MQTT listener, that can be killed, started again, and stopped as they are.

Neither tells which port the kernel gave it, and both are to come back on the same one: a port is looked for that is free.
"""
import os
import signal
import socket

from tests.support.programs import Program

MOSQUITTO = """\
per_listener_settings false
listener %(port)d 127.0.0.1
allow_anonymous %(anonymous)s
%(user)s
persistence %(persistence)s
persistence_location %(folder)s/
max_queued_messages 0
log_type all
%(more)s
"""
NATS = """\
server_name: icey
listen: "127.0.0.1:%(port2)d"
jetstream { store_dir: "%(folder)s" }
mqtt { listen: "127.0.0.1:%(port)d", max_ack_pending: 1000 }
"""


def free_ports(count):
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in taken]
    for each in taken:
        each.close()
    return ports


class Broker:
    """A broker on a port of 127.0.0.1, in a folder of its own. `more`: further lines of its configuration."""

    def __init__(self, folder, more="", **values):
        self.folder = folder
        self.port, port2 = free_ports(2)
        self.url = "mqtt://127.0.0.1:%d" % self.port
        self._config = os.path.join(folder, "broker.conf")
        values = dict({"persistence": "false", "anonymous": "true"}, port=self.port, port2=port2, folder=folder,
                      more=more % {"folder": folder}, **values)
        values["user"] = "user root" if os.getuid() == 0 else ""  # it has to see the test's folder
        with open(self._config, "w", encoding="utf-8") as file:
            file.write(self.CONFIG % values)
        self.program = None
        self.said = ""  # by those before
        self.start()

    def start(self):
        """Runs it, until it takes connections."""
        self.program = Program(self.NAME, *self.ARGUMENTS, self._config)
        try:
            self.program.expect(self.READY)
        except BaseException:
            self.program.end()
            raise

    def kill(self):
        """As kill -9."""
        self.program.kill()
        self.said += self.program.said
        self.program.end()

    def freeze(self):
        """It does nothing any more, and its connections stand."""
        os.kill(self.program.process.pid, signal.SIGSTOP)

    def thaw(self):
        """It goes on."""
        os.kill(self.program.process.pid, signal.SIGCONT)

    def log(self):
        """All that it has said, and those before it."""
        return self.said + self.program.said


class Mosquitto(Broker):
    NAME, ARGUMENTS, CONFIG, READY = "mosquitto", ("-c",), MOSQUITTO, r"mosquitto version \S+ running"


class Nats(Broker):
    NAME, ARGUMENTS, CONFIG, READY = "nats-server", ("-DV", "-c"), NATS, "Server is ready"


KINDS = {"mosquitto": Mosquitto, "nats": Nats}
