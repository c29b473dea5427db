# SPDX-License-Identifier: Apache-2.0
"""Stock Debian kernels: fetched, unpacked into what QEMU boots, and cached.

    CACHE/6.12 -> linux-image-6.12.117+deb13-amd64_6.12.117-1/     which version a name means now
    CACHE/linux-image-..._VERSION/kernel.json    package, exact Debian version, `uname -r`
                                  vmlinux        the ELF kernel cut out of the bzImage
                                  usr/lib/modules/RELEASE/    decompressed modules, depmod run
    CACHE/NAME.checked            its time: when the archive was last asked
    CACHE/NAME.lock               held while one process asks, fetches and publishes

A kernel's folder is complete before it gets its name and is never changed afterwards, so a
running guest keeps the version it was started with, whatever another process fetches meanwhile.
"""
import bz2
import contextlib
import dataclasses
import fcntl
import gzip
import json
import lzma
import os
import pathlib
import re
import shutil
import subprocess
import tarfile
import tempfile
import time
import zlib

import archive

SUITES = {"6.1": "bookworm", "6.12": "trixie", "newest": "sid"}
CHECK_SECONDS = 6 * 3600
# After a failure the archive is left in peace for a while, so that not every run waits for it.
RETRY_SECONDS = 1800
KEEP_UNUSED_SECONDS = 7 * 24 * 3600

# What the guest may need of some 4,000 modules.
MODULES = re.compile(r"""/(?:modules\.(?:order|builtin|builtin\.modinfo)
    | kernel/(?:net|crypto|lib|arch/x86/crypto|arch/x86/lib|drivers/virtio)/.*\.ko(?:\.\w+)?
    | kernel/fs/(?:9p|fscache|fuse|netfs|overlayfs)/.*\.ko(?:\.\w+)?
    | kernel/drivers/(?:net|char|char/hw_random)/[^/]*\.ko(?:\.\w+)?)$""", re.VERBOSE)
# From 7.x on linux-image-VERSION is a shell that depends on the packages holding the files.
PARTS = re.compile(r"linux-(?:binary|modules|base)-\d")

ELF = b"\x7fELF"


class KernelError(Exception):
    """No kernel to boot, with the reason for people."""


@dataclasses.dataclass(frozen=True)
class Kernel:
    """One cached kernel; `folder` holds vmlinux and the modules."""
    name: str
    folder: pathlib.Path
    package: str
    version: str
    release: str

    @property
    def modules(self):
        return self.folder / "usr/lib/modules" / self.release

    def __str__(self):
        return f"{self.version} ({self.package})"


def cache_folder():
    default = pathlib.Path.home() / ".cache" / "mcseal-kernels"
    return pathlib.Path(os.environ.get("MCSEAL_KERNEL_CACHE") or default)


def cached(name):
    """The kernel that `name` means at present, or None."""
    link = cache_folder() / name
    try:
        folder = link.resolve(strict=True)
        facts = json.loads((folder / "kernel.json").read_text())
    except (OSError, ValueError):
        return None
    return Kernel(name, folder, facts["package"], facts["version"], facts["release"])


