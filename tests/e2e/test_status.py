#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`mcseal status`: what a running daemon says of itself."""
import json
import os
import re
import time

import asked
import lab
from asked import mcseal


def test_status_of_a_gateway(tmp_path):
    with asked.Site(tmp_path, connections=3) as site:
        with site.connect() as sock:
            sock.sendall(lab.read_words(0, 1))
            lab.receive_frame(sock)
            result = mcseal("--socket", site.control, "status", "--json")
            text = mcseal("--socket", site.control, "status").stdout
        assert result.returncode == 0, result.stderr
        told = json.loads(result.stdout)
    assert told["pid"] == site.gateway.pid and told["sessions"] == 1 and told["workers"] == 2
    assert told["configuration"] == str(site.gateway.config)
    began = time.mktime(time.strptime(told["started"], "%Y-%m-%dT%H:%M:%SZ")) - time.timezone
    assert abs(began + told["seconds"] - time.time()) < 60
    # As in the log, where the reasons are, too.
    log = site.gateway.lines(" capabilities ")[0]
    for name, finding in told["capabilities"].items():
        assert f" {name}={'yes' if finding['there'] else 'no'}" in log
        assert finding["there"] or finding["why"]
    engine = site.gateway.lines(" engine ")[0]
    assert f"loop={told['engine']['loop']} " in engine
    assert f"relay={told['engine']['relay']} " in engine
    gateway, = told["gateways"]
    assert gateway["name"] == "plant" and gateway["listen"] == [f"127.0.0.1:{site.gateway_port}"]
    assert gateway["inspect"] and not told["edges"]
    ends = lab.run("openssl", "x509", "-noout", "-enddate", "-dateopt", "iso_8601", "-in",
                   site.gateway_credentials.certificate).stdout
    assert gateway["certificate"]["expires"].replace("T", " ") in ends
    assert gateway["certificate"]["file"] == str(site.gateway_credentials.certificate)
    plc, = told["plcs"]
    assert plc["name"] == "press-1" and plc["password_tries_left"] == 3
    assert plc["ports"] == [{"port": site.plc.port, "taken": 1, "connections": 3}]
    assert plc["identities"] == [{"identity": "edge-office", "sessions": 1, "requests": 1,
                                  "refused": 0}]
    assert re.search(rf"mcseald \S+, pid {site.gateway.pid}, since ", text)
    assert f"port {site.plc.port}: 1 of 3 connections" in text and "RENEW" not in text
    assert "edge-office: 1 sessions, 1 requests, 0 refused" in text


def test_status_of_an_edge(tmp_path):
    with asked.Site(tmp_path) as site:
        told = json.loads(mcseal("--socket", site.edge_control, "status", "--json").stdout)
        edge, = told["edges"]
        source, = edge["sources"]
        assert source["name"] == "here" and source["certificate"]["days"] > 30
        assert edge["listen"] == [f"127.0.0.1:{site.edge_port}"]
        assert not told["gateways"] and not told["plcs"]
        text = mcseal("--socket", site.edge_control, "status").stdout
        assert "edge office at 127.0.0.1:" in text and "source here: /" in text


def test_what_is_wrong_is_shouted(tmp_path):
    with asked.Site(tmp_path, gateway_options="inspect = no") as site:
        assert "NOT INSPECTED" in mcseal("--socket", site.control, "status").stdout
        for words in (("status", "now"), ("metrics", "--json")):
            result = mcseal("--socket", site.control, *words)
            assert result.returncode == 2 and not result.stdout, result
    assert os.path.exists(site.gateway.config)
