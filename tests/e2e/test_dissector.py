#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The Wireshark dissector, run by tshark over captures that are written here byte by byte, and over
what mcping and mcplc really say to one another."""
import functools
import os
import pathlib
import random
import re
import shutil
import struct
import tempfile
import types

import pytest

import lab
import peers

DISSECTOR = lab.ROOT / "tools" / "wireshark"
PLUGINS = ".local/lib/wireshark/plugins"  # in the home of a user: docs/wireshark.md
TABLES = DISSECTOR / "mcseal-mc-tables.lua"
VECTORS = lab.ROOT / "tests" / "unit" / "mc_vectors.h"
PORT = 5007
CLIENT_PORTS = range(41000, 60000)

pytestmark = pytest.mark.skipif(lab.KERNEL is not None, reason="asks nothing of a kernel")


# --- captures ---------------------------------------------------------------------------------------


class Pcap:
    """A capture file of packets between clients and one PLC: raw IPv4, no checksums."""

    def __init__(self, path, port=PORT):
        self.path, self.port, self.time = path, port, 0.0
        self.packets = []
        self.sequences = {}

    def add(self, packet):
        self.time += 0.004
        head = struct.pack("<IIII", int(self.time), int(self.time % 1 * 1e6), len(packet),
                           len(packet))
        self.packets.append(head + packet)
        return len(self.packets)

    def ip(self, protocol, payload, towards_plc):
        client, plc = bytes([10, 0, 0, 2]), bytes([10, 0, 0, 10])
        return struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0) + (
            client + plc if towards_plc else plc + client) + payload

    def tcp(self, client, payload, towards_plc=True):
        """One segment; its packet number, counted from 1."""
        sent = self.sequences.setdefault((client, towards_plc), 1)
        seen = self.sequences.setdefault((client, not towards_plc), 1)
        self.sequences[client, towards_plc] = sent + len(payload)
        ports = (client, self.port) if towards_plc else (self.port, client)
        head = struct.pack(">HHIIBBHHH", *ports, sent, seen, 0x50, 0x18, 65535, 0, 0)
        return self.add(self.ip(6, head + payload, towards_plc))

    def udp(self, client, payload, towards_plc=True):
        ports = (client, self.port) if towards_plc else (self.port, client)
        head = struct.pack(">HHHH", *ports, 8 + len(payload), 0)
        return self.add(self.ip(17, head + payload, towards_plc))

    def write(self):
        """Link type 228: raw IPv4."""
        self.path.write_bytes(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 228) +
                              b"".join(self.packets))
        return self.path


@pytest.fixture
def pcap(tmp_path):
    return Pcap(tmp_path / "test.pcap")


@functools.cache
def home():
    """Of a user who has the dissector; root's Wireshark 4.4 loads none. Removed at exit."""
    folder = tempfile.TemporaryDirectory(prefix="dissector-")
    os.chmod(folder.name, 0o755)
    shutil.copytree(DISSECTOR, pathlib.Path(folder.name, PLUGINS, "mcseal"))
    return folder


def tshark(path, *words, ports=PORT):
    """Its output, run as nobody; never with an error of the dissector."""
    folder = pathlib.Path(home().name)
    capture = shutil.copyfile(path, folder / "capture.pcap")
    capture.chmod(0o644)
    text = lab.run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env",
                   f"HOME={folder}", "tshark", "-o", f"mc.ports:{ports or ''}", "-r", capture,
                   *words).stdout
    error = re.search(r"(?i)^.*(lua[ :]*error|mcseal-mc.*\.lua:\d+)(?s:.{0,1000})", text, re.MULTILINE)
    assert not error, error.group(0)
    return text


def fields(path, *names, only="mc", two_passes=False, ports=PORT, options=()):
    """A tuple of strings for each packet that the filter takes; several values: with commas."""
    words = [word for name in names for word in ("-e", name)]
    text = tshark(path, "-Y", only, *(["-2"] if two_passes else []), *options, "-T",
                  "fields", *words, ports=ports)
    return [tuple(row.split("\t")) for row in text.splitlines()]


# --- frames -----------------------------------------------------------------------------------------


def vectors():
    """The vectors of the unit tests: name, family, ASCII?, command, bytes of request and answer."""
    text = re.sub(r'"\s*\n\s*"', "", VECTORS.read_text())
    found = []
    for name, code, family, command, request, answer, rest in re.findall(
            r'\{"(V[^"]+)", ([AB])(\d), 0x(\w+),\s*"(\w.*?)",\s*(?:"(\w*)"|NULL)(.*?)\}(?=,\n)', text,
            re.DOTALL):
        plain = (lambda frame: frame.encode()) if code == "A" else bytes.fromhex
        end_code = re.search(r"\.end_code = (\w+)", rest)
        found.append(types.SimpleNamespace(
            name=name, family=f"{family}E", ascii=code == "A", command=int(command, 16),
            request=plain(request), answer=plain(answer) if answer else None,
            end_code=int(end_code.group(1), 0) if end_code else 0))
    return found


VECTOR_LIST = vectors()
DONE = bytes.fromhex("d00000ffff030002000000")


def vector_named(name):
    (vector,) = [vector for vector in VECTOR_LIST if vector.name == name]
    return vector


