# SPDX-License-Identifier: Apache-2.0
"""One virtual machine: QEMU, what it is told, and the channels to the guest.

How it works. QEMU emulates the CPU (TCG), so no KVM is needed. The guest's root is the host's, by
9p, read-only. Five byte streams leave the guest, each a socket pair whose far end QEMU holds:

    stdout, stderr   the command's, passed on as they come
    control          lines: "booted ...", "started", "status N"
    log              the kernel's log, after the command
    console          the serial port: what the kernel says while it starts, or when it dies

The channels are not ordered among each other, and the machine is killed rather than powered off,
so each of the first, second and fourth is ended by a random mark. A run is over when all marks and
the status are there, or QEMU is gone, or time is up.
"""
import ctypes
import dataclasses
import os
import selectors
import signal
import socket
import subprocess
import time

QEMU = "qemu-system-x86_64"
CHANNELS = ("control", "stdout", "stderr", "log", "console")
PORTS = CHANNELS[:4]
MARKED = ("stdout", "stderr", "log")
BOOT_SECONDS = 180
# `quiet`: each character on the serial line costs an exit from the emulator. RCU: an overloaded
# host delays a virtual CPU by seconds, which is no stall of the kernel. maxcpus=1: the kernel
# rewrites its own code while it starts, and QEMU's threads now and then run a stale breakpoint of
# that on another CPU ("Oops: int3", seen on 6.12); guest/start brings the others in later. lpj,
# noreplace-smp: they come quickly. tsc: reading the clock without leaving the emulated CPU; QEMU
# counts the same time for all of them, which the kernel cannot know. norandmaps: translated code is
# found by its address; with another one in each process nearly all is translated anew each time.
COMMAND_LINE = ("console=ttyS0 quiet panic=-1 reboot=t no_timer_check mitigations=off "
                "random.trust_cpu=on rcupdate.rcu_expedited=1 rcupdate.rcu_cpu_stall_timeout=120 "
                "nowatchdog maxcpus=1 noreplace-smp lpj=20000000 tsc=reliable log_buf_len=4M "
                "printk.devkmsg=on norandmaps rdinit=/init")
# Each AVX instruction is a call out of the translated code, each SSE2 and AES-NI instruction is
# some of the host's own: hashing is 2.7 times as fast without AVX, and Python a tenth. "rep movsb",
# which ERMS recommends, is emulated byte by byte.
CPU = "max,-avx,-avx2,-erms"
# So it counts, too: a page to clear would be more than the system call that wanted it. Without these
# flags kernel and libraries move eight or sixteen bytes with an instruction.
COUNTING_CPU = CPU + ",-fsrm"
PR_SET_PDEATHSIG = 1


@dataclasses.dataclass
class Options:
    """What a machine is like. shares: host folders, read-write at the same place."""
    cpus: int = 2
    memory: int = 2048
    icount: bool = False
    timeout: float = 3600
    shares: tuple = ()


@dataclasses.dataclass
class Outcome:
    """How a run ended: status is None if the machine died or time was up."""
    status: int | None = None
    booted: str = ""
    started: bool = False
    timed_out: bool = False
    boot_seconds: float = 0
    seconds: float = 0
    log: str = ""
    console: str = ""


class _EndMark:
    """Passes a stream on up to its mark, holding back only what may be the mark's beginning."""

    def __init__(self, mark, write):
        self._mark, self._write = mark, write
        self._held = b""
        self.reached = False

    def feed(self, content):
        if self.reached:
            return
        held = self._held + content
        place = held.find(self._mark)
        if place >= 0:
            self.reached = True
            self._write(held[:place])
            return
        keep = next(length for length in range(min(len(held), len(self._mark) - 1), -1, -1)
                    if held.endswith(self._mark[:length]))
        self._write(held[:len(held) - keep])
        self._held = held[len(held) - keep:]

    def flush(self):
        """The stream ended without its mark."""
        if not self.reached:
            self._write(self._held)
            self._held = b""


