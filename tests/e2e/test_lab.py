#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the tests themselves stand on, where a fault would look like one of the daemon's."""
import lab


def test_two_at_once_make_one_ca(tmp_path, monkeypatch):
    """One process overtakes another that makes the same certificates; both hold the same ones."""
    (tmp_path / "cache").mkdir()
    monkeypatch.setattr(lab.Pki, "CACHE", tmp_path / "cache")
    slow = lab.Pki(tmp_path / "slow")
    run = lab.run

    def overtaken(*command, **options):
        result = run(*command, **options)
        monkeypatch.setattr(lab, "run", run)
        fast = lab.Pki(tmp_path / "fast")
        fast.client("ana")
        fast.revoke("ana")
        return result

    monkeypatch.setattr(lab, "run", overtaken)
    ana = slow.client("ana")
    before = ana.certificate.read_bytes(), ana.key.read_bytes(), slow.ca.read_bytes()
    slow.revoke("ana")
    after = ana.certificate.read_bytes(), ana.key.read_bytes(), slow.ca.read_bytes()
    assert before == after
    assert after[0] == (tmp_path / "fast/issued/ana.pem").read_bytes()
