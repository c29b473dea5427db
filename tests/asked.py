# SPDX-License-Identifier: Apache-2.0
"""A site whose daemons have control sockets, and `mcseal` to ask them."""
import contextlib
import re
import socket
import subprocess
import tempfile

import lab

MCSEAL = lab.BUILD / "mcseal"


def mcseal(*words, uid=None, groups=None, **options):
    """stdout, stderr and exit status of mcseal; as another user, with only these groups."""
    prefix = []
    if uid is not None:
        prefix = ["setpriv", f"--reuid={uid}", f"--regid={uid}",
                  f"--groups={groups}" if groups else "--clear-groups"]
    return subprocess.run([*prefix, *map(str, (MCSEAL, *words))], text=True, check=False,
                          capture_output=True, timeout=60 * lab.PATIENCE, **options)


def socket_folder(stack):
    """For sockets: a path of pytest may be too long for one."""
    return stack.enter_context(tempfile.TemporaryDirectory(prefix="mcseal-"))


class Site(lab.Site):
    """lab.Site; `control` and `edge_control` are the sockets of gateway and edge."""

    def __init__(self, folder, policies=lab.EVERYTHING, **options):
        self.stack = contextlib.ExitStack()
        sockets = socket_folder(self.stack)
        self.control, self.edge_control = f"{sockets}/gateway", f"{sockets}/edge"
        super().__init__(folder, policies=f'control_socket = "{self.control}"\n{policies}',
                         **options)

    def edge_text(self, *words):
        return super().edge_text(*words) + f'control_socket = "{self.edge_control}"\n'

    def ask(self, command, path=None):
        """What the daemon answers to a line, as it comes."""
        with self.dial(path) as sock:
            sock.sendall(command.encode() + b"\n")
            return lab.receive_end(sock).decode()

    def dial(self, path=None):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(5 * lab.PATIENCE)
        sock.connect(path or self.control)
        return sock

    def metrics(self, path=None):
        result = mcseal("--socket", path or self.control, "metrics")
        assert result.returncode == 0, result.stderr
        return result.stdout

    def __exit__(self, *why):
        with self.stack:
            super().__exit__(*why)


def metric_names(text):
    return set(re.findall(r"(?m)^# TYPE (\S+) ", text))
