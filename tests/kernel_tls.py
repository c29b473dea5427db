# SPDX-License-Identifier: Apache-2.0
"""What every test looks at in a lab kernel (tests/vm/run, MCSEAL_KERNEL): the counters of kernel
TLS, the kernel's log, and a network namespace of its own so that both are this process's alone.
"""
import contextlib
import ctypes
import errno
import os
import socket
import subprocess
import sys

import pytest

import lab

sys.path.insert(0, str(lab.ROOT / "tests" / "vm"))

import kernel_log  # noqa: E402

CLONE_NEWNET = 0x40000000


def has_kernel_tls():
    """The kernel's own answer, without any of our code."""
    with socket.create_server(("127.0.0.1", 0)) as listener, \
            socket.create_connection(listener.getsockname()) as sock:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, 31, b"tls")  # TCP_ULP
        except OSError as error:
            assert error.errno == errno.ENOENT, error
            return False
    return True


# In a lab kernel nothing is skipped for want of kernel TLS: there it has to be.
needs_kernel_tls = pytest.mark.skipif(
    not lab.KERNEL and not has_kernel_tls(),
    reason="this kernel has no kernel TLS; in the lab's kernels (tests/vm/run) it runs")


def can_rekey():
    """Can keys of kernel TLS be changed? (Linux 6.14; user space always can.)"""
    if lab.KERNEL:
        return lab.KERNEL == "newest"
    return not has_kernel_tls() or "TlsTxRekeyOk" in lab.tls_statistics()


@contextlib.contextmanager
def own_network(**sysctls):
    """This thread, and whatever it starts, in a network namespace with nothing but loopback.

    sysctls: of net.ipv4, such as tcp_wmem="4608 4608 4608".
    """
    libc = ctypes.CDLL(None, use_errno=True)

    def call(function, *words):
        if function(*words) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    with open("/proc/thread-self/ns/net", "rb") as home:
        call(libc.unshare, CLONE_NEWNET)
        try:
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            for name, value in sysctls.items():
                subprocess.run(["sysctl", "-qw", f"net.ipv4.{name}={value}"], check=True)
            yield
        finally:
            call(libc.setns, home.fileno(), CLONE_NEWNET)


class KernelLog:
    """/dev/kmsg from now on."""

    def __init__(self):
        self.fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(self.fd, 0, os.SEEK_END)

    def complaints(self):
        """Those that came since the last look."""
        text = ""
        while True:
            try:
                # "level,number,time,flags;message" and lines of details; one record a read.
                text += os.read(self.fd, 16384).decode(errors="replace").partition(";")[2]
            except BlockingIOError:
                return kernel_log.complaints(text)
            except BrokenPipeError:
                text += "lab: lines of the kernel's log were overwritten before they were read\n"


def no_keys_left():
    """Waits until no socket of this namespace has keys."""
    def open_now():
        counters = lab.tls_statistics()
        return {name: counters[name] for name in ("TlsCurrTxSw", "TlsCurrRxSw") if counters[name]}
    lab.wait_for(lambda: not open_now(), "the end of all sockets with keys in the kernel")
