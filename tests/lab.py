# SPDX-License-Identifier: Apache-2.0
"""The lab: what end-to-end tests and the demo are made of.

Network namespaces joined by veth pairs, a PKI made by mcseal-pki, processes that are always
ended and whose output is always looked at, and MC frames for tests that want their own bytes.

    client 10.10.0.2 -- 10.10.0.1 edge 10.20.0.1 -- 10.20.0.2 gateway 10.30.0.1 -- 10.30.0.10 plc
    (the same with fd10::, fd20::, fd30::)
"""
import collections
import contextlib
import ctypes
import hashlib
import json
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("MCSEAL_BUILD", ROOT / "build" / "release")).resolve()
PKI_TOOL = ROOT / "certs" / "mcseal-pki"
# Sanitizers slow everything down; deadlines of the tests stretch by this factor.
PATIENCE = float(os.environ.get("MCSEAL_PATIENCE", "1"))
# The stock Debian kernel that this runs in: 6.1, 6.12, newest; None on the machine itself.
KERNEL = os.environ.get("MCSEAL_KERNEL")
SANITIZER = re.compile(r"ERROR: (Address|Leak|Thread)Sanitizer|WARNING: ThreadSanitizer|"
                       r"runtime error:|SUMMARY: .*Sanitizer")

os.environ.setdefault("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=0:exitcode=99")
os.environ.setdefault("UBSAN_OPTIONS", "print_stacktrace=1:exitcode=99")
os.environ.setdefault("TSAN_OPTIONS", "exitcode=99:second_deadlock_stack=1")


class LabError(AssertionError):
    """A process or a condition of the lab did not do what the test relies on."""


def wait_for(condition, what, seconds=5.0):
    """Polls until condition() is true; its value. Fails with `what` after the time."""
    end = time.monotonic() + seconds * PATIENCE
    pause = 0.005
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise LabError(f"waited {seconds * PATIENCE:.1f} s for {what}")
        # What has not come soon takes its time, the more the more often somebody looks.
        time.sleep(pause)
        pause = min(1.5 * pause, 0.05)


def run(*command, check=True, **options):
    """A command to its end; stdout and stderr together in .stdout."""
    options.setdefault("stdout", subprocess.PIPE)
    options.setdefault("stderr", subprocess.STDOUT)
    options.setdefault("timeout", 60 * PATIENCE)
    result = subprocess.run([str(word) for word in command], text=True, check=False, **options)
    if check and result.returncode != 0:
        raise LabError(f"{' '.join(map(str, command))}: exit {result.returncode}\n{result.stdout}")
    return result


# In the lab's kernels every engine has its turn: the default one in each, the others in one.
_ENGINES = {None: ["auto", "epoll"], "6.1": ["splice", "copy"], "6.12": ["splice", "epoll"],
            "newest": ["splice", "uring-splice"]}


def engines():
    """What `engine` is to be tried with here."""
    return _ENGINES[KERNEL]


# What is long and asks more of the session than of the engine has one in each kernel.
_ONE_ENGINE = {None: ["auto", "epoll"], "6.1": ["splice"], "6.12": ["epoll"],
               "newest": ["uring-splice"]}


def one_engine():
    return _ONE_ENGINE[KERNEL]


# The whole contract of the relay once with every engine.
_CONTRACT = {None: ["auto", "epoll"], "6.1": ["splice"], "6.12": ["copy", "epoll"],
             "newest": ["uring-splice"]}


def contract_engines():
    return _CONTRACT[KERNEL]


def tls_statistics(process="thread-self"):
    """Counters of kernel TLS in that process's network namespace; all 0 without kernel TLS."""
    path = pathlib.Path(f"/proc/{process}/net/tls_stat")
    counters = collections.Counter()
    if path.exists():
        counters.update({name: int(value) for name, value in
                         map(str.split, path.read_text().splitlines())})
    return counters


# --- processes --------------------------------------------------------------------------------------