def lua_tables():
    """Commands by family and code, and devices, as the generated file has them."""
    text = TABLES.read_text()
    commands = {}
    for family in ("3E", "1E"):
        block = re.search(rf'commands = .*?\["{family}"\] = {{\n(.*?)\n\t}}', text, re.DOTALL).group(1)
        commands[family] = {int(code, 16): (name, kind) for code, name, kind in re.findall(
            r'\[0x(\w+)\] = { name = "([^"]*)", class = "([^"]*)"', block)}
    devices = [dict(re.findall(r'(\w+) = "?([^",]*)"?[, ]', row)) for row in
               re.findall(r"\t({ name = \"[^}]*kind[^}]*})", text)]
    return commands, devices


def request_3e(command, subcommand, data, ascii_code=False):
    if ascii_code:
        body = f"0010{command:04X}{subcommand:04X}".encode() + data
        return b"500000FF03FF00" + f"{len(body):04X}".encode() + body
    body = struct.pack("<HHH", 16, command, subcommand) + data
    return bytes.fromhex("500000ffff0300") + struct.pack("<H", len(body)) + body


def test_the_vectors_are_all_there():
    assert len(VECTOR_LIST) == VECTORS.read_text().count('\t{"V') >= 40
    assert {(vector.family, vector.ascii) for vector in VECTOR_LIST} == {
        (family, code) for family in ("1E", "3E", "4E") for code in (False, True)}


# --- tables -----------------------------------------------------------------------------------------


def test_the_tables_are_those_of_the_daemon():
    assert lab.run(lab.BUILD / "mc_tables", "lua").stdout == TABLES.read_text(), \
        "make tables"


def test_every_command_has_its_name_and_class(pcap):
    commands, _ = lua_tables()
    assert len(commands["3E"]) > 60 and len(commands["1E"]) > 20
    expected = []
    for client, (code, (name, kind)) in enumerate(commands["3E"].items(), 41000):
        pcap.tcp(client, request_3e(code, 0, b""))
        pcap.tcp(client, request_3e(code, 0, b"", True))
        expected += [("3E", f"0x{code:04x}", kind, name)] * 2
    for client, (code, (name, kind)) in enumerate(commands["1E"].items(), 45000):
        pcap.udp(client, bytes([code]) + bytes.fromhex("ff0a00000000002044") + bytes(3))
        expected.append(("1E", f"0x{code:04x}", kind, name))
    rows = fields(pcap.write(), "mc.family", "mc.command", "mc.class", "_ws.col.Info")
    assert len(rows) == len(expected)
    for row, (family, code, kind, name) in zip(rows, expected):
        # What a 1E request of another size leaves over is a frame of its own.
        assert [value.split(",")[0] for value in row[:3]] == [family, code, kind]
        assert re.sub("^batch ", "", name) in row[3]


def device_requests(device):
    """One batch read for each form that the device has, and what it is to be called."""
    unit = 1 if device["kind"] == "bit" else 0
    code, code_long, code_1e = (int(device[key], 16) for key in ("code", "code_long", "code_1e"))
    base, base_short = int(device["base"]), int(device["base_short"])
    number = 0x1a2
    digits = {10: "d", 16: "X"}
    if code:
        yield request_3e(0x0401, unit, number.to_bytes(3, "little") + bytes([code, 1, 0]))
        yield request_3e(0x0401, unit, f"{device['ascii']}{number:06{digits[base_short]}}0001"
                         .encode(), True)
        yield request_3e(0x0401, unit, f"{device['ascii'].replace('*', ' ')}"
                         f"{number:6{digits[base_short]}}0001".encode(), True)
    yield request_3e(0x0401, unit + 2, struct.pack("<IHH", number, code_long, 1))
    yield request_3e(0x0401, unit + 2, f"{device['ascii_long']}{number:08{digits[base]}}0001"
                     .encode(), True)
    if code_1e:
        yield bytes([1 - unit]) + bytes.fromhex("ff0a00") + struct.pack("<IHBB", number, code_1e, 1, 0)
        yield f"0{1 - unit}FF000A{code_1e:04X}{number:08X}0100".encode()


def test_every_device_in_every_form(pcap):
    _, devices = lua_tables()
    assert len(devices) > 40
    expected = []
    for client, device in enumerate(devices, 41000):
        for request in device_requests(device):
            pcap.udp(client, request)
            text = f"{0x1a2:X}" if device["base"] == "16" else f"{0x1a2}"
            expected.append((device["name"], str(0x1a2), device["name"] + text))
    rows = fields(pcap.write(), "mc.device", "mc.device_number", "_ws.col.Info",
                  "mc.fault.shape", "mc.fault.length")
    assert len(rows) == len(expected)
    for row, (name, number, text) in zip(rows, expected):
        assert row[:2] == (name, number) and row[2].split()[-1] == text
        assert bool(row[3]) == (name in ("G", "HG")) and not row[4]


