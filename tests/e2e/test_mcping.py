#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""mcping against known bytes, naive servers, openssl s_server and a pseudo-terminal.

The vectors (V1...) come from manuals and from MC clients of other people: what mcping sends must
be those bytes, and what it prints must be what the answers mean.
"""
import fcntl
import json
import os
import pathlib
import pty
import re
import select
import signal
import socket
import ssl
import subprocess
import termios
import threading
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("MCSEAL_BUILD", ROOT / "build" / "release"))
MCPING = (BUILD if BUILD.is_absolute() else ROOT / BUILD) / "mcping"
PKI = ROOT / "certs" / "mcseal-pki"

READ = bytes.fromhex("500000ffff03000c00100001040000640000a80200")  # V1
ANSWER = bytes.fromhex("d00000ffff03000600000034120200")
UNLOCK = bytes.fromhex("500000ffff03000c00100030160000040031323334")  # V11
DONE = bytes.fromhex("d00000ffff030002000000")
LOCKED = bytes.fromhex("d00000ffff03000b0001c200ffff030001040000")


class Server:
    """Runs `serve(connection)` for each of `connections` connections, one after another, on loopback."""

    def __init__(self, serve, connections=1, context=None):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.failures = []
        self.serve, self.connections, self.context = serve, connections, context
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        for _ in range(self.connections):
            connection, _ = self.socket.accept()
            connection.settimeout(10)
            try:
                if self.context:
                    connection = self.context.wrap_socket(connection, server_side=True)
                with connection:
                    self.serve(connection)
            except Exception as failure:  # reported by finish()
                self.failures.append(failure)

    def finish(self):
        self.thread.join(10)
        self.socket.close()
        assert not self.thread.is_alive()
        return self.failures


def receive(connection, size):
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise EOFError(data.hex())
        data += piece
    return data


def mcping(*arguments, environment=None, **more):
    return subprocess.run([MCPING, *map(str, arguments)], capture_output=True, text=True, timeout=30,
                          env=dict(os.environ, **(environment or {})), **more)


def exchange(pairs, *arguments, split=None, **more):
    """A server that wants these requests and gives these answers; what mcping did."""
    got = []

    def serve(connection):
        for request, answer in pairs:
            got.append(receive(connection, len(request)))
            for piece in split(answer) if split else [answer]:
                connection.sendall(piece)
                if split:
                    time.sleep(0.05)
        assert connection.recv(1) == b""  # nothing more was sent

    server = Server(serve)
    done = mcping(server.address, *arguments, **more)
    assert not server.finish()
    assert [data.hex() for data in got] == [request.hex() for request, _ in pairs]
    return done


def wire(text, code):
    text = text.replace(" ", "")
    return text.encode() if code == "ascii" else bytes.fromhex(text)


# name: arguments, request, answer, code, exit status, what it prints
VECTORS = {
    "V1": ("read D100 2", "500000ffff03000c00100001040000640000a80200", "d00000ffff03000600000034120200", "binary",
           0, "D100: 4660 2"),
    "V2": ("read M100 8", "500000ffff03000c00100001040100640000900800", "d00000ffff03000600000010110011", "binary",
           0, "M100: 1 0 1 1 0 0 1 1"),
    "V3": ("write D100 0x1995 0x1202 0x1130", "500000ffff03001200100001140000640000a80300951902123011",
           "d00000ffff030002000000", "binary", 0, "write: ok"),
    "V4": ("write M100 1 1 0", "500000ffff03000e001000011401006400009003001100", "d00000ffff030002000000", "binary",
           0, "write: ok"),
    "V8": ("model", "500000ffff03000600100001010000", "d00000ffff030014000000513033554456435055202020202020206603",
           "binary", 0, "Q03UDVCPU (0366H)"),
    "V9": ("selftest", "500000ffff03000d0010001906000005004142434445", "d00000ffff03000900000005004142434445", "binary",
           0, "selftest: ok"),
    "V10 stop": ("stop", "500000ffff030008001000021000000100", "d00000ffff030002000000", "binary", 0, "stop: ok"),
    "V10 run": ("run --clear 2", "500000ffff03000a0010000110000001000200", "d00000ffff030002000000", "binary",
                0, "run: ok"),
    "V10 pause": ("pause --force", "500000ffff030008001000031000000300", "d00000ffff030002000000", "binary",
                  0, "pause: ok"),
    "V10 latch": ("latch-clear", "500000ffff030008001000051000000100", "d00000ffff030002000000", "binary",
                  0, "latch-clear: ok"),
    "V10 reset": ("reset", "500000ffff030008001000061000000100", "d00000ffff030002000000", "binary", 0, "reset: ok"),
    "V16": ("--frame 4e --serial 0x1234 --iqr read D100 2", "54003412000000ffff03000e0010000104020064000000a8000200",
            "d4003412000000ffff03000600000095190212", "binary", 0, "D100: 6549 4610"),
    "V17": ("--frame 4e --serial 0x1234 --iqr write M101 1", "54003412000000ffff03000f00100001140300650000009000010010",
            "d4003412000000ffff030002000000", "binary", 0, "write: ok"),
    "V18": ("--bits read D100", "500000ffff03000c00100001040100640000a80100", "d00000ffff03000b005cc000ffff030001040100",
            "binary", 1, "end code C05CH: "),
    "V19": ("--frame 4e --serial 0x1234 read D100 961", "54003412000000ffff03000c00100001040000640000a8c103",
            "d4003412000000ffff03000b0051c000ffff030001040000", "binary", 1, "end code C051H: "),
    "V20": ("read D100 3 --hex", "500000FF03FF000018001004010000D*0001000003", "D00000FF03FF0000100000199512021130",
            "ascii", 0, "D100: 1995 1202 1130"),
    "V21": ("write M100 1 0 1 1", "500000FF03FF00001C001014010001M*00010000041011", "D00000FF03FF0000040000", "ascii",
            0, "write: ok"),
    "V23": ("--iqr read D100 1", "500000FF03FF00001C001004010002D***000001000001", "D00000FF03FF00000800001995", "ascii",
            0, "D100: 6549"),
    "V24": ("--frame 4e --serial 0x1234 read D100", "54001234000000FF03FF000018001004010000D*0001000001",
            "D4001234000000FF03FF00000800001995", "ascii", 0, "D100: 6549"),
    "V26": ("--bits read D100", "500000FF03FF000018001004010001D*0001000001",
            "D00000FF03FF000016C05C00FF03FF0004010001", "ascii", 1, "end code C05CH: "),
    "V27": ("--frame 1e --timer 10 read M100 8", "00ff0a0064000000204d0800", "800010100110", "binary",
            0, "M100: 1 0 1 0 0 1 1 0"),
    "V28": ("--frame 1e --timer 10 read M100 8", "00FF000A4D20000000640800", "800010100110", "ascii",
            0, "M100: 1 0 1 0 0 1 1 0"),
    "V29": ("--frame 1e --timer 10 read D100 2 --hex", "01FF000A4420000000640200", "810012340005", "ascii",
            0, "D100: 1234 0005"),
    "V30": ("--frame 1e --timer 10 write D4000 11 -- -12 13 14 15", "03ff0a00a00f0000204405000b00f4ff0d000e000f00",
            "8300", "binary", 0, "write: ok"),
    "V31 binary": ("--frame 1e --timer 10 model", "15ff0a00", "9500f300", "binary", 0, "model code F3H"),
    "V31 ascii": ("--frame 1e --timer 10 model", "15FF000A", "9500F300", "ascii", 0, "model code F3H"),
    "V33 5B": ("--frame 1e --timer 10 read M100 8", "00ff0a0064000000204d0800", "805b1000", "binary",
               1, r"end code 5BH: .*abnormal code 10H"),
    "V33 5B ascii": ("--frame 1e --timer 10 read M100 8", "00FF000A4D20000000640800", "805B1000", "ascii",
                     1, r"end code 5BH: .*abnormal code 10H"),
    "V33 57": ("--frame 1e --timer 10 read D100 2", "01ff0a0064000000204402 00", "8157", "binary", 1, "end code 57H: "),
}


@pytest.mark.parametrize("name", VECTORS)
def test_vectors(name):
    arguments, request, answer, code, status, prints = VECTORS[name]
    done = exchange([(wire(request, code), wire(answer, code))], "--code", code, *arguments.split())
    assert done.returncode == status, done.stderr
    if status == 0:
        assert done.stdout == prints + "\n" and done.stderr == ""
    else:
        assert re.search(prints, done.stderr) and done.stdout == ""


@pytest.mark.parametrize("code, command, request_hex", [
    ("binary", "unlock", "500000ffff03000c00100030160000040031323334"),  # V11
    ("binary", "lock", "500000ffff03000c00100031160000040031323334"),
    ("ascii", "unlock", "500000FF03FF00001400101630000000041234"),  # V25's layout
])
def test_password_on_the_wire(tmp_path, code, command, request_hex):
    answer = wire("D00000FF03FF0000040000", "ascii") if code == "ascii" else DONE
    (tmp_path / "password").write_text("1234\n")
    for arguments, environment in ((["--password-file", tmp_path / "password"], {}), ([], {"MCPING_PASSWORD": "1234"})):
        done = exchange([(wire(request_hex, code), answer)], "--code", code, command, *arguments, environment=environment)
        assert done.returncode == 0 and done.stdout == f"{command}: ok\n", done.stderr


def test_lock_vector_12(tmp_path):
    (tmp_path / "password").write_text("secret1")  # no end of line: still a password
    done = exchange([(bytes.fromhex("500000ffff03000f00100031160000070073656372657431"), DONE)],
                    "lock", "--password-file", tmp_path / "password")
    assert done.returncode == 0, done.stderr


def test_unlock_vector_25():
    done = exchange([(b"500000FF03FF0000140010163000000004pass", b"D00000FF03FF0000040000")],
                    "--code", "ascii", "unlock", environment={"MCPING_PASSWORD": "pass"})
    assert done.returncode == 0, done.stderr


def test_unlock_before_a_command():
    done = exchange([(UNLOCK, DONE), (READ, ANSWER)], "--unlock", "read", "D100", 2, environment={"MCPING_PASSWORD": "1234"})
    assert done.stdout == "D100: 4660 2\n"


def test_refused_unlock_sends_nothing_more():
    refused = bytes.fromhex("d00000ffff03000b0010c800ffff030030160000")
    done = exchange([(UNLOCK, refused)], "--unlock", "read", "D100", 2, environment={"MCPING_PASSWORD": "1234"})
    assert done.returncode == 1 and "C810H" in done.stderr and "password" in done.stderr
    done = exchange([(UNLOCK, refused)], "--unlock", "poll", "D100", 2, environment={"MCPING_PASSWORD": "1234"})
    assert done.returncode == 1 and "C810H" in done.stderr


def test_no_password_no_request():
    server = Server(lambda connection: receive(connection, 1))
    done = mcping(server.address, "unlock", stdin=subprocess.DEVNULL, start_new_session=True)
    assert done.returncode == 3 and "MCPING_PASSWORD" in done.stderr
    assert isinstance(server.finish()[0], EOFError)


def test_empty_password_file(tmp_path):
    (tmp_path / "password").write_text("")
    server = Server(lambda connection: receive(connection, 1))
    assert mcping(server.address, "unlock", "--password-file", tmp_path / "password").returncode == 3
    assert isinstance(server.finish()[0], EOFError)


class Terminal:
    """mcping on a pseudo-terminal of its own. We keep its far end open: what was written last is not lost."""

    def __init__(self, *arguments):
        self.fd, self.far_end = pty.openpty()
        self.process = subprocess.Popen(
            [MCPING, *map(str, arguments)], stdin=self.far_end, stdout=self.far_end, stderr=self.far_end,
            start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        self.text = ""

    def take(self, seconds):
        """What comes within that time, if anything."""
        ready = select.select([self.fd], [], [], max(0, seconds))[0]
        if ready:
            self.text += os.read(self.fd, 4096).decode()
        return bool(ready)

    def wait_for(self, pattern, seconds=10):
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.text):
            assert self.take(deadline - time.monotonic()), self.text

    def finish(self):
        status = self.process.wait(10)
        while self.take(0.2):
            pass
        os.close(self.fd)
        os.close(self.far_end)
        return status


def test_password_prompt():
    got = []

    def serve(connection):
        got.append(receive(connection, len(UNLOCK)))
        connection.sendall(DONE)

    server = Server(serve)
    terminal = Terminal(server.address, "unlock")
    terminal.wait_for("password: ")
    os.write(terminal.fd, b"1234\n")
    assert terminal.finish() == 0
    assert "unlock: ok" in terminal.text and "1234" not in terminal.text
    assert not server.finish() and got == [UNLOCK]


def halves(answer):
    return answer[:7], answer[7:]


def bytes_alone(answer):
    return [answer[i:i + 1] for i in range(len(answer))]


@pytest.mark.parametrize("split", [halves, bytes_alone])
def test_answers_in_pieces(split):
    done = exchange([(READ, ANSWER)], "read", "D100", 2, split=split)
    assert done.returncode == 0 and done.stdout == "D100: 4660 2\n"


def test_one_recv():
    assert exchange([(READ, ANSWER)], "read", "D100", 2, "--one-recv").returncode == 0
    done = exchange([(READ, ANSWER)], "read", "D100", 2, "--one-recv", split=halves)
    assert done.returncode == 4 and "one recv" in done.stderr
    done = exchange([(READ, ANSWER + b"\xd0")], "read", "D100", 2, "--one-recv")  # more than one answer
    assert done.returncode == 4


def serve_answers(answers, pause=0):
    """A PLC that gives these answers to READ, one after the other; a list of pieces is sent in pieces."""
    def serve(connection):
        for answer in answers:
            receive(connection, len(READ))
            for piece in answer if isinstance(answer, list) else [answer]:
                connection.sendall(piece)
                time.sleep(pause)
    return serve


def poll(server, *arguments):
    done = mcping(server.address, "poll", "D100", 2, "--interval", 0, "--json", *arguments)
    return done, json.loads(done.stdout.splitlines()[-1])


def test_poll_counts_what_one_recv_got_wrong():
    pieces = [ANSWER[:5], ANSWER[5:]]
    server = Server(serve_answers([ANSWER, pieces, ANSWER, pieces, pieces, ANSWER], pause=0.03))
    done, summary = poll(server, "--count", 6, "--one-recv")
    assert not server.finish()
    assert (summary["sent"], summary["answered"], summary["wrong"], summary["lost"]) == (6, 6, 3, 0)
    assert done.returncode == 4


def test_poll_verify_and_expect():
    other = ANSWER[:-1] + b"\x01"
    for option, answers, wrong in ((["--verify"], [ANSWER, ANSWER, other, ANSWER], 1),
                                   (["--verify"], [other, ANSWER, ANSWER, other], 2),
                                   (["--expect", "0x1234,2"], [other, ANSWER, ANSWER, other], 2),
                                   (["--expect", "4660,2"], [ANSWER] * 4, 0)):
        server = Server(serve_answers(answers))
        done, summary = poll(server, "--count", 4, *option)
        assert not server.finish()
        assert summary["wrong"] == wrong and summary["answered"] == 4
        assert done.returncode == (4 if wrong else 0)


def test_expect():
    done = exchange([(READ, ANSWER)], "read", "D100", 2, "--expect", "0x1234,3")
    assert done.returncode == 4 and "D101 is 2, expected 3" in done.stderr and "4660 2" in done.stdout
    assert exchange([(READ, ANSWER)], "read", "D100", 2, "--expect", "4660,2").returncode == 0


def test_wrong_sizes():
    short = bytes.fromhex("d00000ffff0300040000003412")  # one word instead of two
    done = exchange([(READ, short)], "read", "D100", 2)
    assert done.returncode == 4 and "not 2 points" in done.stderr and done.stdout == ""
    done = exchange([(READ, b"\xd0\x00\x00\xff\xff\x03\x00\x01\x00\x00")], "read", "D100", 2)
    assert done.returncode == 3  # a length that cannot hold an end code


def test_poll_latencies_and_count():
    def serve(connection):
        for _ in range(20):
            receive(connection, len(READ))
            time.sleep(0.01)
            connection.sendall(ANSWER)

    server = Server(serve)
    done, summary = poll(server, "--count", 20)
    assert not server.finish() and done.returncode == 0
    figures = [summary["microseconds"][name] for name in ("min", "p50", "p90", "p99", "p99.9", "max")]
    assert figures == sorted(figures) and 10000 <= figures[0] and summary["microseconds"]["avg"] >= 10000
    assert figures[1] < 100000
    assert (summary["sent"], summary["answered"], summary["refused"]) == (20, 20, 0)


def test_poll_interval():
    times = []

    def serve(connection):
        for _ in range(6):
            receive(connection, len(READ))
            times.append(time.monotonic())
            connection.sendall(ANSWER)

    server = Server(serve)
    done = mcping(server.address, "poll", "D100", 2, "--interval", "100ms", "--count", 6)
    assert not server.finish() and done.returncode == 0
    assert 0.48 < times[-1] - times[0] < 1.0  # a schedule, not pauses that add up
    assert re.search(r"^6 requests, 6 answers, 0 refused, 0 wrong, 0 lost in 0\.[5-9] s$", done.stdout, re.M)
    assert re.search(r"^latency in us: min \d+, avg \d+, p50 \d+, p90 \d+, p99 \d+, p99\.9 \d+, max \d+$", done.stdout, re.M)
    assert done.stderr == ""  # no terminal: no progress line


def test_poll_counts_refusals():
    server = Server(serve_answers([LOCKED, ANSWER, LOCKED]))
    done, summary = poll(server, "--count", 3)
    assert not server.finish()
    assert done.returncode == 1 and summary["refused"] == 2
    assert json.loads(done.stdout.splitlines()[0])["end_code"] == "C201"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_prints_the_summary(number):
    started = threading.Event()

    def serve(connection):
        for _ in range(5):
            receive(connection, len(READ))
            connection.sendall(ANSWER)
        receive(connection, len(READ))  # the sixth is never answered
        started.set()
        connection.recv(1)

    server = Server(serve)
    with subprocess.Popen([MCPING, server.address, "poll", "D100", "2", "--interval", "1ms", "--timeout", "20"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert started.wait(10)
        running.send_signal(number)
        output, said = running.communicate(timeout=10)
    assert running.returncode == 0 and said == ""
    assert "5 requests, 5 answers, 0 refused, 0 wrong, 0 lost" in output
    server.finish()


def test_progress_line_on_a_terminal():
    def serve(connection):
        while True:
            receive(connection, len(READ))
            connection.sendall(ANSWER)

    server = Server(serve)
    terminal = Terminal(server.address, "poll", "D100", 2, "--interval", "10ms")
    terminal.wait_for(r"(\r\d+ answers, 0 refused, 0 wrong, 0 lost; us: p50 \d+ p99 \d+ max \d+[^\r]*){2}")
    os.write(terminal.fd, b"\x03")  # ^C
    assert terminal.finish() == 0
    assert re.search(r"\d+ requests, \d+ answers, 0 refused, 0 wrong, 0 lost in [1-9]", terminal.text)
    assert isinstance(server.finish()[0], EOFError)


def test_poll_reconnects():
    """Lost in the middle of an answer, then with a request outstanding; dialled again not before 500 ms."""
    closed = []

    def serve(connection):
        if closed:
            assert time.monotonic() - closed[-1] > 0.45
        for _ in range(2):
            receive(connection, len(READ))
            connection.sendall(ANSWER)
        receive(connection, len(READ))
        if len(closed) == 0:
            connection.sendall(ANSWER[:4])
        if len(closed) == 2:
            connection.sendall(ANSWER)
        closed.append(time.monotonic())

    server = Server(serve, connections=3)
    done, summary = poll(server, "--count", 9, "--reconnect")
    assert not server.finish()
    assert (summary["sent"], summary["answered"], summary["lost"]) == (9, 7, 2)
    assert done.returncode == 3
    assert done.stdout.count('"error"') == 2


def test_poll_ends_when_the_connection_is_lost():
    server = Server(serve_answers([ANSWER, ANSWER]))
    done, summary = poll(server)
    assert not server.finish()
    assert done.returncode == 3 and summary["answered"] == 2


def test_pipeline():
    """Four requests before the first answer; 4E serial numbers count up and are looked at."""
    def request(serial):
        return bytes.fromhex("5400") + serial.to_bytes(2, "little") + bytes.fromhex("000000ffff03000c00100001040000640000a80200")

    def answer(serial):
        return bytes.fromhex("d400") + serial.to_bytes(2, "little") + bytes.fromhex("000000ffff03000600000034120200")

    def serve(swap):
        def run(connection):
            assert receive(connection, 4 * 25) == b"".join(request(serial) for serial in (1, 2, 3, 4))
            order = (1, 3, 2, 4) if swap else (1, 2, 3, 4)
            connection.sendall(b"".join(answer(serial) for serial in order))
            if not swap:
                assert receive(connection, 2 * 25) == request(5) + request(6)
                connection.sendall(answer(5) + answer(6))
            assert connection.recv(1) == b""
        return run

    server = Server(serve(False))
    done, summary = poll(server, "--frame", "4e", "--pipeline", 4, "--count", 6)
    assert not server.finish() and done.returncode == 0 and summary["answered"] == 6
    server = Server(serve(True))
    done, summary = poll(server, "--frame", "4e", "--pipeline", 4, "--count", 6)
    assert not server.finish()
    assert done.returncode == 3 and summary["answered"] == 1 and summary["lost"] == 3
    assert "serial number" in done.stdout


def test_count_repeats_a_command():
    done = exchange([(READ, ANSWER)] * 3, "read", "D100", 2, "--count", 3, "--interval", 0)
    assert done.stdout == "D100: 4660 2\n" * 3


def test_route_and_timer():
    request = bytes.fromhex("50000112e1030a0c002a0001040000640000a80200")
    answer = bytes.fromhex("d0000112e1030a0600000034120200")
    assert exchange([(request, answer)], "--route", "01,12,03E1,0A", "--timer", 42, "read", "D100", 2).returncode == 0


def test_words_of_bit_devices():
    request = bytes.fromhex("500000ffff03000c00100001040000100000900200")
    done = exchange([(request, ANSWER)], "--words", "read", "M16", 2)
    assert done.stdout == "M16: 4660 2\n"


def test_odd_bits():
    for code, request, answer in (
            ("binary", "500000ffff03000c001000010401001f00009c0300", "d00000ffff03000400 0000 1010"),
            ("ascii", "500000FF03FF000018001004010001X*00001F0003", "D00000FF03FF0000070000 101")):
        done = exchange([(wire(request, code), wire(answer, code))], "--code", code, "read", "x1f", 3)
        assert done.stdout == "X1F: 1 0 1\n", done.stderr
    # 1E ASCII: an odd count is filled up with one '0' (FX3U-ENET-ADP manual).
    done = exchange([(b"02FF00104D200000006403001010", b"8200")], "--frame", "1e", "--code", "ascii", "write", "M100", 1, 0, 1)
    assert done.returncode == 0, done.stderr


def test_a_full_frame():
    values = [(7 * number) % 65536 for number in range(960)]
    request = bytes.fromhex("500000ffff03000c00100001040000000000a8c003")
    answer = bytes.fromhex("d00000ffff0300") + (2 + 1920).to_bytes(2, "little") + b"\0\0" + b"".join(
        value.to_bytes(2, "little") for value in values)
    done = exchange([(request, answer)], "read", "D0", 960, "--json")
    assert json.loads(done.stdout)["values"] == values
    done = exchange([(request, answer)], "read", "D0", 960)
    printed = [int(word) for line in done.stdout.splitlines() for word in line.split(":")[1].split()]
    assert printed == values and done.stdout.splitlines()[7].startswith("D70:")


def test_json():
    record = json.loads(exchange([(READ, ANSWER)], "read", "D100", 2, "--json").stdout)
    assert record.pop("microseconds") >= 0
    assert record == {"command": "read", "device": "D100", "points": 2, "values": [0x1234, 2]}
    done = exchange([(READ, LOCKED)], "read", "D100", 2, "--json")
    assert json.loads(done.stdout)["end_code"] == "C201" and done.returncode == 1
    model = bytes.fromhex("d00000ffff0300140000") + b"\0" + b'Q"\\\x01\xff'.ljust(16) + b"\x66\x03"
    done = exchange([(bytes.fromhex("500000ffff03000600100001010000"), model)], "model", "--json")
    assert json.loads(done.stdout)["model"] == 'Q"\\??'


# --- what can go wrong -------------------------------------------------------------------------


def test_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    done = mcping(f"127.0.0.1:{port}", "model")
    assert done.returncode == 3 and "cannot connect: Connection refused" in done.stderr


@pytest.mark.parametrize("serve, words", [
    (lambda connection: (receive(connection, len(READ)), time.sleep(0.6)), "no answer in time"),
    (lambda connection: (receive(connection, len(READ)), connection.sendall(ANSWER[:6]), time.sleep(0.6)), "in the middle of an answer"),
    (lambda connection: receive(connection, len(READ)), "the other side closed the connection"),
    (lambda connection: (receive(connection, len(READ)), connection.sendall(b"HTTP/1.1 400")), "no answer"),
    (lambda connection: (receive(connection, len(READ)), connection.sendall(b"\x15\x03\x03\x00\x02\x02\x28")), "speaks TLS"),
    (lambda connection: (receive(connection, len(READ)), connection.sendall(b"D000")), "no answer"),  # the other code
])
def test_bad_peers(serve, words):
    server = Server(serve)
    done = mcping(server.address, "read", "D100", 2, "--timeout", "300ms")
    assert not server.finish()
    assert done.returncode == 3 and words in done.stderr


@pytest.mark.parametrize("arguments, words", [
    ([], "Usage"),
    (["127.0.0.1:5000"], "HOST:PORT COMMAND"),
    (["127.0.0.1", "model"], "HOST:PORT"),
    (["::1:5000", "model"], "[IPv6]:PORT"),
    (["127.0.0.1:0", "model"], "port"),
    (["127.0.0.1:70000", "model"], "port"),
    (["h:1", "frobnicate"], "no such command"),
    (["h:1", "read"], "read DEVICE [POINTS]"),
    (["h:1", "read", "Q7"], "no device"),
    (["h:1", "read", "D0", "70000"], "points"),
    (["h:1", "write", "D0"], "write DEVICE VALUE"),
    (["h:1", "write", "D0", "65536"], "65535"),
    (["h:1", "write", "M0", "2"], "0 to 1"),
    (["h:1", "unlock", "1234"], "unlock"),  # never on the command line
    (["h:1", "--frame", "2e", "model"], "3e, 4e or 1e"),
    (["h:1", "--code", "ebcdic", "model"], "binary or ascii"),
    (["h:1", "--frame", "1e", "unlock"], "1E"),
    (["h:1", "--frame", "1e", "read", "ZR0"], "1E"),
    (["h:1", "--frame", "1e", "read", "D0", "257"], "256"),
    (["h:1", "--interval", "soon", "model"], "a time like"),
    (["h:1", "--route", "1,2", "model"], "four hexadecimal"),
    (["h:1", "--route", "1,2,3,4,5", "model"], "four hexadecimal"),
    (["h:1", "--expect", "1,2", "read", "D0", "3"], "3 values"),
    (["h:1", "--expect", "1,2,3,4", "read", "D0", "3"], "3 values"),
    (["h:1", "--expect", "1", "model"], "--expect is for"),
    (["h:1", "--verify", "read", "D0"], "for poll"),
    (["h:1", "--pipeline", "2", "read", "D0"], "for poll"),
    (["h:1", "--cert", "a.pem", "model"], "--ca"),
    (["h:1", "--ca", "a.pem", "--key", "b.pem", "model"], "--cert"),
    (["h:1", "--ca", "a.pem", "--tls12", "--tls13", "model"], "exclude"),
])
def test_usage(arguments, words):
    done = mcping(*arguments)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr and done.stdout == ""


# --- TLS ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    """One CA with good and bad certificates, and a second CA."""
    directory = tmp_path_factory.mktemp("mcping") / "pki"

    def make(*arguments, at=directory):
        subprocess.run([PKI, *map(str, arguments), "-d", at], check=True, capture_output=True)

    make("init", directory)
    make("init", directory.parent / "foreign", at=directory.parent / "foreign")
    make("gateway", "gw", "--ip", "127.0.0.1", "--dns", "localhost", "gw.example")
    make("gateway", "gw-other", "--ip", "127.0.0.2", "--dns", "other.example")
    make("gateway", "gw-old", "--ip", "127.0.0.1", "--not-before", "2020-01-01", "--not-after", "2021-01-01")
    make("gateway", "gw-revoked", "--ip", "127.0.0.1")
    make("client", "good", "--p12")
    make("client", "as-server", "--dns", "localhost")
    make("client", "revoked")
    make("client", "old", "--not-before", "2020-01-01", "--not-after", "2021-01-01")
    make("client", "foreign", at=directory.parent / "foreign")
    make("revoke", "revoked")
    make("revoke", "gw-revoked")
    return directory


def tls_arguments(pki, client="good", ca=None):
    issued = (pki.parent / "foreign" if client == "foreign" else pki) / "issued"
    arguments = ["--ca", ca or pki / "ca.pem"]
    if client:
        arguments += ["--cert", issued / f"{client}.pem", "--key", issued / f"{client}.key"]
    return arguments


class OpensslServer:
    """openssl s_server: mutual TLS with revocation; what it gets comes out on stdout, stdin is the answer."""

    def __init__(self, pki, *arguments, gateway="gw"):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            self.port = taken.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        # One file with CA and CRL: s_server's own -CRL option differs between versions.
        trust = pki.parent / "trust.pem"
        trust.write_text((pki / "ca.pem").read_text() + (pki / "crl.pem").read_text())
        self.process = subprocess.Popen(
            ["openssl", "s_server", "-accept", self.address, "-naccept", "1", "-quiet", "-Verify", "2",
             "-verify_return_error", "-crl_check", "-CAfile", trust, "-no_ticket" if "-tls1_2" in arguments else "-no_comp",
             "-cert", pki / "issued" / f"{gateway}.pem", "-key", pki / "issued" / f"{gateway}.key", *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.wait_for_listener()

    def wait_for_listener(self):
        wanted = f"0100007F:{self.port:04X} 00000000:0000 0A"
        deadline = time.monotonic() + 10
        while wanted not in pathlib.Path("/proc/net/tcp").read_text():
            assert self.process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)

    def finish(self):
        self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            stream.close()


VERSIONS = {"1.2": ["-tls1_2"], "1.3": ["-tls1_3"]}


@pytest.mark.parametrize("version", VERSIONS)
def test_an_answer_through_openssl(pki, version):
    server = OpensslServer(pki, *VERSIONS[version])
    with subprocess.Popen([MCPING, server.address, "read", "D100", "2", "--verbose", *map(str, tls_arguments(pki))],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        got = b""
        while len(got) < len(READ):
            got += os.read(server.process.stdout.fileno(), 100)
        server.process.stdin.write(ANSWER)
        server.process.stdin.flush()
        output, said = running.communicate(timeout=10)
    server.finish()
    assert got == READ
    assert running.returncode == 0 and output == "D100: 4660 2\n"
    assert f"TLSv{version}" in said and "CN=gw" in said


REFUSED = {
    "revoked": "gateway refused our certificate: certificate revoked (TLS alert 44)",
    "old": "gateway refused our certificate: certificate expired or not yet valid (TLS alert 45)",
    "foreign": "gateway refused our certificate: unknown CA (TLS alert 48)",
    None: {"1.2": "gateway refused the handshake", "1.3": "it requires a client certificate (give --cert and --key) (TLS alert 116)"},
}


@pytest.mark.parametrize("command", ["read", "poll"])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("client", REFUSED)
def test_refusals_of_our_certificate(pki, client, version, command):
    server = OpensslServer(pki, *VERSIONS[version])
    done = mcping(server.address, command, "D100", 2, *tls_arguments(pki, client))
    server.finish()
    words = REFUSED[client]
    assert done.returncode == 3
    assert (words if isinstance(words, str) else words[version]) in done.stderr
    assert "answers" not in done.stdout or "0 answers" in done.stdout


def test_refusal_of_a_server_certificate_as_client(pki):
    server = OpensslServer(pki, "-tls1_3")
    done = mcping(server.address, "read", "D100", 2, "--ca", pki / "ca.pem",
                  "--cert", pki / "issued" / "gw-other.pem", "--key", pki / "issued" / "gw-other.key")
    server.finish()
    assert done.returncode == 3 and re.search(r"gateway refused our certificate: .*\(TLS alert 43\)", done.stderr)


def test_no_common_version(pki):
    server = OpensslServer(pki, "-tls1_3")
    done = mcping(server.address, "model", *tls_arguments(pki), "--tls12")
    server.finish()
    assert done.returncode == 3 and "it does not speak this TLS version (TLS alert 70)" in done.stderr


@pytest.mark.parametrize("gateway, arguments, words", [
    ("gw-other", [], "IP address mismatch"),
    ("gw", ["--server-name", "other.example"], "ostname mismatch"),
    ("gw-old", [], "certificate has expired"),
    ("gw-revoked", ["--crl", "crl.pem"], "certificate revoked"),
    ("as-server", ["--server-name", "localhost"], "urpose"),
])
def test_our_refusals(pki, gateway, arguments, words):
    server = OpensslServer(pki, gateway=gateway)
    arguments = [pki / word if word.endswith(".pem") else word for word in arguments]
    done = mcping(server.address, "read", "D100", 2, *tls_arguments(pki), *arguments)
    server.finish()
    assert done.returncode == 3
    assert "we refused the gateway's certificate: " in done.stderr and words in done.stderr


def test_foreign_gateway(pki):
    server = OpensslServer(pki)
    done = mcping(server.address, "read", "D100", 2, *tls_arguments(pki, ca=pki.parent / "foreign" / "ca.pem"))
    server.finish()
    assert done.returncode == 3 and "we refused the gateway's certificate: " in done.stderr


def server_context(pki, alpn=()):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=pki / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(pki / "issued" / "gw.pem", pki / "issued" / "gw.key")
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def test_tls_one_recv_is_one_record(pki):
    def serve(pieces):
        def run(connection):
            receive(connection, len(READ))
            for piece in pieces:
                connection.sendall(piece)
            assert connection.recv(1) == b""  # close_notify, no truncation
        return run

    for pieces, status in (([ANSWER], 0), ([ANSWER[:8], ANSWER[8:]], 4)):
        server = Server(serve(pieces), context=server_context(pki))
        done = mcping(server.address, "read", "D100", 2, "--one-recv", *tls_arguments(pki))
        assert not server.finish()
        assert done.returncode == status, done.stderr


@pytest.mark.parametrize("host, arguments, sni, alpn", [
    ("127.0.0.1", [], None, None),
    ("localhost", [], "localhost", None),
    ("localhost", ["--sni", "none"], None, None),
    ("127.0.0.1", ["--server-name", "gw.example"], "gw.example", None),
    ("127.0.0.1", ["--sni", "press1.example"], "press1.example", None),
    ("127.0.0.1", ["--alpn", "mcseal/1"], None, "mcseal/1"),
    ("127.0.0.1", ["--alpn", "none"], None, None),
])
def test_names_asked_for(pki, host, arguments, sni, alpn):
    seen = []
    context = server_context(pki, alpn=("mcseal/1", "h2"))
    context.sni_callback = lambda connection, name, _: seen.append(name)

    def serve(connection):
        seen.append(connection.selected_alpn_protocol())
        receive(connection, len(READ))
        connection.sendall(ANSWER)
        connection.recv(1)

    server = Server(serve, context=context)
    done = mcping(f"{host}:{server.port}", "read", "D100", 2, *tls_arguments(pki), *arguments)
    assert not server.finish()
    assert done.returncode == 0, done.stderr
    assert seen == [sni, alpn]


def test_pkcs12(pki, tmp_path):
    server = Server(serve_answers([ANSWER]), context=server_context(pki))
    done = mcping(server.address, "read", "D100", 2, "--ca", pki / "ca.pem", "--p12", pki / "issued" / "good.p12",
                  "--p12-password-file", pki / "issued" / "good.p12.password")
    assert not server.finish()
    assert done.returncode == 0, done.stderr
    (tmp_path / "wrong").write_text("wrong\n")
    done = mcping(server.address, "model", "--ca", pki / "ca.pem", "--p12", pki / "issued" / "good.p12",
                  "--p12-password-file", tmp_path / "wrong")
    assert done.returncode == 3 and "PKCS#12" in done.stderr


def test_bad_files(pki):
    for arguments in (["--ca", "/nonexistent"], ["--ca", pki / "ca.pem", "--crl", "/nonexistent"],
                      ["--ca", pki / "ca.pem", "--cert", pki / "issued" / "good.pem", "--key", pki / "issued" / "old.key"]):
        done = mcping("127.0.0.1:1", "model", *arguments)
        assert done.returncode == 3 and str(arguments[-1]) in done.stderr


def test_close_without_alert(pki):
    def serve(connection):
        connection.recv(5)

    server = Server(serve)
    done = mcping(server.address, "model", *tls_arguments(pki))
    server.finish()
    assert done.returncode == 3 and re.search("without a TLS alert|reset", done.stderr)
    server = Server(lambda connection: connection.sendall(b"\xd0\x00\x00\xff\xff\x03\x00"))
    done = mcping(server.address, "model", *tls_arguments(pki))
    server.finish()
    assert done.returncode == 3 and "does not speak TLS" in done.stderr


def test_silent_tls_peer(pki):
    server = Server(lambda connection: time.sleep(1))
    done = mcping(server.address, "model", "--timeout", "300ms", *tls_arguments(pki))
    server.finish()
    assert done.returncode == 3 and "handshake in time" in done.stderr


# --- the simulated PLC -------------------------------------------------------------------------

STYLES = {f"{frame} {code}": ["--frame", frame, "--code", code] for frame in ("3e", "4e", "1e") for code in ("binary", "ascii")}


@pytest.fixture
def start_plc():
    """Starts mcplc with these arguments on IPv4 and IPv6; its answers come in pieces."""
    started = []

    def start(*arguments):
        plc = subprocess.Popen([MCPING.with_name("mcplc"), "--listen", "127.0.0.1:0", "--listen", "[::1]:0", "--split", "7,1",
                                "--quiet", *arguments], stdout=subprocess.PIPE, text=True)
        started.append(plc)
        return [re.search(r"ready (\S+)", plc.stdout.readline())[1] for _ in range(2)]

    yield start
    for plc in started:
        plc.terminate()
        assert plc.wait(10) == 0
        plc.stdout.close()


@pytest.mark.parametrize("style", STYLES)
def test_round_trip_with_mcplc(start_plc, style):
    for address in start_plc():
        def ask(*arguments):
            return mcping(address, *STYLES[style], *arguments)

        assert ask("write", "D100", 1, 65535, 0x1234).returncode == 0
        assert ask("read", "D100", 3).stdout == "D100: 1 65535 4660\n"
        assert ask("write", "M7", 1, 0, 1).returncode == 0
        assert ask("read", "M6", 5).stdout == "M6: 0 1 0 1 0\n"
        assert ask("--words", "read", "M0").stdout == "M0: 640\n"
        assert ask("selftest", "0123456789ABCDEF").returncode == 0
        assert ask("model").stdout in ("Q03UDVCPU (0366H)\n", "model code F3H\n")
        for command in ("stop", "run"):
            assert ask(command).returncode == 0
        done = ask("poll", "D100", 3, "--expect", "1,65535,4660", "--count", 50, "--interval", 0)
        assert done.returncode == 0, done.stdout + done.stderr
        refused = ask("read", "D65535", 2)
        assert refused.returncode == 1 and re.search("end code [0-9A-F]+H: .", refused.stderr)
        short = ask("read", "D100", 20, "--one-recv")
        assert short.returncode == 4


@pytest.mark.parametrize("style", [name for name in STYLES if "1e" not in name])
def test_password_with_mcplc(start_plc, style):
    address = start_plc("--password", "1234")[0]

    def ask(*arguments, password="1234"):
        return mcping(address, *STYLES[style], *arguments, environment={"MCPING_PASSWORD": password})

    locked = ask("read", "D0")
    assert locked.returncode == 1 and "C201H" in locked.stderr
    assert ask("unlock", password="4321").returncode == 1
    assert ask("--unlock", "--iqr", "read", "D0").returncode == 0
    assert ask("--unlock", "lock").returncode == 0
    assert ask("--unlock", "pause").returncode == 0
