#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The image of tools/container: built without any registry, run as the guide says, carrying frames."""
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import booted  # noqa: E402
import lab  # noqa: E402

MCPING = lab.BUILD / "mcping"
CONTAINER = lab.ROOT / "tools" / "container"
OPTIONS = ["--cap-drop", "all", "--cap-add", "NET_RAW", "--read-only", "--network", "host"]


class Store:
    """Images and containers in a folder of their own, which goes with the test."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="mcseal-images-")
        self.places = ["--root", f"{self.folder}/root", "--runroot", f"{self.folder}/run"]

    def buildah(self, command, *words):
        return lab.run("buildah", *self.places, command, *words, timeout=400,
                       env={**os.environ, "BUILDAH_ISOLATION": "chroot"}).stdout.strip()

    def podman(self, *words):
        # runc also runs where control groups are of the old kind, or of both.
        return [shutil.which("podman"), "--runtime", "runc", "--cgroup-manager", "cgroupfs",
                *self.places, *map(str, words)]

    def run(self, *words):
        """With limits that any machine has to give."""
        return self.podman("run", "--rm", "--ulimit", "nofile=4096:4096", "--ulimit",
                           "nproc=4096:4096", *words)


@pytest.fixture(scope="module", autouse=True)
def storage():
    """No file system of a kind of its own, which a test machine's kernel may not have."""
    before = os.environ.get("STORAGE_DRIVER")
    os.environ["STORAGE_DRIVER"] = "vfs"
    yield
    os.environ.pop("STORAGE_DRIVER")
    if before is not None:
        os.environ["STORAGE_DRIVER"] = before


@pytest.fixture(scope="module")
def store(storage, tmp_path_factory):  # pylint: disable=redefined-outer-name,unused-argument
    context = tmp_path_factory.mktemp("context")
    lab.run(lab.ROOT / "tools/package", "--into", context, timeout=600,
            env={**os.environ, "DEB_BUILD_OPTIONS": "nocheck parallel=2"})
    it = Store()
    try:
        base = it.buildah("from", "scratch")
        it.buildah("add", "-q", base, booted.archive("bookworm"), "/")
        it.buildah("commit", "-q", base, "localhost/base")
        it.buildah("build", "--network", "host", "--build-arg", "BASE=localhost/base", "-t",
                   "mcseal", "-f", CONTAINER / "Containerfile", context)
        yield it
    finally:
        shutil.rmtree(it.folder, ignore_errors=True)


def write_configuration(store, etc, text):
    """As it is in /etc/mcseal of the image: files belong to its user, and paths are others."""
    uid = int(lab.run(*store.run("--entrypoint", "id", "mcseal", "-u")).stdout)
    assert uid != 0
    for path in set(re.findall(r'= "(/[^"]+\.(?:pem|key))"', text)):
        copy = shutil.copy(path, etc)
        os.chown(copy, uid, uid)
        text = text.replace(path, f"/etc/mcseal/{os.path.basename(path)}")
    with open(f"{etc}/mcseald.conf", "w", encoding="ascii") as file:
        file.write(text)
    os.chmod(etc, 0o755)


@pytest.fixture
def site(store, tmp_path):
    """A site whose gateway was ended, and what the one in the container reads instead."""
    with lab.Site(tmp_path) as it, tempfile.TemporaryDirectory(prefix="mcseal-etc-") as etc:
        assert it.gateway.stop() == 0
        write_configuration(store, etc, it.gateway.config.read_text())
        it.etc = etc
        yield it


def test_it_carries_and_is_confined(store, site):
    command = store.run("--name", "gateway", *OPTIONS, "-v", f"{site.etc}:/etc/mcseal:ro",
                        "-v", "mcseal-run:/run/mcseal", "mcseal")
    site.gateway.popen = lab.Process(command, site.gateway.log_path).popen
    lab.wait_for(lambda: len(site.gateway.lines("ready workers=")) == 2, "the container", 20)
    with site.connect() as sock:
        sock.sendall(lab.read_words(0, 1))
        assert lab.receive_frame(sock)[9:11] == b"\0\0"
    told = lab.run(*store.podman("exec", "gateway", "mcseal", "status", "--json")).stdout
    status = json.loads(told)
    assert status["sessions"] in (0, 1) and status["configuration"] == "/etc/mcseal/mcseald.conf"
    layers = status["confinement"]
    for name in ("no-new-privileges", "capabilities", "system-calls", "files"):
        assert layers[name]["in_force"], layers
    site.gateway.popen.send_signal(signal.SIGTERM)
    assert site.gateway.popen.wait(20 * lab.PATIENCE) == 0