# FX3U-ENET-ADP, QnUCPU and QJ71E71 manuals: a request for three points, from behind the timer to its
# count (60 to 62 have another head), the bytes behind that, and those of the answer.
SIZES_1E = {
    0x00: ("640000002044 0300", 0, 4), 0x01: ("640000002044 0300", 0, 8),
    0x02: ("64000000204d 0300", 2, 2), 0x03: ("640000002044 0300", 6, 2),
    0x04: ("0300", 21, 2), 0x05: ("0300", 24, 2), 0x06: ("0300", 18, 2), 0x07: ("0300", 18, 2),
    0x08: ("", 0, 4), 0x09: ("", 0, 8), 0x13: ("", 0, 2), 0x14: ("", 0, 2), 0x15: ("", 0, 4),
    0x16: ("03", 3, 6), 0x60: (None, 6, 2), 0x61: (None, 0, 8), 0x62: (None, 6, 2),
}


@pytest.mark.parametrize("ascii_code", [False, True])
def test_where_1e_frames_end(pcap, ascii_code):
    """Two requests in one segment, both answers in another: nothing else tells them apart."""
    text = (lambda frame: frame.hex().upper().encode()) if ascii_code else bytes
    for command, (head, rest, answer_size) in SIZES_1E.items():
        if head is None:
            count = "0003" if ascii_code else "0300"  # two bytes: the one number with an order
            head = bytes.fromhex(f"{command:x}00" + ("" if command == 0x60 else "0000") + count)
        else:
            head = bytes([command]) + bytes.fromhex("ff0a00" + head)
        request = text(head + bytes(rest))
        answer = text(bytes([command | 0x80, 0, 3 if command == 0x16 else 0, *bytes(9)])[:answer_size])
        pcap.tcp(41000, request + request)
        pcap.tcp(41000, answer + answer, False)
    rows = fields(pcap.write(), "mc.direction", "mc.command", "mc.request_in", "mc.fault.length",
                  "mc.fault.frame", "mc.fault.unpaired")
    expected = []
    for packet, command in enumerate(SIZES_1E):
        commands = ",".join([f"0x{command:04x}"] * 2)
        asked_in = 2 * packet + 1
        expected += [("request,request", commands, "", "", "", ""),
                     ("answer,answer", commands, f"{asked_in},{asked_in}", "", "", "")]
    assert rows == expected


def test_a_1e_monitor_of_bits(pcap):
    """M1, X2 and M4: the answer has them in one row."""
    devices = "01000000204d" "020000002058" "04000000204d"
    pcap.tcp(41000, bytes.fromhex("06ff0a000300" + devices))
    pcap.tcp(41000, bytes.fromhex("8600"), False)
    pcap.tcp(41000, bytes.fromhex("08ff0a00"))
    pcap.tcp(41000, bytes.fromhex("88000110"), False)
    pcap.tcp(41000, b"08FF000A")
    pcap.tcp(41000, b"88000110", False)
    rows = fields(pcap.write(), "_ws.col.Info", "mc.value", "mc.fault.length")
    assert rows[2:4] == [("1E monitor bits M1, X2, M4", "", ""),
                         ("1E answer: monitor bits M1, X2, M4", "0,1,1", "")]
    assert rows[5][1:] == ("0,1,1", "")


def test_buffer_memory(pcap):
    pcap.tcp(41000, request_3e(0x0613, 0, bytes.fromhex("20010000 0200")))
    pcap.tcp(41000, bytes.fromhex("d00000ffff03000600000034120200"), False)
    pcap.tcp(41000, request_3e(0x1601, 0, b"00000120" b"0004" b"0013" b"12340002", True))
    rows = fields(pcap.write(), "mc.class", "mc.address", "mc.count", "mc.module", "mc.data")
    assert rows == [("read", "0x00000120", "2", "0x03ff", ""), ("read", "", "", "0x03ff", "34120200"),
                    ("write", "0x00000120", "4", "0x03ff,0x0013", "3132333430303032")]


# --- vectors ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def vector_capture(tmp_path_factory):
    """Every vector on a connection of its own, but a monitor on that of its registration."""
    pcap = Pcap(tmp_path_factory.mktemp("vectors") / "vectors.pcap")
    client = CLIENT_PORTS.start
    for vector in VECTOR_LIST:
        client += 0 if vector.name == "V15 monitor" else 1
        vector.request_in = pcap.tcp(client, vector.request)
        vector.answer_in = vector.answer and pcap.tcp(client, vector.answer, False)
    return pcap.write()


def test_every_vector(vector_capture):
    commands, _ = lua_tables()
    rows = iter(fields(vector_capture, "frame.number", "mc.family", "mc.code", "mc.direction",
                       "mc.command", "mc.class", "mc.end_code", "mc.request_in", "mc.answer_in",
                       "mc.time", two_passes=True))
    for vector in VECTOR_LIST:
        kind = commands["1E" if vector.family == "1E" else "3E"][vector.command][1]
        common = (vector.family, "ascii" if vector.ascii else "binary")
        command = f"0x{vector.command:04x}"
        assert next(rows) == (str(vector.request_in), *common, "request", command, kind, "", "",
                              str(vector.answer_in or ""), "")
        if vector.answer:
            refused = [command] if vector.end_code > 0xff else []  # in the error block
            number, family, code, direction, shown, *rest = next(rows)
            assert (number, family, code, direction) == (str(vector.answer_in), *common, "answer")
            assert shown == command and refused == refused
            assert rest == [kind, f"0x{vector.end_code:04x}", str(vector.request_in), "",
                            "0.004000000"]
    assert next(rows, None) is None


