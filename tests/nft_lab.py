# SPDX-License-Identifier: Apache-2.0
"""The lab for mcseal-nft: a machine of its own, configurations, and traffic that must not leave.

As a program it is one end of that traffic, in a process of its own:
    nft_lab.py poll SHARED TARGET...   dials each target (ADDRESS/PORT/tcp or udp) in turn, for ever
    nft_lab.py listen PORT [keep]      takes and ends, or keeps, what comes to PORT, IPv4 and IPv6
"""
import contextlib
import itertools
import json
import mmap
import os
import pathlib
import select
import socket
import struct
import subprocess
import sys
import threading

import lab

TOOL = lab.BUILD / "mcseal-nft"
TABLES = ("mcseal_guard", "mcseal")
EDGE_PORT = 15007
DIVERT_MARK, ROUTE_TABLE = 0x4d430002, 207
PLCS = '"10.30.0.10:5001-5007", "[fd30::/64]:5001-5007"'
CLIENTS = 'addresses = { "10.10.0.0/24", "fd10::/64" }'
ANYWHERE = '"0.0.0.0:15007", "[::]:15007"'
TPROXY = "interception = tproxy"
# As words of nft.
GUARD, MANAGED = (f"inet {table}" for table in TABLES)
# Another program's.
FOREIGN = """
table ip other {
	chain input {
		type filter hook input priority 0; policy accept;
		tcp dport 22 counter packets 7 bytes 700 accept comment "ssh"
	}
}
table inet other {
	set s {
		type ipv4_addr
		elements = { 192.0.2.1 }
	}
	chain c {
		ip saddr @s counter packets 1 bytes 60 drop
	}
}
"""

_numbers = itertools.count()


def edge_text(plcs=PLCS, name="office", listen=ANYWHERE, interfaces='"local", "to-client"',
              source=CLIENTS, gateways='"10.20.0.2:8443"', options=""):
    """An edge section. mcseal-nft reads no certificate: those named here do not exist."""
    return f"""
edge "{name}" {{
	listen = {{ {listen} }}
	interfaces = {{ {interfaces} }}
	certificate = "/nowhere/edge.pem"
	key = "/nowhere/edge.key"
	ca = "/nowhere/ca.pem"
	crl = "/nowhere/crl.pem"
	{options}
	source "scada" {{ {source} }}
	route "plant" {{
		destinations = {{ {plcs} }}
		gateways = {{ {gateways} }}
	}}
}}
"""


ROUTED = edge_text(interfaces='"to-client"', options=TPROXY)


def gateway_text(clients='"10.20.0.1"', networks='"10.30.0.0/24"', listen='"0.0.0.0:8443"'):
    """A gateway for one PLC, with what the file needs besides."""
    return f"""
nft {{ plc_networks = {{ {networks} }} }}
plc "press" {{ address = "10.30.0.10" port "5007" {{ }} }}
identity "office" {{ match = {{ "uri:urn:x" }} role = edge plcs = {{ "press" }} }}
gateway "plant" {{
	listen = {{ {listen} }}
	clients = {{ {clients} }}
	certificate = "/nowhere/gateway.pem"
	key = "/nowhere/gateway.key"
	ca = "/nowhere/ca.pem"
	crl = "/nowhere/crl.pem"
}}
"""


