# SPDX-License-Identifier: Apache-2.0
"""A bare Debian in a folder, made by mmdebstrap from the archive that this machine's apt uses."""
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "vm")]

import archive  # noqa: E402
import lab  # noqa: E402

SUITES = {"12": "bookworm", "13": "trixie"}
KEYRING = next(path for path in archive.KEYRINGS if path.exists())


class Root:
    """Programs run in it by chroot, in network and process namespaces of their own."""

    def __init__(self, folder, release, packages=(), architectures=("amd64",)):
        self.folder, self.release = pathlib.Path(folder), release
        main, security = archive.mirrors()
        suite = SUITES[release]
        signed = f"[signed-by={KEYRING}]"
        sources = (f"deb {signed} {main} {suite} main\n"
                   f"deb {signed} {main} {suite}-updates main\n"
                   f"deb {signed} {security} {suite}-security main\n")
        lab.run("mmdebstrap", "--quiet", "--variant=minbase",
                f"--architectures={','.join(architectures)}",
                *self._apt_of_this_machine(), f"--include={','.join(packages)}",
                suite, self.folder, "-", input=sources, timeout=900)
        (self.folder / "etc/resolv.conf").write_text(pathlib.Path("/etc/resolv.conf").read_text())
        # What a package's scripts would start: nothing is running here.
        policy = self.folder / "usr/sbin/policy-rc.d"
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)

    @staticmethod
    def _apt_of_this_machine():
        """Its proxies: without them the archive may be out of reach."""
        told = lab.run("apt-config", "dump", "Acquire::http::Proxy", "Acquire::https::Proxy").stdout
        return [f"--aptopt={line}" for line in told.splitlines() if line.strip()]

    def run(self, command, check=True, network=False, timeout=300):
        """A line of shell. Its output, or the whole result without `check`."""
        apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child", *([] if network else ["--net"])]
        inside = ("mount -t proc proc /proc && mount -t tmpfs tmpfs /run && "
                  + ("" if network else "ip link set lo up && ") + command)
        result = subprocess.run([*apart, "chroot", self.folder, "/bin/sh", "-ec", inside], text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, timeout=timeout, check=False,
                                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8",
                                     "DEBIAN_FRONTEND": "noninteractive"})
        if not check:
            return result
        if result.returncode != 0:
            raise lab.LabError(f"{command}: {result.returncode}\n{result.stdout}")
        return result.stdout

    def files(self):
        """What there is, but for what apt, dpkg and systemd keep for themselves."""
        own = ("var/lib/dpkg/", "var/lib/apt/", "var/cache/", "var/log/apt/", "var/log/dpkg.log",
               "var/log/alternatives.log", "tmp/", "run/", "proc/", "sys/", "dev/",
               "etc/passwd", "etc/group", "etc/shadow", "etc/gshadow", "etc/subuid", "etc/subgid",
               "etc/.pwd.lock", "var/lib/systemd/")
        found = (str(path.relative_to(self.folder)) for path in self.folder.rglob("*"))
        return {name for name in found if not name.startswith(own)}
