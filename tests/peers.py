# SPDX-License-Identifier: Apache-2.0
"""TLS peers that we did not write: stunnel, nginx, openssl(1), gnutls; each with its own
configuration and folders, in the foreground, ended by pid. And a gateway to show them.
"""
import contextlib
import pathlib
import re
import signal
import socket
import subprocess
import time

import lab

STREAM_MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"
GATEWAY_NAME = "gw.plant.example"
PRESS_2_NAME = "press2.plant.example"


class Peer(lab.Process):
    """A foreign program, fed `stdin` and then end of file."""

    def __init__(self, command, log, stdin=b"", netns=None):
        feed = pathlib.Path(log).with_suffix(".stdin")
        feed.write_bytes(stdin)
        self.log_path = pathlib.Path(log)
        self.command = [str(word) for word in command]
        self.netns = netns
        prefix = ["ip", "netns", "exec", netns] if netns else []
        with open(self.log_path, "ab") as output, open(feed, "rb") as source:
            self.popen = subprocess.Popen(prefix + self.command, stdin=source, stdout=output,
                                          stderr=output, start_new_session=True)
        lab.Process.started.append(self)


class Pipe(lab.Process):
    """A terminal program (s_client, s_server, gnutls-cli) whose stdin and stdout are ours."""

    def __init__(self, command, log):
        self.log_path = pathlib.Path(log)
        self.command = [str(word) for word in command]
        self.netns = None
        with open(self.log_path, "ab") as errors:
            self.popen = subprocess.Popen(self.command, stdin=subprocess.PIPE,
                                          stdout=subprocess.PIPE, stderr=errors,
                                          start_new_session=True, bufsize=0)
        lab.Process.started.append(self)

    def send(self, data):
        self.popen.stdin.write(data)

    def receive(self, size, seconds=5.0):
        """Exactly `size` bytes of its stdout."""
        data = b""
        while len(data) < size:
            if not lab.readable(self.popen.stdout, seconds * lab.PATIENCE):
                raise lab.LabError(f"{len(data)} of {size} bytes: {data.hex()}\n{self.text()}")
            piece = self.popen.stdout.read(size - len(data))
            if not piece:
                raise lab.LabError(f"ended after {data.hex()}\n{self.text()[-3000:]}")
            data += piece
        return data

    def exchange(self, request, size):
        self.send(request)
        return self.receive(size)

    def end(self, seconds=5.0):
        """End of its stdin; what else it printed and its exit status."""
        with contextlib.suppress(BrokenPipeError):
            self.popen.stdin.close()
        self.popen.wait(seconds * lab.PATIENCE)
        return self.popen.stdout.read().decode(errors="replace"), self.popen.returncode


def stunnel(folder, name, service, stdin=b"", ready=True):
    """stunnel with one service of these lines."""
    config = pathlib.Path(folder) / f"{name}.conf"
    config.write_text("foreground = yes\npid =\ndebug = info\n"
                      "socket = l:TCP_NODELAY=1\nsocket = r:TCP_NODELAY=1\n"
                      f"[{name}]\n{service}\n")
    process = Peer(["stunnel4", config], config.with_suffix(".log"), stdin)
    if ready:
        process.wait_text("Accepting new connections", 10)
    return process


def nginx(folder, name, server, port, listen="", more=()):
    """nginx with a stream server, and `more` (server, port); ready when they take connections."""
    folder = pathlib.Path(folder) / name
    folder.mkdir()
    config = folder / "nginx.conf"
    ports = [port, *[other for _, other in more]]
    servers = "".join(f"""	server {{
		listen 127.0.0.1:{number} {listen};
		tcp_nodelay on;
		{text}
	}}
""" for number, text in zip(ports, [server, *[text for text, _ in more]]))
    # The http part is there for its temporary folders alone: the defaults are the system's.
    config.write_text(f"""load_module {STREAM_MODULE};
daemon off;
master_process off;
pid {folder}/pid;
error_log stderr info;
events {{ worker_connections 256; }}
stream {{
{servers}}}
""")
    process = Peer(["nginx", "-p", folder, "-c", config, "-e", "stderr"], folder / "log")
    for number in ports:
        lab.wait_for(lambda: listening(number, process),  # pylint: disable=cell-var-from-loop
                     f"nginx on port {number}", 10)
    return process


def listening(port, process):
    """Somebody listens there; told by the kernel, without a connection that the peer would log."""
    if not process.alive():
        raise lab.LabError(f"{process.command[0]} ended:\n{process.text()[-3000:]}")
    return f":{port} " in lab.run("ss", "-Htln", f"sport = :{port}").stdout


@contextlib.contextmanager
def ending(*processes):
    """Foreign programs are ended after the body; how they end is their own affair."""
    try:
        yield processes[0] if len(processes) == 1 else processes
    except BaseException:
        for process in processes:
            print(f"--- {process.command[0]} {process.log_path}\n{process.text()[-4000:]}")
        raise
    finally:
        for process in processes:
            process.kill()


class SharedPki(lab.Pki):
    """Issues each name once: the sites of one test module share their certificates."""

    def __init__(self, folder, *options):
        super().__init__(folder, *options)
        self.issued = {}

    def issue(self, kind, name, *options):
        if name not in self.issued:
            self.issued[name] = super().issue(kind, name, *options)
        return self.issued[name]