def test_no_vector_is_at_fault(vector_capture):
    """Only those that are meant to be: a bit read of D, 961 words, and a 1E number too high."""
    rows = fields(vector_capture, "frame.number", only="mc.fault.length || mc.fault.count || "
                  "mc.fault.shape || mc.fault.command || mc.fault.subcommand || mc.fault.frame || "
                  "mc.fault.undecoded || mc.fault.unpaired")
    wrong = {vector.request_in for vector in VECTOR_LIST
             if vector.name in ("V18 bit read of a word device", "V19 4E 961 words",
                                "V26 ASCII error")}
    assert {int(number) for number, in rows} == wrong


INFO = {
    "V1 read words": ("3E read D100 x 2", "3E answer: read D100 x 2", "4660,2"),
    "V2 read bits": ("3E read M100 x 8", "3E answer: read M100 x 8", "1,0,1,1,0,0,1,1"),
    "V3 write words": ("3E write D100 x 3", "3E answer: write D100 x 3", "6549,4610,4400"),
    "V4 write bits": ("3E write M100 x 3", "3E answer: write M100 x 3", "1,1,0"),
    "V5 random read": ("3E random read D100, D101, D100", None, "6549,4610,302127509"),
    "V6 random write": ("3E random write D110, D112", None, "1360,70849026"),
    "V7 random bit write": ("3E random write M50, Y2F", None, "0,1"),
    "V8 CPU model": ("3E CPU model", "3E answer: CPU model", ""),
    "V10 remote STOP": ("3E remote STOP", "3E answer: remote STOP", ""),
    "V11 unlock": ("3E remote password unlock", "3E answer: remote password unlock", ""),
    "V13 block read": ("3E block read D100 x 2, M100", None, "6549,4610,203"),
    "V14 block write": ("3E block write D300 x 2", None, "1,2"),
    "V15 monitor registration": ("3E monitor registration D100, D112", None, ""),
    "V15 monitor": ("3E monitor D100, D112", None, "6549,70849026"),
    "V16 4E iQ-R read": ("4E read D100 x 2", "4E answer: read D100 x 2", "6549,4610"),
    "V17 4E iQ-R write bit": ("4E write M101", "4E answer: write M101", "1"),
    "V19 4E 961 words": ("4E read D100 x 961",
                         "4E error C051 number of points out of range (read D100 x 961)", ""),
    "V20 ASCII read": ("3E read D100 x 3", None, "6549,4610,4400"),
    "V21 ASCII write bits": ("3E write M100 x 4", None, "1,0,1,1"),
    "V22 ASCII random read": ("3E random read D100, D112", None, "6549,70849026"),
    "V27 1E read bits": ("1E read bits M100 x 8", "1E answer: read bits M100 x 8",
                         "1,0,1,0,0,1,1,0"),
    "V28 1E ASCII read bits": ("1E read bits M100 x 8", None, "1,0,1,0,0,1,1,0"),
    "V29 1E ASCII read words": ("1E read words D100 x 2", None, "4660,5"),
    "V30 1E write words": ("1E write words D4000 x 5", None, "11,65524,13,14,15"),
    "V31 1E model": ("1E PLC model", "1E answer: PLC model", ""),
    "V32 1E ASCII random write": ("1E random write words Y10, R26, CN18", None, "31529,4660,80"),
    "V33 1E abnormal code (request ours)": (
        "1E read bits M100 x 8",
        "1E error 5B CPU cannot process the request (see the abnormal code) (read bits M100 x 8)",
        ""),
}


def test_info_and_values(vector_capture):
    by_number = {int(number): rest for number, *rest in
                 fields(vector_capture, "frame.number", "_ws.col.Info", "mc.value", "_ws.col.Protocol")}
    checked = 0
    for vector in VECTOR_LIST:
        if vector.name not in INFO:
            continue
        request, answer, values = INFO[vector.name]
        asked, said = by_number[vector.request_in], by_number[vector.answer_in]
        assert asked[0] == request and asked[2] == said[2] == "MC"
        assert answer is None or said[0] == answer
        assert ",".join(filter(None, (asked[1], said[1]))) == values, vector.name
        checked += 1
    assert checked == len(INFO)


SINGLE_FIELDS = [
    ("V16 4E iQ-R read", "request", {
        "serial": "3412", "subheader": "0x5400", "network": "0x00", "pc": "0xff",
        "module": "0x03ff", "station": "0x00", "length": "14", "timer": "16",
        "subcommand": "0x0002"}),
    ("V24 4E ASCII read", "request", {
        "serial": "1234", "subheader": "0x5400", "module": "0x03ff", "length": "24"}),
    ("V18 bit read of a word device", "answer", {
        "end_code": "0xc05c", "error_module": "0x03ff", "error_command": "0x0401",
        "error_subcommand": "0x0001"}),
    ("V26 ASCII error", "answer", {"end_code": "0xc05c", "error_command": "0x0401"}),
    ("V33 1E abnormal code (request ours)", "answer", {
        "end_code": "0x005b", "abnormal_code": "0x10"}),
    ("V33 1E ASCII abnormal code (request ours)", "answer", {
        "end_code": "0x005b", "abnormal_code": "0x10"}),
    ("V8 CPU model", "answer", {"model": "Q03UDVCPU", "model_code": "0x0366"}),
    ("V31 1E model", "answer", {"model_code": "0x00f3"}),
    ("V10 remote RUN", "request", {"mode": "0x0001", "clear": "2"}),
    ("V9 loopback", "answer", {"data": "4142434445"}),
    ("V13 block read", "request", {
        "device": "D,M", "device_number": "100,100", "device_last": "101,115", "points": "2,1"}),
    ("V6 random write", "request", {"device_number": "110,112", "device_last": "110,113"}),
]


