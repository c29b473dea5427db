# SPDX-License-Identifier: Apache-2.0
"""A gateway that refuses everybody, for attackers to try."""
import contextlib
import re
import ssl

import lab
from tls_peer import READ, Peer, dial, name_of


class Target:
    """A gateway whose PLC must not be touched by any test that uses it.

    Its two deadlines, in seconds of a machine without sanitizers, are told from outside.
    """

    def __init__(self, folder, papers, handshake, proxy_header):
        self.papers = papers
        self.handshake, self.proxy_header = handshake * lab.PATIENCE, proxy_header * lab.PATIENCE
        self.opaque_port = lab.free_port()
        self.plc_port = lab.free_port()
        self.plc = lab.Plc(folder, "--listen", f"127.0.0.1:{self.opaque_port}", "--listen",
                           f"127.0.0.2:{self.plc_port}", listen=f"127.0.0.1:{self.plc_port}")
        self.ports = {name: lab.free_port() for name in
                      ("any", "press-1", "opaque", "press-2", "stale")}
        self.gateway = lab.Daemon(folder, self.text(), name="gateway")

    def listener(self, name, options="", credentials=None):
        return (f'gateway "{name}" {{\n\tlisten = "127.0.0.1:{self.ports[name]}"\n\t'
                f'{credentials or self.papers.gateway.config()}\n\t{options}\n}}\n')

    def text(self):
        def identity(name, match, plcs, role="client"):
            return (f'identity "{name}" {{ match = "uri:urn:mcseal:{match}" role = {role} '
                    f'plcs = {{ "{plcs}" }} policy = "everything" }}\n')
        stale = self.papers.gateway.config(crl=False) + f'\n\tcrl = "{self.papers.stale_crl}"'
        return lab.EVERYTHING + f"""
log_level = debug
mark = 0
workers = 2
timeouts {{ handshake = {self.handshake:.3f} proxy_header = {self.proxy_header:.3f} }}
plc "press-1" {{
	address = 127.0.0.1
	port "{self.plc_port}" {{ connections = 16 }}
	port "{self.opaque_port}" {{ protocol = opaque identities = {{ "engineer" }} }}
}}
plc "press-2" {{ address = 127.0.0.2 port "{self.plc_port}" {{ }} }}
""" + identity("edge-office", "edge:office", "press-1", "edge") + \
            identity("ana", "client:ana", "press-1") + identity("bob", "client:bob", "press-2") + \
            identity("engineer", "client:engineer", "press-1") + self.listener("any") + \
            self.listener("press-1", 'plc = "press-1"') + \
            self.listener("press-2", 'plc = "press-2"') + \
            self.listener("opaque", f'plc = "press-1" plc_port = {self.opaque_port}') + \
            self.listener("stale", 'plc = "press-1"', stale)

    def refused(self, sock, reason, detail=""):
        """The line of the session that `sock` had; the PLC has seen nothing at all."""
        port = sock.getsockname()[1]
        sock.close()  # a refused peer is given time to read its alert
        line = self.gateway.wait_text(rf"^.*session-closed .*(client|edge)=127\.0\.0\.1:{port}\b.*$"
                                      ).group(0)
        assert f"reason={reason} " in line, line
        assert re.search(detail, line), line
        assert self.plc.events() == []
        return line

    def attack(self, listener, context, data=READ, server_name=None):
        """Handshake, a request right behind it; the socket and what came back."""
        sock = dial(self.ports[listener])
        peer = Peer(sock, context, server_name=server_name)
        try:
            peer.handshake()
            with contextlib.suppress(ConnectionError):
                peer.send(data)
        except (ssl.SSLError, ConnectionError) as error:
            return sock, name_of(error)
        return sock, peer.verdict()
