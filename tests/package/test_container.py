#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The image of tools/container: built without any registry, run as the guide says, carrying frames."""
import json
import os
import pathlib
import re
import shutil
import signal
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import booted  # noqa: E402
import lab  # noqa: E402

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

    def podman(self, command, *words):
        # runc also runs where control groups are of the old kind, or of both.
        return ["podman", "--runtime", "runc", "--cgroup-manager", "cgroupfs", *self.places,
                command, *map(str, words)]

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


@pytest.fixture
def site(store, tmp_path):
    """A site whose gateway was ended, and what the one in the container reads instead."""
    with lab.Site(tmp_path) as it, tempfile.TemporaryDirectory(prefix="mcseal-etc-") as etc:
        assert it.gateway.stop() == 0
        uid = int(lab.run(*store.run("--entrypoint", "id", "mcseal", "-u")).stdout)
        assert uid != 0
        text = it.gateway.config.read_text()
        for path in set(re.findall(r'= "(/[^"]+\.(?:pem|key))"', text)):
            copy = shutil.copy(path, etc)
            os.chown(copy, uid, uid)
            text = text.replace(path, f"/etc/mcseal/{os.path.basename(path)}")
        with open(f"{etc}/mcseald.conf", "w", encoding="ascii") as file:
            file.write(text)
        os.chmod(etc, 0o755)
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


def test_compose_asks_for_no_more_than_the_test():
    text = (CONTAINER / "compose.yaml").read_text()
    assert re.findall(r"cap_add: \[(.*)\]", text) == ["NET_RAW", "NET_ADMIN"]
    assert text.count("cap_drop: [ALL]") == 2 and "privileged" not in text