class Certificates:
    """A CA, a gateway's certificate, and one of the client ana, also as .p12."""

    IPS, NAMES = ("127.0.0.1", "::1"), (GATEWAY_NAME, PRESS_2_NAME, "press-1", "press-2")

    def __init__(self, folder, *kind, label=""):
        self.pki = lab.Pki(folder, *kind, label=label)
        self.gateway = self.pki.gateway("gw", self.IPS, self.NAMES, *kind)
        self.client = self.pki.client("ana", "--p12", *kind)
        self.edge = self.pki.edge("office", *kind)
        self.p12 = self.client.certificate.with_suffix(".p12")
        self.p12_password = pathlib.Path(f"{self.p12}.password")


class Edge(lab.Daemon):
    """An edge in front of a TLS server that knows nothing of mcseal (proxy_header = no)."""

    def __init__(self, folder, credentials, server, name="edge", route="", protocol="mc", ca=None,
                 proxy_header="no"):
        self.port = lab.free_port()
        super().__init__(folder, f"""log_level = debug
mark = 0
timeouts {{ dial_gateway = {1.5 * lab.PATIENCE} }}
edge "{name}" {{
	listen = "127.0.0.1:{self.port}"
	destination = "192.0.2.10:5007"
	{credentials.config(ca=ca, crl=ca is None)}
	source "here" {{ addresses = {{ "127.0.0.0/8" }} }}
	route "foreign" {{
		destinations = "192.0.2.10:5007"
		gateways = "{server}"
		proxy_header = {proxy_header}
		protocol = {protocol}
		{route}
	}}
}}
""", name=name)

    def connect(self):
        sock = socket.create_connection(("127.0.0.1", self.port), 5 * lab.PATIENCE)
        sock.settimeout(5 * lab.PATIENCE)
        return sock

    def mcping(self, *words, check=True):
        return lab.run(lab.BUILD / "mcping", f"127.0.0.1:{self.port}", *words, check=check)

    def closes(self, reason):
        """A client is closed, not left hanging, and the log says why; that line."""
        with self.connect() as sock:
            with contextlib.suppress(ConnectionError):
                sock.sendall(lab.read_words(0, 2))
            assert lab.receive_end(sock) == b""
        return self.closed(reason)


class Capture:
    """tcpdump on an interface; what it caught is read by tshark, which we did not write."""

    def __init__(self, folder, interface, *expression, netns=None, name="capture"):
        self.path = pathlib.Path(folder) / f"{name}.pcap"
        self.process = lab.Process(
            ["tcpdump", "-Z", "root", "-U", "--immediate-mode", "-B", "32768", "-i", interface,
             "-w", self.path, *expression], pathlib.Path(folder) / f"{name}.tcpdump", netns)
        self.process.wait_text("listening on")

    def stop(self):
        """Once nothing has come for 0.2 s; nothing was dropped."""
        size = -1
        while size != (size := self.path.stat().st_size):
            time.sleep(0.2)
        self.process.stop(signal.SIGINT)
        assert re.search(r"^0 packets dropped by kernel", self.process.text(), re.MULTILINE), \
            self.process.text()

    def fields(self, *names, only="tcp", tls_port=None):
        """One tuple of strings for each packet that the display filter `only` takes."""
        words = [word for name in names for word in ("-e", name)]
        decode = ["-d", f"tcp.port=={tls_port},tls"] if tls_port else []
        text = lab.run("tshark", "-r", self.path, "-Y", only, *decode, "-T", "fields", *words,
                       stderr=subprocess.DEVNULL).stdout
        return [tuple(line.split("\t")) for line in text.splitlines()]


class Plant:
    """A gateway and two PLCs, for clients that speak TLS themselves.

    `fixed_port` leads to press-1; at `sni_port` the server name says which.
    """

    def __init__(self, folder, certificates, head=""):
        self.folder = pathlib.Path(folder)
        self.certificates = certificates
        self.pki, self.client = certificates.pki, certificates.client
        self.press1 = lab.Plc(folder, "--set", "D0=4660,1", name="press-1")
        self.press2 = lab.Plc(folder, "--set", "D0=4660,2", listen="127.0.0.2:0", name="press-2")
        self.fixed_port, self.sni_port = lab.free_port(), lab.free_port()
        self.gateway = lab.Daemon(folder, f"log_level = debug\nmark = 0\n{head}\n{self.text()}",
                                  name="gateway")

    def text(self):
        return lab.EVERYTHING + f"""
plc "press-1" {{
	address = "{self.press1.host}"
	port "{self.press1.port}" {{ connections = 16 }}
}}
plc "press-2" {{
	address = "{self.press2.host}"
	port "{self.press2.port}" {{ connections = 16 }}
	sni = {{ "{PRESS_2_NAME}" }}
}}
identity "ana" {{
	match = {{ "uri:urn:mcseal:client:ana" }}
	plcs = {{ "*" }}
	policy = "everything"
}}
gateway "fixed" {{
	listen = {{ "127.0.0.1:{self.fixed_port}", "[::1]:{self.fixed_port}" }}
	plc = "press-1"
	{self.certificates.gateway.config()}
}}
gateway "sni" {{
	listen = {{ "127.0.0.1:{self.sni_port}" }}
	{self.certificates.gateway.config()}
}}
"""

    def seen(self):
        """Everything that the PLCs saw."""
        return self.press1.events() + self.press2.events()

    def served(self, tls, plc="press-1"):
        """The session ended in good order, over that TLS version, at that PLC."""
        line = self.gateway.closed("finished")
        for part in (f"tls={tls}", f"plc={plc}", "identity=ana"):
            assert re.search(rf"{part}\b", line), line

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        processes = (self.gateway, self.press1, self.press2)
        if kind is None:
            with lab.stopping(*processes):
                pass
            return
        for process in processes:
            process.kill()
            print(f"--- {process.log_path}\n{process.text()[-3000:]}")
