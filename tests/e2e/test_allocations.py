#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A session that relays takes no memory for its requests."""
import struct

import pytest

import lab

ROUNDS = 500


@pytest.mark.parametrize("engine", lab.engines())
def test_no_allocations(tmp_path, monkeypatch, engine):
    """Edge and gateway together; short and long answers, writes, refusals, and the record."""
    counter = tmp_path / "allocations"
    counter.write_bytes(bytes(8))
    monkeypatch.setenv("LD_PRELOAD", str(lab.BUILD / "count_allocations.so"))
    monkeypatch.setenv("MCSEAL_ALLOCATIONS", str(counter))
    site = lab.Site(tmp_path, engine=engine, policies='policy "some" { read = { "D" } }',
                    rights='policy = "some"', plc_section="requests_at_once = 1",
                    head=f'audit {{ file = "{tmp_path}/audit" reads = yes values = yes }}')
    monkeypatch.delenv("LD_PRELOAD")
    frames = [lab.read_words(0, 1), lab.read_words(0, 960), lab.write_words(0, [1])]

    def allocations():
        return struct.unpack("Q", counter.read_bytes())[0]

    def rounds(sock, count):
        for number in range(count):
            sock.sendall(frames[number % 3])
            lab.receive_frame(sock)

    with site, site.connect() as sock:
        rounds(sock, 100)
        before = allocations()
        assert before > 1000, "nothing was counted"
        rounds(sock, ROUNDS)
        taken = allocations() - before
        print(f"{taken} allocations in {ROUNDS} requests")
        assert taken == 0
