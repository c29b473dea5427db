# SPDX-License-Identifier: Apache-2.0
"""mcseald whose system calls for kernel TLS and io_uring fail when a test says so.

The daemon is the real one and so is every other of its calls: a seccomp filter asks us about these
(seccomp_unotify(2)), and we name an errno or let the call go on.
"""
import fcntl
import os
import pathlib
import platform
import select
import socket
import struct
import sys
import threading

import lab

IO_URING_SETUP = 425
SETSOCKOPT, SECCOMP = {"x86_64": (54, 317), "aarch64": (208, 277)}[platform.machine()]
# struct sock_filter {code, jt, jf, k} over struct seccomp_data {nr, arch, ip, args[6]}.
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
FILTER = b"".join(struct.pack("HBBI", *row) for row in (
    (LOAD, 0, 0, 0),                # nr
    (EQUAL, 7, 0, IO_URING_SETUP),
    (EQUAL, 0, 5, SETSOCKOPT),
    (LOAD, 0, 0, 24),               # args[1]: level
    (EQUAL, 4, 0, 282),             # SOL_TLS
    (EQUAL, 0, 2, 6),               # IPPROTO_TCP
    (LOAD, 0, 0, 32),               # args[2]: name
    (EQUAL, 1, 0, 31),              # TCP_ULP
    (RETURN, 0, 0, 0x7FFF0000),     # SECCOMP_RET_ALLOW
    (RETURN, 0, 0, 0x7FC00000)))    # SECCOMP_RET_USER_NOTIF
NAMES = {(6, 31): "TCP_ULP", (282, 1): "TLS_TX", (282, 2): "TLS_RX"}
# _IOWR('!', 0, struct seccomp_notif) and _IOWR('!', 1, struct seccomp_notif_resp).
NOTIFICATION_RECEIVE, NOTIFICATION_SEND, CONTINUE = 0xC0502100, 0xC0182101, 1

# Puts the filter on itself, hands over the descriptor that its calls are told by, becomes mcseald.
START = """
import ctypes, os, socket, sys
address, number, code, *command = sys.argv[1:]
code = bytes.fromhex(code)
libc = ctypes.CDLL(None, use_errno=True)
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("rows", ctypes.c_char_p)]
program = Program(len(code) // 8, code)
with socket.socket(socket.AF_UNIX) as sock:
    sock.connect("\\0" + address)
    # PR_SET_NO_NEW_PRIVS; SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER.
    fd = libc.prctl(38, 1, 0, 0, 0) or libc.syscall(int(number), 1, 8, ctypes.byref(program))
    if fd < 0:
        sys.exit(f"seccomp: {os.strerror(ctypes.get_errno())}")
    socket.send_fds(sock, [b"x"], [fd])
os.execv(command[0], command)
"""


class Watched(lab.Daemon):
    """mcseald whose calls for kernel TLS and io_uring wait for our word.

    `once`: {name: errno}, the next such call fails; `always`: each of them.
    """

    def __init__(self, folder, text, name="mcseald", always=None, ready=True):
        self.config = pathlib.Path(folder) / f"{name}.conf"
        self.config.write_text(text)
        self.once, self.always = {}, always or {}
        address = f"mcseal-{os.getpid()}-{name}"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("\0" + address)
            listener.listen(1)
            # pylint: disable-next=super-init-not-called,non-parent-init-called
            lab.Process.__init__(self, [sys.executable, "-c", START, address, SECCOMP, FILTER.hex(),
                                        lab.BUILD / "mcseald", self.config],
                                 self.config.with_suffix(".log"))
            listener.settimeout(10 * lab.PATIENCE)
            sock, _ = listener.accept()
            with sock:
                (self.fd,) = socket.recv_fds(sock, 1, 1)[1]
        threading.Thread(target=self.judge, daemon=True).start()
        self.records, self.opened, self.installed = "user", [], lab.tls_statistics(self.pid)
        if ready:
            self.wait_text(r"\bready workers=", 10)

    def judge(self):
        """Until the daemon is gone."""
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        while not poll.poll()[0][1] & select.POLLHUP:
            call = bytearray(80)
            try:
                fcntl.ioctl(self.fd, NOTIFICATION_RECEIVE, call)
                number, _, _, which, _, _, _, level, name = struct.unpack_from("=QIIiIQQQQ", call)
                word = "io_uring_setup" if which == IO_URING_SETUP else NAMES.get((level, name))
                error = self.once.pop(word, None) or self.always.get(word, 0)
                fcntl.ioctl(self.fd, NOTIFICATION_SEND,
                            struct.pack("=QqiI", number, 0, -error, 0 if error else CONTINUE))
            except FileNotFoundError:
                continue  # the caller was killed meanwhile
        os.close(self.fd)
