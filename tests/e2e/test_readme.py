#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The README does what it says: its configurations load, its set-up works, its client reads."""
import re
import shlex

import lab

README = (lab.ROOT / "README.md").read_text()
EXAMPLE = lab.ROOT / "docs" / "examples" / "mc_tls_client.py"


def blocks(first_word):
    """Fenced blocks whose text starts with that word."""
    return [block for block in re.findall(r"```\n(.*?)```", README, re.DOTALL)
            if block.startswith(first_word)]


def placed(text, folder):
    """A configuration of the README with its files where the test has them."""
    return text.replace("/etc/mcseal", str(folder))


def make_certificates(tmp_path):
    """The commands of step 2 and of the TLS client, as they stand."""
    commands = [line for block in blocks("mcseal-pki") for line in block.splitlines()]
    assert len(commands) == 4
    for line in commands:
        words = shlex.split(line, comments=True)
        assert words[0] == "mcseal-pki"
        lab.run(lab.PKI_TOOL, *words[1:], cwd=tmp_path)
    folder = tmp_path / "etc"
    folder.mkdir()
    pki = tmp_path / "plant-pki"
    for name in ("ca.pem", "crl.pem", "issued/gw.pem", "issued/gw.key", "issued/office.pem",
                 "issued/office.key", "issued/analytics.pem", "issued/analytics.key"):
        source = pki / name
        copy = folder / source.name
        copy.write_bytes(source.read_bytes())
        copy.chmod(0o600)
    return folder


def test_the_set_up_of_the_readme(tmp_path):
    """Both machines and the TLS client, in namespaces that have the README's addresses."""
    folder = make_certificates(tmp_path)
    gateway_text = "".join(blocks("plc ") + blocks('identity "analytics"'))
    edge_text = "".join(blocks("edge "))
    rules = lab.ROOT / "nft-rules"
    plcs = {"PLC4": "{ 10.30.0.10 . 5007 }", "PLC6": "{ fd30::10 . 5007 }"}
    with lab.Net() as net:
        plc = lab.Plc(tmp_path, "--set", "D100=7,8,9", "--connections", "1",
                      listen="10.30.0.10:5007", netns=net.ns("plc"))
        gateway = lab.Daemon(tmp_path, placed(gateway_text, folder), net.ns("gateway"), "gateway")
        edge = lab.Daemon(tmp_path, placed(edge_text, folder), net.ns("edge"), "edge")
        with lab.stopping(edge, gateway, plc):
            net.nft("edge", rules / "guard.nft", **plcs)
            net.nft("edge", rules / "edge-router.nft", CLIENT_INTERFACES='{ "to-client" }', **plcs)
            net.nft("gateway", rules / "gateway.nft", PEERS4="{ 10.20.0.1 }",
                    TLS_PORTS="{ 8443, 8444 }")
            command = shlex.split(re.search(r"^mcping .*$", README, re.MULTILINE).group(0))
            result = net.exec("client", lab.BUILD / command[0], *command[1:])
            assert "D100: 7 8 9" in result.stdout
            command = shlex.split(re.search(r"^mc_tls_client.py .*$", README,
                                            re.MULTILINE).group(0))
            result = net.exec("edge", "/usr/bin/python3", EXAMPLE, *command[1:], cwd=folder)
            assert result.stdout.split() == ["7", "8", "9"]


def test_both_configurations_pass_the_check(tmp_path):
    folder = make_certificates(tmp_path)
    for name, text in (("gateway", "".join(blocks("plc "))), ("edge", "".join(blocks("edge ")))):
        path = tmp_path / f"{name}.conf"
        path.write_text(placed(text, folder))
        result = lab.run(lab.BUILD / "mcseald", "--check", path)
        assert result.stdout.strip().endswith("ok") and "warning" not in result.stdout


def test_the_python_shown_is_the_example():
    shown = re.search(r"```python\n(.*?)```", README, re.DOTALL).group(1)
    example = EXAMPLE.read_text()
    for line in shown.strip().splitlines():
        assert line in example
    assert len(example.splitlines()) < 50


def test_every_linked_page_exists():
    for page in re.findall(r"\]\(([^)#]+)\)", README):
        assert (lab.ROOT / page).exists(), page


def test_make_help_lists_the_targets():
    help_text = lab.run("make", "-s", "help", cwd=lab.ROOT).stdout
    for target in ("all", "demo", "test", "check", "lint", "fuzz", "format", "install", "uninstall",
                   "clean", "help"):
        assert re.search(rf"^  {target} ", help_text, re.MULTILINE), target


def test_install_and_uninstall(tmp_path):
    lab.run("make", "install", f"DESTDIR={tmp_path}", "PREFIX=/usr", f"FLAVOUR={lab.BUILD.name}",
            cwd=lab.ROOT, timeout=300)
    for name in ("usr/sbin/mcseald", "usr/bin/mcping", "usr/bin/mcplc", "usr/bin/mcseal-pki",
                 "usr/share/mcseal/nft-rules/guard.nft", "usr/share/doc/mcseal/README.md",
                 "usr/lib/systemd/system/mcseald.service"):
        assert (tmp_path / name).exists(), name
    unit = (tmp_path / "usr/lib/systemd/system/mcseald.service").read_text()
    assert "ExecStart=/usr/sbin/mcseald /etc" in unit and "@SBINDIR@" not in unit
    lab.run("make", "uninstall", f"DESTDIR={tmp_path}", "PREFIX=/usr", cwd=lab.ROOT)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
