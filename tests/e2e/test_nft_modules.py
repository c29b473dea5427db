#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""mcseal-nft on a kernel without a module that its rules need: says which, and changes nothing."""
import os
import re

import pytest

import lab
from nft_lab import FOREIGN, ROUTED, Machine, edge_text, gateway_text
from test_capabilities import hidden_modules


@pytest.fixture
def machine(tmp_path):
    assert os.geteuid() == 0, "these tests make network namespaces: run them as root"
    with Machine(tmp_path) as made:
        yield made


@pytest.mark.skipif(not lab.KERNEL, reason="takes modules from the whole machine; in the lab's "
                    "kernels (tests/vm/run) it runs")
@pytest.mark.parametrize("module, expression, text", [
    ("nft_redir", "redir", edge_text()),
    ("nft_tproxy", "tproxy", ROUTED),
    ("nft_limit", "limit", gateway_text()),
    ("nft_reject_inet", "reject", gateway_text()),
], ids=["redir", "tproxy", "limit", "reject"])
def test_module_that_is_missing(machine, module, expression, text):
    machine.nft(text=FOREIGN)
    before = machine.ruleset(), machine.diverts()
    machine.configure(text)
    # The rules of namespaces that are gone go a moment later.
    lab.wait_for(lambda: lab.run("modprobe", "-r", module, check=False).returncode == 0,
                 f"{module} unused", 20)
    with hidden_modules(module):
        for words in (["apply"], ["check"], ["apply", "--confirm", "9"]):
            result = machine.tool(*words, status=2)
            said = result.stdout + result.stderr
            assert f'this kernel has no "{expression}" here: module {module}' in said, said
            assert re.search(r"^rule \d+ \(.*\) of chain \S+ of table inet mcseal", said,
                             re.MULTILINE)
            assert (machine.ruleset(), machine.diverts()) == before
    machine.tool("apply")