def test_programs_inside(store):
    version = lab.run("dpkg-parsechangelog", "-S", "Version", cwd=lab.ROOT).stdout.strip()
    for program in ("mcseald", "mcseal", "mcseal-nft"):
        assert f" {version}" in lab.run(*store.run("--entrypoint", program, "mcseal",
                                              "--version")).stdout


class Composed:
    """compose.yaml by Docker Compose, which asks podman, whose host has a namespace's network."""

    def __init__(self, store, folder, network, etc):
        self.socket = f"{store.folder}/podman.sock"
        self.etc = etc
        limits = folder / "containers.conf"  # what store.run() says
        limits.write_text('[containers]\ndefault_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]\n')
        self.service = lab.Process(
            ["nsenter", f"--net=/run/netns/{network}",
             *store.podman("system", "service", "--time=0", f"unix://{self.socket}")],
            folder / "podman.log", env={"CONTAINERS_CONF": str(limits)})
        lab.wait_for(lambda: os.path.exists(self.socket), "podman's socket", 10)

    def __call__(self, *words, **options):
        return lab.run("docker-compose", "-p", "mcseal", "-f", CONTAINER / "compose.yaml", *words,
                       timeout=120, env={**os.environ, "MCSEAL_ETC": self.etc,
                                         "DOCKER_HOST": f"unix://{self.socket}"}, **options)


GATEWAY = """
nft {{ plc_networks = {{ "10.30.0.0/24" }} }}
policy "everything" {{ allow = {{ read, write }} }}
plc "press" {{ address = "10.30.0.10" port "5007" {{ }} }}
identity "ana" {{ match = "uri:urn:mcseal:client:ana" plcs = "press" policy = "everything" }}
gateway "plant" {{ listen = "10.20.0.2:8443" plc = "press"
	{credentials}
}}
"""


def ask(net, *words):
    """D100 of the PLC, asked from the other side of the gateway's machine."""
    return net.exec("edge", MCPING, *words, "read", "D100", check=False)


def test_rules_and_daemon_by_compose(store, tmp_path):
    """A gateway's machine: TLS comes through, plain text does not, and goes on not to."""
    pki = lab.Pki(tmp_path / "pki")
    mine, client = pki.gateway("gw", (lab.Net.GATEWAY4,)), pki.client("ana")
    plain = "10.30.0.10:5007"
    over_tls = ["10.20.0.2:8443", "--ca", pki.ca, "--cert", client.certificate, "--key", client.key]
    with lab.Net() as net, tempfile.TemporaryDirectory(prefix="mcseal-etc-") as etc, \
            lab.stopping(lab.Plc(tmp_path, "--set", "D100=17", listen=plain, netns=net.ns("plc"))):
        write_configuration(store, etc, GATEWAY.format(credentials=mine.config()))
        assert "17" in ask(net, plain).stdout
        compose = Composed(store, tmp_path, net.ns("gateway"), etc)
        with lab.stopping(compose.service):
            try:
                compose("up", "-d")
                lab.wait_for(lambda: "ready workers=" in compose("logs", "mcseald").stdout,
                             "the daemon", 30)
                assert "17" in ask(net, *over_tls).stdout
                assert ask(net, plain).returncode != 0
                status = lab.run(*store.podman("exec", "mcseald", "mcseal", "status")).stdout
                assert "10.20.0.2:8443" in status, status
                assert "mcseal_guard" in net.exec("gateway", "nft", "list", "tables").stdout
            finally:
                print(compose("logs", check=False).stdout, compose("down", check=False).stdout)
        assert ask(net, *over_tls).returncode != 0
        assert ask(net, plain).returncode != 0
