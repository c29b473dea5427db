#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Where the kernel cannot have the keys, the same session goes on in user space and says why.

Kernel TLS is there and something of it is missing: the module, a cipher's module, one socket's
ULP or key, io_uring. What is missing for the whole machine is only taken away in a lab kernel
(tests/vm/run), and no other test may run there meanwhile. For a single socket a call of the real
daemon is made to fail (watched_daemon.py).
"""
import contextlib
import errno
import os
import pathlib
import re
import socket
import ssl
import struct

import pytest

import lab
from foreign_tls import restrict
from kernel_tls import needs_kernel_tls
from process_memory import places
from session_bench import Listener
from test_capabilities import NO_MODULE, fields, hidden_modules
from tls_peer import TLS13, Peer, client_context, closed, dial, frozen, keep, server_context
from tls_records import Suite, expand_label
from watched_daemon import Watched

pytestmark = needs_kernel_tls
in_guest = pytest.mark.skipif(not lab.KERNEL, reason="takes something from the whole machine; "
                              "in the lab's kernels (tests/vm/run) it runs")
WORDS = 960
PATTERN = [(0x9e37 * (number + 5)) & 0xffff for number in range(WORDS)]
READ = lab.read_words(0, WORDS)
ANSWER = lab.answer_3e(struct.pack(f"<{WORDS}H", *PATTERN))
NO_CIPHER = "TLS_RX: No such file or directory (the kernel has no module for it)"
# How the peer sees a connection that is given up: with or without a word to it.
ENDED = ("cut", "alert: internal error")
URING_DISABLED = pathlib.Path("/proc/sys/kernel/io_uring_disabled")  # since Linux 6.6


# --- a place with everything ---------------------------------------------------------------------


class Plant:
    """One daemon with gateways and edges of every `ktls`, before a PLC that answers in pieces.

    An edge is named after its own `ktls` and that of its gateway; "held" leads to the test.
    """

    def __init__(self, folder, engine="auto", head="", strict=False, start=lab.Daemon, **options):
        self.pki = lab.Pki(folder / "pki")
        self.at_gateway, self.at_edge = self.pki.gateway(), self.pki.edge("office")
        self.ana = self.pki.client("ana")
        self.plc = lab.Plc(folder, "--split", "700,0.3")
        self.held = Listener()
        gateways = ("auto", "off") + (("required",) if strict else ())
        self.gateways = {name: lab.free_port() for name in gateways}
        self.edges = {f"{one}-{other}": lab.free_port() for one in ("auto", "off")
                      for other in ("auto", "off")} | {"held": lab.free_port()}
        if strict:
            self.edges["required-auto"] = lab.free_port()
        with socket.create_connection((self.plc.host, self.plc.port), 10) as sock:
            sock.sendall(lab.write_words(0, PATTERN))
            assert lab.receive_frame(sock) == lab.answer_3e(b"")
        self.daemon = start(folder, self.text(engine, head), **options)

    def text(self, engine, head):
        text = f"""log_level = debug
