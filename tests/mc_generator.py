# SPDX-License-Identifier: Apache-2.0
"""Request frames to try decoders of the MC protocol with: correct ones, and changed ones.

    Generator(seed).frames(count)    bytes; the same seed gives the same frames

How it works: a Sketch is a request with all its fields apart (a list of [kind, size, value]). Of
four frames one is correct; in two, fields are changed before the frame is put together: its length
then fits, and only what stands in it contradicts itself. In the fourth the finished bytes are cut,
lengthened or spoiled. What chance would seldom meet is in mc_series.py.
"""
import random

from mc_oracle import COMMANDS, COMMANDS_1E, DEVICES

SHORT = [device for device in DEVICES if device.code is not None]
IN_1E = [device for device in DEVICES if device.code_1e is not None]
FAMILIES = ("3E", "4E", "1E")
COUNTS = (0, 1, 2, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff)
# The last that is allowed, or the first that is not, more often than chance has it.
LIMITS = {
    "word": (960, 961), "bit": (7168, 7169, 3584, 3585), "block": (60, 61, 120, 121, 480, 960, 961),
    "random": (96, 97, 192, 193, 68, 69, 80, 81, 137, 138, 160, 161, 94, 95, 188, 189)}
NUMBERS = (0, 1, 7, 15, 16, 100, 0x1fff, 0xffff, 0x10000, 99999, 999999, 0xfffff0, 0xffffff)
LONG_NUMBERS = NUMBERS + (0x1000000, 99999999, 0x7fffffff, 0xffffff00, 0xfffffff0, 0xffffffff)
WRONG_CHARACTERS = b" _+-xgGoO\x00\x80*:@/`"


