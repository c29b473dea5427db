#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The rulesets that mcseal-nft makes, as an admin loads and reads them (root)."""
import errno
import json
import os
import re

import pytest

import lab
import rules
from rules import ROLES, Ruled

every_role = pytest.mark.parametrize("role", ROLES)
# Where one role tells as much as another: in an emulated machine each takes seconds.
roles = pytest.mark.parametrize("role", ["everything", "tproxy"] if lab.KERNEL else ROLES)
# Loaded into a namespace of its own each, from where `listing` reads it.
WAYS = {"client": ["apply"], "edge": ["print"], "gateway": ["print", "--json"]}


@pytest.fixture(scope="module")
def links():
    with rules.links() as made:
        yield made


@pytest.fixture
def ruled(links, tmp_path):
    return Ruled(rules.without_rules(links), tmp_path)


def install(ruled, name, text, way):
    if way == ["apply"]:
        return ruled.apply(name, text)
    options = way[1:]
    ruled.load(name, ruled.print(name, text, *options), *(["-j"] if options else []))
    return ""


def without_comments(listing):
    """nft 1.0.6 drops the comments of tables and sets when it reads JSON, 1.1.3 those of sets."""
    return re.sub(r'(?m)^\t+comment ".*"\n', "", listing)


@every_role
def test_every_way_to_load_gives_one_listing(ruled, role):
    """Applied, printed, printed in JSON; each loaded twice."""
    listings = {}
    for name, way in WAYS.items():
        install(ruled, name, ROLES[role], way)
        listings[name] = ruled.listing(name)
        install(ruled, name, ROLES[role], way)
        assert ruled.listing(name) == listings[name], way
    assert listings["client"] == listings["edge"]
    assert without_comments(listings["gateway"]) == without_comments(listings["edge"])
    assert "10.30.0." in listings["edge"] and "table inet mcseal_guard" in listings["edge"]


@roles
def test_applied_rules_are_the_printed_ones(ruled, role):
    """Over what `nft -f` has loaded there is nothing to apply but what no file can have."""
    def handles():
        return ruled.net.exec("edge", "nft", "-s", "-a", "list", "ruleset").stdout
    ruled.load("edge", ruled.print("edge", ROLES[role]))
    before = handles()
    said = [line for line in ruled.apply("edge", ROLES[role]).splitlines() if "warning" not in line]
    if "tproxy" in ROLES[role]:
        assert [line[:11] for line in said] == ["+ ip -4 rul", "+ ip -6 rul", "applied"]
        said = ruled.apply("edge", ROLES[role]).splitlines()
    assert said[-1] == "nothing to change"
    assert handles() == before


@roles
def test_listing_loads_back(ruled, role):
    ruled.apply("edge", ROLES[role])
    first = ruled.listing("edge")
    ruled.load("gateway", first)
    assert first == ruled.listing("gateway")


@roles
def test_changed_sets_replace_the_old_ones(ruled, role):
    """By apply and by a printed file: what was taken out of the configuration is out."""
    changed = ROLES[role].replace("10.30.0.", "192.0.2.").replace("fd30:", "2001:db8:")
    ruled.apply("edge", ROLES[role])
    ruled.apply("edge", changed)
    ruled.load("gateway", ruled.print("gateway", ROLES[role]))
    ruled.load("gateway", ruled.print("gateway", changed))
    for name in ("edge", "gateway"):
        now = ruled.listing(name)
        assert "10.30.0." not in now and "fd30:" not in now and "192.0.2." in now
    assert ruled.listing("edge") == ruled.listing("gateway")


@roles
def test_every_rule_is_commented_and_counted(ruled, role):
    ruled.apply("edge", ROLES[role])
    listing = json.loads(ruled.net.exec("edge", "nft", "-j", "list", "ruleset").stdout)["nftables"]
    rows = [entry["rule"] for entry in listing if "rule" in entry]
    assert len(rows) >= 4
    for row in rows:
        assert row.get("comment"), row
        # Every packet of the machine comes by this one, which only leads to those that count.
        if row["comment"] != "is it for a protected PLC?":
            assert any("counter" in expression for expression in row["expr"]), row


@roles
def test_the_sites_own_tables_are_left_alone(ruled, role):
    own = "table inet site {\n\tchain c {\n\t\tcounter\n\t}\n}\n"
    ruled.load("edge", own)
    ruled.apply("edge", ROLES[role])
    assert ruled.listing("edge").startswith(own)
    ruled.remove("edge", ROLES[role])
    assert re.findall(r"(?m)^table inet (\w+)", ruled.listing("edge")) == ["site", "mcseal_guard"]
    ruled.remove("edge", ROLES[role], "--guard")
    assert ruled.listing("edge") == own
    assert "flush ruleset" not in ruled.print("edge", ROLES[role])