mark = 0
workers = 1
engine = {engine}
{head}
timeouts {{ dial_gateway = {2 * lab.PATIENCE} dial_plc = {lab.PATIENCE} plc_reopen = 0.05 }}
plc "press" {{ address = {self.plc.host} port "{self.plc.port}" {{ connections = 16 }} }}
identity "office" {{ match = "uri:urn:mcseal:edge:office" role = edge plcs = "press" }}
identity "ana" {{ match = "uri:urn:mcseal:client:ana" plcs = "press" }}
"""
        for name, port in self.gateways.items():
            text += f"""gateway "{name}" {{
	listen = "127.0.0.1:{port}"
	plc = "press"
	ktls = {name}
	{self.at_gateway.config()}
}}
"""
        for name, port in self.edges.items():
            own, _, other = name.partition("-")
            text += f"""edge "{name}" {{
	listen = "127.0.0.1:{port}"
	destination = "{self.plc.address}"
	ktls = {"auto" if name == "held" else own}
	{self.at_edge.config()}
	source "here" {{ addresses = "127.0.0.0/8" }}
	route "{name}" {{
		destinations = "{self.plc.address}"
		gateways = "127.0.0.1:{self.gateways.get(other) or self.held.port}"
	}}
}}
"""
        return text

    def client(self, name, cipher=None, keylog=None):
        """Of an edge in plain, of a gateway by TLS."""
        if name in self.edges:
            return PlainClient(self, dial(self.edges[name]))
        context = client_context(self.ana, TLS13)
        if cipher:
            restrict(context, TLS13, cipher)
        if keylog:
            context.keylog_filename = str(keylog)
        return TlsClient(self, dial(self.gateways[name]), context)

    def end(self):
        self.held.close()
        with lab.stopping(self.daemon, self.plc):
            pass


@contextlib.contextmanager
def plant(folder, *words, **options):
    made = Plant(folder, *words, **options)
    with contextlib.ExitStack() as stack:
        stack.enter_context(lab.stopping(made.daemon, made.plc))
        stack.callback(made.held.close)
        yield made


class Client:
    """Reads 960 words and takes one answer by one receive, as many MC clients do."""

    def __init__(self, place, sock):
        self.daemon, self.sock = place.daemon, sock
        self.port = sock.getsockname()[1]

    def opened(self):
        """By role, the fields of its sessions' lines."""
        lines = self.daemon.lines(rf"session-open .*\bclient=127\.0\.0\.1:{self.port}\b")
        found = [dict(re.findall(r'(\S+?)="?((?<=")[^"]*|\S+)', line)) for line in lines]
        return {each["role"]: each for each in found}

    def records(self):
        return {role: (each["records"], each.get("records-why"))
                for role, each in self.opened().items()}

    def finish(self):
        """Every session it had ended well."""
        self.goodbye()
        self.sock.close()
        count = len(self.opened())
        lab.wait_for(lambda: len(self.reasons()) == count, "the end")
        assert set(self.reasons()) == {"finished"}, self.reasons()

    def reasons(self):
        lines = self.daemon.lines(rf"session-closed .*\bclient=127\.0\.0\.1:{self.port}\b")
        return [re.search(r"reason=(\S+)", line).group(1) for line in lines]


class PlainClient(Client):
    def read(self, times=1):
        for _ in range(times):
            self.sock.sendall(READ)
            assert self.sock.recv(65536) == ANSWER
        return self

    def goodbye(self):
        self.sock.shutdown(socket.SHUT_WR)
        assert lab.receive_end(self.sock) == b""


class TlsClient(Client):
    def __init__(self, place, sock, context):
        super().__init__(place, sock)
        self.peer = Peer(sock, context).handshake()

    def read(self, times=1):
        for _ in range(times):
            self.peer.send(READ)
            assert self.peer.receive() == ANSWER
        return self

    def goodbye(self):
        self.peer.close_notify()
        self.sock.shutdown(socket.SHUT_WR)
        assert self.peer.verdict() == "goodbye"


def descriptors(daemon):
    return list(pathlib.Path(f"/proc/{daemon.pid}/fd").iterdir())


KERNEL = ("kernel", None)


def user(why):
    return ("user", why)


def read_and_finish(*clients):
    """In turns, so that each goes on beside the others."""
    for _ in range(5):
        for client in clients:
            client.read()
    for client in clients:
        client.finish()


# --- modules -------------------------------------------------------------------------------------


@contextlib.contextmanager
def without(*modules):
    try:
        with hidden_modules(*modules):
            yield
    finally:
        for name in modules:
            lab.run("modprobe", name)


def refused(folder, name, text, message, start=lab.Daemon, **options):
    """The daemon that starts with this does not: the `why` of that line."""
    daemon = start(folder, text, name=name, ready=False, **options)
    assert daemon.popen.wait(20 * lab.PATIENCE) == 1, daemon.text()
    assert "ready workers" not in daemon.text()
    return fields(daemon, message)["why"].replace("\\", "")


