# SPDX-License-Identifier: Apache-2.0
"""Pages are about what there is: options, messages, tests, examples of manual pages."""
import contextlib
import os
import pathlib
import re
import shutil
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import lab  # noqa: E402

DOCS = lab.ROOT / "docs"
MANUALS = sorted((DOCS / "man").iterdir())
CHECK = lab.ROOT / "tools" / "check-options"


# --- options ------------------------------------------------------------------------------------------


def copy_of_pages(folder):
    shutil.copytree(DOCS, folder / "docs")
    for name in ("certs", "daemon/config"):
        shutil.copytree(lab.ROOT / name, folder / name)
    for page in lab.ROOT.glob("*.md"):
        shutil.copy(page, folder)
    return folder


def check_options(root):
    return lab.run(CHECK, "--root", root, "--build", lab.BUILD, check=False)


def test_every_option_is_told():
    result = check_options(lab.ROOT)
    assert (result.stdout, result.returncode) == ("", 0)


BREACHES = {
    "manual lacks an option": ("docs/man/mcseal.1", r"(?m)^\.It Fl -refused\n", "",
                               "mcseal.1: --refused is not told"),
    "manual lacks a short option": ("docs/man/mcplc.1", r"Fl q , ", "", "mcplc.1: -q is not told"),
    "manual has one too many": ("docs/man/mcping.1", r"\.It Fl -iqr", ".It Fl -iqx",
                                "mcping.1: mcping has no --iqx"),
    "page lacks an option": ("docs/mcplc.md", r"--drop-pipelined", "--drop",
                             "docs/mcplc.md: mcplc --drop-pipelined is not told"),
    "page names another": ("docs/mcseal.md", r"mcseal sessions --watch", "mcseal sessions --wait",
                           "docs/mcseal.md: mcseal has no --wait"),
    "any page names another": ("docs/metrics.md", r"mcseal metrics --http", "mcseal metrics --htp",
                               "docs/metrics.md: mcseal has no --htp"),
    "Japanese lacks an option": ("docs/ja/options.md", r"(?m)^\| `--unlock` .*\n", "",
                                 "docs/ja/options.md: mcping --unlock is not told"),
    "README lacks what all have": ("README.md", r"`--usage`", "", "README.md: no --usage"),
    "manual lacks a setting": ("docs/man/mcseald.conf.5", r"(?m)^\.It Ic slot_wait\n", "",
                               "timeouts: slot_wait is not told"),
    "page lacks a setting": ("docs/mcseald.conf.md", r"(?m)^\| `burst` .*\n", "",
                             "docs/mcseald.conf.md: policy: burst is not told"),
    "Japanese lacks a setting": ("docs/ja/options.md", r"(?m)^\| `server_name` .*\n", "",
                                 "docs/ja/options.md: route: server_name is not told"),
    "example lacks a setting": ("docs/mcseald.conf.example", r"(?m)^\tburst = .*\n", "",
                                "docs/mcseald.conf.example: policy: burst is not told"),
    "page has a setting too many": ("docs/mcseald.conf.md", r"(?m)^\| `dial` ", "| `dail` ",
                                    "docs/mcseald.conf.md: plc: there is no dail"),
    "a new setting": ("daemon/config/config_option.c", r'(?m)^\t\{"workers",',
                      '\t{"colour", &config_type_number, "0", AT(workers)},\n\t{"workers",',
                      "docs/man/mcseald.conf.5: top level: colour is not told"),
    "an example with another": ("README.md", r"plc_networks = ", "plc_network = ",
                                "README.md: there is no plc_network"),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_what_is_missing_is_noticed(breach, tmp_path):
    name, pattern, replacement, said = BREACHES[breach]
    path = copy_of_pages(tmp_path) / name
    text, changed = re.subn(pattern, replacement, path.read_text())
    assert changed
    path.write_text(text)
    result = check_options(tmp_path)
    assert result.returncode == 1
    assert said in result.stdout


# --- manual pages ---------------------------------------------------------------------------------------


def test_manual_pages_are_well_formed():
    assert len(MANUALS) == 8
    result = lab.run("mandoc", "-Tlint", "-Wwarning", *MANUALS, check=False)
    assert (result.stdout, result.returncode) == ("", 0)


@pytest.mark.parametrize("page", MANUALS, ids=lambda path: path.name)
def test_sections_of_a_manual_page(page):
    there = re.findall(r"(?m)^\.Sh (.*)$", page.read_text())
    demanded = ["NAME", "DESCRIPTION", "EXAMPLES", "SEE ALSO", "SECURITY"]
    if page.suffix != ".5":
        demanded += ["SYNOPSIS", "EXIT STATUS"]
    assert not set(demanded) - set(there)


def test_manual_pages_name_one_another():
    ours = {path.name for path in MANUALS}
    for page in MANUALS:
        for name, section in re.findall(r"(?m)^\.Xr (mc\S+) (\d)", page.read_text()):
            assert f"{name}.{section}" in ours, page.name


def examples(name):
    """What stands in literal type below EXAMPLES, by block."""
    text = (DOCS / "man" / name).read_text()
    section = re.search(r"(?ms)^\.Sh EXAMPLES\n(.*?)^\.Sh ", text).group(1)
    found = re.findall(r"(?ms)^\.Bd -literal.*?\n(.*?)^\.Ed", section)
    assert found
    return [block.replace("\\&", "").replace("\\e", "\\") for block in found]


def shell(script, netns=None, **options):
    """A script as it would be typed, our programs on its PATH."""
    path = f"PATH={lab.BUILD}:{lab.ROOT / 'certs'}:$PATH:/usr/sbin"
    prefix = ["ip", "netns", "exec", netns] if netns else []
    return lab.run(*prefix, "bash", "-ec", f"{path}; {script}", **options)


def test_examples_of_the_ca(tmp_path):
    issue, revoke = examples("mcseal-pki.1")
    shell(issue + revoke, cwd=tmp_path)
    listed = shell("mcseal-pki -d plant-pki list", cwd=tmp_path).stdout
    assert re.search(r"scada .*revoked", listed) and re.search(r"office .*valid", listed)


@contextlib.contextmanager
def one_machine():
    """A namespace with the addresses of PLC and gateway."""
    name = f"mcman-{os.getpid()}"
    try:
        lab.run("ip", "netns", "add", name)
        lab.run("ip", "-n", name, "link", "set", "lo", "up")
        for address in ("10.30.0.10/32", "10.20.0.2/32"):
            lab.run("ip", "-n", name, "addr", "add", address, "dev", "lo")
        yield name
    finally:
        lab.run("ip", "netns", "del", name, check=False)


def papers(folder):
    """Files by the names that the manual pages give them."""
    shell("mcseal-pki init pki; mcseal-pki -d pki gateway gw --ip 10.20.0.2;"
          "mcseal-pki -d pki edge office; mcseal-pki -d pki client scada", cwd=folder)
    for name in ("ca.pem", "crl.pem"):
        shutil.copy(folder / "pki" / name, folder)
    for path in (folder / "pki" / "issued").iterdir():
        shutil.copy(path, folder)
    return folder


def test_examples_of_the_configuration(tmp_path):
    papers(tmp_path)
    found = examples("mcseald.conf.5")
    assert len(found) == 2
    for text in found:
        path = tmp_path / "mcseald.conf"
        path.write_text(text.replace("/etc/mcseal", str(tmp_path)))
        assert shell(f"mcseald --check {path}").stdout == f"{path}: ok\n"


def test_examples_of_the_client(tmp_path):
    papers(tmp_path)
    text = examples("mcseald.conf.5")[0].replace("/etc/mcseal", str(tmp_path))
    text = text.replace("plant\" {", "plant\" {\n\tplc = \"press-1\"")
    text = text.replace("connections = 1", "connections = 4")
    text += """
policy "model" { commands = { "0101" } }
identity "scada" {
	match = { "uri:urn:mcseal:client:scada" }
	plcs = { "press-1" }
	policy = "model"
}"""
    (script,) = examples("mcping.1")
    with one_machine() as netns:
        plc = lab.Plc(tmp_path, listen="10.30.0.10:5007", netns=netns)
        gateway = lab.Daemon(tmp_path, text, netns)
        with lab.stopping(gateway, plc):
            shown = shell(script, netns, cwd=tmp_path).stdout
    assert "20 requests, 20 answers, 0 refused, 0 wrong" in shown and "Q03UDVCPU" in shown


def test_examples_of_the_daemon_its_rules_and_its_operators(tmp_path):
    papers(tmp_path)
    config, control = tmp_path / "mcseald.conf", tmp_path / "control"
    text = examples("mcseald.conf.5")[0].replace("/etc/mcseal", str(tmp_path))
    places = f"""mcseal() {{ command mcseal --socket={control} "$@"; }}
mcseal-nft() {{ command mcseal-nft -c {config} "$@"; }}
journalctl() {{ cat {tmp_path}/mcseald.log; }}
"""
    rules, guard = examples("mcseal-nft.8")
    drain, learn = examples("mcseal.1")
    with one_machine() as netns:
        plc = lab.Plc(tmp_path, listen="10.30.0.10:5007", netns=netns)
        gateway = lab.Daemon(tmp_path, f'control_socket = "{control}"\n{text}', netns)
        with lab.stopping(gateway, plc):
            check = examples("mcseald.8")[0].splitlines()[0]
            assert "ok" in shell(check.replace("/etc/mcseal", str(tmp_path))).stdout
            shown = shell(places + rules, netns, input="\n").stdout
            assert "the kernel takes the rules" in shown and "applied and confirmed" in shown
            shell(places + guard.replace("/etc/nftables.d", str(tmp_path)), netns)
            assert "mcseal_guard" in (tmp_path / "50-mcseal-guard.nft").read_text()
            shown = shell(places + drain, netns).stdout
            assert "0 sessions" in shown and shown.endswith("gateway plant takes connections\n")
            # Nobody has asked for anything yet, and it says so.
            nothing = shell(places + learn, netns, cwd=tmp_path, check=False)
            assert nothing.returncode == 1 and "is an audit line" in nothing.stdout


def test_examples_of_the_simulated_plc(tmp_path):
    with one_machine() as netns:
        (script,) = examples("mcplc.1")
        plcs = [lab.Process(["bash", "-c", f"exec {lab.BUILD}/{line}"], tmp_path / f"{i}.log", netns)
                for i, line in enumerate(script.splitlines())]
        for plc in plcs:
            plc.wait_text("mcplc: ready")
        with lab.stopping(*plcs):
            assert "D100: 4660 2" in shell("mcping 127.0.0.1:5007 read D100 2", netns).stdout
            locked = shell("mcping 127.0.0.1:5008 read D100", netns, check=False)
            assert locked.returncode == 1 and "C201" in locked.stdout


def test_examples_of_the_load(tmp_path):
    (script,) = examples("mcload.1")
    with one_machine() as netns:
        shown = shell(script.replace("--quiet &", "--quiet & sleep 0.5").replace(" -c 64", " -c 4 -d 1")
                      + "kill %1; wait", netns, cwd=tmp_path, check=False).stdout
    assert re.search(r"[1-9]\d* answers, 0 refused, 0 wrong, 0 connections lost, 0 failed", shown)


# --- tests and messages that pages name ---------------------------------------------------------------


TEST_NAME = re.compile(r"`(tests/[\w/.]+)::(\w+)`")
PAGES = sorted([*lab.ROOT.glob("*.md"), *DOCS.rglob("*.md")])
IEC = DOCS / "iec-62443.md"


def names_of_tests(path):
    """Of tests that run: a C function counts when it stands in a table of tests."""
    text = path.read_text()
    if path.suffix == ".py":
        return set(re.findall(r"(?m)^def (test_\w+)\(", text))
    return set(re.findall(r"cmocka_unit_test\w*\((\w+)", text)) - {"name", "function"}


def wrong_tests(text):
    return [f"{file}::{name}" for file, name in TEST_NAME.findall(text)
            if not (lab.ROOT / file).is_file() or name not in names_of_tests(lab.ROOT / file)]


def test_tests_that_pages_name_are_there():
    named = 0
    for page in PAGES:
        text = page.read_text()
        assert not wrong_tests(text), page
        named += len(TEST_NAME.findall(text))
    assert named > 100


def test_tests_that_are_not_there_are_noticed():
    good = "tests/e2e/test_documents.py::test_tests_that_are_not_there_are_noticed"
    assert not wrong_tests(f"`{good}`")
    assert wrong_tests(f"`{good}_2`") and wrong_tests("`tests/e2e/test_nothing.py::test_that`")


def test_every_requirement_is_met_by_a_test_or_says_so():
    rows = re.findall(r"(?m)^\| (SR \d\.\d+) [^|]*\| ([^|]*)\|(.*)\|$", IEC.read_text())
    assert len(rows) >= 40 and len({row[0] for row in rows}) == len(rows)
    for requirement, how, tests in rows:
        assert re.match(r"(met|configured|partly|plant)\b", how), requirement
        assert how.startswith("plant") or TEST_NAME.search(tests), requirement


SOURCES = [path for folder in ("daemon", "nft-rules", "tools")
           for path in sorted((lab.ROOT / folder).rglob("*.c"))]
TROUBLE = DOCS / "troubleshooting.md"


def literals():
    """Texts of the programs, one a line, those that stand in pieces joined."""
    texts = []
    for path in SOURCES:
        for match in re.finditer(r'"(?:[^"\\\n]|\\.)*"(?:\s*"(?:[^"\\\n]|\\.)*")*', path.read_text()):
            texts.append("".join(re.findall(r'"((?:[^"\\\n]|\\.)*)"', match.group(0))))
    return texts


def is_said(message, texts):
    """Has one text all parts of the message, in their order?"""
    parts = [re.escape(part.strip()) for part in message.split("...") if part.strip()]
    return any(re.search(".*".join(parts), text) for text in texts)


def messages_of_the_page(text):
    found = []
    for table in re.findall(r"(?m)^\| message \|.*\n\|[-|]+\n((?:\|.*\n)*)", text):
        found += re.findall(r"(?m)^\| `([^`]+)`", table)
    return found


def test_messages_of_the_page_are_said():
    texts = literals()
    messages = messages_of_the_page(TROUBLE.read_text())
    assert len(messages) > 60
    assert not [message for message in messages if not is_said(message, texts)]
    assert not is_said("the moon is in the way", texts)


def log_lines():
    """Names of lines of the level warning or error."""
    found = set()
    for path in (lab.ROOT / "daemon").rglob("*.c"):
        found |= set(re.findall(r'\b(?:log_simple|log_begin|begin_end|audit_begin)\([^";]*'
                                r'LOG_LEVEL_(?:ERROR|WARNING),\s*"([\w-]+)"', path.read_text()))
    return found


def test_every_warning_is_explained():
    """In one of the pages for operators."""
    pages = "".join((DOCS / name).read_text() for name in (
        "troubleshooting.md", "sessions.md", "policy.md", "mcseal.md", "mcseald.conf.md",
        "kernel-tls.md"))
    lines = log_lines()
    assert len(lines) > 15
    assert not [line for line in lines if f"`{line}`" not in pages]


# --- in Japanese ----------------------------------------------------------------------------------------


def commands_of(path):
    """Blocks of code without their comments."""
    blocks = re.findall(r"(?ms)^```\w*\n(.*?)^```$", path.read_text())
    return ["\n".join(re.sub(r"\s*(^|\s)# .*$", "", line).rstrip() for line in block.splitlines())
            for block in blocks]


def test_the_japanese_readme_has_the_same_examples():
    english = commands_of(lab.ROOT / "README.md")
    japanese = [block for block in commands_of(lab.ROOT / "README.ja.md") if "┌" not in block]
    assert len(japanese) >= 13
    for block in japanese:
        assert block in english, block


def test_the_japanese_page_has_the_same_messages():
    page = (DOCS / "ja" / "troubleshooting.md").read_text().replace("| メッセージ |", "| message |")
    assert messages_of_the_page(page) == messages_of_the_page(TROUBLE.read_text())


def test_configurations_in_japanese_load(tmp_path):
    """Each piece of the set-up page, in the place of the same section of the manual's example."""
    papers(tmp_path)
    (tmp_path / "press-1.password").write_text("1234\n")
    (tmp_path / "press-1.password").chmod(0o600)
    pieces = [block for block in commands_of(DOCS / "ja" / "setup.md") if " {" in block]
    assert len(pieces) == 2
    for piece in pieces:
        text = examples("mcseald.conf.5")[0]
        if piece.startswith("plc"):
            text = text[text.index("identity"):]
        text = (piece + "\n" + text).replace("/etc/mcseal", str(tmp_path))
        path = tmp_path / "mcseald.conf"
        path.write_text(text.replace("/var/log/mcseal", str(tmp_path)))
        assert shell(f"mcseald --check {path}").stdout.endswith(f"{path}: ok\n")


def test_documents_in_japanese_are_linked():
    text = (lab.ROOT / "README.ja.md").read_text()
    for page in (DOCS / "ja").glob("*.md"):
        assert f"(docs/ja/{page.name})" in text
