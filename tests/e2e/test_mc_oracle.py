# SPDX-License-Identifier: Apache-2.0
"""daemon/mc against mc_oracle.py, written from the manuals by somebody who had not read daemon/mc.

MC_FRAMES says how many frames are compared at random, MC_SEED which.
"""
import binascii
import collections
import itertools
import os
import subprocess
import time

import pytest

import lab
import mc_generator
import mc_oracle
import mc_series

FRAMES = int(os.environ.get("MC_FRAMES", "100000"))
SEED = int(os.environ.get("MC_SEED", "1"))
BATCH = 20000
SHOWN = 40
HEAD = '{"family":"%s","code":"%s","route":[%s],"own":%d,"command":%d,"subcommand":%d,"rule":"'
NO_FRAME = '{"rule":"frame"}'


# Requests that two independent clients write alike or that stand in a manual, what they touch, and
# how much data answered them there; -1: that may differ.
EXAMPLES = [
    ("500000ffff03000c00100001040000640000a80200", "read", ["D 100-101"], 4),
    ("500000ffff03000c00100001040100640000900800", "read", ["M 100-107"], 4),
    ("500000ffff03001200100001140000640000a80300951902123011", "write", ["D 100-102 written"], 0),
    ("500000ffff03000e001000011401006400009003001100", "write", ["M 100-102 written"], 0),
    ("500000ffff030014001000030400000201640000a8650000a8640000a8", "read",
     ["D 100-100", "D 101-101", "D 100-101"], 8),
    ("500000ffff0300160010000214000001016e0000a85005700000a802123904", "write",
     ["D 110-110 written", "D 112-113 written"], 0),
    ("500000ffff030011001000021401000232000090002f00009d01", "write",
     ["M 50-50 written", "Y 47-47 written"], 0),
    ("500000ffff03000600100001010000", "read", [], -1),
    ("500000ffff03000d0010001906000005004142434445", "diagnostic", [], 7),
    ("500000ffff03000a0010000110000001000200", "control", [], 0),
    ("500000ffff03000c00100030160000040031323334", "security", [], 0),
    ("500000ffff030014001000060400000101640000a80200640000900100", "read",
     ["D 100-101", "M 100-115"], 6),
    ("500000ffff0300120010000614000001002c0100a8020001000200", "write", ["D 300-301 written"], 0),
    ("500000ffff030010001000010800000101640000a8700000a8", "read", ["D 100-100", "D 112-113"], 0),
    ("54003412000000ffff03000e0010000104020064000000a8000200", "read", ["D 100-101"], 4),
    ("54003412000000ffff03000f00100001140300650000009000010010", "write", ["M 101-101 written"], 0),
    ("500000FF03FF000018001004010000D*0001000003", "read", ["D 100-102"], 12),
    ("500000FF03FF00001C001014010001M*00010000041011", "write", ["M 100-103 written"], 0),
    ("500000FF03FF0000200010040300000101D*000100D*000112", "read", ["D 100-100", "D 112-113"], 12),
    ("500000FF03FF00001C001004010002D***000001000001", "read", ["D 100-100"], 4),
    ("54001234000000FF03FF000018001004010000D*0001000001", "read", ["D 100-100"], 4),
    ("500000FF03FF0000140010163000000004pass", "security", [], 0),
    ("00ff0a0064000000204d0800", "read", ["M 100-107"], -1),
    ("00FF000A4D20000000640800", "read", ["M 100-107"], -1),
    ("01FF000A4420000000640200", "read", ["D 100-101"], -1),
    ("03ff0a00a00f0000204405000b00f4ff0d000e000f00", "write", ["D 4000-4004 written"], -1),
    ("15ff0a00", "read", [], -1),
    ("05FF000A03005920000000107B2952200000001A1234434E000000120050", "write",
     ["Y 16-31 written", "R 26-26 written", "CN 18-18 written"], -1),
]


def wire(example):
    """Examples in binary code are written in small letters, those in ASCII code as they are."""
    return bytes.fromhex(example) if example == example.lower() else example.encode()


