# SPDX-License-Identifier: Apache-2.0
"""A second reader of MC requests, written from the manuals and not from daemon/mc.

How it works: read() takes one whole request frame apart. It does not stop at the first fault but
reads on as far as the frame can still be made sense of: no manual says in which order a PLC looks
for faults, so a frame with two of them may rightly be refused for either. Whoever compares asks
that both sides find a fault or neither does, and that the one named is among those found here.

answer_size() came later and from somebody who had read daemon/mc; it takes the request apart anew,
by the table of what the answers to device commands hold.

Sources: MELSEC Communication Protocol Reference Manual (3E/4E message formats, device codes, limits
of appendix 5); FX3U-ENET-ADP and QnUCPU (built-in Ethernet) User's Manuals (1E).
"""
HEX = b"0123456789ABCDEFabcdef"  # capitals say the manuals, npm's mcprotocol writes small letters
DECIMAL = b"0123456789"
NIBBLES = b"\x00\x01\x10\x11"  # two points a byte, each 0 or 1

BIT, WORD, DWORD = "bit", "word", "dword"

# Name, kind, base of the number, code (Q/L, widened to two bytes for iQ-R), ASCII Q/L.
COMMON = """
SM bit 10 91 SM   SD word 10 A9 SD   X bit 16 9C X*   Y bit 16 9D Y*   M bit 10 90 M*
L bit 10 92 L*    F bit 10 93 F*     V bit 10 94 V*   B bit 16 A0 B*   W word 16 B4 W*
D word 10 A8 D*   TS bit 10 C1 TS    TC bit 10 C0 TC  TN word 10 C2 TN
STS bit 10 C7 SS  STC bit 10 C6 SC   STN word 10 C8 SN
CS bit 10 C4 CS   CC bit 10 C3 CC    CN word 10 C5 CN SB bit 16 A1 SB  SW word 16 B5 SW
S bit 10 98 S*    DX bit 16 A2 DX    DY bit 16 A3 DY  Z word 10 CC Z*  R word 10 AF R*
ZR word 10 B0 ZR  G word 10 AB G*
"""
# Name, kind, code: what only the iQ-R form can name; all of them decimal.
IQR_ONLY = """
HG word 002E   LTS bit 0051   LTC bit 0050   LTN dword 0052   LSTS bit 0059   LSTC bit 0058
LSTN dword 005A   LCS bit 0055   LCC bit 0054   LCN dword 0056   LZ dword 0062   RD word 002C
"""
ONLY_EXTENDED = {"G", "HG"}
CONTACTS = {"TS", "TC", "STS", "STC", "CS", "CC", "LTS", "LTC", "LSTS", "LSTC", "LCS", "LCC"}
SPECIAL = {"SM", "SD"}  # writing them changes what the CPU does

# Two letters, the first in the high byte.
NAMES_1E = "D W R TN TS TC CN CS CC X Y M S B F".split()


class Device:
    def __init__(self, name, kind, base, code, code_long, ascii_short):
        self.name, self.kind, self.code, self.code_long = name, kind, code, code_long
        self.contact, self.extended = name in CONTACTS, name in ONLY_EXTENDED
        self.special = name in SPECIAL
        self.base_long = base
        # The Q manual writes file registers ZR in hexadecimal; an iQ-R takes them in decimal.
        self.base_short = 16 if name == "ZR" else base
        self.ascii_short = ascii_short.encode()
        self.ascii_long = name.ljust(4, "*").encode()
        self.code_1e = (name.ljust(2).encode()[0] << 8 | name.ljust(2).encode()[1]
                        if name in NAMES_1E else None)


def _devices():
    cells = COMMON.split()
    for name, kind, base, code, short in zip(*[iter(cells)] * 5):
        yield Device(name, kind, int(base), int(code, 16), int(code, 16), short)
    cells = IQR_ONLY.split()
    for name, kind, code in zip(*[iter(cells)] * 3):
        yield Device(name, kind, 10, None, int(code, 16), "")


DEVICES = list(_devices())
BY_CODE = {device.code: device for device in DEVICES if device.code is not None}
BY_CODE_LONG = {device.code_long: device for device in DEVICES}
BY_ASCII = {device.ascii_short: device for device in DEVICES if device.ascii_short}
BY_ASCII_LONG = {device.ascii_long: device for device in DEVICES}
BY_1E = {device.code_1e: device for device in DEVICES if device.code_1e is not None}


class Stop(Exception):
    """Nothing behind this point can be read."""