@in_guest
def test_no_module(tmp_path):
    """Not to be loaded either, not even by root: sessions as ever; who insists does not start."""
    with without("tls"), plant(tmp_path) as place:
        for name in ("ktls", "aes-128-gcm", "aes-256-gcm", "chacha20-poly1305"):
            assert fields(place.daemon, "capabilities")[name] == "no"
        assert fields(place.daemon, "capabilities")["ktls-why"] == NO_MODULE
        both, direct = place.client("auto-auto").read(), place.client("auto").read()
        quiet = place.client("off-off").read()
        assert both.records() == {"edge": user(NO_MODULE), "gateway": user(NO_MODULE)}
        assert direct.records() == {"gateway": user(NO_MODULE)}
        # Nobody asked for the kernel, so nothing is missing.
        assert quiet.records() == {"edge": user(None), "gateway": user(None)}
        assert both.opened()["gateway"]["relay"] == "copy"
        read_and_finish(both, direct, quiet)
        assert not lab.tls_statistics()
        text = place.daemon.config.read_text()
        for section in ('gateway "auto"', 'edge "auto-off"'):
            demanding = re.sub(f"({section}.*?ktls = )auto", r"\1required", text, flags=re.DOTALL)
            assert refused(tmp_path, section.split()[0], demanding, "ktls-refused") == \
                f"{section}: ktls = required, but kernel TLS is not to be had: {NO_MODULE}"


@in_guest
@pytest.mark.parametrize("modules, missing, there", [
    (("chacha20poly1305",), "CHACHA20-POLY1305", "AES-128-GCM"),
    (("gcm", "aesni-intel"), "AES-128-GCM", "CHACHA20-POLY1305"),
])
def test_no_module_of_one_cipher(tmp_path, modules, missing, there):
    """Its sessions are in user space beside others in the kernel, or refused where `required`."""
    with without(*modules), plant(tmp_path, strict=True) as place:
        before = lab.tls_statistics()
        lacking, having = place.client("auto", missing).read(), place.client("auto", there).read()
        strict = place.client("required", there).read()
        assert lacking.records() == {"gateway": user(NO_CIPHER)}
        assert having.records() == strict.records() == {"gateway": KERNEL}
        assert lacking.opened()["gateway"]["relay"] == "copy"
        assert having.opened()["gateway"]["relay"] == "splice"
        turned_away = place.client("required", missing)
        assert turned_away.peer.verdict() in ENDED and not turned_away.opened()
        turned_away.sock.close()
        closed(place.daemon, turned_away.port, "handshake-failed",
               re.escape(f"ktls = required, but: {NO_CIPHER}"))
        # Our two ends agree on AES-128-GCM.
        both, demanding = place.client("auto-auto").read(), place.client("required-auto")
        if missing == "AES-128-GCM":
            assert both.records() == {"edge": user(NO_CIPHER), "gateway": user(NO_CIPHER)}
            assert lab.receive_end(demanding.sock) == b""
            closed(place.daemon, demanding.port, "gateways-failed",
                   re.escape(f"ktls = required, but: {NO_CIPHER}"))
            demanding.sock.close()
            read_and_finish(lacking, having, strict, both)
        else:
            assert both.records() == demanding.read().records() == \
                {"edge": KERNEL, "gateway": KERNEL}
            read_and_finish(lacking, having, strict, both, demanding)
        installed = lab.tls_statistics() - before
        assert installed["TlsTxSw"] == installed["TlsRxSw"] == (
            2 if missing == "AES-128-GCM" else 6)


# --- io_uring ------------------------------------------------------------------------------------


@contextlib.contextmanager
def without_uring(how):
    """What a Plant has to be started with."""
    if how == "seccomp":
        yield {"start": Watched, "always": {"io_uring_setup": errno.EPERM}}
        return
    before = URING_DISABLED.read_text()
    URING_DISABLED.write_text("2")
    try:
        yield {"start": Watched}
    finally:
        URING_DISABLED.write_text(before)


