# SPDX-License-Identifier: Apache-2.0
"""A Debian of its own with systemd as its first process: a root by mmdebstrap, run by systemd-nspawn."""
import pathlib
import platform
import shutil
import subprocess
import tempfile

import lab

# What the programs are linked with, and what the tests ask with.
PACKAGES = ("systemd", "systemd-sysv", "dbus", "nftables", "liburing2", "libconfuse2",
            "libjansson4", "libsystemd0", "libseccomp2", "libnftnl11", "libmnl0",
            "libnetfilter-conntrack3", "python3-minimal", "openssl")
# Supported releases, and what OpenSSL's library is called there.
SUITES = {"bookworm": "libssl3", "trixie": "libssl3t64"}
KEPT = lab.ROOT / "build" / "roots"
# What systemd-nspawn forbids unless told otherwise: io_uring, and what mcseald confines itself by.
CALLS = ("io_uring_setup io_uring_enter io_uring_register seccomp landlock_create_ruleset "
         "landlock_add_rule landlock_restrict_self")
PROBE = """[Unit]
After=multi-user.target
[Service]
Type=oneshot
StandardOutput=file:/probe.out
StandardError=file:/probe.err
ExecStart=/bin/sh /probe
ExecStopPost=/bin/systemctl poweroff --no-block
TimeoutStartSec=300
[Install]
WantedBy=multi-user.target
"""


def archive(suite):
    """The root of a release as a tar file, made once."""
    path = KEPT / f"{suite}.tar"
    if not path.exists():
        KEPT.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=KEPT) as folder:
            made = pathlib.Path(folder) / path.name
            packages = ",".join((*PACKAGES, SUITES[suite]))
            lab.run("mmdebstrap", "--quiet", "--variant=minbase", f"--include={packages}", suite,
                    made, timeout=600)
            made.rename(path)
    return path


class Root:
    """A folder that is such a root, removed at the end.

    Of this machine's own release, unless another is named: its libraries are those we link.
    """

    def __init__(self, suite=None):
        suite = suite or platform.freedesktop_os_release()["VERSION_CODENAME"]
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="mcseal-root-"))
        lab.run("tar", "-C", self.path, "-xf", archive(suite), timeout=120)

    def __enter__(self):
        return self

    def __exit__(self, *why):
        shutil.rmtree(self.path)

    def write(self, name, text):
        path = self.path / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def boot(self, script, seconds=150):
        """Starts it, runs the shell script when all is up, ends it; what the script printed."""
        self.write("/probe", script)
        self.write("/etc/systemd/system/probe.service", PROBE)
        wants = self.path / "etc/systemd/system/multi-user.target.wants"
        wants.mkdir(parents=True, exist_ok=True)
        if not (wants / "probe.service").is_symlink():
            (wants / "probe.service").symlink_to("../probe.service")
        result = lab.run("systemd-nspawn", "--quiet", "-D", self.path, "--register=no",
                         "--keep-unit", "--private-network", f"--system-call-filter={CALLS}",
                         "--console=pipe", "--boot", check=False, stdin=subprocess.DEVNULL,
                         timeout=seconds * lab.PATIENCE)
        out = self.path / "probe.out"
        if not out.exists():
            raise lab.LabError(f"no boot ({result.returncode}):\n{result.stdout[-3000:]}")
        return out.read_text() + (self.path / "probe.err").read_text()