class Process:
    """A program in the background, its output in a file, ended by pid."""

    started = []

    def __init__(self, command, log, netns=None, env=None, uid=None):
        self.log_path = pathlib.Path(log)
        self.command = [str(word) for word in command]
        self.netns = netns
        prefix = ["ip", "netns", "exec", netns] if netns else []
        if uid is not None:
            prefix += ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
        with open(self.log_path, "ab") as output:
            self.popen = subprocess.Popen(
                prefix + self.command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env={**os.environ, **(env or {})}, start_new_session=True)
        Process.started.append(self)

    @property
    def pid(self):
        return self.popen.pid

    def text(self):
        return self.log_path.read_text(errors="replace")

    def lines(self, pattern=""):
        return [line for line in self.text().splitlines() if re.search(pattern, line)]

    def wait_text(self, pattern, seconds=5.0):
        def found():
            match = re.search(pattern, self.text(), re.MULTILINE)
            if not match and self.popen.poll() is not None:
                raise LabError(f"{self.command[0]} ended ({self.popen.returncode}) before "
                               f"{pattern!r}:\n{self.text()[-3000:]}")
            return match
        try:
            return wait_for(found, f"{pattern!r} from {self.command[0]}", seconds)
        except LabError as error:
            raise LabError(f"{error}\n{self.text()[-3000:]}") from None

    def alive(self):
        return self.popen.poll() is None

    def stop(self, number=signal.SIGTERM, seconds=10.0):
        """Ends it; returns the exit status (negative: by that signal)."""
        if self.alive():
            self.popen.send_signal(number)
        try:
            return self.popen.wait(seconds * PATIENCE)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            raise LabError(f"{self.command[0]} did not end:\n{self.text()[-3000:]}") from None

    def kill(self):
        if self.alive():
            self.popen.kill()
        self.popen.wait()


def kill_leftovers():
    """Ends whatever a failed or interrupted caller left running."""
    while Process.started:
        Process.started.pop().kill()


def assert_clean(process, status):
    """Ended well and no sanitizer had anything to say."""
    text = process.text()
    if SANITIZER.search(text):
        raise LabError(f"sanitizer report from {process.command[0]}:\n{text[-8000:]}")
    if status != 0:
        raise LabError(f"{process.command[0]} ended with {status}:\n{text[-3000:]}")
    if KERNEL and isinstance(process, Daemon):
        process.assert_records()


class Plc(Process):
    """mcplc. `options` as on its command line, without --listen and --log."""

    def __init__(self, folder, *options, listen="127.0.0.1:0", netns=None, name="plc"):
        self.requests_path = pathlib.Path(folder) / f"{name}.requests"
        super().__init__([BUILD / "mcplc", "--listen", listen, "--quiet", "--log",
                          self.requests_path, *options],
                         pathlib.Path(folder) / f"{name}.log", netns)
        ready = self.wait_text(r"mcplc: ready (\S+)")
        self.address = ready.group(1)
        host, port = self.address.rsplit(":", 1)
        self.host, self.port = host.strip("[]"), int(port)

    def events(self, pattern=""):
        """Lines of the request log: connections and requests that reached the PLC."""
        if not self.requests_path.exists():
            return []
        text = self.requests_path.read_text(errors="replace")
        return [line for line in text.splitlines() if re.search(pattern, line)]

    def requests(self):
        return self.events("event=request")


# The peer's FIN came before the keys were handed over: ENOTCONN, and no harm done.
EARLY_END = 'records-why="Transport endpoint is not connected"'


class Daemon(Process):
    """mcseald with the configuration `text`.

    In a lab kernel each of its sessions has to have its keys in the kernel, unless the
    configuration or the test (records="user": some need not) says otherwise.
    """

    def __init__(self, folder, text, netns=None, name="mcseald", uid=None, env=None, ready=True,
                 records=None):
        folder = pathlib.Path(folder)
        self.config = folder / f"{name}.conf"
        self.config.write_text(text)
        super().__init__([BUILD / "mcseald", self.config], folder / f"{name}.log", netns, uid=uid,
                         env=env)
        self.records = records or ("user" if "ktls = off" in text else "kernel")
        self.opened = []
        self.installed = collections.Counter()  # before the first session, then after the last
        if ready:
            self.wait_text(r"\bready workers=", 10)
            self.installed = tls_statistics(self.pid)

    def stop(self, number=signal.SIGTERM, seconds=10.0):
        if KERNEL and self.alive():
            # No session between the look at the log and the one at the counters is missed.
            self.opened = self.lines(r"\bsession-open\b.* records=kernel\b")
            self.installed = tls_statistics(self.pid) - self.installed
        return super().stop(number, seconds)

    def assert_records(self):
        """No session fell back to user space, and what says `kernel` was really installed."""
        refused = [line for line in self.lines(r"\bsession-open\b.* records=user\b")
                   if EARLY_END not in line]
        if self.records == "kernel" and refused:
            raise LabError("not in the kernel:\n" + "\n".join(refused))
        for counter in ("TlsTxSw", "TlsRxSw"):
            if self.installed[counter] < len(self.opened):
                raise LabError(f"{len(self.opened)} sessions, {counter}: {self.installed}")

    def closed(self, reason, seconds=5.0):
        """Waits for a session that closed with this reason; its log line."""
        return self.wait_text(rf"^.*session-closed reason={reason}\b.*$", seconds).group(0)

    def reasons(self):
        return [re.search(r"reason=(\S+)", line).group(1) for line in self.lines("session-closed")]