def ensure(name, say, force=False):
    """The kernel `name`, the archive's newest if it was asked long ago or `force`.

    say(line) tells people what takes time or went wrong. Safe against other processes doing the
    same; blocks while one of them fetches. Raises KernelError when there is nothing to boot.
    """
    cache_folder().mkdir(parents=True, exist_ok=True)
    if force or _stale(name):
        with open(cache_folder() / f"{name}.lock", "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if force or _stale(name):
                _refresh(name, say)
    kernel = cached(name)
    if kernel is None:
        raise KernelError(f"kernel {name}: not in {cache_folder()}")
    with contextlib.suppress(PermissionError):
        os.utime(kernel.folder)
    return kernel


def _checked(name):
    return cache_folder() / f"{name}.checked"


def _stale(name):
    try:
        age = time.time() - _checked(name).stat().st_mtime
    except FileNotFoundError:
        return True
    return cached(name) is None or not 0 <= age < CHECK_SECONDS


def _refresh(name, say):
    """Asks the archive; on failure what is cached stays in use for a while. Lock held."""
    mark = _checked(name)
    try:
        with tempfile.TemporaryDirectory(prefix="mcseal-apt-") as folder:
            _fetch(name, archive.Archive(SUITES[name], folder), say)
        mark.touch()
    except archive.ArchiveError as error:
        kernel = cached(name)
        if kernel is None:
            raise KernelError(f"kernel {name}: nothing cached in {cache_folder()}, and the "
                              f"archive gives nothing: {error}") from error
        say(f"kernel {name}: archive not reached, using the cached {kernel} ({error})")
        mark.touch()
        then = time.time() - CHECK_SECONDS + RETRY_SECONDS
        os.utime(mark, (then, then))


def _fetch(name, suite, say):
    if not suite.update():
        say(f"kernel {name}: no updates or security fixes of {SUITES[name]} in the archive")
    _, depends = suite.newest("linux-image-amd64")
    package = next((each for each in depends if re.match(r"linux-image-\d", each)), None)
    if package is None:
        raise archive.ArchiveError(f"{SUITES[name]}: linux-image-amd64 depends on no kernel")
    version, depends = suite.newest(package)
    have = cached(name)
    if have and _older(version, have.version):
        return
    target = cache_folder() / f"{package}_{version.replace(':', '%')}"
    if not (target / "kernel.json").exists():
        say(f"kernel {name}: fetching {package} {version}")
        parts = [package] + [each for each in depends if PARTS.match(each)]
        _build(target, package, version, suite, parts)
    _publish(name, target)
    _prune()


def _older(version, than):
    return subprocess.run(["dpkg", "--compare-versions", version, "lt", than],
                          check=False).returncode == 0


def _build(target, package, version, suite, parts):
    building = pathlib.Path(tempfile.mkdtemp(prefix=".building-", dir=cache_folder()))
    try:
        building.chmod(0o755)
        with tempfile.TemporaryDirectory(prefix="mcseal-deb-") as folder:
            for part in parts:
                deb = suite.download(part, version, folder)
                _unpack(deb, building)
                deb.unlink()
        release = _finish_modules(building)
        bzimage = building / "vmlinuz"
        (building / "vmlinux").write_bytes(elf_of(bzimage.read_bytes()))
        bzimage.unlink()
        facts = {"package": package, "version": version, "release": release}
        (building / "kernel.json").write_text(json.dumps(facts) + "\n")
        building.rename(target)
    except (KeyError, OSError, ValueError, tarfile.TarError, lzma.LZMAError,
            subprocess.CalledProcessError) as error:
        raise archive.ArchiveError(f"{package} {version}: cannot be unpacked: {error}") from error
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _unpack(deb, folder):
    """The kernel and the modules of interest from one package; modules decompressed."""
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE) as tar:
        with tarfile.open(fileobj=tar.stdout, mode="r|") as members:
            for member in filter(tarfile.TarInfo.isreg, members):
                path = pathlib.PurePosixPath("/") / member.name
                if path.name.startswith("vmlinuz"):
                    _store(folder / "vmlinuz", members.extractfile(member).read())
                elif MODULES.search(str(path)) and "modules" in path.parts:
                    inner = path.parts[path.parts.index("modules"):]
                    _store(folder.joinpath("usr/lib", *inner),
                           members.extractfile(member).read())
    if tar.returncode != 0:
        raise ValueError(f"dpkg-deb: status {tar.returncode}")


def _store(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix in (".xz", ".zst", ".gz"):
        # The guest's insmod cannot, and decompressing under emulation is slow.
        path, content = path.with_suffix(""), _decompress(path.suffix, content)
    path.write_bytes(content)


def _decompress(suffix, content):
    if suffix == ".zst":
        return subprocess.run(["zstd", "-dcq"], input=content, check=True,
                              stdout=subprocess.PIPE).stdout
    return {".xz": lzma.decompress, ".gz": gzip.decompress}[suffix](content)


def _finish_modules(folder):
    """Runs depmod; the kernel release."""
    # depmod of Debian 12 looks in BASE/lib/modules, that of 13 in BASE/usr/lib/modules.
    (folder / "lib").symlink_to("usr/lib")
    release, = (path.name for path in (folder / "usr/lib/modules").iterdir())
    subprocess.run(["/sbin/depmod", "-b", folder, release], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return release


def elf_of(bzimage):
    """The ELF kernel inside a bzImage: QEMU starts it directly, which saves 3 s of guest work.

    As linux/scripts/extract-vmlinux does: every place that looks like the start of a compressed
    stream is tried until one gives an ELF file.
    """
    for magic, unpack in ((b"\xfd7zXZ\0", lzma.LZMADecompressor), (b"\x28\xb5\x2f\xfd", _Zstd),
                          (b"\x1f\x8b\x08", _Gzip), (b"BZh", bz2.BZ2Decompressor)):
        for found in re.finditer(re.escape(magic), bzimage):
            try:
                content = unpack().decompress(bzimage[found.start():])
            except (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error):
                continue
            if content.startswith(ELF):
                return content
    raise ValueError("no ELF kernel found in the bzImage")


class _Zstd:
    """Like LZMADecompressor: what follows the stream is no error (zstd says so, and goes on)."""

    @staticmethod
    def decompress(content):
        return subprocess.run(["zstd", "-dcq"], input=content, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout


class _Gzip:
    @staticmethod
    def decompress(content):
        return zlib.decompressobj(31).decompress(content)


def _publish(name, target):
    link = cache_folder() / f".{name}.new"
    with contextlib.suppress(FileNotFoundError):
        link.unlink()
    link.symlink_to(target.name)
    link.rename(cache_folder() / name)


def _prune():
    """Removes versions that no name means any more and nobody booted for a week."""
    named = {(cache_folder() / name).resolve() for name in SUITES}
    for folder in cache_folder().iterdir():
        idle = time.time() - folder.lstat().st_mtime
        if (folder.is_dir() and not folder.is_symlink() and folder.resolve() not in named
                and idle > KEEP_UNUSED_SECONDS):
            shutil.rmtree(folder, ignore_errors=True)
