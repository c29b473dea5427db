#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Tickets and resumption: between edge and gateway, for nobody else, and never in place of a check."""
import contextlib
import re
import subprocess
import threading

import lab
from tls_peer import MCSEAL


def resumed(daemon):
    """The sessions of a daemon in their order: was it resumed?"""
    return [re.search(r"\bresumed=(\w+)", line).group(1)
            for line in daemon.lines(r"\bsession-open\b")]


def use(site):
    with site.connect() as sock:
        sock.sendall(lab.read_words(0, 2))
        assert len(lab.receive_frame(sock)) == 11 + 4


def test_later_connections_are_resumed(tmp_path):
    with lab.Site(tmp_path) as site:
        for _ in range(4):
            use(site)
        assert resumed(site.edge) == resumed(site.gateway) == ["no", "yes", "yes", "yes"]
        # The log knows the client all the same.
        lines = site.gateway.lines(r"\bsession-open\b")
        assert all("identity=edge-office" in line for line in lines), lines
        serials = {re.search(r"\bserial=(\S+)", line).group(1) for line in lines}
        assert len(serials) == 1, lines


def test_many_at_once(tmp_path):
    """A plant's reconnect: whoever finds a session uses it, everybody gets through."""
    with lab.Site(tmp_path, connections=40) as site:
        use(site)
        clients = [threading.Thread(target=use, args=(site,)) for _ in range(30)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        assert resumed(site.edge) == resumed(site.gateway) == ["no"] + 30 * ["yes"]


def test_restarted_gateway(tmp_path):
    """Its tickets' keys are gone with it: a full handshake, then as before."""
    with lab.Site(tmp_path) as site:
        use(site)
        use(site)
        lab.assert_clean(site.gateway, site.gateway.stop())
        site.gateway = lab.Daemon(site.folder, site.gateway_config.replace(
            "GATEWAY_PORT", str(site.gateway_port)), name="gateway-again")
        use(site)
        use(site)
        assert resumed(site.edge) == ["no", "yes", "no", "yes"]
        assert resumed(site.gateway) == ["no", "yes"]


def test_restarted_with_a_new_list(tmp_path):
    """Revoked meanwhile: the session that the edge kept does not help it."""
    with lab.Site(tmp_path) as site:
        use(site)
        use(site)
        lab.assert_clean(site.gateway, site.gateway.stop())
        site.pki.revoke("office")
        site.gateway = lab.Daemon(site.folder, site.gateway_config.replace(
            "GATEWAY_PORT", str(site.gateway_port)), name="gateway-again")
        with site.connect() as sock:
            assert lab.receive_end(sock) == b""
        assert "revoked" in site.gateway.closed("handshake-failed")
        assert "peer sent alert: certificate revoked" in site.edge.closed("gateways-failed")


def test_refused_edge_tries_the_next_gateway(tmp_path):
    """An edge learns of the refusal during its handshake, so another gateway can still be dialled."""
    other = lab.Pki(tmp_path / "other", "--name", "Another Plant")
    with lab.Site(tmp_path / "one", pki=other) as strict, \
            lab.Site(tmp_path / "two", gateways=2) as site:
        # The first gateway of the route is another plant's, to which this CA is nobody.
        text = site.edge_config.replace(str(site.gateway_ports[1]), "SECOND").replace(
            str(site.gateway_port), str(strict.gateway_port)).replace(
                "SECOND", str(site.gateway_port))
        trusting = text.replace(f'ca = "{site.pki.ca}"', f'ca = "{both_anchors(site, strict)}"')
        trusting = re.sub(r"\n\s*crl = .*", "", trusting)
        lab.assert_clean(site.edge, site.edge.stop())
        site.edge = lab.Daemon(site.folder, trusting, name="edge-again")
        use(site)
        assert "peer sent alert: unknown CA" in site.edge.lines("gateway-failed")[0]
        assert resumed(site.edge) == ["no"]


def both_anchors(site, other):
    path = site.folder / "both.pem"
    path.write_text(pem(site.pki) + pem(other.pki))
    return path


def pem(pki):
    with open(pki.ca, encoding="ascii") as file:
        return file.read()


# --- s_client ------------------------------------------------------------------------------------


def s_client(target, *words, who=None, alpn=True):
    """s_client until the gateway has had enough of it; what it said."""
    who = who or target.papers.edge
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{target.ports['any']}", "-cert",
               who.certificate, "-key", who.key, *words]
    if alpn:
        command += ["-alpn", MCSEAL[0]]
    with subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT) as process:
        timer = threading.Timer(20 * lab.PATIENCE, process.kill)
        timer.start()
        said = process.stdout.read().decode(errors="replace")
        timer.cancel()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        assert process.wait() >= 0, said
        assert "Cipher is" in said, said
        return said


def tickets(said):
    return len(re.findall("New Session Ticket arrived", said))


def test_one_ticket_for_an_edge(hasty, tmp_path):
    session = tmp_path / "session"
    said = s_client(hasty, "-tls1_3", "-sess_out", session)
    assert tickets(said) == 1 and "New, TLSv1.3" in said, said
    assert "ticket lifetime hint: 3600 " in said and "Max Early Data: 0" in said, said
    # The same ticket, several times: resumed, and no further ticket to go on with.
    for _ in range(2):
        said = s_client(hasty, "-tls1_3", "-sess_in", session)
        assert tickets(said) == 0 and "Reused, TLSv1.3" in said, said
    # Without the protocol it is worth nothing.
    said = s_client(hasty, "-tls1_3", "-sess_in", session, alpn=False)
    assert tickets(said) == 0 and "New, TLSv1.3" in said, said


def test_no_ticket_for_a_client(hasty):
    said = s_client(hasty, "-tls1_3", who=hasty.papers.ana, alpn=False)
    assert tickets(said) == 0 and "New, TLSv1.3" in said, said


def test_broken_ticket(hasty, tmp_path):
    """Another ticket's bytes, or none of ours: a full handshake and a ticket that is good."""
    session = tmp_path / "session"
    s_client(hasty, "-tls1_3", "-sess_out", session)
    text = lab.run("openssl", "sess_id", "-in", session, "-outform", "DER", "-out",
                   tmp_path / "der", check=False)
    assert text.returncode == 0, text.stderr
    der = bytearray((tmp_path / "der").read_bytes())
    der[-40] ^= 1  # in the ticket, which ends the structure but for a few numbers
    (tmp_path / "der").write_bytes(der)
    lab.run("openssl", "sess_id", "-inform", "DER", "-in", tmp_path / "der", "-out", session)
    said = s_client(hasty, "-tls1_3", "-sess_in", session)
    assert tickets(said) == 1 and "New, TLSv1.3" in said, said