@contextlib.contextmanager
def stopping(*processes):
    """Runs the body, then stops the processes in order and demands a clean end of each."""
    try:
        yield
    except BaseException:
        for process in processes:
            process.kill()
        for process in processes:
            print(f"--- {process.log_path}\n{process.text()[-4000:]}")
        raise
    statuses = [(process, process.stop()) for process in processes]
    for process, status in statuses:
        assert_clean(process, status)


# --- certificates --------------------------------------------------------------------------------------


class Pki:
    """A CA of mcseal-pki in a folder.

    What the same calls made before is taken from the folder MCSEAL_PKI_CACHE, if there is one: an
    emulated machine takes seconds for a certificate. Tests of mcseal-pki itself do not come here.
    Two CAs made by the same calls are then one CA, unless `label` tells them apart.
    """

    CACHE = os.environ.get("MCSEAL_PKI_CACHE")
    _read = {}  # what is kept, by its place, once it was needed

    def __init__(self, folder, *options, label=""):
        self.folder = pathlib.Path(folder)
        self._laid = {}
        self.history = [PKI_TOOL.read_text(), time.strftime("%F", time.gmtime()), label]
        self._call(["init", self.folder], ["init", *options])
        self.ca = self.folder / "ca.pem"
        self.crl = self.folder / "crl.pem"

    def _call(self, prefix, words):
        self.history += words
        command = [*prefix, *words[words[0] == "init":]]
        if not self.CACHE:
            run(PKI_TOOL, *command)
            return
        key = hashlib.sha256(json.dumps([str(word) for word in self.history]).encode()).hexdigest()
        kept = pathlib.Path(self.CACHE) / key
        if not kept.exists():
            run(PKI_TOOL, *command)
            self._keep(kept)
        self._lay(kept)

    @staticmethod
    def _content(folder):
        """Of a folder, itself included: {path: (mode, bytes)}, None for the bytes of a folder."""
        return {path.relative_to(folder): (path.stat().st_mode & 0o7777,
                                           None if path.is_dir() else path.read_bytes())
                for path in (folder, *sorted(folder.rglob("*")))}

    @staticmethod
    def _write(folder, content):
        for name, (mode, data) in sorted(content.items()):
            path = folder / name
            if data is None:
                path.mkdir(parents=True, exist_ok=True)
            else:
                path.write_bytes(data)
            path.chmod(mode)

    def _keep(self, kept):
        """What the last step has changed; nothing if it is kept meanwhile."""
        content = self._content(self.folder)
        changed = [name for name, what in content.items() if self._laid.get(name) != what]
        made = pathlib.Path(tempfile.mkdtemp(dir=self.CACHE))
        self._write(made, {step: content[step] for name in changed
                           for step in (name, *name.parents)})
        try:
            os.rename(made, kept)
        except OSError:
            # Somebody was faster. The next step may come from the cache, and was made from what
            # is kept there: this folder must become the same, or it is half one CA, half another.
            shutil.rmtree(made)
            for name in changed:
                if content[name][1] is not None:
                    (self.folder / name).unlink()
                    self._laid.pop(name, None)

    def _lay(self, kept):
        """One step further, by what is kept of it."""
        if kept not in self._read:
            self._read[kept] = self._content(kept)
        step = self._read[kept]
        self._write(self.folder, {name: what for name, what in step.items()
                                  if self._laid.get(name) != what})
        self._laid |= step

    def tool(self, *words):
        self._call(["-d", self.folder], words)

    def issue(self, kind, name, *options):
        self.tool(kind, name, *options)
        return Credentials(self, self.folder / "issued" / f"{name}.pem",
                           self.folder / "issued" / f"{name}.key")

    def gateway(self, name="gw", ips=("127.0.0.1",), dns=(), *options):
        words = [word for ip in ips for word in ("--ip", ip)]
        words += [word for host in dns for word in ("--dns", host)]
        return self.issue("gateway", name, *words, *options)

    def edge(self, name="office", *options):
        return self.issue("edge", name, *options)

    def client(self, name, *options):
        return self.issue("client", name, *options)

    def revoke(self, name):
        self.tool("revoke", name)


