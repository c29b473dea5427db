#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The nth allocation, the nth system call fails: at the start, in a handshake, in a session, in a
reload. Whatever it hits, nothing crashes, nothing hangs, and when it is over all is as before.

An edge's and a gateway's daemon are hit in turn; everything else is whole. The numbers are every
one at first, then fewer and fewer: what comes late is mostly OpenSSL reading certificates.
"""
import contextlib
import errno
import itertools
import subprocess

import pytest

import asked
import faults
import lab

ENDS = ("edge", "gateway")
# What a call may come back with, that this daemon makes in its life.
ERRORS = {"accept4": (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ECONNABORTED),
          "socket": (errno.EMFILE, errno.ENOBUFS, errno.ENOMEM),
          "connect": (errno.EADDRNOTAVAIL, errno.ENETUNREACH, errno.ENOBUFS),
          "send": (errno.ENOBUFS, errno.ENOMEM, errno.EPIPE),
          "sendmsg": (errno.ENOBUFS, errno.ENOMEM, errno.EPIPE),
          "recv": (errno.ECONNRESET, errno.ENOMEM, errno.ETIMEDOUT),
          "setsockopt": (errno.ENOBUFS, errno.ENOPROTOOPT),
          "getsockopt": (errno.ENOBUFS,),
          "epoll_ctl": (errno.ENOMEM, errno.ENOSPC)}
AT_START = {"open": errno.EMFILE, "mmap": errno.ENOMEM, "socket": errno.EMFILE,
            "setsockopt": errno.ENOBUFS, "epoll_ctl": errno.ENOSPC, "eventfd": errno.EMFILE,
            "pipe2": errno.EMFILE}


def numbers(total, every, factor):
    """From 0 below total: all up to `every`, then by that factor."""
    number = 0
    while number < total:
        yield number
        number = number + 1 if number < every else int(number * factor) + 1


class Hit(asked.Site):
    """One of the ends has faults; it was started without any."""

    def __init__(self, folder, end, **options):
        super().__init__(folder, **options)
        self.end = end
        self.faults = faults.Faults(folder / "faults")
        plain = getattr(self, end)
        lab.assert_clean(plain, plain.stop())
        self.daemon = lab.Daemon(folder, plain.config.read_text(), name=f"{end}-hit",
                                 env=self.faults.env)
        setattr(self, end, self.daemon)
        self.path = self.edge_control if end == "edge" else self.control

    def poll(self):
        """One connection, one answer: D0 is 7, always. False: closed instead."""
        with self.connect() as sock, contextlib.suppress(OSError, lab.LabError):
            sock.sendall(lab.read_words(0, 1))
            assert lab.words_of(lab.receive_frame(sock)) == [7]
            return True
        return False

    def is_well(self):
        assert self.daemon.alive(), self.daemon.text()[-3000:]
        try:
            lab.wait_for(self.poll, "an answer after the fault")
        except lab.LabError:
            print(self.daemon.text()[-6000:])
            raise


@pytest.fixture
def hit(request, tmp_path):
    end, engine = request.param
    with Hit(tmp_path, end, engine=engine, plc_options=("--set", "D0=7")) as site:
        site.is_well()
        yield site


ends = pytest.mark.parametrize("hit", [(end, "auto") for end in ENDS], ids=ENDS, indirect=True)
ends_epoll = pytest.mark.parametrize("hit", [(end, "epoll") for end in ENDS], ids=ENDS,
                                     indirect=True)


# --- memory --------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ENDS)
def test_check(tmp_path, end):
    """It says ok, or what is wrong; and never nothing."""
    with lab.Site(tmp_path) as site:
        config = getattr(site, end).config
    source = faults.Faults(tmp_path / "faults")

    def check():
        return subprocess.run([lab.BUILD / "mcseald", "--check", config], text=True, check=False,
                              env=source.environment(), capture_output=True,
                              timeout=10 * lab.PATIENCE)
    source.arm("allocation", faults.NEVER)
    assert check().returncode == 0
    total, failed = source.seen("allocation"), 0
    assert total > 1000
    for number in numbers(total, 60, 1.06):
        source.arm("allocation", number)
        result = check()
        assert result.returncode in (0, 1), (number, result)
        assert bool(result.stderr.strip()) == (result.returncode == 1), (number, result)
        failed += result.returncode
    assert failed > 30


@pytest.mark.parametrize("end", ENDS)
def test_start(tmp_path, end):
    """It starts, perhaps with less, or says why not."""
    with lab.Site(tmp_path) as site:
        text = getattr(site, end).config.read_text()
    source = faults.Faults(tmp_path / "faults")
    source.disarm()
    source.arm("allocation", faults.NEVER)
    ends_well(lab.Daemon(tmp_path, text, name="whole", env=source.env))
    cases = [("allocation", number, errno.ENOMEM)
             for number in numbers(source.seen("allocation"), 5, 1.5)]
    for call, error in AT_START.items():
        cases += [(call, number, error) for number in numbers(source.seen(call), 4, 1.7)]
    assert len(cases) > 40
    for call, number, error in cases:
        source.arm(call, number, error=error)
        daemon = lab.Daemon(tmp_path, text, name=f"{call}-{number}", env=source.env, ready=False)
        lab.wait_for(lambda one=daemon: not one.alive() or one.lines(r"\bready workers="),
                     f"start or end with {call} {number}")
        source.disarm()
        if daemon.alive():
            ends_well(daemon)
        else:
            assert daemon.popen.returncode == 1, (call, number, daemon.text())
            assert daemon.text().strip(), (call, number)


def ends_well(daemon):
    lab.assert_clean(daemon, daemon.stop())


def sweep(hit, call, act, every, factor, error=errno.ENOMEM):
    """act() with each nth call failing, until there is none left that could."""
    hit.faults.arm(call, faults.NEVER)
    act()
    total = hit.faults.seen(call)
    hits = 0
    for number in numbers(total, every, factor):
        with hit.faults.armed(call, number, error=error):
            act()
        hits += hit.faults.last
        assert hit.daemon.alive(), (call, number, hit.daemon.text()[-3000:])
    hit.is_well()
    return total, hits


@ends
def test_memory_in_a_session(hit):
    """From accept to close: an answer, or a closed connection; the next one is served."""
    total, hits = sweep(hit, "allocation", hit.poll, 60, 1.08)
    assert total > 60 and hits > 40
    assert hit.daemon.lines(r"no-memory|Cannot allocate|memory|malloc"), hit.daemon.text()[-5000:]


@ends
def test_memory_gone_for_a_while(hit):
    """Not one allocation fails, but all of them, from the nth on."""
    for number in numbers(400, 20, 1.4):
        with hit.faults.armed("allocation", number, count=faults.NEVER):
            hit.poll()
        assert hit.daemon.alive(), (number, hit.daemon.text()[-3000:])
    hit.is_well()


@ends
def test_memory_in_a_reload(hit):
    """It is done, or refused with a word; who is inside notices nothing."""
    with hit.connect() as inside:
        inside.sendall(lab.read_words(0, 1))
        assert lab.words_of(lab.receive_frame(inside)) == [7]

        def reload():
            return asked.mcseal("--socket", hit.path, "reload")
        hit.faults.arm("allocation", faults.NEVER)
        assert reload().returncode == 0
        refused = 0
        for number in numbers(hit.faults.seen("allocation"), 25, 1.15):
            with hit.faults.armed("allocation", number):
                result = reload()
            assert result.returncode in (0, 1), (number, result)
            refused += result.returncode
            assert not result.returncode or result.stderr.strip(), number
            assert hit.daemon.alive(), (number, hit.daemon.text()[-3000:])
        assert refused > 5
        inside.sendall(lab.read_words(0, 1))
        assert lab.words_of(lab.receive_frame(inside)) == [7]
    assert reload().returncode == 0
    hit.is_well()


def test_reload_without_memory(tmp_path):
    """No address space at all, as a memory limit makes it: refused, and all is as before."""
    with asked.Site(tmp_path) as site, site.connect() as inside:
        inside.sendall(lab.read_words(0, 1))
        assert lab.words_of(lab.receive_frame(inside)) == [0]
        with open(f"/proc/{site.edge.pid}/statm", encoding="ascii") as file:
            used = int(file.read().split()[0]) * 4096
        lab.run("prlimit", f"--pid={site.edge.pid}", f"--as={used}:")
        site.edge.config.write_text(site.edge_config + "# more\n" * 20000)
        result = asked.mcseal("--socket", site.edge_control, "reload")
        assert result.returncode == 1 and "memory" in result.stderr, result
        lab.run("prlimit", f"--pid={site.edge.pid}", "--as=unlimited:")
        inside.sendall(lab.read_words(0, 1))
        assert lab.words_of(lab.receive_frame(inside)) == [0]


# --- system calls --------------------------------------------------------------------------------


@ends_epoll
def test_calls_in_a_session(hit):
    """Each call of libc's, the nth of it, with each error that it is known for."""
    total = 0
    for call, errors in ERRORS.items():
        for error in errors:
            print(call, errno.errorcode[error])
            _, hits = sweep(hit, call, hit.poll, 12, 1.5, error)
            total += hits
    assert total > 60, total
    # What ran out was named.
    assert hit.daemon.lines("accept-paused")