@in_guest
@pytest.mark.parametrize("how", ["seccomp"] + ["sysctl"] * URING_DISABLED.exists())
def test_no_uring(tmp_path, how):
    """The loop is epoll; keys and answers stay in the kernel all the same."""
    with without_uring(how) as options, plant(tmp_path, **options) as place:
        found, engine = (fields(place.daemon, name) for name in ("capabilities", "engine"))
        assert found["io_uring"] == "no" and "Operation not permitted" in found["io_uring-why"]
        lacking = f"io_uring is not to be had: {found['io_uring-why']}"
        assert (engine["loop"], engine["why"]) == ("epoll", lacking)
        assert (engine["relay"], engine["tls-path"]) == ("splice", "kernel")
        both, direct = place.client("auto-auto").read(), place.client("auto").read()
        assert both.records() == {"edge": KERNEL, "gateway": KERNEL}
        assert direct.records() == {"gateway": KERNEL}
        for each in (*both.opened().values(), *direct.opened().values()):
            assert each["relay"] == "splice", each
        names = [os.readlink(path) for path in descriptors(place.daemon)]
        assert not [name for name in names if "io_uring" in name], names
        read_and_finish(both, direct)
        text = place.daemon.config.read_text()
        for demanded in ("splice", "uring-splice"):
            why = refused(tmp_path, demanded, text.replace("engine = auto", f"engine = {demanded}"),
                          "engine-refused", **options)
            assert why == f"engine = {demanded}, but {lacking}"


# --- one socket ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """Behind the tests that unload modules: its counters begin with it."""
    made = Plant(tmp_path_factory.mktemp("plant"), start=Watched)
    keep(made.daemon, made.plc)
    yield made
    made.end()


# By role, who makes TLS with whom in that role alone of this daemon.
ALONE = {"gateway": "auto", "edge": "auto-off"}
roles = pytest.mark.parametrize("role", ALONE)


@roles
@pytest.mark.parametrize("call, error", [("TCP_ULP", errno.ENOENT), ("TCP_ULP", errno.ENOTCONN),
                                         ("TLS_RX", errno.ENOENT), ("TLS_RX", errno.ENOMEM)])
def test_refused_to_one_socket(watched, role, call, error):
    """That one session is in user space, on the same socket; those before and after are not."""
    before = lab.tls_statistics()
    first = watched.client(ALONE[role]).read()
    watched.daemon.once[call] = error
    second = watched.client(ALONE[role]).read()
    assert not watched.daemon.once, "was not called"
    third = watched.client(ALONE[role]).read()
    assert [each.records()[role] for each in (first, second, third)] == \
        [KERNEL, user(os.strerror(error)), KERNEL]
    assert [each.opened()[role]["relay"] for each in (first, second, third)] == \
        ["splice", "copy", "splice"]
    read_and_finish(first, second, third)
    installed = lab.tls_statistics() - before
    assert installed["TlsTxSw"] == installed["TlsRxSw"] == 2


def last_flight(peer):
    """The client's handshake but for what it would send last, which is returned."""
    while True:
        try:
            peer.tls.do_handshake()
            return peer.outgoing.read()
        except ssl.SSLWantReadError:
            peer.flush()
            peer.arrived(peer.sock.recv(65536))


def test_end_before_the_keys(watched):
    """Finished, a request, close_notify and FIN are there at once: such a socket is no longer
    established, and the kernel takes no keys for it. The request has its answer nevertheless."""
    with dial(watched.gateways["auto"]) as sock:
        peer = Peer(sock, client_context(watched.ana, TLS13))
        flight = last_flight(peer) + peer.record(READ)
        with contextlib.suppress(ssl.SSLWantReadError):
            peer.tls.unwrap()
        with frozen(watched.daemon):
            sock.sendall(flight + peer.outgoing.read())
            sock.shutdown(socket.SHUT_WR)
        received = b""
        with contextlib.suppress(ssl.SSLZeroReturnError):
            while piece := peer.receive():
                received += piece
        assert received == ANSWER
        line = closed(watched.daemon, sock, "finished")
    assert f'records=user records-why="{os.strerror(errno.ENOTCONN)}"' in line, line


