#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The documentation does what it says: configurations load, set-ups work, output is as shown.

Run as a program (root), it writes docs/examples/*.nft and the output shown in docs/*nft.md anew.
"""
import contextlib
import os
import pathlib
import pty
import re
import shlex
import shutil
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import lab  # noqa: E402

README = (lab.ROOT / "README.md").read_text()
DOCS = lab.ROOT / "docs"
EXAMPLES = DOCS / "examples"
EXAMPLE = EXAMPLES / "mc_tls_client.py"
MCSEAL_NFT = lab.BUILD / "mcseal-nft"


def blocks(first_word):
    """Fenced blocks whose text starts with that word."""
    return [block for block in re.findall(r"```\n(.*?)```", README, re.DOTALL)
            if block.startswith(first_word)]


def placed(text, folder):
    """A configuration of the README with its files and interface as the test has them."""
    return text.replace("/etc/mcseal", str(folder)).replace('"eth1"', '"to-client"')


def step_5():
    """The commands that bring the rules in, as they stand."""
    (block,) = blocks("mcseald --check")
    lines = [shlex.split(line, comments=True) for line in block.splitlines()]
    return [words[1:] for words in lines if words[0] == "mcseal-nft"]


def rules_first(net, name, config, text):
    config.write_text(text)
    for words in step_5():
        result = net.exec(name, MCSEAL_NFT, "-c", config, *words, input="\n")  # Enter confirms
        assert "error" not in result.stdout
    assert "applied and confirmed" in result.stdout


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
    texts = {"gateway": placed(gateway_text, folder), "edge": placed(edge_text, folder)}
    with lab.Net() as net:
        plc = lab.Plc(tmp_path, "--set", "D100=7,8,9", "--connections", "1",
                      listen="10.30.0.10:5007", netns=net.ns("plc"))
        for name, text in texts.items():
            rules_first(net, name, tmp_path / f"{name}.conf", text)
        gateway = lab.Daemon(tmp_path, texts["gateway"], net.ns("gateway"), "gateway")
        edge = lab.Daemon(tmp_path, texts["edge"], net.ns("edge"), "edge")
        with lab.stopping(edge, gateway, plc):
            command = shlex.split(re.search(r"^mcping .*$", README, re.MULTILINE).group(0))
            result = net.exec("client", lab.BUILD / command[0], *command[1:])
            assert "D100: 7 8 9" in result.stdout
            command = shlex.split(re.search(r"^mc_tls_client.py .*$", README,
                                            re.MULTILINE).group(0))
            result = net.exec("edge", "/usr/bin/python3", EXAMPLE, *command[1:], cwd=folder)
            assert result.stdout.split() == ["7", "8", "9"]
            result = net.exec("gateway", lab.BUILD / "mcping", "10.30.0.10:5007", "read", "D100",
                              check=False)
            assert result.returncode == 3 and "refused" in result.stdout


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


def anchors(path):
    """Of its headings, as they are made on web pages."""
    found = set()
    for heading in re.findall(r"(?m)^#+ (.*)$", re.sub(r"(?s)```.*?```", "", path.read_text())):
        found.add(re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", [*sorted(lab.ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md")),
                                  lab.ROOT / "nft-rules" / "README.md"], ids=lambda path: path.name)
def test_every_linked_page_exists(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"(?s)```.*?```", "", page.read_text())):
        name, _, anchor = target.partition("#")
        if name.startswith("http"):
            continue
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


def test_make_help_lists_the_targets():
    help_text = lab.run("make", "-s", "help", cwd=lab.ROOT).stdout
    for target in ("all", "demo", "test", "check", "lint", "fuzz", "coverage", "format", "install",
                   "uninstall", "clean", "help"):
        assert re.search(rf"^  {target} ", help_text, re.MULTILINE), target


def test_install_and_uninstall(tmp_path):
    lab.run("make", "install", f"DESTDIR={tmp_path}", "PREFIX=/usr", f"FLAVOUR={lab.BUILD.name}",
            cwd=lab.ROOT, timeout=300)
    for name in ("usr/sbin/mcseald", "usr/bin/mcping", "usr/bin/mcplc", "usr/bin/mcseal-pki",
                 "usr/bin/mcseal", "usr/share/doc/mcseal/examples/grafana-mcseal.json",
                 "usr/share/doc/mcseal/examples/mcseal-metrics@.service",
                 "usr/sbin/mcseal-nft", "usr/share/doc/mcseal/README.md",
                 "usr/share/doc/mcseal/nft.md", "usr/share/doc/mcseal/examples/gateway.nft",
                 "usr/lib/systemd/system/mcseal-nft.service", "usr/lib/sysusers.d/mcseal.conf",
                 "usr/lib/tmpfiles.d/mcseal.conf", "usr/lib/modules-load.d/mcseal.conf",
                 "usr/share/man/man8/mcseald.8", "usr/share/man/man5/mcseal.conf.5",
                 "usr/share/doc/mcseal/ja/options.md", "usr/lib/systemd/system/mcseald.service"):
        assert (tmp_path / name).exists(), name
    assert not list(tmp_path.glob("usr/share/mcseal/**/*.nft"))
    unit = (tmp_path / "usr/lib/systemd/system/mcseald.service").read_text()
    assert "ExecStart=/usr/sbin/mcseald /etc" in unit and "@SBINDIR@" not in unit
    lab.run("make", "uninstall", f"DESTDIR={tmp_path}", "PREFIX=/usr", cwd=lab.ROOT)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_every_file_of_the_rules_program_is_explained():
    nouns = {path.stem for path in (lab.ROOT / "nft-rules").glob("*.[ch]")}
    for page in (lab.ROOT / "nft-rules" / "README.md", DOCS / "layout.md"):
        text = page.read_text()
        missing = {noun for noun in nouns if f"`{noun}`" not in text}
        assert not missing, page
    listed = re.findall(r"(?m)^\| `(\w+)` \|", (lab.ROOT / "nft-rules" / "README.md").read_text())
    assert set(listed) == nouns