class Sketch:
    """One request, not yet bytes."""

    def __init__(self, family, ascii_code, command, subcommand):
        self.family, self.ascii = family, ascii_code
        self.command, self.subcommand = command, subcommand
        self.fields = []
        self.route = (0x00, 0xff, 0x03ff, 0x00)
        self.serial, self.reserved, self.timer = 0x1234, 0, 0x10
        self.length_error = 0

    def number(self, value, size, kind="number"):
        self.fields.append([kind, size, value])

    def device(self, device, number):
        self.fields.append(["device", device, number])

    def states(self, bits):
        self.fields.append(["bits", 0, bits])

    def raw(self, data):
        self.fields.append(["raw", 0, data])

    def _field(self, kind, size, value):
        if kind == "raw":
            return value
        if kind == "bits":
            return self._bits(value)
        if kind == "device":
            return self._device(size, value)
        value &= (1 << 8 * size) - 1
        return b"%0*X" % (2 * size, value) if self.ascii else value.to_bytes(size, "little")

    def _bits(self, states):
        if self.ascii:
            fill = b"0" if self.family == "1E" and len(states) % 2 else b""
            return bytes(48 + state for state in states) + fill
        if len(states) % 2:
            states = states + [0]
        return bytes(high << 4 | low for high, low in zip(states[::2], states[1::2]))

    def _device(self, device, number):
        long = self.subcommand & 2
        if self.family == "1E":
            code = device if isinstance(device, int) else device.code_1e or 0x4420
            number &= 0xffffffff
            if self.ascii:
                return b"%04X%08X" % (code, number)
            return number.to_bytes(4, "little") + code.to_bytes(2, "little")
        if not self.ascii:
            code = device if isinstance(device, int) else device.code_long
            if long:
                return (number & 0xffffffff).to_bytes(4, "little") + code.to_bytes(2, "little")
            return (number & 0xffffff).to_bytes(3, "little") + bytes([code & 0xff])
        width = 8 if long else 6
        if isinstance(device, int):
            name = bytes((65 + device % 26, 42 if device & 128 else 65 + device // 26 % 26))
            name, base = name + b"**" if long else name, 10
        else:
            name = device.ascii_long if long else device.ascii_short or b"D*"
            base = device.base_long if long else device.base_short
        text = b"%0*X" % (width, number) if base == 16 else b"%0*d" % (width, number)
        return name + text[-width:]

    def bytes(self):
        body = b"".join([self._field(*field) for field in self.fields])
        number = self._field
        network, pc, module, station = self.route
        if self.family == "1E":
            return (number("", 1, self.command) + number("", 1, pc) + number("", 2, self.timer) +
                    body)
        body = (number("", 2, self.timer) + number("", 2, self.command) +
                number("", 2, self.subcommand) + body)
        head = (b"5400" if self.ascii else b"\x54\x00") if self.family == "4E" else \
            b"5000" if self.ascii else b"\x50\x00"
        if self.family == "4E":
            head += number("", 2, self.serial) + number("", 2, self.reserved)
        return (head + number("", 1, network) + number("", 1, pc) + number("", 2, module) +
                number("", 1, station) + number("", 2, len(body) + self.length_error) + body)


class Generator:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.below = self.random.randrange
        self.choice = self.random.choice
        self.device_commands = (0x0401, 0x1401, 0x0403, 0x1402, 0x0406, 0x1406, 0x0801)
        self.builders = {0x0401: self._batch, 0x1401: self._batch, 0x0403: self._random_read,
                         0x0801: self._random_read, 0x1402: self._random_write,
                         0x0406: self._blocks, 0x1406: self._blocks}
        self.changes = (self._change_field, self._change_field, self._change_field,
                        self._change_subcommand, self._change_command, self._change_device,
                        self._change_device, self._change_head, self._drop_field,
                        self._repeat_field)
        self.spoilings = (self._cut, self._lengthen, self._flip, self._flip, self._digit,
                          self._small_letters, self._whole_bytes, self._blanks)

    def frames(self, count):
        made = 0
        while made < count:
            sketch = self.sketch()
            yield sketch.bytes()
            made += 1
            for _ in range(2):
                if made < count:
                    yield self.changed()
                    made += 1
            if made < count:
                yield self.spoiled(sketch)
                made += 1

    # --- correct requests ---

    def sketch(self):
        below = self.below
        family, ascii_code = self.choice(FAMILIES), below(2) == 1
        if family == "1E":
            return self._sketch_1e(ascii_code)
        if below(8):
            command = self.choice(self.device_commands)
        else:
            command = self.choice(list(COMMANDS))
        bits_too = command in (0x0401, 0x1401, 0x1402)
        sketch = Sketch(family, ascii_code, command, 0)
        if command in self.builders:
            sketch.subcommand = below(4) if bits_too else 2 * below(2)
            self.builders[command](sketch)
        else:
            self._other(sketch)
        if not below(16):
            self._change_head(sketch)
        return sketch

    def _sketch_1e(self, ascii_code):
        below = self.below
        command = self.choice(list(COMMANDS_1E)) if not below(3) else below(6)
        sketch = Sketch("1E", ascii_code, command, 0)
        bits = command in (0, 2, 4, 6)
        if command <= 3:
            points = self.choice((1, 2, 3, 7, 8, 40, 41, 64, 128, 129, 160, 255, 0)) \
                if not below(8) else 1 + below(16)
            sketch.device(self._device(bits, IN_1E), self._number(True))
            sketch.number(points, 1, "count")
            sketch.number(0, 1)
            if command >= 2:
                self._values(sketch, points or 256, bits)
        elif command <= 7:
            count = 1 + below(4) if below(12) else self.choice((40, 41, 80, 81, 160, 255))
            sketch.number(count, 1, "count")
            sketch.number(0, 1)
            for _ in range(count):
                sketch.device(self._device(bits, IN_1E), self._number(True))
                if command == 4:
                    sketch.number(below(2), 1, "state")
                elif command == 5:
                    sketch.number(below(65536), 2)
        elif command == 0x16:
            size = 1 + below(8)
            sketch.number(size, 1, "count")
            for _ in range(size):
                sketch.number(48 + below(10), 1)
        return sketch

    def _device(self, bits, table):
        """Nearly always of the kind asked for, and usable."""
        for _ in range(4):
            device = self.choice(table)
            if not device.extended and (device.kind == "bit" if bits else not device.contact):
                break
        return device

    def _number(self, long):
        if self.below(6):
            return self.below(3000)
        return self.choice(LONG_NUMBERS if long else NUMBERS)

    def _count(self, kind):
        chance = self.below(64)
        if chance == 0:
            return self.choice(LIMITS[kind])
        return 1 + self.below(4) if chance < 50 else 1 + self.below(24)

    def _values(self, sketch, points, bits):
        if bits:
            sketch.states([self.below(2) for _ in range(points)] if points < 32 else
                          [1, 0] * (points // 2) + [1] * (points % 2))
        elif sketch.ascii:
            sketch.raw(b"%04X" % self.below(65536) * points)
        else:
            sketch.raw(self.below(65536).to_bytes(2, "little") * points)

    def _entry(self, sketch, bits):
        long = sketch.subcommand & 2
        sketch.device(self._device(bits, DEVICES if long else SHORT), self._number(long))

    def _batch(self, sketch):
        bits = sketch.subcommand & 1
        points = self._count("bit" if bits else "word")
        self._entry(sketch, bits)
        sketch.number(points, 2, "count")
        if sketch.command == 0x1401:
            self._values(sketch, points, bits)

    def _two_counts(self, sketch, kind):
        total = min(self._count(kind), 255)
        words = self.below(total + 1)
        sketch.number(words, 1, "count")
        sketch.number(total - words, 1, "count")
        return words, total - words

    def _random_read(self, sketch):
        for _ in range(sum(self._two_counts(sketch, "random"))):
            self._entry(sketch, False)

    def _random_write(self, sketch):
        if sketch.subcommand & 1:
            count = min(self._count("random"), 255)
            sketch.number(count, 1, "count")
            for _ in range(count):
                self._entry(sketch, True)
                sketch.number(self.below(2), 2 if sketch.subcommand & 2 else 1, "state")
            return
        words, dwords = self._two_counts(sketch, "random")
        for size in [2] * words + [4] * dwords:
            self._entry(sketch, False)
            sketch.number(self.random.getrandbits(8 * size), size)

    def _blocks(self, sketch):
        total = min(self._count("block"), 125)
        words = self.below(total + 1)
        sketch.number(words, 1, "count")
        sketch.number(total - words, 1, "count")
        for block in range(total):
            long = sketch.subcommand & 2
            device = self._device(block >= words, DEVICES if long else SHORT)
            sketch.device(device, self._number(long))
            points = 1 + self.below(8) if total < 60 else 960 // total
            if not self.below(64):
                points = self.choice((0, 959, 960, 961, 0xffff))
            sketch.number(points, 2, "count")
            if sketch.command == 0x1406:
                self._values(sketch, points, False)

    def _other(self, sketch):
        command, below = sketch.command, self.below
        if command == 0x1001:
            sketch.number(self.choice((1, 3, 0, 2, 0x101)), 2, "mode")
            sketch.number(below(4), 1, "mode")
            sketch.number(0, 1, "mode")
        elif command in (0x1002, 0x1003, 0x1005, 0x1006):
            sketch.number(self.choice((1, 1, 3, 0)), 2, "mode")
        elif command == 0x0619:
            size = self.choice((1, 5, 960, 961)) if not below(8) else 1 + below(12)
            sketch.number(size, 2, "count")
            sketch.raw(b"%X" % below(16) * size)
        elif command in (0x1630, 0x1631):
            size = self.choice((4, 6, 32, 0))
            sketch.number(size, 2, "count")
            sketch.raw(b"a1b2c3d4" * 4)
            sketch.fields[-1][2] = sketch.fields[-1][2][:size]
        elif command in (0x0601, 0x1601):
            size = 2 * (1 + below(8))
            for field, value in ((4, below(65536)), (2, size), (2, 1)):
                sketch.number(value, field, "count" if field == 2 else "number")
            if command == 0x1601:
                self._values(sketch, size // 2, False)
        elif command in (0x0613, 0x1613):
            size = self._count("word")
            sketch.number(below(65536), 4)
            sketch.number(size, 2, "count")
            if command == 0x1613:
                self._values(sketch, size, False)
        elif command not in (0x0101, 0x0802, 0x1617, 0x1619):
            sketch.raw(bytes(48 + below(10) for _ in range(below(24))))
        if command == 0x0808:
            sketch.subcommand = below(2)

    # --- changes to fields: the frame's own length follows ---

    def changed(self):
        sketch = self.sketch()
        for _ in range(1 if self.below(8) else 2):
            self.choice(self.changes)(sketch)
        return sketch.bytes()

    def _some(self, sketch, kinds):
        found = [field for field in sketch.fields[:40] if field[0] in kinds]
        return self.choice(found) if found else None

    def _change_field(self, sketch):
        field = self._some(sketch, ("count",)) if self.below(4) else \
            self._some(sketch, ("number", "state", "mode"))
        if field:
            field[2] = self.choice((field[2] + 1, field[2] - 1, self.choice(COUNTS),
                                    self.below(65536)))

    def _change_subcommand(self, sketch):
        sketch.subcommand = self.choice((
            sketch.subcommand ^ 1 << self.below(16), sketch.subcommand ^ 1,
            sketch.subcommand ^ 2, sketch.subcommand | 0x80, sketch.subcommand | 0x40,
            self.below(65536), self.below(256)))

    def _change_command(self, sketch):
        if sketch.family == "1E":
            sketch.command = self.below(0x17)
        else:
            sketch.command = self.choice((self.choice(list(COMMANDS)), self.below(65536),
                                          sketch.command ^ 1 << self.below(16),
                                          self.choice(self.device_commands)))

    def _change_device(self, sketch):
        field = self._some(sketch, ("device",))
        if not field:
            return
        chance = self.below(7)
        if chance == 0:
            field[1] = self.below(65536)
        elif chance == 6:  # two letters, as a 1E code is
            field[1] = 65 + self.below(26) << 8 | self.choice((32, 65 + self.below(26)))
        elif chance == 1:
            field[1] = self.choice(DEVICES)
        elif chance == 2:
            field[1] = self.below(256)
        else:
            top = self.choice((1 << 24, 1 << 32, 10**6, 10**8))
            field[2] = max(0, top - self.below(40))

    def _change_head(self, sketch):
        chance = self.below(6)
        if chance == 0:
            sketch.route = (self.below(256), self.below(256), self.below(65536), self.below(256))
        elif chance == 1:
            sketch.route = self.choice(((1, 0xff, 0x3ff, 0), (0, 1, 0x3ff, 0), (0, 0xff, 0x3e0, 0),
                                        (0, 0xff, 0x3ff, 1), (0, 0xff, 0x3ff, 0)))
        elif chance == 2:
            sketch.timer = self.below(65536)
        elif chance == 3:
            sketch.serial = self.below(65536)
        elif chance == 4:
            sketch.reserved = self.choice((1, 0x100, self.below(65536)))
        else:
            sketch.length_error = self.choice((1, -1, 2, -2, self.below(65536)))

    def _drop_field(self, sketch):
        if sketch.fields:
            del sketch.fields[self.below(len(sketch.fields))]

    def _repeat_field(self, sketch):
        if sketch.fields:
            place = self.below(len(sketch.fields))
            sketch.fields.insert(place, sketch.fields[place])

    # --- changes to bytes ---

    def spoiled(self, sketch):
        frame = bytearray(sketch.bytes())
        for _ in range(1 if self.below(8) else 2):
            self.choice(self.spoilings)(sketch, frame)
        if sketch.family != "1E" and self.below(4):
            self._mend_length(sketch, frame)
        return bytes(frame)

    @staticmethod
    def _mend_length(sketch, frame):
        """The data length field says again how much follows it."""
        at, size = (14, 4) if sketch.ascii else (7, 2)
        if sketch.family == "4E":
            at += 2 * size
        length = len(frame) - at - size
        if 0 <= length <= 0xffff:
            frame[at:at + size] = b"%04X" % length if sketch.ascii else length.to_bytes(2, "little")

    def _cut(self, sketch, frame):
        keep = self.below(len(frame) + 1) if not self.below(4) else len(frame) - 1 - self.below(4)
        del frame[max(keep, 0):]

    def _lengthen(self, sketch, frame):
        frame += (b"0" if self.below(2) else b"\x00") * (1 + self.below(6))

    def _flip(self, sketch, frame):
        if frame:
            frame[self.below(len(frame))] ^= 1 << self.below(8)

    def _digit(self, sketch, frame):
        if frame:
            frame[self.below(len(frame))] = self.choice(WRONG_CHARACTERS)

    def _small_letters(self, sketch, frame):
        if sketch.ascii:
            start = self.choice((0, 18, 30))
            frame[start:] = frame[start:].lower()

    def _whole_bytes(self, sketch, frame):
        place = self.below(len(frame) + 1)
        frame[place:place + 2] = bytes((self.below(256), self.below(256)))

    def _blanks(self, sketch, frame):
        """Zeros of an ASCII frame in a row, from any of them on."""
        if not sketch.ascii:
            return
        place = frame.find(b"0", self.below(len(frame) + 1))
        while 0 <= place < len(frame) and frame[place] == 48 and self.below(6):
            frame[place] = 32
            place += 1