# --- half of the keys ----------------------------------------------------------------------------


def keys_of(keylog, suite):
    """Every secret of that file, and the keys that the kernel would have been given."""
    found, suite = {}, Suite(suite)
    for name, text in re.findall(r"^(\w+) \w+ (\w+)$", keylog.read_text(), re.MULTILINE):
        found[name] = bytes.fromhex(text)
        if name.endswith("TRAFFIC_SECRET_0"):
            found[f"{name} key"] = expand_label(suite.hash, found[name], b"key", suite.key_size)
    assert {"CLIENT_TRAFFIC_SECRET_0 key", "SERVER_TRAFFIC_SECRET_0 key"} <= set(found), found
    return found


def half_keys_at_gateway(place, keylog):
    """Its client's port, the end of its TLS."""
    client = place.client("auto", keylog=keylog)
    with client.sock:
        assert client.peer.verdict() in ENDED
        return client.port, client.peer.tls


def half_keys_at_edge(place, keylog):
    """The gateway is the test, which knows the secrets; the client gets nothing but the end."""
    context = server_context(place.at_gateway, TLS13)
    context.num_tickets = 1
    context.keylog_filename = str(keylog)
    with dial(place.edges["held"]) as sock, place.held.take() as dialled:
        peer = Peer(dialled, context, server_side=True).handshake()
        assert lab.receive_end(sock) == b""
        assert peer.verdict() in ENDED
        return sock.getsockname()[1], peer.tls


@roles
def test_half_of_the_keys(watched, tmp_path, role):
    """TLS_RX is in the kernel and TLS_TX is refused: no way on and none back. The connection is
    closed, the PLC is left alone, nothing stays behind, and the next session is as ever."""
    daemon, keylog = watched.daemon, tmp_path / "keys"

    before, events = lab.tls_statistics(), watched.plc.events()
    count = len(descriptors(daemon))
    daemon.once["TLS_TX"] = errno.EINVAL
    port, tls = (half_keys_at_gateway if role == "gateway" else half_keys_at_edge)(watched, keylog)
    closed(daemon, port, "handshake-failed" if role == "gateway" else "gateways-failed",
           f"keys half handed to the kernel: {os.strerror(errno.EINVAL)}")
    assert not daemon.once and not daemon.lines(rf"session-open .*:{port}\b")
    installed = lab.tls_statistics() - before
    assert installed["TlsRxSw"] == 1 and installed["TlsTxSw"] == 0
    lab.wait_for(lambda: len(descriptors(daemon)) == count, "closed descriptors")
    lab.wait_for(lambda: lab.tls_statistics()["TlsCurrRxSw"] == before["TlsCurrRxSw"], "no keys")
    for name, secret in keys_of(keylog, tls.cipher()[0]).items():
        assert not places(daemon, secret) and not places(daemon, secret.hex().encode()), name
    assert watched.plc.events() == events
    after = watched.client(ALONE[role]).read()
    assert after.records()[role] == KERNEL
    read_and_finish(after)


# --- by configuration ----------------------------------------------------------------------------


@pytest.mark.parametrize("edge", ["auto", "off"])
@pytest.mark.parametrize("gateway", ["auto", "off"])
def test_off_for_one_listener(watched, edge, gateway):
    """The others of the same daemon use the kernel; nothing is missing, so nothing is told."""
    before, beside = lab.tls_statistics(), watched.client("auto").read()
    both = watched.client(f"{edge}-{gateway}").read()
    wanted = {"edge": edge, "gateway": gateway}
    assert both.records() == {role: KERNEL if ktls == "auto" else user(None)
                              for role, ktls in wanted.items()}
    assert beside.records() == {"gateway": KERNEL}
    read_and_finish(both, beside)
    installed = lab.tls_statistics() - before
    assert installed["TlsTxSw"] == installed["TlsRxSw"] == 1 + list(wanted.values()).count("auto")
