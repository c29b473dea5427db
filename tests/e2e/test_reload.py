#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Another configuration while sessions live: they go on under it, or end with a reason."""
import json
import os
import re
import signal
import struct
import threading

import pytest

import asked
import lab
from tls_peer import Peer, client_context, dial

POLICIES = """
policy "some" { read = { "D0-D9" } }
policy "more" { read = { "D0-D9" } write = { "D0-D9" } }
"""
READ, WRITE = lab.read_words(0, 1), lab.write_words(0, [7])
NOT_ALLOWED = 0x0055


def end_code(answer):
    return int.from_bytes(answer[9:11], "little")


def ask(sock, frame):
    sock.sendall(frame)
    return end_code(lab.receive_frame(sock))


def reload(daemon, old, new, outcome="reloaded"):
    text = daemon.config.read_text()
    assert old in text
    daemon.config.write_text(text.replace(old, new))
    count = len(daemon.lines(f" {outcome} "))
    os.kill(daemon.pid, signal.SIGHUP)
    lab.wait_for(lambda: len(daemon.lines(f" {outcome} ")) > count, outcome)


@pytest.fixture(params=lab.one_engine())
def site(request, tmp_path):
    with lab.Site(tmp_path, engine=request.param, policies=POLICIES, rights='policy = "some"') as it:
        yield it


def test_verdict_of_the_next_request(site):
    with site.connect() as sock:
        for _ in range(2):
            assert ask(sock, WRITE) == NOT_ALLOWED
            reload(site.gateway, 'policy = "some"', 'policy = "more"')
            assert ask(sock, WRITE) == 0 == ask(sock, READ)
            reload(site.gateway, 'policy = "more"', 'policy = "some"')
        assert ask(sock, WRITE) == NOT_ALLOWED and ask(sock, READ) == 0
    site.gateway.closed("finished")
    assert site.gateway.reasons() == ["finished"]


def test_faults_leave_all_as_it_was(site):
    good = site.gateway.config.read_text()
    with site.connect() as sock:
        reload(site.gateway, "plcs =", "plsc =", "reload-failed")
        assert "plsc" in site.gateway.text() and ask(sock, WRITE) == NOT_ALLOWED
        site.gateway.config.write_text(good)
        reload(site.gateway, f"127.0.0.1:{site.gateway_port}", f"127.0.0.1:{lab.free_port()}",
               "reload-failed")
        assert 'gateway "plant": listen' in site.gateway.text().replace("\\", "")
        site.gateway.config.write_text(good.replace('policy = "some"', 'policy = "more"'))
        certificate = site.gateway_credentials.certificate
        kept = certificate.read_bytes()
        certificate.write_text("no certificate")
        reload(site.gateway, "", "", "reload-failed")
        certificate.write_bytes(kept)
        assert ask(sock, WRITE) == NOT_ALLOWED
        # And when it is right again, it comes into force.
        reload(site.gateway, "", "")
        assert ask(sock, WRITE) == 0


@pytest.mark.parametrize("old, new, why", [
    ('identity "edge-office"', 'identity "edge-elsewhere"',
     ("identity-withdrawn", "its certificate is another identity's")),
    ('"uri:urn:mcseal:edge:office"', '"uri:urn:mcseal:edge:elsewhere"',
     ("identity-withdrawn", "its identity is gone")),
    ('plc "press-1"', 'plc "press-2"', ("plc-withdrawn", "its PLC is gone, or elsewhere")),
    ('address = "127.0.0.1"', 'address = "127.0.0.2"',
     ("plc-withdrawn", "its PLC is gone, or elsewhere")),
    ('inspect = yes', 'inspect = no',
     ("withdrawn", "what may pass there is judged in another way"))])
def test_who_may_no_longer_be_there(tmp_path, old, new, why):
    with lab.Site(tmp_path, policies=POLICIES, rights='policy = "some"',
                  gateway_options="inspect = yes") as site:
        text = site.gateway.config.read_text()
        if old.startswith("plc "):
            new_text = text.replace('"press-1"', '"press-2"')
        else:
            new_text = text.replace(old, new)
        with site.connect() as sock:
            assert ask(sock, READ) == 0
            site.gateway.config.write_text(new_text)
            reload(site.gateway, "", "")
            assert lab.receive_end(sock) == b""
        reason, detail = why
        assert detail in site.gateway.closed(reason)


def test_edge_with_a_route_elsewhere(tmp_path):
    with lab.Site(tmp_path) as site:
        with site.connect() as sock:
            assert ask(sock, READ) == 0
            reload(site.edge, f'destinations = {{ "127.0.0.1:{site.plc.port}" }}',
                   f'destinations = {{ "127.0.0.3:{site.plc.port}" }}', "reload-failed")
            assert ask(sock, READ) == 0


def test_slots_outlive_the_configuration(tmp_path):
    """A PLC's only connection stays its only one."""
    with lab.Site(tmp_path, connections=1, head="timeouts { slot_wait = 0.3 }") as site:
        with site.connect() as sock:
            assert ask(sock, READ) == 0
            reload(site.gateway, "", "")
            with site.connect() as other:
                other.sendall(READ)
                assert lab.receive_end(other) == b""
            site.gateway.closed("plc-busy")
            reload(site.gateway, "connections = 1", "connections = 2")
            with site.connect() as other:
                assert ask(other, READ) == 0
            assert ask(sock, READ) == 0