def test_single_fields(vector_capture):
    names = sorted({name for _, _, values in SINGLE_FIELDS for name in values})
    rows = {int(number): dict(zip(names, values)) for number, *values in
            fields(vector_capture, "frame.number", *(f"mc.{name}" for name in names))}
    for vector, direction, values in SINGLE_FIELDS:
        row = rows[getattr(vector_named(vector), f"{direction}_in")]
        assert {name: row[name] for name in values} == values, vector


def test_writing_special_devices_is_control(pcap):
    pcap.tcp(41000, request_3e(0x1401, 0, bytes.fromhex("640000a901000100")))  # SD100
    pcap.tcp(41001, request_3e(0x0401, 0, bytes.fromhex("640000a90100")))
    pcap.tcp(41000, DONE, False)
    assert fields(pcap.write(), "mc.class") == [("control",), ("read",), ("control",)]


# --- passwords --------------------------------------------------------------------------------------


def test_passwords_are_shown_nowhere(pcap):
    """Not in the tree, and not in the exports: these hold the bytes of every item of the tree."""
    for ascii_code in (False, True):
        client = 41000 + ascii_code
        length = b"0007" if ascii_code else b"\x07\x00"
        for command in (0x1630, 0x1631):
            for subcommand in (0, 1, 0x80):
                pcap.tcp(client, request_3e(command, subcommand, length + b"sEcret1", ascii_code))
            # Some client's form: no length, and zeros behind.
            pcap.tcp(client, request_3e(command, 0, b"sEcret1" + bytes(4), ascii_code))
        pcap.tcp(client, b"D00000FF03FF00000B0000sEcret1" if ascii_code else
                 bytes.fromhex("d00000ffff030009000000") + b"sEcret1", False)
        pcap.tcp(client, b"no frame: sEcret1", False)
    path = pcap.write()
    for output in ("pdml", "json", "ek", "text"):
        text = tshark(path, "-T", output, "-V" if output == "text" else "-n", "-Y", "mc",
                      *(["-J", "mc"] if output in ("json", "ek") else []))
        assert "hidden" in text, output
        mc = re.sub(r'(?s)<proto name="(?:tcp|ip|fake-field-wrapper|geninfo|frame)".*?</proto>', "",
                    text)
        assert "sEcret" not in mc and "734563726574" not in mc.replace(":", ""), output
    assert len(fields(path, "frame.number", only="mc.password")) == 16


# --- segments ---------------------------------------------------------------------------------------


def split_everywhere(pcap, vector, client):
    """The exchange once for each byte between two segments, on one connection; how many."""
    for part in range(1, len(vector.request)):
        pcap.tcp(client, vector.request[:part])
        pcap.tcp(client, vector.request[part:])
        pcap.tcp(client, vector.answer, False)
    for part in range(1, len(vector.answer)):
        pcap.tcp(client, vector.request)
        pcap.tcp(client, vector.answer[:part], False)
        pcap.tcp(client, vector.answer[part:], False)
    return len(vector.request) + len(vector.answer) - 2


@pytest.mark.parametrize("passes", [1, 2])
def test_frames_cut_at_every_byte(pcap, passes):
    names = ("V1 read words", "V16 4E iQ-R read", "V20 ASCII read", "V24 4E ASCII read",
             "V27 1E read bits", "V29 1E ASCII read words", "V33 1E ASCII abnormal code (request ours)")
    total = 0
    for client, name in enumerate(names, 41000):
        vector = vector_named(name)
        total += split_everywhere(pcap, vector, client)
    path = pcap.write()
    two_passes = passes == 2
    for direction in ("request", "answer"):
        rows = fields(path, "frame.number", "mc.direction", only=f'mc.direction == "{direction}"',
                      two_passes=two_passes)
        assert len(rows) == total
    assert len(fields(path, "mc.request_in", only="mc.request_in", two_passes=two_passes)) == total
    assert fields(path, "frame.number", only="mc.fault.unpaired || mc.fault.frame || "
                  "mc.fault.length", two_passes=two_passes) == []


def test_several_frames_in_one_segment(pcap):
    read, write = vector_named("V1 read words"), vector_named("V3 write words")
    pcap.tcp(41000, read.request + write.request + read.request[:5])
    pcap.tcp(41000, read.request[5:])
    pcap.tcp(41000, read.answer + write.answer + read.answer, False)
    rows = fields(pcap.write(), "frame.number", "_ws.col.Info", "mc.request_in", two_passes=True)
    assert rows == [
        ("1", "3E read D100 x 2; 3E write D100 x 3", ""),
        ("2", "3E read D100 x 2", ""),
        ("3", "3E answer: read D100 x 2; 3E answer: write D100 x 3; 3E answer: read D100 x 2",
         "1,1,2")]


