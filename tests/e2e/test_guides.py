# SPDX-License-Identifier: Apache-2.0
"""The guides are typed as they stand: files, commands and what these show, machine by machine.

A block of a guide says behind its language on which machine it is meant. /etc of each machine is a
folder; systemctl starts the program itself, with the configuration that the guide has put there.
"""
import pathlib
import re
import shlex
import shutil
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import lab  # noqa: E402
import peers  # noqa: E402

GUIDES = lab.ROOT / "docs" / "guides"
COMMON = GUIDES / "README.md"
PAGES = sorted(set(GUIDES.glob("*.md")) - {COMMON})
BLOCK = re.compile(r"(?ms)^```(.*?)\n(.*?)^```$")
LANGUAGES = ("conf", "nginx", "stunnel", "sh", "console")
# Network namespaces; the second gateway is another folder in that of the first.
MACHINES = {"ca": None, "client": "client", "edge": "edge", "gateway": "gateway",
            "gateway2": "gateway"}
PLCS = {"10.30.0.10:5007": ("--set", "D100=7", "--listen", "10.30.0.10:5006"),
        "10.30.0.11:5007": ("--set", "D0=11"), "10.30.0.12:5007": ("--set", "D0=12")}


class Machine:
    """One of a guide's machines: its /etc, its programs, what runs on it."""

    def __init__(self, folder, name, net):
        self.root, self.name, self.net = folder / name, name, net
        self.netns = MACHINES[name] and net.ns(MACHINES[name])
        self.services = {}
        for place in ("mcseal", "nftables.d", "nginx", "stunnel"):
            (self.root / "etc" / place).mkdir(parents=True)
        self.root.chmod(0o711)
        config = self.root / "etc" / "mcseal" / "mcseald.conf"
        self.program("mcseald", f'exec {lab.BUILD}/mcseald "$@"')
        self.program("mcseal-nft", f'exec {lab.BUILD}/mcseal-nft -c {config} "$@"')
        self.program("mcseal-pki", f'exec {lab.PKI_TOOL} "$@"')
        self.program("mcseal", f'[ "$*" != check ] || exec {lab.BUILD}/mcseald --check {config}\n'
                               f'exec {lab.BUILD}/mcseal --socket={self.root}/control "$@"')
        self.program("chown", "exit 0  # there is no user mcseal")
        self.program("scp", 'to=${@: -1}; place=' + f'{folder}/' + '${to%%:*}${to#*:}\n'
                            'cp "${@:1:$#-1}" "$place"', "bash")
        shutil.copy(lab.BUILD / "mcping", self.root / "bin")
        (self.root / "bin" / "mcping").chmod(0o755)

    def program(self, name, script, shell="sh"):
        path = self.root / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.parent.chmod(0o755)
        path.write_text(f"#!/bin/{shell}\n{script}\n")
        path.chmod(0o755)

    def here(self, text):
        """With the paths and the interface as they are in the test."""
        text = re.sub(r"(?<![\w.:])/etc/", f"{self.root}/etc/", text)
        return text.replace('"eth1"', '"to-client"')

    def file(self, language, text):
        path = pathlib.Path(self.here(re.match(r"# (/etc/\S+)\n", text).group(1)))
        text = self.here(text)
        if language == "conf":
            text = f'control_socket = "{self.root}/control"\n' + text
        path.write_text(text)

    def call(self, line, check=True):
        """What a command shows; Enter is pressed once."""
        prefix = ["ip", "netns", "exec", self.netns] if self.netns else []
        script = f"PATH={self.root}/bin:$PATH:/usr/sbin:/sbin; cd {self.root}; {self.here(line)}"
        result = lab.run(*prefix, "bash", "-ec", script, check=False, input="\n")
        assert not check or result.returncode == 0, f"{self.name}: {line}\n{result.stdout}"
        return result.stdout.replace(str(self.root), "")

    def type(self, line):
        if line.startswith("systemctl "):
            _, verb, *names = shlex.split(line)
            for name in names:
                if not name.startswith("--"):
                    self.stop(name) if verb == "stop" else self.start(name)
        else:
            self.call(line)

    def start(self, name):
        etc = self.root / "etc"
        log = self.root / f"{name}.log"
        if name == "mcseald":
            folder = etc / "mcseal"
            service = lab.Daemon(folder, (folder / "mcseald.conf").read_text(), self.netns)
        elif name == "nginx":
            service = peers.Peer(["nginx", "-p", self.root, "-c", etc / "nginx" / "nginx.conf",
                                  "-e", "stderr", "-g",
                                  f"daemon off; master_process off; pid {self.root}/pid;"],
                                 log, netns=self.netns)
            lab.wait_for(lambda: ":8444 " in self.call("ss -Htln 'sport = :8444'"), "nginx", 10)
        else:
            assert name == "stunnel"
            config = etc / "stunnel" / "stunnel.conf"
            config.write_text("foreground = yes\npid =\n" + config.read_text())
            password = (etc / "stunnel" / "scada.p12.password").read_bytes()
            service = peers.Peer(["stunnel4", config], log, password, self.netns)
            service.wait_text("Configuration successful", 10)
            lab.wait_for(lambda: ":5007 " in self.call("ss -Htln 'sport = :5007'"), "stunnel", 10)
        self.services[name] = service

    def stop(self, name):
        service = self.services.pop(name)
        if name == "mcseald":
            lab.assert_clean(service, service.stop())
        else:
            service.kill()

    def show_logs(self):
        for service in self.services.values():
            print(f"--- {self.name} {service.log_path}\n{service.text()[-4000:]}")