# --- the rules ------------------------------------------------------------------------------------

CONFIGURATIONS = sorted(EXAMPLES.glob("*.conf"))
PAGES = [DOCS / "mcseal-nft.md", DOCS / "nft.md"]
each_example = pytest.mark.parametrize("config", CONFIGURATIONS, ids=lambda path: path.stem)
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)


def printed(config):
    return lab.run(MCSEAL_NFT, "-c", config, "print").stdout


@contextlib.contextmanager
def machine():
    """The machine of docs/examples/*.conf: eth0 leads to PLC and gateway, eth1 to clients."""
    here, there = f"mcdoc-{os.getpid()}", f"mcdoc-{os.getpid()}-far"
    plc = None
    try:
        for name in (here, there):
            lab.run("ip", "netns", "add", name)
            lab.run("ip", "-n", name, "link", "set", "lo", "up")
        for link in ("eth0", "eth1", "docker0"):
            lab.run("ip", "link", "add", link, "netns", here, "type", "veth", "peer", "name", link,
                    "netns", there)
            for name in (here, there):
                lab.run("ip", "-n", name, "link", "set", link, "up")
        for name, address, link in (
                (here, "10.20.0.1/24", "eth0"), (here, "10.10.0.1/24", "eth1"),
                (there, "10.20.0.2/24", "eth0"), (there, "10.10.0.5/24", "eth1"),
                (there, "10.30.0.10/32", "lo")):
            lab.run("ip", "-n", name, "addr", "add", address, "dev", link)
        lab.run("ip", "-n", here, "route", "add", "10.30.0.0/24", "via", "10.20.0.2")
        with lab.scratch() as folder:
            plc = lab.Plc(folder, "--set", "D100=7", listen="10.30.0.10:5007", netns=there)
            yield here, pathlib.Path(folder)
            lab.assert_clean(plc, plc.stop())
    finally:
        if plc is not None:
            plc.kill()
        for name in (here, there):
            lab.run("ip", "netns", "del", name, check=False)


def install(folder, config):
    """That example as this machine's configuration; /etc is in the folder."""
    etc = folder / "etc"
    for name in ("mcseal", "nftables.d"):
        (etc / name).mkdir(parents=True, exist_ok=True)
    path = etc / "mcseal" / "mcseald.conf"
    path.write_text(config.read_text().replace('"/etc/nft', f'"{etc}/nft'))
    return path


def tools(folder, config):
    """Where PATH begins: mcseal-nft with that configuration, and a mcping that anybody may run."""
    folder.chmod(0o711)
    place = folder / "bin"
    place.mkdir(exist_ok=True)
    (place / "mcseal-nft").write_text(f'#!/bin/sh\nexec {MCSEAL_NFT} -c {config} "$@"\n')
    shutil.copy(lab.BUILD / "mcping", place)
    for name in ("mcseal-nft", "mcping"):
        (place / name).chmod(0o755)
    return place