def test_a_whole_frame_behind_the_end_of_another(pcap):
    """The second packet has the end of one frame and another of the same size."""
    read, write = vector_named("V1 read words"), vector_named("V18 bit read of a word device")
    assert len(read.request) == len(write.request)
    pcap.tcp(41000, read.request[:9])
    pcap.tcp(41000, read.request[9:] + write.request)
    pcap.tcp(41000, read.answer, False)
    pcap.tcp(41000, write.answer, False)
    path = pcap.write()
    rows = fields(path, "frame.number", "mc.subcommand", "mc.request_in", "mc.answer_in",
                  two_passes=True)
    assert rows == [("2", "0x0000,0x0001", "", "3,4"), ("3", "", "2", ""), ("4", "", "2", "")]
    info = [row[0] for row in fields(path, "_ws.col.Info")]
    assert info[0] == "3E read D100 x 2; 3E read D100"


def test_a_serial_number_finds_its_request(pcap):
    vector = vector_named("V16 4E iQ-R read")
    other = vector.request.replace(b"\x34\x12", b"\x35\x12")
    pcap.tcp(41000, vector.request)
    pcap.tcp(41000, other)
    pcap.tcp(41000, vector.answer.replace(b"\x34\x12", b"\x35\x12"), False)
    pcap.tcp(41000, vector.answer, False)
    assert fields(pcap.write(), "mc.request_in", only="mc.request_in") == [("2",), ("1",)]


def test_datagrams(pcap):
    """A lost answer must not shift those that follow."""
    read, write = vector_named("V1 read words"), vector_named("V3 write words")
    pcap.udp(41000, read.request)
    pcap.udp(41000, write.request)
    pcap.udp(41000, write.answer, False)
    pcap.udp(41000, read.request)
    pcap.udp(41000, read.answer, False)
    pcap.udp(41000, read.request[:-3])
    rows = fields(pcap.write(), "frame.number", "mc.request_in", "mc.value", "mc.fault.length")
    assert [row[:3] for row in rows] == [("1", "", ""), ("2", "", "6549,4610,4400"), ("3", "2", ""),
                                         ("4", "", ""), ("5", "4", "4660,2"), ("6", "", "")]
    assert [bool(row[3]) for row in rows] == [False] * 5 + [True]


def test_without_the_request(pcap):
    """Captures begin in the middle of connections."""
    pcap.tcp(41000, vector_named("V1 read words").answer, False)
    pcap.tcp(41001, vector_named("V29 1E ASCII read words").answer, False)
    pcap.tcp(41002, vector_named("V31 1E model").answer, False)
    rows = fields(pcap.write(), "mc.family", "mc.end_code", "mc.data", only="mc.fault.unpaired")
    assert rows == [("3E", "0x0000", "34120200"), ("1E", "0x0000", "3132333430303035"),
                    ("1E", "0x0000", "f300")]


# --- faults -----------------------------------------------------------------------------------------


FAULTS = [
    ("length", "500000ffff03000500100001040000"),                    # less than timer to subcommand
    ("length", "500000ffff03000d00100001040000640000a8020000"),      # a byte more than its content
    ("length", "500000ffff03000a00100001040000640000a8"),            # no points
    ("length", "500000ffff03000e00100001140000640000a802003412"),    # one word of two
    ("count", "500000ffff03000c00100001040000640000a80000"),
    ("count", "500000ffff03000c00100001040000640000a8c103"),
    ("count", "500000ffff03000c00100001040000ffffffa80200"),
    ("shape", "500000ffff03000c00100001040100640000a80100"),         # bits of D
    ("shape", "500000ffff03000c00100001040000640000c10100"),         # words of TS
    ("shape", "500000ffff03000c00100001040000640000770100"),         # no such device
    ("shape", b"500000FF03FF000018001004010000D*00x1000003".hex()),
    ("shape", "54003412010000ffff03000c00100001040000640000a80100"),
    ("command", "500000ffff03000c00100099990000640000a80100"),
    ("subcommand", "500000ffff03000c00100001040700640000a80100"),
    ("undecoded", "500000ffff03000c00100001048200640000a80100"),
    ("undecoded", "500000ffff03000c00100027180000640000a80100"),
    ("frame", "5700000000001111070000ffff030000fe0300"),             # MELSOFT
]


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_faults(pcap, transport):
    for client, (_, frame) in enumerate(FAULTS, 41000):
        getattr(pcap, transport)(client, bytes.fromhex(frame))
    names = ("length", "count", "shape", "command", "subcommand", "undecoded", "frame")
    rows = fields(pcap.write(), f"{transport}.srcport", *(f"mc.fault.{name}" for name in names))
    found = {int(port): [name for name, mark in zip(names, marks) if mark] for port, *marks in rows}
    for client, (name, frame) in enumerate(FAULTS, 41000):
        assert found[client] == [name], frame


# --- recognition ------------------------------------------------------------------------------------