def test_the_guard_alone_is_a_part_of_the_whole(ruled):
    """The file for the boot configuration, then everything."""
    text = ROLES["everything"]
    ruled.load("edge", ruled.print("edge", text, "--guard"))
    guard = ruled.listing("edge")
    assert re.findall(r"(?m)^table inet (\w+)", guard) == ["mcseal_guard"]
    ruled.apply("edge", text)
    assert ruled.listing("edge").startswith(guard)


def test_marks_are_the_configurations(ruled):
    """The manual's defaults, or what the file says instead."""
    manual = (lab.ROOT / "docs" / "mcseald.conf.md").read_text()
    text = ruled.print("edge", ROLES["everything"])
    for option in ("mark", "flow_mark", "divert_mark"):
        default = re.search(rf"\| `{option}` \| `(\w+)`", manual).group(1)
        assert re.search(rf"\b{default}\b", text), option
    table = re.search(r"\| `route_table` \| `(\d+)`", manual).group(1)
    assert f"lookup {table}\n" in text
    other = ("mark = 0x101\n" + ROLES["everything"]).replace(
        "nft {", "nft { flow_mark = 0x102 divert_mark = 0x103 route_table = 99")
    now = ruled.print("edge", other)
    assert "0x4d43" not in now and "lookup 99\n" in now
    ruled.apply("edge", other)
    for value in ("0x00000101", "0x00000102", "0x00000103"):
        assert value in ruled.listing("edge"), value
    ruled.remove("edge", other)


def routes(ruled, name):
    return [ruled.net.exec(name, "ip", family, *words).stdout for family in ("-4", "-6")
            for words in (("rule",), ("route", "show", "table", "207"))]


def test_what_tproxy_needs_beside_its_rules(ruled):
    """The commands in the printed file make what apply makes; remove takes it away."""
    before = routes(ruled, "client")[::2]
    text = ruled.print("client", ROLES["tproxy"])
    commands = re.findall(r"(?m)^#   (ip .*)$", text)
    assert len(commands) == 4
    for command in commands:
        ruled.net.exec("client", *command.split())
    ruled.apply("edge", ROLES["tproxy"])
    made = routes(ruled, "edge")
    assert "fwmark 0x4d430002 lookup 207" in made[0] and "local default dev lo" in made[1]
    assert [re.sub(r" proto \w+", "", line) for line in made] == \
        [re.sub(r" proto \w+", "", line) for line in routes(ruled, "client")]
    ruled.apply("edge", ROLES["tproxy"])
    assert routes(ruled, "edge") == made
    ruled.remove("edge", ROLES["tproxy"])
    assert routes(ruled, "edge")[::2] == before and routes(ruled, "edge")[1] == ""
    # An edge that needs it no more takes it away as well.
    ruled.apply("edge", ROLES["tproxy"])
    ruled.apply("edge", ROLES["router"])
    assert routes(ruled, "edge")[::2] == before


def test_plcs_are_elements_and_not_rules(ruled):
    """What a packet meets does not grow with the plant."""
    def count(addresses):
        plcs = "".join(f'plc "p{number}" {{ address = {address} port "5007" {{ }} }}\n'
                       for number, address in enumerate(addresses))
        destinations = ", ".join(f'"{address}:{port}"' for address in addresses
                                 for port in range(5000, 5005))
        ruled.apply("edge", plcs + rules.gateway(networks='"10.30.0.0/16", "fd30::/64"') +
                    rules.router(destinations=destinations))
        listing = ruled.listing("edge")
        return listing.count(addresses[-1]), len(re.findall(r"(?m)^\t\t.*\bcounter\b", listing))
    elements, rows = count(["10.30.1.99"])
    assert elements > 0 and rows > 10
    assert count([f"10.30.1.{number}" for number in range(1, 100)]) == (elements, rows)


def test_lab_leaves_nothing_behind():
    """Also a test that fails must take its namespaces along."""
    prefix = f"nftx-{os.getpid()}-left"
    with pytest.raises(OSError, match="on purpose"), lab.Net(prefix=prefix):
        raise OSError(errno.EIO, "on purpose")
    assert prefix not in lab.run("ip", "netns", "list").stdout