class Machine:
    """A network namespace with the interfaces "to-client" and "to-plant", and one configuration.

    With `namespace`, one that is there already.
    """

    def __init__(self, folder, text=None, namespace=None):
        self.folder = pathlib.Path(folder)
        self.made = namespace is None
        self.number = next(_numbers)
        self.ns = namespace or f"mcnft-{os.getpid()}-{self.number}"
        self.config = self.folder / f"{self.number}.conf"
        self.configure(edge_text() if text is None else text)

    def __enter__(self):
        try:
            if self.made:
                self._make()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _make(self):
        lab.run("ip", "netns", "add", self.ns)
        self.exec("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
        lab.run("ip", "-n", self.ns, "link", "set", "lo", "up")
        lab.run("ip", "-n", self.ns, "link", "add", "to-client", "type", "veth", "peer",
                "name", "to-plant")
        for number, link in ((10, "to-client"), (20, "to-plant")):
            lab.run("ip", "-n", self.ns, "addr", "add", f"10.{number}.0.1/24", "dev", link)
            lab.run("ip", "-n", self.ns, "addr", "add", f"fd{number}::1/64", "dev", link, "nodad")
            lab.run("ip", "-n", self.ns, "link", "set", link, "up")

    def __exit__(self, *_):
        if self.made:
            lab.run("ip", "netns", "del", self.ns, check=False)

    def add_default_routes(self):
        for family, via in (("-4", "10.20.0.2"), ("-6", "fd20::2")):
            lab.run("ip", "-n", self.ns, family, "route", "add", "default", "via", via)

    def configure(self, text):
        self.config.write_text(text)

    def command(self, *words):
        return ["ip", "netns", "exec", self.ns, *words]

    def exec(self, *words, **options):
        return lab.run(*self.command(*words), **options)

    def tool(self, *words, status=0, prefix=(), **options):
        """mcseal-nft with this configuration; .stdout and .stderr apart. status: None for any."""
        options.setdefault("stdin", subprocess.DEVNULL)
        result = self.exec(*prefix, TOOL, "-c", self.config, *words, check=False,
                           stderr=subprocess.PIPE, **options)
        said = result.stdout + result.stderr
        assert not lab.SANITIZER.search(said), said
        assert status is None or result.returncode == status, (words, result.returncode, said)
        return result

    def json(self, *words, status=0):
        return json.loads(self.tool("--json", *words, status=status).stdout)

    def start(self, *words):
        """mcseal-nft in the background."""
        name = f"{self.number}-{next(_numbers)}.log"
        return lab.Process([TOOL, "-c", self.config, *words], self.folder / name, self.ns)

    def nft(self, *words, text=None, check=True):
        if text is not None:
            return self.exec("nft", "-f", "-", input=text, check=check)
        return self.exec("nft", *words, check=check)

    def ruleset(self):
        """With counters and their values."""
        return self.nft("list", "ruleset").stdout

    def objects(self):
        """nft's JSON list of our tables: what it is of, and what it says."""
        found = []
        for table in TABLES:
            listed = self.nft("-j", "list", "table", "inet", table, check=False)
            if listed.returncode == 0:
                found += json.loads(listed.stdout)["nftables"]
        return [(kind, body) for entry in found for kind, body in entry.items()]

    def rule_count(self):
        return sum(kind == "rule" for kind, _ in self.objects())

    def handles(self, chain, table="mcseal_guard"):
        """Of a chain's rules: they change when the rules are made anew."""
        return [body["handle"] for kind, body in self.objects()
                if kind == "rule" and (body["table"], body["chain"]) == (table, chain)]

    def packets(self, comment, table="mcseal_guard", chain=None):
        """What the counters of the rules with this comment say, in sum."""
        total = 0
        for kind, body in self.objects():
            if kind == "rule" and body["table"] == table and body.get("comment") == comment \
                    and chain in (None, body["chain"]):
                total += sum(part["counter"]["packets"] for part in body["expr"]
                             if "counter" in part)
        return total

    def diverts(self):
        """ip rules and routes that TPROXY needs, as ip(8) lists them."""
        text = ""
        for family in ("-4", "-6"):
            text += lab.run("ip", "-n", self.ns, family, "rule").stdout
            text += lab.run("ip", "-n", self.ns, family, "route", "show", "table", ROUTE_TABLE,
                            check=False, stderr=subprocess.DEVNULL).stdout
        return text

    def socket(self, family=socket.AF_INET, kind=socket.SOCK_STREAM):
        """A socket of this namespace."""
        with inside(self.ns):
            made = socket.socket(family, kind)
        made.settimeout(3 * lab.PATIENCE)
        return made


def assert_clean(machine):
    """The rules are as they should be."""
    assert machine.tool("diff").stdout == ""


@contextlib.contextmanager
def inside(namespace):
    """Sockets made in the body belong to that namespace (this thread only)."""
    with open("/proc/thread-self/ns/net", "rb") as home, \
            open(f"/run/netns/{namespace}", "rb") as there:
        os_setns(there.fileno())
        try:
            yield
        finally:
            os_setns(home.fileno())


def os_setns(descriptor):
    """os.setns() is of Python 3.12."""
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, 0x40000000) != 0:
        raise OSError(ctypes.get_errno(), "setns")


# --- what is seen on a link -----------------------------------------------------------------------