def test_3e_and_4e_are_recognised_without_a_port(tmp_path):
    pcap = Pcap(tmp_path / "any.pcap", port=4990)
    expected = 0
    for client, vector in enumerate(VECTOR_LIST, 41000):
        if vector.family != "1E" and vector.name != "V15 monitor":
            pcap.tcp(client, vector.request)
            pcap.tcp(client, (vector.answer or b"")[:12] or DONE[:8], False)
            pcap.tcp(client, (vector.answer or b"")[12:] or DONE[8:], False)
            expected += 2
    path = pcap.write()
    rows = fields(path, "mc.direction", ports=None)
    assert len(rows) == expected
    assert fields(path, "mc", ports=None, options=("--disable-heuristic", "mc_tcp")) == []
    rows = fields(path, "mc.direction", ports=None, options=(
        "--disable-heuristic", "mc_tcp", "-d", "tcp.port==4990,mc"))
    assert len(rows) == expected


def test_nothing_else_is_taken_for_mc(tmp_path):
    """Random bytes, with and without a subheader in front, and text."""
    chance = random.Random(1)
    pcap = Pcap(tmp_path / "other.pcap", port=4990)
    starts = [b"", b"\x50\x00", b"\xd0\x00", b"\x54\x00", b"\xd4\x00", b"5000", b"D000", b"5400", b"D400",
              b"5000 is the answer, and that is all there is to it\n", b"\x50\x00\x00\xff"]
    for client in range(41000, 43000):
        pcap.tcp(client, chance.choice(starts) + chance.randbytes(chance.randrange(1, 80)),
                 chance.random() < 0.5)
    assert fields(pcap.write(), "frame.number", ports=None) == []


# --- anything ---------------------------------------------------------------------------------------


def mutated(chance, frame):
    frame = bytearray(frame)
    for _ in range(chance.choice([1, 1, 2, 5])):
        kind = chance.randrange(4)
        at = chance.randrange(len(frame)) if frame else 0
        if kind == 0 and frame:
            frame[at] = chance.randrange(256)
        elif kind == 1 and frame:
            frame[at] = chance.choice(b"0159ADFf*\x00\x01\xff\x50\xd0")
        elif kind == 2:
            del frame[at:at + chance.randrange(1, 6)]
        else:
            frame[at:at] = chance.randbytes(chance.randrange(1, 4))
    return bytes(frame) or b"\x00"


@pytest.mark.parametrize("seed", [1, 2])
def test_mutated_frames(tmp_path, seed):
    """No byte makes an error in the dissector (tshark() looks), nor an endless loop."""
    chance = random.Random(seed)
    pcap = Pcap(tmp_path / "mutated.pcap")
    for _ in range(2500):
        client = chance.randrange(41000, 41300)
        vector = chance.choice(VECTOR_LIST)
        send = pcap.udp if chance.random() < 0.5 else pcap.tcp
        send(client, mutated(chance, vector.request) if chance.random() < 0.7 else vector.request)
        if vector.answer:
            answer = vector.answer if chance.random() < 0.5 else mutated(chance, vector.answer)
            send(client, answer, chance.random() < 0.05)
    text = tshark(pcap.write(), "-V", "-2" if seed == 2 else "-n")
    assert text.count("MELSEC Communication Protocol") > 3000
    assert "Dissector bug" not in text and "Malformed Packet: MC" not in text


def test_every_prefix(tmp_path):
    """Each as a datagram, and as the last segment of a capture."""
    pcap = Pcap(tmp_path / "prefixes.pcap")
    for vector in VECTOR_LIST:
        for size in range(1, len(vector.request) + 1):
            pcap.udp(41000, vector.request[:size])
        for size in range(1, len(vector.answer or b"") + 1):
            pcap.udp(41000, vector.request)
            pcap.udp(41000, vector.answer[:size], False)
    assert "Malformed Packet: MC" not in tshark(pcap.write(), "-V")


# --- a real exchange --------------------------------------------------------------------------------


POLLS = [("read", "D100", "3"), ("write", "D110", "5", "6"), ("read", "M7", "5"), ("read", "X1F"),
         ("write", "M20", "1", "0", "1")]


def mcping(plc, words, *options, check=True):
    return lab.run(lab.BUILD / "mcping", *options, plc.address, *words, check=check)


def logged(plc):
    """Family, code, command, devices and end code of each request, as the PLC's log has them."""
    for line in plc.requests():
        words = dict(re.findall(r"(\w+)=(\S+)", line))
        yield (words["family"], words["code"], f"0x{int(words['command'], 16):04x}",
               words.get("devices", ""), f"0x{int(words['end'], 16):04x}")


def seen(capture, port):
    """The same as tshark tells it of one port."""
    names = ("mc.family", "mc.code", "mc.command", "mc.device", "mc.device_number", "mc.device_last")
    requests = fields(capture.path, *names, ports=port,
                      only=f'mc.direction == "request" && tcp.port == {port}')
    answers = fields(capture.path, "mc.end_code", "mc.request_in", ports=port,
                     only=f'mc.direction == "answer" && tcp.port == {port}')
    assert len(requests) == len(answers) and all(request_in for _, request_in in answers)
    for (*head, device, first, last), (end_code, _) in zip(requests, answers):
        number = "{:X}" if device == "X" else "{}"
        span = [device + number.format(int(value)) for value in (first, last) if value]
        if end_code != "0x0000":
            span = []  # the PLC did not look into it
        yield (*head, "..".join(span[:1] if first == last else span), end_code)