def test_no_answer_is_lost(tmp_path):
    """Reloads without pause, beside traffic and newcomers."""
    errors, ends = [], threading.Event()

    def poll(site, number):
        try:
            with site.connect() as sock:
                while not ends.is_set():
                    sock.sendall(lab.read_words(number, 1))
                    assert lab.words_of(lab.receive_frame(sock)) == [number + 1]
        except (AssertionError, OSError) as error:
            errors.append(error)

    values = ",".join(str(number + 1) for number in range(10))
    with lab.Site(tmp_path, plc_options=["--set", f"D0={values}"],
                  plc_section="requests_at_once = 3") as site:
        threads = [threading.Thread(target=poll, args=(site, number)) for number in range(8)]
        for thread in threads:
            thread.start()
        try:
            for number in range(30):
                reload(site.gateway, "", "")
                reload(site.edge, "", "")
                with dial(site.gateway_port) as sock:
                    peer = Peer(sock, client_context(site.client_credentials)).handshake()
                    peer.send(READ)
                    assert struct.unpack("<H", peer.receive_frame()[11:13]) == (1,)
                    peer.close_notify()
                    sock.shutdown(1)
                    assert peer.verdict() == "goodbye"
        finally:
            ends.set()
            for thread in threads:
                thread.join()
        assert not errors, errors
    assert set(site.gateway.reasons()) == {"finished"}


def test_asked_by_mcseal(tmp_path):
    """Who reloads is told every fault, and that all is as before."""
    with asked.Site(tmp_path, policies=POLICIES, rights='policy = "some"') as site:
        good = site.gateway.config.read_text()
        with site.connect() as sock:
            assert ask(sock, WRITE) == NOT_ALLOWED
            site.gateway.config.write_text(good.replace("plcs =", "plsc =").replace(
                'policy = "some"', 'policy = "more"'))
            result = asked.mcseal("--socket", site.control, "reload")
            assert result.returncode == 1 and result.stdout == ""
            assert result.stderr.count("error: ") >= 2 and "plsc" in result.stderr
            assert "not reloaded: all is as before" in result.stderr
            assert ask(sock, WRITE) == NOT_ALLOWED
            site.gateway.config.write_text(good.replace('policy = "some"', 'policy = "more"'))
            result = asked.mcseal("--socket", site.control, "reload")
            assert (result.returncode, result.stderr) == (0, "") and "reloaded" in result.stdout
            assert ask(sock, WRITE) == 0
        assert len(site.gateway.lines(" reloaded ")) == 1
        assert len(site.gateway.lines("reload-failed")) == 1


def ask_over_tls(site):
    with client_context(site.client_credentials).wrap_socket(dial(site.gateway_port)) as sock:
        return ask(sock, READ)


def test_revoked_since(tmp_path):
    """Found good, and good again without another look: the new list counts all the same."""
    with lab.Site(tmp_path) as site:
        assert [ask_over_tls(site) for _ in range(3)] == [0, 0, 0]
        site.pki.revoke("ana")
        assert ask_over_tls(site) == 0  # nobody has told the gateway yet
        os.kill(site.gateway.pid, signal.SIGHUP)
        lab.wait_for(lambda: site.gateway.lines(" reloaded "), "reloaded")
        with pytest.raises(OSError):
            ask_over_tls(site)
        line, = lab.wait_for(lambda: site.gateway.lines("peer-refused"), "the refusal")
        assert "certificate revoked" in line


def findings(*words):
    """Of a command with --json: exit status and the object that it prints."""
    result = asked.mcseal(*words, "--json")
    assert result.stderr == ""
    return result.returncode, json.loads(result.stdout)


def test_faults_for_programs(tmp_path):
    """reload --json and check --json: the same findings, each with its place."""
    with asked.Site(tmp_path, policies=POLICIES, rights='policy = "some"') as site:
        config, key = site.gateway.config, site.gateway_credentials.key
        good = config.read_text()
        socket = ("--socket", site.control)
        assert findings("check", config) == (0, {"ok": True, "findings": []})
        assert findings(*socket, "reload") == (0, {"ok": True, "findings": []})
        config.write_text(re.sub(r"\n\tcrl = .*", "", good))
        for words in (("check", config), (*socket, "reload")):
            status, told = findings(*words)
            warning, = told["findings"]
            assert (status, told["ok"], warning["severity"]) == (0, True, "warning")
            assert warning["file"] == str(config) and "has no crl" in warning["message"]
        config.write_text(good.replace("connections = 16", "connections = 0"))
        key.chmod(0o644)
        for words in (("check", config), (*socket, "reload")):
            status, told = findings(*words)
            assert status == 1 and told["ok"] is False
            number, mode = told["findings"][:2]
            assert set(number) == {"file", "line", "option", "severity", "message"}
            line = good[:good.index("connections = 16")].count("\n") + 1
            assert (number["file"], number["line"], number["option"], number["severity"]) == \
                (str(config), line, "connections", "error")
            assert mode["option"] == "key" and "is open to group or others" in mode["message"]
        key.chmod(0o600)
        # Of a file that is named: no line of the configuration.
        config.write_text(good)
        key.write_text("no key")
        told = findings("check", config)[1]["findings"]
        assert [(one["file"], one["line"], one["option"]) for one in told] == \
            [(str(key), None, None)]
        # And what stands in no file.
        key.write_bytes(site.edge_credentials.key.read_bytes())
        config.write_text(good.replace(f"127.0.0.1:{site.gateway_port}",
                                       f"127.0.0.1:{lab.free_port()}"))
        assert "not the key" in findings(*socket, "reload")[1]["findings"][0]["message"]
    result = asked.mcseal("--socket", site.control, "reload", "--json")
    assert result.returncode == 1 and result.stdout == "" and "mcseal: " in result.stderr