class Capture:
    """Counts TCP and UDP packets for the PLCs' addresses that a link of a namespace receives."""

    NETWORKS = (bytes([10, 30, 0]), bytes.fromhex("fd30000000000000"))
    PACKET_STATISTICS = 6  # linux/if_packet.h

    def __init__(self, namespace, link):
        with inside(namespace):
            self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
            self.sock.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE
            self.sock.bind((link, 0))
        self.plain, self.all, self.examples, self.stopping = 0, 0, [], False
        self.error = None
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        while True:
            if not select.select([self.sock], [], [], 0.05)[0]:
                if self.stopping:
                    return
                continue
            try:
                packet, (_, _, direction, _, _) = self.sock.recvfrom(128)
            except OSError as error:
                self.error = error
                return
            self.all += 1
            if direction == socket.PACKET_HOST and self._is_plain(packet):
                self.plain += 1
                self.examples = [*self.examples, packet.hex()][-3:]

    def _is_plain(self, packet):
        if len(packet) >= 20 and packet[0] >> 4 == 4:
            return packet[9] in (6, 17) and packet[16:19] == self.NETWORKS[0]
        return len(packet) >= 40 and packet[0] >> 4 == 6 and packet[6] in (6, 17) and \
            packet[24:32] == self.NETWORKS[1]

    def end(self):
        """Reads what is still queued; the number of plain packets. None was lost unseen."""
        self.stopping = True
        self.thread.join(30 * lab.PATIENCE)
        assert not self.thread.is_alive() and self.error is None, self.error
        _, dropped = struct.unpack("II", self.sock.getsockopt(263, self.PACKET_STATISTICS, 8))
        self.sock.close()
        assert dropped == 0, f"the capture lost {dropped} packets"
        return self.plain


# --- a poller that never gives up ----------------------------------------------------------------


OUTCOMES = ("connected", "refused", "blocked", "failed", "sent")


class Poller:
    """A client that makes new connections, and sends datagrams, as fast as it can.

    What becomes of them: connected, refused at once, blocked (EPERM), failed (out of time, no
    route); and sent, of datagrams of which nobody says anything.
    """

    def __init__(self, folder, namespace, targets):
        path = pathlib.Path(folder) / f"poller-{next(_numbers)}"
        path.write_bytes(bytes(8 * len(OUTCOMES)))
        with open(path, "r+b") as file:
            self.shared = mmap.mmap(file.fileno(), 0)
        self.process = lab.Process([sys.executable, __file__, "poll", path, *targets],
                                   path.with_suffix(".log"), namespace)

    def outcomes(self):
        return dict(zip(OUTCOMES, struct.unpack("5Q", self.shared[:])))

    def tried(self):
        return sum(self.outcomes().values())

    def wait(self, more, outcome=None, seconds=20):
        """Until that many more tries have ended: all of them, or those with this outcome."""
        def count():
            assert self.process.alive(), self.process.text()
            return self.outcomes()[outcome] if outcome else self.tried()
        # One may have been under way.
        goal = count() + more + 1
        lab.wait_for(lambda: count() >= goal, f"{more} more {outcome or 'tries'} after "
                     f"{self.outcomes()}", seconds)

    def end(self):
        self.process.kill()
        return self.outcomes()


def _try(target):
    host, port, protocol = target.split("/")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    udp = protocol == "udp"
    with socket.socket(family, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM) as sock:
        sock.settimeout(0.25 * lab.PATIENCE)
        if not udp:  # neither TIME_WAIT nor a late packet of it
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        try:
            # A listener may have ended it at once: connected it was.
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                sock.connect((host, int(port)))
                sock.send(lab.read_words(0, 1))
            return "sent" if udp else "connected"
        except ConnectionRefusedError:
            return "refused"
        except PermissionError:
            return "blocked"
        except OSError:
            return "failed"


def poll(path, targets):
    with open(path, "r+b") as file:
        shared = mmap.mmap(file.fileno(), 0)
    counts = dict.fromkeys(OUTCOMES, 0)
    for target in itertools.cycle(targets):
        counts[_try(target)] += 1
        shared[:] = struct.pack("5Q", *counts.values())


def listen(port, keep):
    listeners, kept = [], []
    for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        sock = socket.socket(family)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # As mcseald does for TPROXY; for a redirect it makes no difference.
        sock.setsockopt(*((socket.SOL_IP, 19) if family == socket.AF_INET
                          else (socket.IPPROTO_IPV6, 75)), 1)
        sock.bind((host, port))
        sock.listen(4096)
        sock.setblocking(False)
        listeners.append(sock)
    print("ready", flush=True)
    while True:
        for sock in select.select(listeners, [], [])[0]:
            with contextlib.suppress(OSError):
                taken, _ = sock.accept()
                if keep:
                    kept.append(taken)
                    continue
                taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                taken.close()


class Listener(lab.Process):
    """Stands for mcseald's listener: whatever arrives is taken, and ended, or kept."""

    def __init__(self, folder, namespace, port=EDGE_PORT, keep=False):
        super().__init__([sys.executable, __file__, "listen", port, *(["keep"] if keep else [])],
                         pathlib.Path(folder) / f"listener-{next(_numbers)}.log", namespace)
        self.wait_text("ready", 20)


def main():
    if sys.argv[1] == "poll":
        poll(sys.argv[2], sys.argv[3:])
    else:
        listen(int(sys.argv[2]), sys.argv[3:] == ["keep"])


if __name__ == "__main__":
    main()