def test_what_mcping_and_mcplc_say(tmp_path):
    """The dissector tells the same requests as the logs of the PLCs, each with its answer."""
    password = tmp_path / "password"
    password.write_text("sEcret")
    unlock = ("--unlock", f"--password-file={password}")
    plain = lab.Plc(tmp_path, "--set", "D100=7,8,9", name="plain")
    locked = lab.Plc(tmp_path, "--password", "sEcret", name="locked")
    with lab.stopping(plain, locked):
        capture = peers.Capture(tmp_path, "lo", "tcp", "port", str(plain.port), "or", "tcp", "port",
                                str(locked.port))
        for code in ("binary", "ascii"):
            for family in ("3e", "4e", "1e"):
                for words in POLLS:
                    mcping(plain, words, f"--frame={family}", f"--code={code}")
            mcping(locked, ("read", "D100"), f"--code={code}", *unlock)
            assert "C201" in mcping(locked, ("read", "D100"), f"--code={code}", check=False).stdout
        capture.stop()
    for plc, requests in ((plain, 6 * len(POLLS)), (locked, 6)):
        told = list(seen(capture, plc.port))
        assert told == list(logged(plc)) and len(told) == requests
    assert "sEcret" not in tshark(capture.path, "-V", ports=locked.port)


# --- what docs/wireshark.md says --------------------------------------------------------------------

PAGE = (lab.ROOT / "docs" / "wireshark.md").read_text()


def filters():
    rows = re.findall(r"(?m)^\| ([^|]+) \| `(mc\.[^`]+)` \|$", PAGE)
    return {what: text.replace("\\|", "|") for what, text in rows}


def test_the_filters_of_the_page(vector_capture):
    """Each is accepted, and finds what it is said to find."""
    assert len(filters()) == 13
    found = {what: {int(number) for number, in fields(vector_capture, "frame.number", only=text,
                                                      two_passes=True)}
             for what, text in filters().items()}
    commands, _ = lua_tables()
    by_class = {}
    for vector in VECTOR_LIST:
        kind = commands["1E" if vector.family == "1E" else "3E"][vector.command][1]
        by_class.setdefault(kind, []).append(vector)
    writes = by_class["write"]
    assert found["who wrote"] == {vector.request_in for vector in writes}
    assert found["writes that a PLC carried out"] == {vector.answer_in for vector in writes}
    assert found["writes that were refused"] == set()
    assert found["remote passwords"] == {number for vector in by_class["security"]
                                         for number in (vector.request_in, vector.answer_in)}
    assert found["all errors"] == {vector.answer_in for vector in VECTOR_LIST if vector.end_code}
    assert found["requests without an answer"] == {vector.request_in for vector in VECTOR_LIST
                                                   if not vector.answer}
    assert found["other stations behind this PLC"] == {
        vector.request_in for vector in VECTOR_LIST if vector.name.startswith("V33 1E") and
        "abnormal" in vector.name}
    assert found["slow answers"] == found["what nobody knows"] == set()


def test_the_fields_of_the_page():
    """It names none that is not there, and all faults."""
    text = (DISSECTOR / "mcseal-mc-fields.lua").read_text()
    named = set(re.findall(r"`(mc\.\w+)`", PAGE.split("## Fields")[1].split("## Where")[0]))
    assert len(named) > 20 and named <= set(re.findall(r'ProtoField\.\w+\("(mc\.\w+)"', text))
    faults = re.search(r"expert information: (.*?) \|", PAGE).group(1).replace("`", "")
    assert set(faults.split(", ")) == set(re.findall(r'= expert_info\("(\w+)"', text))


def test_one_look_without_installing(tmp_path, pcap):
    pcap.tcp(41000, vector_named("V1 read words").request)
    path = pcap.write()
    version = float(re.search(r"TShark.*? (\d+\.\d+)", lab.run("tshark", "-v").stdout).group(1))
    if version < 4.4:  # later ones load no Lua for root
        text = lab.run("tshark", "-X", f"lua_script:{DISSECTOR / 'mcseal-mc.lua'}", "-o",
                       f"mc.ports:{PORT}", "-r", path, env={**os.environ, "HOME": str(tmp_path)}).stdout
        assert "3E read D100 x 2" in text


@pytest.mark.parametrize("port", [5000, 5010])
def test_a_port_that_wireshark_knows_as_another_protocols(tmp_path, port):
    pcap = Pcap(tmp_path / "port.pcap", port=port)
    pcap.tcp(41000, vector_named("V29 1E ASCII read words").request)
    pcap.tcp(41000, vector_named("V29 1E ASCII read words").answer, False)
    assert fields(pcap.write(), "mc.value", ports="5000-5003,5010") == [("",), ("4660,5",)]


def test_without_captured_bytes(pcap):
    """A snapshot length cuts packets off: told, and nothing is waited for."""
    vector = vector_named("V3 write words")
    pcap.tcp(41000, vector.request)
    head = struct.unpack("<IIII", pcap.packets[0][:16])
    pcap.packets[0] = struct.pack("<IIII", *head[:2], head[2] - 4, head[3]) + pcap.packets[0][16:-4]
    rows = fields(pcap.write(), "mc.device", "mc.value", "mc.fault.length")
    assert rows == [("D", "6549", "1")]
