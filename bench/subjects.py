# SPDX-License-Identifier: Apache-2.0
"""Proxies under measurement: started from the configurations in peers/, each role in a control
group of its own, and looked at from outside."""
import contextlib
import os
import pathlib
import re
import resource
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

import lab  # noqa: E402
from scenarios import VARIANTS  # noqa: E402

CIPHER = "TLS_AES_128_GCM_SHA256"
NAME = "gw.plant.example"
CONNECTIONS_EACH = 1000  # at one port; a PLC port of mcseal has at most 1,024
COMMANDS = {
    "mcseal": [lab.BUILD / "mcseald", "CONFIG"],
    "nginx": ["nginx", "-c", "CONFIG", "-e", "stderr"],
    "haproxy": ["haproxy", "-db", "-f", "CONFIG"],
    "stunnel": ["stunnel4", "CONFIG"],
    "hitch": ["hitch", "--config=CONFIG"],
}


def sessions_max():
    """What a process may hold here: two descriptors each, and some besides."""
    return (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 500) // 2


class Papers:
    """One CA, a gateway's certificate, an edge's and a client's; and a gateway's of another CA."""

    def __init__(self, folder):
        self.pki = lab.Pki(folder / "pki")
        self.gateway = self.pki.gateway("bench-gateway", ("127.0.0.1",), (NAME,))
        self.edge = self.pki.edge("bench-edge")
        self.client = self.pki.client("bench")
        stranger = lab.Pki(folder / "stranger", label="stranger")
        self.stranger = stranger.gateway("bench-gateway", ("127.0.0.1",), (NAME,))
        self.folder = folder

    def pem(self, credentials):
        """Key and certificate in one file, as HAProxy and hitch want them."""
        path = self.folder / f"{credentials.certificate.stem}-both.pem"
        path.touch(0o600)
        path.write_text(credentials.certificate.read_text() + credentials.key.read_text())
        return path

    def tls(self, credentials):
        return ("--ca", self.pki.ca, "--cert", credentials.certificate, "--key", credentials.key)


# --- control groups --------------------------------------------------------------------------------


def unified():
    """Where cgroup v2 is mounted; None where it is not, or we may not make groups in it."""
    for line in pathlib.Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind == "cgroup2" and os.access(where, os.W_OK):
            return pathlib.Path(where)
    return None


