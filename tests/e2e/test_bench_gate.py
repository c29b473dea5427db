# SPDX-License-Identifier: Apache-2.0
"""The gate of bench/kernel: what it lets through, and what it does not."""
import json
import sys

import pytest

import lab

sys.path.insert(0, str(lab.ROOT / "bench"))

import baseline  # noqa: E402  pylint: disable=wrong-import-position

CASES = [baseline.Case(role, subject, connections, 1) for role in ("gateway", "edge")
         for subject in ("mcseal", "mcseal:user", "nginx") for connections in (1, 64)]
OURS = [case for case in CASES if case.subject != "nginx"]


def recorded():
    return {case: {"proxy": 50_000.0 + 1000 * number, "total": 100_000.0 + 1000 * number}
            for number, case in enumerate(CASES)}


def scaled(factors):
    """The record with these figures grown: {(case, name): factor}, or a factor for one program."""
    return {case: {name: figure * factors.get((case, name), factors.get(case.subject, 1))
                   for name, figure in found.items()} for case, found in recorded().items()}


def bad(factors, same=True):
    return [verdict.text for verdict in baseline.compare(recorded(), scaled(factors), same)
            if not verdict.good]


def test_what_is_as_recorded_is_good():
    verdicts = baseline.compare(recorded(), recorded(), True)
    assert len(verdicts) == len(OURS) * len(baseline.FIGURES)
    assert all(verdict.good for verdict in verdicts)


@pytest.mark.parametrize("name", baseline.FIGURES)
@pytest.mark.parametrize("case", OURS, ids=str)
@pytest.mark.parametrize("same", [True, False], ids=["as-recorded", "other-packages"])
def test_each_figure_alone_fails_it(case, name, same):
    limit = 0.03 if case.connections == 1 else 0.06
    assert not bad({(case, name): 1 + limit - 0.001}, same)
    found = bad({(case, name): 1 + limit + 0.001}, same)
    assert len(found) == 1 and str(case) in found[0] and name in found[0], found


def test_another_kernel_alone_does_not_fail_it():
    """All sockets became dearer by a tenth; by as much those of mcseal may differ from that."""
    dearer = {"nginx": 1.10, "mcseal": 1.12, "mcseal:user": 1.10}
    assert not bad(dearer, same=False)
    assert len(bad(dearer, same=True)) == len(OURS) * len(baseline.FIGURES)


@pytest.mark.parametrize("nginx", [0.9, 1.0, 1.1])
def test_mcseal_alone_fails_it_under_another_kernel(nginx):
    grown = {"nginx": nginx, "mcseal": nginx * 1.2, "mcseal:user": nginx}
    found = bad(grown, same=False)
    assert len(found) == len(OURS) * len(baseline.FIGURES) / 2
    assert all("mcseal, " in text and "beside nginx" in text for text in found)


def test_a_cheaper_one_is_good():
    assert not bad({"mcseal": 0.5, "mcseal:user": 0.9})


@pytest.mark.parametrize("gone", CASES, ids=str)
def test_a_case_that_is_missing_fails_it(gone):
    """On either side; the yardstick where it is needed."""
    part = {case: found for case, found in recorded().items() if case != gone}
    for first, second in ((recorded(), part), (part, recorded())):
        failed = [verdict for verdict in baseline.compare(first, second, False)
                  if not verdict.good]
        assert len(failed) == (2 if gone.subject == "nginx" else 1)
        assert all("not " in verdict.text for verdict in failed)


def test_nothing_is_not_good():
    assert not all(verdict.good for verdict in baseline.compare({}, {}, True))


def test_of_two_measurements_the_lesser_counts():
    once, twice = scaled({"mcseal": 1.2}), scaled({"mcseal:user": 1.2})
    assert baseline.lesser(once, twice) == recorded()
    assert baseline.lesser(once, once) == once


def test_what_is_stored_is_loaded(tmp_path):
    path = tmp_path / "baseline.json"
    baseline.store("frames are \"looked at\" once", {"kernel": "6.12.1-1"}, recorded(), path)
    found = baseline.load(path)
    assert found["figures"] == recorded() and found["surroundings"] == {"kernel": "6.12.1-1"}
    assert found["why"] == "frames are \"looked at\" once"
    # A case on each line, for whoever reads the change.
    assert len([line for line in path.read_text().splitlines() if '"role"' in line]) == len(CASES)


def test_what_has_changed_is_told():
    assert baseline.surroundings_changed({"kernel": "1", "libc6": "2"}, {"kernel": "1", "libc6": "2"}) == []
    assert baseline.surroundings_changed({"kernel": "1", "libc6": "2"}, {"kernel": "3", "gcc": "4"}) == [
        "gcc None -> 4", "kernel 1 -> 3", "libc6 2 -> None"]


def test_the_record_in_the_tree():
    """Whole, and with a reason."""
    found = baseline.load()
    assert found["why"] and found["surroundings"]["kernel"]
    assert set(found["figures"]) == set(CASES)
    assert all(figure > 0 for row in found["figures"].values() for figure in row.values())
    assert json.loads(baseline.PATH.read_text())