def type_in(netns, folder, config, command):
    """What a terminal in that namespace shows for the command; Enter is pressed once."""
    head = f"PATH={tools(folder, config)}:$PATH:/usr/sbin; "
    command = re.sub(r"(?<![\w.])/etc/", f"{folder}/etc/", command)
    master, slave = pty.openpty()
    keys, enter = os.pipe()
    os.write(enter, b"\n")
    os.close(enter)
    process = subprocess.Popen(["ip", "netns", "exec", netns, "bash", "-c", head + command],
                               stdin=keys, stdout=slave, stderr=slave)
    os.close(keys)
    os.close(slave)
    shown = b""
    with contextlib.suppress(OSError):  # EIO: the last one has closed it
        while True:
            shown += os.read(master, 65536)
    os.close(master)
    process.wait(10 * lab.PATIENCE)
    text = tidy(shown.decode().replace("\r\n", "\n").replace(str(folder), ""))
    if command.startswith("nft list"):  # newer ones list defaults, too
        text = text.replace(" burst 5 packets", "").replace(" level warn", "")
    return text


def tidy(text):
    """Without what is different each time."""
    text = re.sub(r"pid \d+", "pid 4711", text)
    text = re.sub(r"packets [1-9]\d* bytes \d+", "packets 6 bytes 341", text)
    return re.sub(r"rule handle \d+", "rule handle 7", text)


CONSOLE = re.compile(r"(?ms)^```console (\S+)\n(.*?)^```$")