class Plant:
    """The network of the README, three PLCs, and the machines of the guides."""

    def __init__(self, folder):
        folder.chmod(0o711)
        self.net = lab.Net()
        self.plcs = []
        for address in ("10.30.0.11", "10.30.0.12"):
            self.net.exec("plc", "ip", "addr", "add", f"{address}/24", "dev", "to-gateway")
        self.net.exec("gateway", "ip", "addr", "add", "10.20.0.3/24", "dev", "to-edge")
        self.machines = {name: Machine(folder, name, self.net) for name in MACHINES}
        for number, (listen, options) in enumerate(PLCS.items()):
            self.plcs.append(lab.Plc(folder, *options, listen=listen, netns=self.net.ns("plc"),
                                     name=f"plc-{number}"))

    def follow(self, page):
        for info, text in BLOCK.findall(page.read_text()):
            language, name = info.split()
            machine = self.machines[name]
            if language == "sh":
                for line in text.splitlines():
                    machine.type(line)
            elif language == "console":
                shown = "".join(f"# {line}\n{machine.call(line, check=False)}"
                                for line in re.findall(r"(?m)^# (.*)$", text))
                assert shown == text, page.name
            else:
                machine.file(language, text)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        try:
            for machine in self.machines.values():
                if kind is not None:
                    machine.show_logs()
                for name in list(machine.services):
                    if kind is None:
                        machine.stop(name)
                    else:
                        machine.services.pop(name).kill()
        finally:
            for plc in self.plcs:
                plc.kill()
            self.net.remove()


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_guide(page):
    with lab.scratch() as folder, Plant(pathlib.Path(folder)) as plant:
        plant.follow(COMMON)
        plant.follow(page)


def test_nothing_in_a_guide_is_left_untried():
    for page in (COMMON, *PAGES):
        found = BLOCK.findall(page.read_text())
        assert found
        for info, text in found:
            language, machine = info.split()
            assert language in LANGUAGES and machine in MACHINES, info
            if language in ("conf", "nginx", "stunnel"):
                assert re.match(r"# /etc/\S+\n", text), text
        if page != COMMON:
            assert any(info.startswith("console ") for info, _ in found), page


def test_every_guide_is_listed():
    text = COMMON.read_text()
    assert len(PAGES) == 7
    for page in PAGES:
        assert f"({page.name})" in text
        assert "README.md#certificates-of-a-gateway" in page.read_text(), page