class Group:
    """The processes of one subject: their CPU time and memory.

    By cgroup v2, whose cpu.stat needs no controller; without it by the scheduler's figures of each
    thread, which miss those that have ended.
    """

    def __init__(self, name):
        root = unified()
        self.path = root / f"mcseal-bench-{os.getpid()}-{name}" if root else None
        self.pids = []
        if self.path:
            self.path.mkdir()

    def start(self, command, log, cpus):
        """In the group from its first instruction on."""
        enter = f"echo $$ >{self.path}/cgroup.procs; " if self.path else ""
        with open(log, "ab") as output:
            process = subprocess.Popen(
                ["sh", "-c", enter + 'exec taskset -c "$@"', "sh", cpus,
                 *[str(word) for word in command]],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
        self.pids.append(process.pid)
        return process

    def processes(self):
        if self.path:
            return [int(word) for word in (self.path / "cgroup.procs").read_text().split()]
        return [pid for parent in self.pids for pid in family(parent)]

    def cpu_us(self):
        if self.path:
            return int(re.search(r"usage_usec (\d+)", (self.path / "cpu.stat").read_text())[1])
        total = 0
        for pid in self.processes():
            for task in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"):
                total += int(task.read_text().split()[0])
        return total / 1000

    def user_kib(self):
        """Proportional set size: shared pages count once over all processes that share them."""
        return sum(int(re.search(r"^Pss: +(\d+)", pathlib.Path(
            f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)[1])
            for pid in self.processes())

    def tables_kib(self):
        """Of the kernel's memory what hangs on processes: page tables and the threads' stacks."""
        total = 0
        for pid in self.processes():
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
            total += int(re.search(r"VmPTE:\s+(\d+)", status)[1])
            total += 16 * int(re.search(r"Threads:\s+(\d+)", status)[1])
        return total

    def remove(self):
        for _ in range(100):
            try:
                if self.path and self.path.exists():
                    self.path.rmdir()
                return
            except OSError:
                time.sleep(0.05)  # the last one is still on its way out


def family(pid):
    found = [pid]
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += family(int(child))
    return found


# Caches that grow by what others do on this machine.
FOREIGN_CACHES = re.compile(
    r"^(ext4|xfs|btrfs|jbd2|nfs|fuse|9p|proc_inode|inode_cache|shmem_inode|radix_tree|buffer_head|"
    r"vm_area|maple|anon_vma|task_|mm_struct|sighand|signal_|files_|fs_cache|pid|cred_|"
    r"kernfs|lsm_|bio|blk|ovl|squashfs|numa_policy|vmap|page->|pde_|tw_sock|request_sock)")


def kernel_kib():
    """Slab objects in use that sessions consist of, and the TCP buffers; of the whole system."""
    total = 0
    for line in pathlib.Path("/proc/slabinfo").read_text().splitlines()[2:]:
        name, active, _, size = line.split()[:4]
        if not FOREIGN_CACHES.match(name):
            total += int(active) * int(size)
    pages = re.search(r"^TCP: .* mem (\d+)", pathlib.Path("/proc/net/sockstat").read_text(),
                      re.MULTILINE)
    return total / 1024 + 4 * int(pages[1])


# --- PLCs ------------------------------------------------------------------------------------------


class Echo:
    """mcecho on `ports` ports, plain, or in TLS with these credentials."""

    def __init__(self, folder, name, ports, cpus, credentials=None, ca=None):
        words = [word for port in ports for word in ("--listen", f"127.0.0.1:{port}")]
        if credentials:
            words += ["--cert", credentials.certificate, "--key", credentials.key, "--ca",
                      ca or credentials.pki.ca]
        self.ports = ports
        self.process = lab.Process(["taskset", "-c", cpus, lab.BUILD / "mcecho", *words],
                                   folder / f"{name}.log")
        self.process.wait_text("mcecho: ready", 10)

    def stop(self):
        self.process.stop()


# --- proxies ---------------------------------------------------------------------------------------


def parse(subject):
    """"mcseal:epoll*2" as (program, variant, workers)."""
    match = re.fullmatch(r"(\w+)(?::([\w-]+))?(?:\*(\d+))?", subject)
    return match[1], match[2] or "", int(match[3] or 1)


def fill(template, values, ports):
    """Replaces @NAME@; what stands between @EACH@ and @END@ is repeated for each port."""
    def repeat(match):
        return "".join(re.sub(r"@(LISTEN|TARGET|PLC)@", lambda name: str(port[name[1]]), match[1])
                       for port in ports)
    text = re.sub(r"@EACH@\n(.*?)@END@\n", repeat, template, flags=re.DOTALL)
    values = {**ports[0], **values}
    return re.sub(r"@([A-Z]+)@", lambda match: str(values[match[1]]), text)


class Proxy:
    """One program in one role."""

    def __init__(self, folder, subject, role, ports, papers, cpus, paired=False):
        self.program, variant, workers = parse(subject)
        credentials = papers.edge if role == "edge" else papers.gateway
        values = {"WORKERS": workers, "FOLDER": folder, "CIPHER": CIPHER, "NAME": NAME,
                  "CERTIFICATE": credentials.certificate, "KEY": credentials.key,
                  "PEM": papers.pem(credentials), "CA": papers.pki.ca, "CRL": papers.pki.crl,
                  "FILES": 2 * sessions_max() + 500, "SESSIONS": sessions_max(),
                  "ENGINE": "auto", "KTLS": "auto", "INSPECT": "yes", "LOOK": "yes",
                  "OPTIONS": "-KTLS", "PROXY": "yes" if paired else "no", **VARIANTS[variant][0]}
        name = re.sub(r"\W", "-", f"{subject}-{role}")
        config = folder / f"{name}.conf"
        config.write_text(fill((HERE / "peers" / f"{self.program}-{role}.conf").read_text(),
                               values, ports))
        self.log = folder / f"{name}.log"
        self.log.unlink(missing_ok=True)
        self.group = Group(name)
        command = [str(word).replace("CONFIG", str(config)) for word in COMMANDS[self.program]]
        self.process = self.group.start(command, self.log, cpus)
        self.ports = [port["LISTEN"] for port in ports]
        try:
            lab.wait_for(self.ready, f"{subject} as {role}: {self.log}", 15)
        except lab.LabError:
            self.stop()
            raise lab.LabError(f"{subject} as {role}: {self.log.read_text()[-2000:]}") from None

    def ready(self):
        if self.process.poll() is not None:
            raise lab.LabError(f"ended: {self.log.read_text()[-2000:]}")
        found = lab.run("ss", "-Htln").stdout
        return all(re.search(rf":{port}\s", found) for port in self.ports)

    def stop(self):
        """Its workers end with it, or are ended: by the group, where there is one."""
        members = self.group.processes()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(3)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.group.remove()


class Subject:
    """What stands between mcload and the PLC in one role: none, one or two proxies.

    `targets` and `words` are for mcload. At an edge, the last port leads to a gateway of a foreign
    CA (`foreign`): nobody may get through there.
    """

    def __init__(self, folder, name, role, papers, bench, connections):
        self.name, self.role, self.bench = name, role, bench
        self.program, _, workers = parse(name)
        count = (connections + CONNECTIONS_EACH - 1) // CONNECTIONS_EACH
        cpus = bench.all_cpus if workers > 1 else bench.proxy_cpu
        self.proxies, self.foreign, self.words = [], None, ()
        plain, secure = bench.plain.ports[:count], bench.secure.ports[:count]
        client_tls = papers.tls(papers.client)
        if name == "direct":
            self.targets = (bench.secure_floor if role == "gateway" else bench.floor).ports[:count]
            self.words = client_tls if role == "gateway" else ()
            return
        entries = [lab.free_port() for _ in range(count)]
        self.targets = entries
        try:
            if role == "gateway":
                self.add(folder, "gateway", ports(entries, plain, plain), papers, cpus)
                self.words = client_tls
                return
            inner = secure
            if role == "pair":
                inner = [lab.free_port() for _ in range(count)]
                self.add(folder, "gateway", ports(inner, plain, plain), papers, cpus)
            self.foreign = lab.free_port()
            self.add(folder, "edge", ports([*entries, self.foreign],
                                           [*inner, bench.foreign.ports[0]],
                                           [*plain, plain[0]]), papers, cpus,
                     role == "pair" and self.program == "mcseal")
        except BaseException:
            self.stop()
            raise

    def add(self, folder, role, listed, papers, cpus, paired=False):
        self.proxies.append(Proxy(folder, self.name, role, listed, papers, cpus, paired))

    def cpu_us(self):
        return sum(proxy.group.cpu_us() for proxy in self.proxies)

    def user_kib(self):
        return sum(proxy.group.user_kib() for proxy in self.proxies)

    def tables_kib(self):
        return sum(proxy.group.tables_kib() for proxy in self.proxies)

    def processes(self):
        return [pid for proxy in self.proxies for pid in proxy.group.processes()]

    def stop(self):
        for proxy in reversed(self.proxies):
            proxy.stop()


def ports(listen, target, plc):
    return [{"LISTEN": one, "TARGET": other, "PLC": last}
            for one, other, last in zip(listen, target, plc)]