@contextlib.contextmanager
def plain_client(netns):
    """A connection to the PLC from before the rules; it says nothing."""
    code = ("import socket, sys; s = socket.socket(); s.bind(('10.20.0.1', 40112)); "
            "s.connect(('10.30.0.10', 5007)); print('there', flush=True); sys.stdin.read()")
    with subprocess.Popen(["ip", "netns", "exec", netns, "/usr/bin/python3", "-c", code],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"there\n"
            yield
        finally:
            process.kill()


def replay(text):
    """The page with each command's output as it is now."""
    with machine() as (netns, folder), plain_client(netns):
        def run_block(match):
            config = install(folder, EXAMPLES / f"{match.group(1)}.conf")
            new = "".join(f"# {command}\n" + type_in(netns, folder, config, command)
                          for command in re.findall(r"(?m)^# (.*)$", match.group(2)))
            return f"```console {match.group(1)}\n{new}```"
        return CONSOLE.sub(run_block, text)


@each_page
def test_commands_show_what_the_page_says(page):
    text = page.read_text()
    assert len(CONSOLE.findall(text)) > 2
    assert replay(text).splitlines() == text.splitlines()


@each_example
def test_the_examples_are_what_is_printed(config):
    assert printed(config) == config.with_suffix(".nft").read_text()


@each_example
def test_an_example_is_listed_as_it_is_applied(config):
    """The file and `apply` make the same tables, and nft finds nothing wrong with the file."""
    with machine() as (netns, _):
        def call(*words):
            return lab.run("ip", "netns", "exec", netns, *words).stdout
        call("nft", "-f", config.with_suffix(".nft"))
        by_file = call("nft", "-s", "list", "ruleset")
        call("nft", "flush", "ruleset")
        call(MCSEAL_NFT, "-c", config, "apply")
        assert call("nft", "-s", "list", "ruleset") == by_file


@each_page
def test_a_page_quotes_only_rules_that_are_there(page):
    lines = {line.strip() for config in CONFIGURATIONS
             for line in config.with_suffix(".nft").read_text().splitlines()}
    quoted = re.findall(r"(?ms)^```nft\n(.*?)^```$", page.read_text())
    for line in "".join(quoted).splitlines():
        assert not line.strip() or line.strip() in lines, line


def test_every_rule_is_explained():
    """Every comment that a rule of the examples has stands in nft.md."""
    page = (DOCS / "nft.md").read_text()
    for config in CONFIGURATIONS:
        for line in config.with_suffix(".nft").read_text().splitlines():
            match = re.search(r" counter .*comment \"(.*)\"$", line)
            # Of rules that are there for IPv4 and IPv6, or for each source, one is enough.
            if match and not re.search(r"^(source|edge|gateway) ", match.group(1)):
                assert re.sub(r": route .*", ": route ", match.group(1)) in page, line


def test_what_watch_shows():
    shown = re.search(r"(?ms)^```text\n(watching.*?)^```$", PAGES[0].read_text()).group(1)
    with machine() as (netns, folder):
        config = install(folder, EXAMPLES / "edge-host.conf")
        watch = lab.Process([MCSEAL_NFT, "-c", config, "watch"], folder / "watch.log", netns)
        watch.wait_text("not as they should be")  # has looked: what follows it hears of
        type_in(netns, folder, config, "mcseal-nft apply")
        watch.wait_text("^the rules are as they should be.*\n")
        before = len(watch.text())
        type_in(netns, folder, config,
                "nft add element inet mcseal source/office/scada/users '{ 1001 }'")
        watch.wait_text("1001")
        type_in(netns, folder, config, "mcseal-nft apply")
        lab.wait_for(lambda: "as they should be" in watch.text()[before:], "the second apply")
        lab.assert_clean(watch, watch.stop())
        assert "watching\n" + tidy(watch.text()[before:]) == shown


def test_the_messages_of_the_kernel_log_are_explained():
    page = (DOCS / "nft.md").read_text()
    text = "".join(printed(config) + lab.run(MCSEAL_NFT, "-c", config, "print", "--observe").stdout
                   for config in CONFIGURATIONS)
    prefixes = set(re.findall(r'log prefix "(\S+): "', text))
    assert len(prefixes) >= 5
    for prefix in prefixes:
        assert f"`{prefix}:`" in page, prefix


def test_the_guard_without_nftables_service():
    text = (EXAMPLES / "mcseal-guard.service").read_text()
    assert "\nExecStop" not in text and "Before=network-pre.target" in text
    load = re.findall(r"(?m)^Exec(?:Start|Reload)=/usr/sbin/(nft -f .*)$", text)
    assert len(load) == 2
    with machine() as (netns, folder):
        config = install(folder, EXAMPLES / "gateway.conf")
        type_in(netns, folder, config,
                "mcseal-nft print --guard > /etc/nftables.d/50-mcseal-guard.nft")
        for command in load:
            assert type_in(netns, folder, config, command) == ""
        assert type_in(netns, folder, config, "nft list tables") == "table inet mcseal_guard\n"
        assert " 0 warnings" in type_in(netns, folder, config, "mcseal-nft check")


def test_the_unit_of_the_rules(tmp_path):
    """Its commands do what they should with the one capability it leaves them."""
    text = (lab.ROOT / "systemd" / "mcseal-nft.service.in").read_text()
    text = text.replace("@SBINDIR@", "/usr/local/sbin")
    assert "CapabilityBoundingSet=CAP_NET_ADMIN\n" in text and "Before=mcseald.service" in text
    commands = re.findall(r"(?m)^Exec\w+=/usr/local/sbin/mcseal-nft (.*)$", text)
    assert commands == ["apply", "watch --restore", "apply"]
    for line in re.findall(r"(?ms)^```ini\n(.*?)^```$", PAGES[1].read_text())[0].splitlines():
        assert line in text.splitlines()
    with machine() as (netns, folder):
        config = install(folder, EXAMPLES / "edge-host.conf")
        bounded = ["setpriv", "--bounding-set=-all,+net_admin", "--inh-caps=-all", MCSEAL_NFT, "-c",
                   config]
        applied = lab.run("ip", "netns", "exec", netns, *bounded, *commands[0].split()).stdout
        assert applied.splitlines()[-1] == "applied"
        watch = lab.Process([*bounded, *commands[1].split()], tmp_path / "watch.log", netns)
        watch.wait_text("^watching$")
        # It restores what it has seen as it should be: a small change shows that it has looked.
        type_in(netns, folder, config, "nft add rule inet mcseal input counter")
        watch.wait_text("restored")
        type_in(netns, folder, config, "mcseal-nft apply")
        watch.wait_text("were restored|as they should be")
        before = len(watch.lines("were restored"))
        type_in(netns, folder, config, "nft delete table inet mcseal")
        lab.wait_for(lambda: len(watch.lines("were restored")) > before, "the rules")
        lab.assert_clean(watch, watch.stop())
        assert type_in(netns, folder, config, "mcseal-nft diff && echo same") == "same\n"


def rewrite():
    for config in CONFIGURATIONS:
        config.with_suffix(".nft").write_text(printed(config))
    for page in PAGES:
        page.write_text(replay(page.read_text()))


if __name__ == "__main__":
    rewrite()
