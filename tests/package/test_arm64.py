# SPDX-License-Identifier: Apache-2.0
"""For another processor: cross-built as a package, its unit tests under qemu's user emulation."""
import pathlib
import re
import shutil
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from debian_root import Root, lab  # noqa: E402

HERE = ("build-essential", "crossbuild-essential-arm64", "debhelper", "pkg-config", "git", "iproute2", "openssl",
        "qemu-user-static", "python3-minimal")
# What qemu-user does not do: it has neither io_uring, Landlock nor seccomp, and tells nothing of
# locked and forked pages. All of these run on this machine's own processor, in suite unit-release.
NOT_EMULATED = {
    "test_confine": {"only_the_folders_of_the_configuration", "not_even_root_reads_or_changes_users",
                     "folders_that_are_named_are_free", "only_sockets_that_are_needed",
                     "deadly_calls", "other_calls_are_refused", "capabilities_go",
                     "threads_may_be_started_and_are_confined", "threads_that_run_are_filtered"},
    "test_secret": {"kernel_keeps_it_apart", "children_do_not_have_it"}}
NEEDS_URING = re.compile(r"\((?:uring|uring_splice|no_pipe)\)$")
NAMES = sorted(path.stem for path in (lab.ROOT / "tests/unit").glob("test_*.c"))


def libraries():
    """What the package is built with, of the other architecture."""
    text = re.search(r"(?s)Build-Depends:(.*?)\n\S", (lab.ROOT / "debian/control").read_text())[1]
    return [f"{name}:arm64" for name in re.findall(r"(?m)^ (lib[\w.+-]+-dev)", text)]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("arm64") / "root"
    made = Root(folder, "12", (*HERE, *libraries()), ("amd64", "arm64"))
    source = folder / "build/mcseal"
    files = lab.run("git", "-C", lab.ROOT, "ls-files").stdout.splitlines()
    for name in files:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(lab.ROOT / name, source / name, follow_symlinks=False)
    yield made
    shutil.rmtree(folder)


def test_package(root):
    root.run("cd /build/mcseal && DEB_BUILD_OPTIONS='nocheck parallel=2' "
             "dpkg-buildpackage -b -us -uc -aarm64 -Pcross,nocheck", timeout=600)
    for program in ("mcseald", "mcseal", "mcseal-nft"):
        told = root.run(f"cd /tmp && rm -rf x && dpkg-deb -x /build/mcseal_*_arm64.deb x && "
                        f"readelf -h x/usr/*bin/{program}")
        assert re.search(r"Machine:\s+AArch64", told), told
    assert re.search(r"Depends: .*libssl3", root.run("dpkg-deb -I /build/mcseal_*_arm64.deb"))


@pytest.fixture(scope="module")
def built(root):
    root.run("cd /build/mcseal && make -s -j2 CC=aarch64-linux-gnu-gcc "
             "PKG_CONFIG=aarch64-linux-gnu-pkg-config unit-tests", timeout=600)
    return root


@pytest.mark.parametrize("name", NAMES)
def test_unit(built, name):
    done = built.run(f"cd /build/mcseal && timeout 120 qemu-aarch64-static build/release/tests/{name}",
                     check=False)
    passed = re.findall(r"(?m)^\[ +OK \] (.+)$", done.stdout)
    failed = set(re.findall(r"(?m)^\[  (?:FAILED|ERROR) +\] (\S+(?: \(\w+\))?)$", done.stdout))
    bad = {case for case in failed
           if case not in NOT_EMULATED.get(name, ()) and not NEEDS_URING.search(case)}
    assert "test(s) run" in done.stdout and not bad, done.stdout
    assert passed or failed or "SKIPPED" in done.stdout
