#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Transparent edges with the real daemon and the rules that mcseal-nft makes of its configuration,
in namespaces (root): redirected on a router and on a host, and taken by TPROXY on a router. Every
client reaches the PLC that it dialled.
"""
import contextlib
import re

import pytest

import lab
import redirected
from redirected import TARGETS, Plants, at, links, net, pki  # noqa: F401 (fixtures)

placements = pytest.mark.parametrize("place", redirected.PLACES)


@placements
def test_original_destination(net, pki, tmp_path, place):
    """Many PLCs and ports, one edge listener: each client reaches what it dialled."""
    with Plants(net, pki, tmp_path, place) as plants:
        for _ in range(2):
            plants.everybody_answers()
        for host, port in TARGETS:
            assert plants.edge.lines(rf"session-open .*destination={re.escape(at(host, port))} ")
            line = plants.gateway.lines(rf"session-open .*destination={re.escape(at(host, port))}")
            client = lab.Net.CLIENT6 if ":" in host else lab.Net.CLIENT4
            assert f"client={at(client, '')}" in line[0] and "edge=1" in line[0], line


@placements
def test_all_at_once(net, pki, tmp_path, place):
    with Plants(net, pki, tmp_path, place) as plants, contextlib.ExitStack() as stack:
        socks = [(number, stack.enter_context(plants.connect(*target)))
                 for _ in range(2 if lab.KERNEL else 8) for number, target in enumerate(TARGETS, 1)]
        for _ in range(3):
            for _, sock in socks:
                sock.sendall(lab.read_words(0, 1))
            for number, sock in socks:
                assert lab.words_of(lab.receive_frame(sock)) == [number]


@placements
def test_gateway_dialled_over_ipv6(net, pki, tmp_path, place):
    plants = Plants(net, pki, tmp_path, place, edge=False)
    plants.edge_config = plants.edge_text(gateways='"[fd20::2]:8443"')
    plants.edge = plants.start_edge()
    with plants:
        plants.everybody_answers()
        assert "edge=[fd" in plants.gateway.lines("session-open")[0]
