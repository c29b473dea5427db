# SPDX-License-Identifier: Apache-2.0
"""The initial RAM file system: busybox, the modules needed to reach the root, and guest/init.

The format is cpio "newc" (linux/Documentation/driver-api/early-userspace/buffer-format.rst). Not
compressed: the guest unpacks 4 MB faster than it decompresses 2. Made anew for each run, so that
it can carry the command in, and is never older than the scripts beside it.
"""
import pathlib
import re
import subprocess

GUEST = pathlib.Path(__file__).resolve().parent / "guest"
BUSYBOX = pathlib.Path("/bin/busybox")
# In load order; what a kernel has built in or does not have is left out.
BOOT_MODULES = ("virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay")


class InitramfsError(Exception):
    """Something on this machine that the guest's start is made of is missing."""


class Cpio:
    """A cpio archive in memory."""

    def __init__(self):
        self._content = bytearray()
        self._inode = 0

    def _add(self, name, mode, content=b"", links=1):
        self._inode += 1
        encoded = name.encode() + b"\0"
        fields = (self._inode, mode, 0, 0, links, 0, len(content), 0, 0, 0, 0, len(encoded), 0)
        self._content += b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
        self._pad()
        self._content += content
        self._pad()

    def _pad(self):
        self._content += bytes(-len(self._content) % 4)

    def folder(self, name):
        self._add(name, 0o040755, links=2)

    def file(self, name, content, executable=False):
        self._add(name, 0o100755 if executable else 0o100644, content)

    def link(self, name, target):
        self._add(name, 0o120777, target.encode())

    def end(self):
        """The whole archive."""
        self._add("TRAILER!!!", 0)
        return bytes(self._content)


def static_busybox():
    """busybox's bytes. The dynamically linked one has the same name, and no libc to live on."""
    content = BUSYBOX.read_bytes() if BUSYBOX.exists() else b""
    if not content or b"/ld-linux" in content[:4096]:
        raise InitramfsError(f"{BUSYBOX} is not the static one (package busybox-static)")
    return content


def _show_depends(folder, release, name):
    try:
        return subprocess.run(
            ["/sbin/modprobe", "-C", "/dev/null", "-d", folder, "-S", release, "--show-depends",
             name], check=False, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL).stdout
    except FileNotFoundError as error:
        raise InitramfsError("/sbin/modprobe is missing (package kmod)") from error


def boot_modules(folder, release):
    """Files of the boot modules and what they need, in load order."""
    paths = []
    for name in BOOT_MODULES:
        for line in re.findall(r"^insmod (\S+)", _show_depends(folder, release, name),
                               re.MULTILINE):
            path = pathlib.Path(line)
            if path not in paths:
                paths.append(path)
    return paths


def build(folder, release, files):
    """The archive for the kernel unpacked in `folder`, with `files` {name: bytes} in /run."""
    cpio = Cpio()
    for name in ("bin", "dev", "proc", "sys", "modules", "run", "lower", "overlay", "root"):
        cpio.folder(name)
    cpio.file("bin/busybox", static_busybox(), executable=True)
    cpio.link("bin/sh", "busybox")
    cpio.file("init", (GUEST / "init").read_bytes(), executable=True)
    cpio.file("run/start", (GUEST / "start").read_bytes())
    paths = boot_modules(folder, release)
    for path in paths:
        cpio.file(f"modules/{path.name}", path.read_bytes())
    cpio.file("modules/order", "".join(f"{path.name}\n" for path in paths).encode())
    for name, content in files.items():
        cpio.file(f"run/{name}", content)
    return cpio.end()
