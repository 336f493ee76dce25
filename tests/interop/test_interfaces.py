"""interfaces() beside iproute2's `ip`: here, and in a network namespace of the test's own with a veth pair, aliases, a peer."""
import json
import os
import subprocess
import sys

import pytest

import icey
from tests.support import ROOT, tool

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="rtnetlink is Linux's")

HERE = "import icey, json\nprint(json.dumps([[one.name, one.index, one.addresses, one.up, one.loopback, one.multicast]" \
       " for one in icey.interfaces()]))"
NETWORK = """set -e
ip link set lo up
ip link add veth0 type veth peer name veth1
ip link set veth0 multicast off
ip link set veth0 up
ip addr add 192.0.2.1/24 dev veth0
ip addr add 192.0.2.9/24 dev veth0 label veth0:1
ip addr add 203.0.113.1/25 dev veth0
ip addr add 198.51.100.1 peer 198.51.100.2/32 dev veth1
ip -6 addr add 2001:db8::1/48 dev veth0 nodad 2>/dev/null || true
"""


def of_ip(text):
    """What `ip -j addr` says, in the shape of HERE."""
    found = []
    for one in json.loads(text):
        flags, addresses = one["flags"], []
        for told in one["addr_info"]:
            if told.get("family") in ("inet", "inet6"):
                host = told["local"] + ("%%%d" % one["ifindex"] if told["local"].startswith("fe80:") else "")
                addresses.append([host, told["prefixlen"]])
        found.append([one["ifname"], one["ifindex"], addresses, "UP" in flags, "LOOPBACK" in flags, "MULTICAST" in flags])
    return sorted(found, key=lambda one: one[1])


def run(*command):
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          universal_newlines=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


def apart(script):
    """The output of a shell script in a network of its own; skips where that is not permitted."""
    status, out, err = run(tool("unshare"), "--net", *["--map-root-user"] * (os.geteuid() != 0), "sh", "-c", script)
    if status:
        pytest.skip("no network namespace here: %s" % err.strip()[-200:])
    return out


def test_it_tells_what_ip_tells():
    status, out, err = run(tool("ip"), "-j", "addr")
    assert status == 0, err
    here = [[one.name, one.index, [list(pair) for pair in one.addresses], one.up, one.loopback, one.multicast]
            for one in icey.interfaces()]
    assert here == of_ip(out)


def test_aliases_several_addresses_a_peer_and_what_is_down():
    tool("ip")
    out = apart(NETWORK + "ip -j addr\necho\n%s -c '%s'" % (sys.executable, HERE))
    by_ip, here = [line for line in out.splitlines() if line]
    told = json.loads(here)
    assert told == of_ip(by_ip)
    lo, *pair = told
    veth = {one[0]: one for one in pair}
    assert lo[0] == "lo" and ["127.0.0.1", 8] in lo[2]
    assert [address for address in veth["veth0"][2] if ":" not in address[0]] == [
        ["192.0.2.1", 24], ["203.0.113.1", 25], ["192.0.2.9", 24]]
    assert veth["veth1"][2][:1] == [["198.51.100.1", 32]]
    assert veth["veth0"][3:] == [True, False, False] and veth["veth1"][3:] == [False, False, True]


def test_a_machine_with_many():
    tool("ip")
    script = "set -e\nfor i in $(seq 25); do ip link add d$i type veth peer name e$i;" \
             " for j in $(seq 5); do ip addr add 10.$i.$j.1/24 dev d$i; done; done\n%s -c '%s'" % (sys.executable, HERE)
    many = {one[0]: one for one in json.loads(apart(script)) if one[0][0] in "de"}
    assert len(many) == 50 and not any(one[3] for one in many.values())
    assert {"d%d" % i: many["d%d" % i][2] for i in range(1, 26)} == {
        "d%d" % i: [["10.%d.%d.1" % (i, j), 24] for j in range(1, 6)] for i in range(1, 26)}