def quietly(act):
    with contextlib.suppress(OSError, lab.LabError):
        return act()
    return None


INJECTED = [("io_uring_enter", "EINTR"), ("io_uring_enter", "EBUSY"), ("io_uring_enter", "EAGAIN"),
            ("splice", "ENOMEM"), ("getsockopt", "ENOBUFS")]


@pytest.mark.parametrize("end", ENDS)
def test_calls_of_the_ring(tmp_path, end):
    """Calls that do not go through libc: by strace, attached while it runs."""
    with asked.Site(tmp_path, plc_options=("--set", "D0=7")) as site:
        daemon = getattr(site, end)
        for (call, error), number in itertools.product(INJECTED, (1, 2, 5)):
            with injecting(daemon, call, error, number, tmp_path):
                for _ in range(3):
                    quietly(lambda: poll_at(site))
            assert daemon.alive(), (call, error, number, daemon.text()[-3000:])
        lab.wait_for(lambda: quietly(lambda: poll_at(site)), "an answer after that")


def poll_at(site):
    with site.connect() as sock:
        sock.settimeout(2 * lab.PATIENCE)
        sock.sendall(lab.read_words(0, 1))
        return lab.words_of(lab.receive_frame(sock, 2)) == [7]


@contextlib.contextmanager
def injecting(daemon, call, error, number, folder):
    log = folder / "strace.log"
    with subprocess.Popen(["strace", "-f", "-o", log, "-e", f"trace={call}",
                           f"--inject={call}:error={error}:when={number}", "-p", str(daemon.pid)],
                          stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True) as trace:
        # Threads of io_uring that the kernel has made may not be traced, and it says so of each.
        lab.wait_for(lambda: "attached" in trace.stderr.readline(), "strace", 20)
        try:
            yield
        finally:
            trace.terminate()
            trace.wait()


# --- descriptors ---------------------------------------------------------------------------------


@ends
def test_descriptors_of_the_control_socket(hit):
    """Who asks is refused; who is carried is not."""
    with hit.connect() as inside:
        inside.sendall(lab.read_words(0, 1))
        assert lab.words_of(lab.receive_frame(inside)) == [7]
        with hit.faults.armed("accept4", 0, 3, errno.EMFILE):
            results = [asked.mcseal("--socket", hit.path, "status") for _ in range(3)]
            inside.sendall(lab.read_words(0, 1))
            assert lab.words_of(lab.receive_frame(inside)) == [7]
            assert all(result.returncode in (0, 1) for result in results)
    lab.wait_for(lambda: asked.mcseal("--socket", hit.path, "status").returncode == 0, "status")
    hit.is_well()