class Machine:
    """One guest from start to end; run() once."""

    def __init__(self, kernel, initrd, mark, options):
        """initrd: the initial RAM file system's bytes; it knows `mark` as /run/end."""
        self._kernel, self._initrd, self._options = kernel, initrd, options
        self._outcome = Outcome()
        self._lines = b""
        self._texts = {"log": bytearray(), "console": bytearray()}
        sinks = {"stdout": self._to(1), "stderr": self._to(2), "log": self._texts["log"].extend}
        self._marked = {name: _EndMark(mark, sinks[name]) for name in MARKED}
        self._announce = None
        self._begun = time.monotonic()
        self._deadline = self._begun + BOOT_SECONDS

    @staticmethod
    def _to(descriptor):
        def write(content):
            while content:
                content = content[os.write(descriptor, content):]
        return write

    def run(self, announce):
        """Boots, runs, ends the machine. announce(line) is called once, with `uname -r -v`."""
        self._announce = announce
        pairs = {name: socket.socketpair() for name in CHANNELS}
        try:
            with _memory_file(self._initrd) as initrd:
                far = {name: pair[1].fileno() for name, pair in pairs.items()}
                qemu = subprocess.Popen(self._command(far, initrd.fileno()),
                                        pass_fds=[*far.values(), initrd.fileno()],
                                        stdin=subprocess.DEVNULL, preexec_fn=_die_with_parent)
            for _, end in pairs.values():
                end.close()
            try:
                self._serve(qemu, {name: pair[0] for name, pair in pairs.items()})
            finally:
                qemu.kill()
                qemu.wait()
        finally:
            for pair in pairs.values():
                for end in pair:
                    end.close()
        for stream in self._marked.values():
            stream.flush()
        self._outcome.seconds = time.monotonic() - self._begun
        self._outcome.log = self._texts["log"].decode(errors="replace")
        self._outcome.console = self._texts["console"].decode(errors="replace")
        return self._outcome

    def _command(self, far, initrd):
        options = self._options
        thread = "single" if options.icount else "multi"
        command = [QEMU, "-M", "q35", "-accel", f"tcg,thread={thread}",
                   "-cpu", COUNTING_CPU if options.icount else CPU,
                   "-smp", str(options.cpus), "-m", str(options.memory),
                   "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                   "-kernel", str(self._kernel.folder / "vmlinux"), "-initrd", f"/dev/fd/{initrd}",
                   "-append", COMMAND_LINE + (" nokaslr" if options.icount else "")]
        if options.icount:
            # sleep=on: with nothing to run, time passes as on the wall. Else a guest that waits for
            # a file of the host skips to its next timer, again and again, and minutes are gone.
            command += ["-icount", "shift=0,sleep=on"]
        command += _folder("root", "/", read_only=True)
        for number, share in enumerate(options.shares):
            command += _folder(f"share{number}", share)
        command += ["-device", "virtio-serial-pci"]
        for name in CHANNELS:
            command += ["-chardev", f"socket,id={name},fd={far[name]}"]
        command += ["-serial", "chardev:console"]
        for number, name in enumerate(PORTS):
            command += ["-device", f"virtserialport,nr={number + 1},chardev={name},name={name}"]
        return command

    def _serve(self, qemu, near):
        """Moves bytes until the run is over."""
        with selectors.DefaultSelector() as selector:
            for name, end in near.items():
                selector.register(end, selectors.EVENT_READ, name)
            open_channels = len(near)
            while open_channels and not self._over():
                rest = self._deadline - time.monotonic()
                if rest <= 0:
                    self._outcome.timed_out = self._outcome.started
                    return
                for key, _ in selector.select(rest):
                    content = _receive(key.fileobj)
                    if content:
                        self._take(key.data, content)
                    else:
                        selector.unregister(key.fileobj)
                        open_channels -= 1

    def _over(self):
        return (self._outcome.status is not None
                and all(stream.reached for stream in self._marked.values()))

    def _take(self, name, content):
        if name == "control":
            *lines, self._lines = (self._lines + content).split(b"\n")
            for line in lines:
                self._control(line.decode(errors="replace"))
        elif name == "console":
            self._texts[name] += content
        else:
            self._marked[name].feed(content)

    def _control(self, line):
        word, _, rest = line.partition(" ")
        if word == "booted":
            self._outcome.booted = rest
            self._announce(rest)
        elif word == "started":
            self._outcome.started = True
            self._outcome.boot_seconds = time.monotonic() - self._begun
            self._deadline = time.monotonic() + self._options.timeout
        elif word == "status":
            self._outcome.status = int(rest)


def _memory_file(content):
    """A file without a name: nothing is left behind, however the launcher ends."""
    file = open(os.memfd_create("initrd"), "wb")
    file.write(content)
    file.flush()
    return file


def _receive(end):
    try:
        return end.recv(65536)
    except ConnectionResetError:
        return b""


def _folder(tag, path, read_only=False):
    """QEMU's words for a 9p share."""
    flag = ",readonly=on" if read_only else ""
    quoted = str(path).replace(",", ",,")
    return ["-fsdev", f"local,id={tag},path={quoted},security_model=none,multidevs=remap{flag}",
            "-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]


def _die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