class Binary:
    """What is left of a frame in binary code. Sizes are in bytes."""
    code = "binary"
    digits = 1  # characters of the wire per byte of a number

    def __init__(self, wire, faults):
        self.wire, self.at, self.faults = wire, 0, faults

    def take(self, size):
        taken = self.wire[self.at:self.at + size]
        if len(taken) < size:
            self.faults.append("length")
            raise Stop
        self.at += size
        return taken

    def number(self, size):
        return int.from_bytes(self.take(size), "little")

    def device(self, long):
        if long:
            taken = self.take(6)
            return BY_CODE_LONG.get(taken[4] | taken[5] << 8), int.from_bytes(taken[:4], "little")
        taken = self.take(4)
        return BY_CODE.get(taken[3]), int.from_bytes(taken[:3], "little")

    def device_1e(self):
        taken = self.take(6)
        return BY_1E.get(taken[4] | taken[5] << 8), int.from_bytes(taken[:4], "little")

    def words(self, count):
        self.take(2 * count)

    def states(self, count, _filled):
        """Whether `count` states of bits are each on or off, and what fills them up is 0."""
        taken = self.take((count + 1) // 2)
        return not taken.translate(None, NIBBLES) and not (count % 2 and taken[-1] & 0x0f)

    def text(self, size):
        return self.take(size)


class Ascii(Binary):
    """The same in ASCII code: capitals in hexadecimal, the highest digit first."""
    code = "ascii"
    digits = 2

    def wrong_digit(self):
        self.faults.append("digit")
        self.faults.append("shape")

    def number(self, size):
        taken = self.take(2 * size)
        if taken.translate(None, HEX):
            self.wrong_digit()
            raise Stop
        return int(taken, 16)

    def device(self, long):
        width, size = (4, 8) if long else (2, 6)
        name = self.take(width).replace(b" ", b"*")
        device = (BY_ASCII_LONG if long else BY_ASCII).get(name)
        digits = self.take(size)
        # Leading zeros may be blanks: that leaves a digit at least.
        digits = digits[:-1].lstrip(b" ").rjust(size - 1, b"0") + digits[-1:]
        base = device and (device.base_long if long else device.base_short) or 16
        if digits.translate(None, HEX if base == 16 else DECIMAL):
            self.wrong_digit()
            return None, 0
        return device, int(digits, base)

    def device_1e(self):
        code, number = self.number(2), self.number(4)
        return BY_1E.get(code), number

    def words(self, count):
        if self.wire[self.at:self.at + 4 * count].translate(None, HEX):
            self.wrong_digit()
        self.take(4 * count)

    def states(self, count, filled):
        taken = self.take(count + count % 2 if filled else count)
        return not taken.translate(None, b"01") and taken[count:] in (b"", b"0")


class Request:
    """One request while it is read."""

    def __init__(self, command, subcommand, wire, code):
        self.faults, self.ranges = [], []
        self.command, self.subcommand = command, subcommand
        self.body = (Ascii if code == "ascii" else Binary)(wire, self.faults)
        self.long = bool(subcommand & 2)
        self.highest = 0xffffffff if self.long else 0xffffff
        self.opaque = False
        self.special = False

    def fault(self, rule):
        self.faults.append(rule)

    def limit(self, count, most):
        if not 0 < count <= most:
            self.faults.append("count")

    def touch(self, device, first, points, unit, write):
        """`points` of `unit` from `first` on: what bits, words or double words that is."""
        if points == 0:
            self.fault("count")
        if device is None or device.extended:
            return self.fault("shape")
        if unit == BIT and device.kind != BIT or unit != BIT and device.contact:
            self.fault("shape")
        words = 2 * points if unit == DWORD else points
        if unit == BIT:
            span = points
        elif device.kind == BIT:
            span = 16 * words
        elif device.kind == WORD:
            span = words
        else:
            # Nothing says whether a point of a double-word device may be half of it: the more of
            # them that could be meant. A double word is exactly one.
            span = points
        last = first + span - 1
        if last > self.highest:
            self.fault("count")
        self.special |= device.special and write
        self.ranges.append((device.name, first, last, write))

    def value(self, good):
        """States of bits that are neither on nor off, modes of remote control that there are not:
        a PLC itself refuses them (C060, C05C), and they are malformed all the same."""
        if not good:
            self.faults += ["value", "shape"]

    def data(self, points, bits, filled=False):
        if bits:
            self.value(self.body.states(points, filled))
        else:
            self.body.words(points)

    def finish(self):
        if self.body.at != len(self.body.wire):
            self.fault("length")


# --- 3E and 4E: what stands behind the subcommand ------------------------------------------------

def batch(write):
    def reader(request):
        body, bits = request.body, request.subcommand & 1
        device, first = body.device(request.long)
        points = body.number(2)
        request.touch(device, first, points, BIT if bits else WORD, write)
        if not bits:
            request.limit(points, 960)
        else:
            request.limit(points, 7168 if body.digits == 1 else 3584)
        if write:
            request.data(points, bits)
    return reader


def random_read(request):
    body = request.body
    words, dwords = body.number(1), body.number(1)
    request.limit(words + dwords, 96 if request.long else 192)
    for unit in [WORD] * words + [DWORD] * dwords:
        device, first = body.device(request.long)
        request.touch(device, first, 1, unit, False)


def random_write(request):
    body = request.body
    if request.subcommand & 1:
        count = body.number(1)
        request.limit(count, 94 if request.long else 188)
        for _ in range(count):
            device, first = body.device(request.long)
            request.touch(device, first, 1, BIT, True)
            request.value(body.number(2 if request.long else 1) <= 1)
        return
    words, dwords = body.number(1), body.number(1)
    request.limit(12 * words + 14 * dwords, 960 if request.long else 1920)
    for unit in [WORD] * words + [DWORD] * dwords:
        device, first = body.device(request.long)
        request.touch(device, first, 1, unit, True)
        body.words(2 if unit == DWORD else 1)


def blocks(write):
    def reader(request):
        body, total = request.body, 0
        words, bits = body.number(1), body.number(1)
        request.limit(words + bits, 60 if request.long else 120)
        for block in range(words + bits):
            device, first = body.device(request.long)
            points = body.number(2)
            total += points
            if total > 960:
                request.fault("count")
            # The blocks of words come first, then those of bits, each point of which is 16 bits.
            if block >= words and device and device.kind != BIT:
                request.fault("shape")
            request.touch(device, first, points, WORD, write)
            if write:
                body.words(points)
    return reader


def nothing(request):
    pass


def numbers(*fields):
    """Fixed fields: each is a size and the values it may have."""
    def reader(request):
        for size, allowed in fields:
            request.value(request.body.number(size) in allowed)
    return reader


def loopback(request):
    size = request.body.number(2)
    request.limit(size, 960)
    if request.body.text(size).translate(None, HEX):
        request.fault("shape")


def module_buffer(unit, most, module):
    """Address, how many units of `unit` bytes and, of another module, which; what is written."""
    def reader(request):
        body = request.body
        body.number(4)
        size = body.number(2)
        request.limit(size, most)
        if module:
            body.number(2)
        if request.command & 0x1000:
            if body.digits == 2 and body.wire[body.at:].translate(None, HEX):
                body.wrong_digit()
            body.take(size * unit * body.digits)
    return reader


def unread(request):
    """Its fields are not told: a frame that names something other than devices."""
    request.body.at = len(request.body.wire)


# Without 0080..0083: what their extension specification (other modules and networks, index,
# indirection) names is in layouts that nobody has written down whole. Nor 0040, of serial modules.
PLAIN = (0,)
UNITS = (0, 2)
ALL_UNITS = (0, 1, 2, 3)
ANY = None  # the manuals at hand do not list them

# Command: class, subcommands, reader, opaque.
COMMANDS = {
    0x0401: ("read", ALL_UNITS, batch(False), False),
    0x1401: ("write", ALL_UNITS, batch(True), False),
    0x0403: ("read", UNITS, random_read, False),
    0x1402: ("write", ALL_UNITS, random_write, False),
    0x0406: ("read", UNITS, blocks(False), False),
    0x1406: ("write", UNITS, blocks(True), False),
    0x0801: ("read", UNITS, random_read, False),
    0x0802: ("read", PLAIN, nothing, True),
    0x0613: ("read", PLAIN, module_buffer(2, 480, False), True),
    0x1613: ("write", PLAIN, module_buffer(2, 480, False), True),
    0x0601: ("read", PLAIN, module_buffer(1, 1920, True), True),
    0x1601: ("write", PLAIN, module_buffer(1, 1920, True), True),
    0x041A: ("read", ANY, unread, True),
    0x041C: ("read", ANY, unread, True),
    0x141A: ("write", ANY, unread, True),
    0x141B: ("write", ANY, unread, True),
    0x0101: ("read", PLAIN, nothing, False),
    0x0619: ("diagnostic", PLAIN, loopback, False),
    0x1001: ("control", PLAIN, numbers((2, (1, 3)), (1, (0, 1, 2)), (1, (0,))), False),
    0x1002: ("control", PLAIN, numbers((2, (1,))), False),
    0x1003: ("control", PLAIN, numbers((2, (1, 3))), False),
    0x1005: ("control", PLAIN, numbers((2, (1,))), False),
    0x1006: ("control", PLAIN, numbers((2, (1,))), False),
    # Of these two the pages at hand tell neither subcommands nor data.
    0x1617: ("control", (0, 1), nothing, False),
    0x1619: ("control", (0, 1), nothing, False),
    # A proxy classifies by command and must not read further: three layouts are in use.
    0x1630: ("security", PLAIN, unread, True),
    0x1631: ("security", PLAIN, unread, True),
    0x0808: ("file-write", (0, 1), unread, True),
    0x0630: ("read", ANY, unread, True),
    0x0631: ("read", ANY, unread, True),
    0x2101: ("other", ANY, unread, True),
    0x3070: ("other", ANY, unread, True),
}
for _command in (0x0201, 0x0202, 0x0203, 0x0204, 0x0205, 0x0206, 0x1810, 0x1811, 0x1828):
    COMMANDS[_command] = ("file-read", ANY, unread, True)
for _command in (0x1202, 0x1203, 0x1204, 0x1205, 0x1206, 0x1207, 0x1820, 0x1822, 0x1824, 0x1825,
                 0x1826, 0x1827, 0x1829, 0x182A):
    COMMANDS[_command] = ("file-write", ANY, unread, True)
for _command in (0x0E30, 0x0E32, 0x0E33, 0x0E44, 0x0E45, 0x0E53):
    COMMANDS[_command] = ("other", ANY, unread, True)
for _command in (0x0E31, *range(0x0E34, 0x0E3B)):
    COMMANDS[_command] = ("control", ANY, unread, True)

# --- 1E ------------------------------------------------------------------------------------------


def count_1e(request):
    """Followed by 00. Where it cannot be read, nothing says where the frame ends."""
    try:
        count = request.body.number(1)
        if request.body.number(1) == 0:
            return count
    except Stop:
        pass
    request.fault("frame")
    raise Stop


def batch_1e(unit, write):
    def reader(request):
        body = request.body
        device, first = body.device_1e()
        points = count_1e(request) or 256
        if unit == WORD and device and device.kind == BIT:
            request.limit(points, 40 if write else 128)
        request.touch(device, first, points, unit, write)
        if write:
            request.data(points, unit == BIT, filled=True)
    return reader


def random_1e(unit, write):
    def reader(request):
        body = request.body
        count = count_1e(request)
        if not count:
            # Or is that 256, as it is where points are counted? Then nothing like it follows.
            request.faults += ["count", "no end"]
        for _ in range(count):
            device, first = body.device_1e()
            request.touch(device, first, 1, unit, write)
            if write and unit == WORD:
                body.words(1)
            elif write:
                request.value(body.number(1) <= 1)
    return reader


def loopback_1e(request):
    size = request.body.number(1)  # nothing says that it may not be 0
    request.body.text(size * request.body.digits)


COMMANDS_1E = {
    0x00: ("read", batch_1e(BIT, False), False),
    0x01: ("read", batch_1e(WORD, False), False),
    0x02: ("write", batch_1e(BIT, True), False),
    0x03: ("write", batch_1e(WORD, True), False),
    0x04: ("write", random_1e(BIT, True), False),
    0x05: ("write", random_1e(WORD, True), False),
    0x06: ("read", random_1e(BIT, False), False),
    0x07: ("read", random_1e(WORD, False), False),
    0x08: ("read", nothing, True),
    0x09: ("read", nothing, True),
    0x13: ("control", nothing, False),
    0x14: ("control", nothing, False),
    0x15: ("read", nothing, False),
    0x16: ("diagnostic", loopback_1e, False),  # as 0619 is
}

# --- what answers them ---------------------------------------------------------------------------

# Answered by an end code and nothing else.
NO_DATA = {0x0801, 0x1001, 0x1002, 0x1003, 0x1005, 0x1401, 0x1402, 0x1406, 0x1601, 0x1613, 0x1617,
           0x1630, 0x1631}
ANY_SIZE = -1


def answer_size(command, subcommand, wire, code):
    """Characters of the wire behind end code 0000, for a correct 3E or 4E request with the data
    `wire`. ANY_SIZE where no page says it for sure."""
    body = (Ascii if code == "ascii" else Binary)(wire, [])
    long, digits = bool(subcommand & 2), body.digits
    if command in NO_DATA:
        return 0
    if command == 0x0619:  # the number of characters, and they themselves
        return 2 * digits + body.number(2)
    if command == 0x0613:
        body.number(4)
        return 2 * digits * body.number(2)
    if command == 0x0401:
        device, _first = body.device(long)
        points = body.number(2)
        if subcommand & 1:  # two points a byte, but one a character
            return points if digits == 2 else len(range(0, points, 2))
        return _words([device], 2 * points, digits)
    if command == 0x0403:
        words, dwords = body.number(1), body.number(1)
        listed = [body.device(long)[0] for _ in range(words + dwords)]
        return _words(listed[:words], 2 * words + 4 * dwords, digits)
    if command == 0x0406:
        listed, points = [], 0
        for _ in range(body.number(1) + body.number(1)):
            listed.append(body.device(long)[0])
            points += body.number(2)
        return _words(listed, 2 * points, digits)
    return ANY_SIZE


def _words(devices, size, digits):
    """A double-word device read by single words may give half of itself or all of it."""
    return ANY_SIZE if any(device.kind == DWORD for device in devices) else size * digits


# --- whole frames --------------------------------------------------------------------------------

RULES = {"frame", "length", "count", "shape", "command", "subcommand"}
BAD = {"rule": "frame", "faults": ["frame"]}
OWN = (0x00, 0xff, 0x03ff, 0x00)


def read(frame):
    """What a whole request frame says; {"rule": "frame", ...} when it is none."""
    head = frame[:4]
    if head[:2] == b"\x50\x00":
        return _long_frame(frame, "3E", "binary", 2)
    if head[:2] == b"\x54\x00":
        return _long_frame(frame, "4E", "binary", 6)
    if head == b"5000":
        return _long_frame(frame, "3E", "ascii", 4)
    if head == b"5400":
        return _long_frame(frame, "4E", "ascii", 12)
    if head[:1] and head[0] <= 0x16:
        return _frame_1e(frame, "binary")
    if head[:1] in (b"0", b"1"):
        return _frame_1e(frame, "ascii")
    return BAD


def _long_frame(frame, family, code, at):
    """`at`: where the route begins."""
    faults = []
    fields = (Ascii if code == "ascii" else Binary)(frame, faults)
    try:
        if family == "4E":
            fields.at = at - 2 * fields.digits
            if fields.number(2):
                return BAD
        fields.at = at
        route = (fields.number(1), fields.number(1), fields.number(2), fields.number(1))
        length = fields.number(2)
        if length != len(frame) - fields.at:
            return BAD
        fields.number(2)
        command, subcommand = fields.number(2), fields.number(2)
    except Stop:
        return BAD
    request = Request(command, subcommand, frame[fields.at:], code)
    known = COMMANDS.get(command)
    if known is None:
        request.fault("command")
    else:
        _class, subcommands, reader, request.opaque = known
        if subcommands is not ANY and subcommand not in subcommands:
            request.fault("subcommand")
        else:
            _run(reader, request)
    return _verdict(request, family, code, route, known and known[0])


def _frame_1e(frame, code):
    fields = (Ascii if code == "ascii" else Binary)(frame, [])
    try:
        command, pc = fields.number(1), fields.number(1)
        fields.number(2)
    except Stop:
        return BAD
    known = COMMANDS_1E.get(command)
    if known is None:
        return BAD
    request = Request(command, 0, frame[fields.at:], code)
    request.highest = 0xffffffff
    request.opaque = known[2]
    _run(known[1], request)
    # Without a length field, only counts say where the frame ends.
    if "length" in request.faults or "frame" in request.faults:
        return BAD
    if "digit" in request.faults or "no end" in request.faults:
        request.faults.append("frame")
    return _verdict(request, "1E", code, (pc,), known[0])


def _run(reader, request):
    try:
        reader(request)
        request.finish()
    except Stop:
        pass


def _verdict(request, family, code, route, kind):
    faults = [fault for fault in request.faults if fault in RULES]
    return {
        "family": family, "code": code, "route": route,
        "own": route == OWN or route == (0xff,),
        "command": request.command, "subcommand": request.subcommand,
        "value": "value" in request.faults,
        "rule": faults[0] if faults else "none", "faults": faults, "opaque": request.opaque,
        "class": "control" if request.special else kind or "-",
        "ranges": request.ranges,
        "points": sum(last - first + 1 for _, first, last, _ in request.ranges),
        "answer": ANY_SIZE if faults or family == "1E" else
                  answer_size(request.command, request.subcommand, request.body.wire, code),
    }