@pytest.mark.parametrize("example, kind, touched, answer", EXAMPLES,
                         ids=[row[0] for row in EXAMPLES])
def test_examples(example, kind, touched, answer):
    verdict = mc_oracle.read(wire(example))
    assert verdict["faults"] == [] and verdict["own"]
    assert verdict["class"] == kind
    assert verdict["answer"] == answer
    assert [f"{name} {first}-{last}{' written' if write else ''}"
            for name, first, last, write in verdict["ranges"]] == touched
    assert judge([wire(example)]) == [line(verdict)]


def line(verdict):
    """As mc_judge prints it; up to the rule, where there is a fault."""
    if verdict["rule"] == "frame":
        return NO_FRAME
    head = HEAD % (
        verdict["family"], verdict["code"], ",".join(map(str, verdict["route"])), verdict["own"],
        verdict["command"], verdict["subcommand"])
    if verdict["faults"]:
        return head
    ranges = ",".join(['["%s",%d,%d,%d]' % touched for touched in verdict["ranges"]])
    return '%snone","class":"%s","opaque":%d,"ranges":[%s],"points":%d,"answer":%d}' % (
        head, verdict["class"], verdict["opaque"], ranges, verdict["points"], verdict["answer"])


def agrees(verdict, judged):
    expected = line(verdict)
    if not verdict["faults"]:
        return judged == expected
    if judged == NO_FRAME:
        return "frame" in verdict["faults"]
    return judged.startswith(expected) and \
        judged[len(expected):].split('"', 1)[0] in verdict["faults"]


def judge(frames):
    lines = b"\n".join(map(binascii.hexlify, frames)) + b"\n"
    done = subprocess.run([lab.BUILD / "mc_judge"], input=lines, stdout=subprocess.PIPE, check=True)
    return done.stdout.decode().splitlines()


def report(apart):
    """The shortest frame of each kind of disagreement, the most frequent kinds first."""
    kinds = collections.defaultdict(list)
    for frame, verdict, judged in apart:
        faults = tuple(sorted(set(verdict["faults"])))
        kinds[verdict.get("family"), verdict.get("code"), verdict.get("command"), faults,
              judged.partition('"rule":"')[2].partition('"')[0]].append((frame, verdict, judged))
    lines = [f"{len(apart)} frames, of which {len(kinds)} kinds:"]
    for kind in sorted(kinds.values(), key=len, reverse=True)[:SHOWN]:
        frame, verdict, judged = min(kind, key=lambda row: len(row[0]))
        lines += [f"{len(kind)} as {frame.hex()} {frame!r}",
                  f"    oracle {line(verdict)} {verdict['faults']}", f"    judged {judged}"]
    return "\n".join(lines)


def compare(frames):
    """Gives how many there were with each verdict."""
    began, rules, apart = time.monotonic(), collections.Counter(), []
    while batch := list(itertools.islice(frames, BATCH)):
        verdicts = list(map(mc_oracle.read, batch))
        answers = judge(batch)
        assert len(answers) == len(batch)
        rules.update([verdict["rule"] for verdict in verdicts])
        apart += [(frame, verdict, judged)
                  for frame, verdict, judged in zip(batch, verdicts, answers)
                  if not agrees(verdict, judged)]
    count = sum(rules.values())
    rate = count / (time.monotonic() - began)
    print(f"{count} frames, {rate:.0f}/s, {len(apart)} apart: {dict(rules)}")
    if apart:
        pytest.fail(report(apart), pytrace=False)
    return rules


@pytest.mark.parametrize("series", [mc_series.every_command, mc_series.every_device,
                                    mc_series.every_limit])
def test_series(series):
    assert {"none", "shape"} <= set(compare(series()))


def test_random_frames():
    print(f"seed {SEED}")
    rules = compare(mc_generator.Generator(SEED).frames(FRAMES))
    assert set(rules) == {"none"} | mc_oracle.RULES