class Credentials:
    """Certificate and key of one end, trusting `pki`."""

    def __init__(self, pki, certificate, key):
        self.pki, self.certificate, self.key = pki, certificate, key

    def config(self, crl=True, ca=None):
        """As lines of a gateway, edge or source section."""
        lines = [f'certificate = "{self.certificate}"', f'key = "{self.key}"',
                 f'ca = "{ca or self.pki.ca}"']
        if crl:
            lines.append(f'crl = "{self.pki.crl}"')
        return "\n\t".join(lines)


# --- network namespaces --------------------------------------------------------------------------------


class Net:
    """client - edge - gateway - plc, each a namespace of its own, joined in a line."""

    LINKS = (("client", "edge", 10), ("edge", "gateway", 20), ("gateway", "plc", 30))
    PLC4, PLC6 = "10.30.0.10", "fd30::10"
    GATEWAY4, GATEWAY6 = "10.20.0.2", "fd20::2"
    CLIENT4, CLIENT6 = "10.10.0.2", "fd10::2"

    def __init__(self, prefix=None):
        self.prefix = prefix or f"mcs{os.getpid()}-"
        self.names = ["client", "edge", "gateway", "plc"]
        try:
            self._make()
        except BaseException:
            self.remove()
            raise

    def ns(self, name):
        return self.prefix + name

    def _ip(self, name, *words):
        run("ip", "-n", self.ns(name), *words)

    def _make(self):
        for name in self.names:
            run("ip", "netns", "add", self.ns(name))
            # Without it the first IPv6 packets wait for duplicate address detection.
            self.exec(name, "sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0",
                      "net.ipv6.conf.all.accept_dad=0")
            self._ip(name, "link", "set", "lo", "up")
        for left, right, net in self.LINKS:
            run("ip", "link", "add", f"to-{right}", "netns", self.ns(left), "type", "veth",
                "peer", "name", f"to-{left}", "netns", self.ns(right))
            last = "10" if right == "plc" else "2"
            for name, link, host in ((left, f"to-{right}", "1" if left != "client" else "2"),
                                     (right, f"to-{left}", last if left != "client" else "1")):
                self._ip(name, "addr", "add", f"10.{net}.0.{host}/24", "dev", link)
                self._ip(name, "addr", "add", f"fd{net}::{host}/64", "dev", link, "nodad")
                self._ip(name, "link", "set", link, "up")
        for name in ("edge", "gateway"):
            self.exec(name, "sysctl", "-qw", "net.ipv4.ip_forward=1",
                      "net.ipv6.conf.all.forwarding=1")
        for name, four, six in (("client", "10.10.0.1", "fd10::1"),
                                ("edge", "10.20.0.2", "fd20::2"), ("plc", "10.30.0.1", "fd30::1")):
            self._ip(name, "route", "add", "default", "via", four)
            self._ip(name, "-6", "route", "add", "default", "via", six)
        self._ip("gateway", "route", "add", "10.10.0.0/24", "via", "10.20.0.1")
        self._ip("gateway", "-6", "route", "add", "fd10::/64", "via", "fd20::1")

    def exec(self, name, *command, **options):
        return run("ip", "netns", "exec", self.ns(name), *command, **options)

    def rules(self, name, config, *options):
        """Installs the rules that belong to a configuration file; what mcseal-nft said."""
        return self.exec(name, BUILD / "mcseal-nft", "-c", config, "apply", *options).stdout

    def remove(self):
        for name in self.names:
            run("ip", "netns", "del", self.ns(name), check=False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()

    @contextlib.contextmanager
    def inside(self, name):
        """Sockets made in the body belong to that namespace (one thread at a time)."""
        libc = ctypes.CDLL(None, use_errno=True)
        with open("/proc/thread-self/ns/net", "rb") as home, \
                open(f"/run/netns/{self.ns(name)}", "rb") as there:
            if libc.setns(there.fileno(), 0x40000000) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            try:
                yield
            finally:
                if libc.setns(home.fileno(), 0x40000000) != 0:
                    raise OSError(ctypes.get_errno(), "setns back")


# --- MC frames, written from the manual's layout and not from our own C --------------------------------


def request_3e(command, subcommand, data, timer=16):
    body = struct.pack("<HHH", timer, command, subcommand) + data
    return bytes.fromhex("5000 00ff ff03 00") + struct.pack("<H", len(body)) + body


def read_words(head, points):
    """3E binary batch read of D devices."""
    return request_3e(0x0401, 0, struct.pack("<I", head)[:3] + b"\xa8" + struct.pack("<H", points))


def write_words(head, values):
    data = struct.pack("<I", head)[:3] + b"\xa8" + struct.pack("<H", len(values))
    return request_3e(0x1401, 0, data + b"".join(struct.pack("<H", value) for value in values))


def answer_3e(data, end_code=0):
    body = struct.pack("<H", end_code) + data
    return bytes.fromhex("d000 00ff ff03 00") + struct.pack("<H", len(body)) + body


def receive_frame(sock, seconds=5.0):
    """One 3E binary frame; fails on the end of the stream inside it."""
    sock.settimeout(seconds * PATIENCE)
    frame = b""
    while len(frame) < 9 or len(frame) < 9 + struct.unpack_from("<H", frame, 7)[0]:
        want = 9 if len(frame) < 9 else 9 + struct.unpack_from("<H", frame, 7)[0]
        piece = sock.recv(want - len(frame))
        if not piece:
            raise LabError(f"connection ended inside a frame: {frame.hex()}")
        frame += piece
    return frame


def receive_end(sock, seconds=5.0):
    """Everything until the peer closes; a reset counts as the end."""
    sock.settimeout(seconds * PATIENCE)
    received = b""
    while True:
        try:
            piece = sock.recv(65536)
        except ConnectionResetError:
            return received
        if not piece:
            return received
        received += piece


def words_of(answer):
    return list(struct.unpack_from(f"<{(len(answer) - 11) // 2}H", answer, 11))


# Below the range that the kernel hands out by itself; a part of it for each parallel test process.
_PORTS_EACH = 1500
_port_base = 15500 + _PORTS_EACH * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
_port_next = 0


def free_port(host="127.0.0.1"):
    """A port that nobody listens on, and that no other test will be given soon."""
    global _port_next
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    while True:
        port = _port_base + _port_next % _PORTS_EACH
        _port_next += 1
        with socket.socket(family) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                sock.bind((host, port))
                return port


def readable(sock, seconds):
    return bool(select.select([sock], [], [], seconds)[0])


# --- a whole site on loopback ------------------------------------------------------------------------------


# What identities of tests have that are about something else than rights: everything.
EVERYTHING = """
policy "everything" {
	allow = { read, write, control, file-read, file-write, security, diagnostic, other }
	commands = { "*" }
	routes = { "*" }
}
"""


class Site:
    """PLC, gateway and edge on loopback: the shortest way to a relayed frame.

    The edge is not transparent here (its destination is the PLC); redirection has tests of its
    own in namespaces. Edge and gateway are two daemons, as in a plant.
    """

    def __init__(self, folder, plc_options=(), connections=16, engine="auto", edge_options="",
                 gateway_options="", head="", pki=None, gateways=1, protocol="mc", plc=None,
                 policies=EVERYTHING, rights='policy = "everything"', client_rights=None,
                 plc_section=""):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.pki = pki or Pki(self.folder / "pki")
        self.gateway_credentials = self.pki.gateway()
        self.edge_credentials = self.pki.edge("office")
        self.client_credentials = self.pki.client("ana")
        self.plc = plc or Plc(self.folder, *plc_options)
        self.policies, self.rights, self.plc_section = policies, rights, plc_section
        self.client_rights = rights if client_rights is None else client_rights
        self.gateway_ports = [free_port() for _ in range(gateways)]
        self.gateway_port = self.gateway_ports[0]
        self.edge_port = free_port()
        self.head = f'log_level = debug\nengine = {engine}\nworkers = 2\nmark = 0\n{head}\n'
        if "reload_on_change" not in head:
            self.head += "reload_on_change = no\n"  # a test says when
        if PATIENCE > 1 and "timeouts" not in head:
            self.head += (f"timeouts {{ dial_gateway = {1.5 * PATIENCE} dial_plc = {PATIENCE}\n"
                          f"handshake = {3 * PATIENCE} proxy_header = {PATIENCE} }}\n")
        self.gateway_config = self.head + self.gateway_text(connections, gateway_options, protocol)
        self.edge_config = self.head + self.edge_text(edge_options, protocol)
        self.gateway = Daemon(self.folder, self.gateway_config.replace("GATEWAY_PORT",
                              str(self.gateway_port)), name="gateway")
        self.edge = Daemon(self.folder, self.edge_config, name="edge")

    def gateway_text(self, connections, options, protocol):
        port = f'port "{self.plc.port}" {{ connections = {connections}'
        if protocol == "opaque":
            port += ' protocol = opaque identities = { "edge-office", "ana" }'
        return self.policies + f"""
plc "press-1" {{
	address = "{self.plc.host}"
	{self.plc_section}
	{port} }}
}}
identity "edge-office" {{
	match = {{ "uri:urn:mcseal:edge:office" }}
	role = edge
	plcs = {{ "press-1" }}
	{self.rights}
}}
identity "ana" {{
	match = {{ "uri:urn:mcseal:client:ana" }}
	plcs = {{ "press-1" }}
	{self.client_rights}
}}
gateway "plant" {{
	listen = {{ "127.0.0.1:GATEWAY_PORT" }}
	plc = "press-1"
	{self.gateway_credentials.config()}
	{options}
}}
"""

    def edge_text(self, options, protocol):
        gateways = ", ".join(f'"127.0.0.1:{port}"' for port in self.gateway_ports)
        return f"""
edge "office" {{
	listen = {{ "127.0.0.1:{self.edge_port}" }}
	destination = "{self.plc.host}:{self.plc.port}"
	{self.edge_credentials.config()}
	source "here" {{ addresses = {{ "127.0.0.0/8" }} }}
	route "plant" {{
		destinations = {{ "{self.plc.host}:{self.plc.port}" }}
		gateways = {{ {gateways} }}
		protocol = {protocol}
	}}
	{options}
}}
"""

    def connect(self, port=None, receive_buffer=None):
        """A plain connection to the edge."""
        sock = socket.socket()
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(5 * PATIENCE)
        sock.connect(("127.0.0.1", port or self.edge_port))
        return sock

    def mcping(self, *words, port=None, check=True, **options):
        return run(BUILD / "mcping", f"127.0.0.1:{port or self.edge_port}", *words, check=check,
                   **options)

    def processes(self):
        return [self.edge, self.gateway, self.plc]

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is None:
            with stopping(*self.processes()):
                pass
            return
        for process in self.processes():
            process.kill()
            print(f"--- {process.log_path}\n{process.text()[-3000:]}")


def npm_client():
    """Folder with poll.js and the npm package mcprotocol; installed once below build/."""
    folder = ROOT / "build" / "npm"
    if not (folder / "node_modules" / "mcprotocol").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(ROOT / "tests" / "npm" / name, folder)
        run("npm", "ci", "--no-audit", "--no-fund", "--loglevel=error", cwd=folder, timeout=180)
    shutil.copy(ROOT / "tests" / "npm" / "poll.js", folder)
    return folder


def npm_poll(host, port, frame="1E", code="binary", count=3, netns=None):
    """The npm client's result, as told by its last line."""
    prefix = ["ip", "netns", "exec", netns] if netns else []
    result = run(*prefix, "node", npm_client() / "poll.js", host, port, frame, code, count,
                 check=False)
    return json.loads(result.stdout.splitlines()[-1])


def scratch():
    """A temporary folder for callers without pytest."""
    return tempfile.TemporaryDirectory(prefix="mcseal-lab-")
