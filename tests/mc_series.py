# SPDX-License-Identifier: Apache-2.0
"""Request frames one after another: what chance (mc_generator.py) would seldom meet.

Every command, subcommand, device code and name there can be, and counts and numbers around every
limit. The limits stand here as numbers, not as mc_oracle.py has them: a wrong one there is met.
"""
from mc_generator import Sketch
from mc_oracle import COMMANDS, DEVICES


WORD = next(device for device in DEVICES if device.name == "D")
BIT = next(device for device in DEVICES if device.name == "M")


def _sketches(command, subcommand=0, families=("3E", "4E")):
    for family in families:
        for ascii_code in (False, True):
            yield Sketch(family, ascii_code, command, subcommand)


def every_command():
    """Every command with no data, and for each known one every subcommand up to 01FF and bit."""
    for command in range(65536):
        for sketch in _sketches(command, families=("3E",)):
            yield sketch.bytes()
    for command in COMMANDS:
        for subcommand in (*range(0x200), *(1 << bit for bit in range(9, 16))):
            for sketch in _sketches(command, subcommand, families=("3E",)):
                sketch.number(1, 2)
                yield sketch.bytes()
    for command in range(256):
        for sketch in _sketches(command, families=("1E",)):
            for size in (0, 2, 8):
                sketch.fields = []
                sketch.raw((b"00" if sketch.ascii else b"\x00") * size)
                yield sketch.bytes()


def every_device():
    """Every code there can be, in both units, short, long and 1E; names with every filling."""
    for unit in (0, 1):
        for code in range(65536):
            for sketch in _sketches(0x0401, 2 | unit, families=("3E",)):
                sketch.device(code, 16)
                sketch.number(1, 2)
                if not sketch.ascii:
                    yield sketch.bytes()
            for sketch in _sketches(unit, families=("1E",)):
                sketch.device(code, 16)
                sketch.number(1, 1)
                sketch.number(0, 1)
                yield sketch.bytes()
        for code in range(256):
            sketch = Sketch("3E", False, 0x0401, unit)
            sketch.device(code, 16)
            sketch.number(1, 2)
            yield sketch.bytes()
        for name in _names(2):
            yield _named(unit, name, b"000010")
        for name in _names(4):
            yield _named(2 | unit, name, b"00000010")


def _named(subcommand, name, number):
    sketch = Sketch("3E", True, 0x0401, subcommand)
    sketch.raw(name + number + b"0001")
    return sketch.bytes()


def _names(width):
    letters = [bytes((letter,)) for letter in range(32, 127)]
    if width == 2:
        yield from (first + second for first in letters for second in letters)
        return
    stems = {device.name.encode() for device in DEVICES} | {b"SS", b"SC", b"SN", b"XY", b"A", b""}
    for stem in sorted(stems):
        yield stem[:4].ljust(4, b"*")
        yield stem[:4].ljust(4, b" ")
        yield stem[:4].rjust(4, b"*")
        yield stem.lower()[:4].ljust(4, b"*")
        yield from (stem[:3] + letter + b"*" * (3 - len(stem[:3])) for letter in letters)
        yield from (stem[:2] + letter + b" *"[:2 - len(stem[:2])].ljust(3 - len(stem[:2]), b"*")
                    for letter in letters)


def every_limit():
    """Counts around what a request may have, and numbers around what a device may have."""
    for device in DEVICES:
        for command, subcommand in ((0x0401, 0), (0x0401, 1), (0x0401, 2), (0x0401, 3), (0x0403, 0),
                                    (0x0403, 2), (0x0406, 0), (0x0406, 2)):
            yield from _edges(device, command, subcommand)
    for points in (0, 1, 2, 479, 480, 481, 959, 960, 961, 3583, 3584, 3585, 7167, 7168, 7169,
                   0x7fff, 0x8000, 0xffff):
        yield from _counted(points)
    for words in (*range(0, 256, 6), 68, 137, 159, 160, 161, 255):
        for limit, subcommand in ((192, 0), (96, 2)):
            most_read = limit - words
            most_written = (limit * 10 - 12 * words) // 14
            for command, most in ((0x0403, most_read), (0x0801, most_read), (0x1402, most_written)):
                for dwords in {most - 1, most, most + 1, 0} & set(range(256)):
                    yield from _mixed(command, subcommand, words, dwords)
    for count in (0, 1, 59, 60, 61, 93, 94, 95, 119, 120, 121, 187, 188, 189, 255):
        yield from _listed(count)


def _edges(device, command, subcommand):
    digits = 8 if subcommand & 2 else 6
    for top in (1 << 4 * digits, 10 ** digits):
        for back in (1, 2, 3, 15, 16, 17, 31, 32, 33, 47, 48, 49):
            for sketch in _sketches(command, subcommand, families=("3E",)):
                if device.code is None and not subcommand & 2:
                    continue
                if command == 0x0401:
                    sketch.device(device, top - back)
                    sketch.number(2 if back < 40 else 3, 2)
                elif command == 0x0403:
                    double = back % 2
                    sketch.number(1 - double, 1)
                    sketch.number(double, 1)
                    sketch.device(device, top - back)
                else:
                    bits = device.kind == "bit"
                    sketch.number(1 - bits, 1)
                    sketch.number(bits, 1)
                    sketch.device(device, top - back)
                    sketch.number(2, 2)
                yield sketch.bytes()


def _counted(points):
    for subcommand in (0, 1, 2, 3):
        for command in (0x0401, 0x1401):
            for device in (WORD, BIT):
                for sketch in _sketches(command, subcommand):
                    sketch.device(device, 0)
                    sketch.number(points, 2)
                    if command == 0x1401 and points < 8000:
                        if subcommand & 1:
                            sketch.states([1] * points)
                        else:
                            sketch.raw((b"12AB" if sketch.ascii else b"\x12\xab") * points)
                    yield sketch.bytes()
    for command, fields in ((0x0613, (4, 2)), (0x1613, (4, 2)), (0x0601, (4, 2, 2)),
                            (0x1601, (4, 2, 2)), (0x0619, (2,))):
        for sketch in _sketches(command):
            for field in fields:
                sketch.number(points, field)
            if points < 8000:
                unit = 2 * sketch.ascii + 2 if command == 0x1613 else \
                    1 + sketch.ascii if command == 0x1601 else command == 0x0619
                sketch.raw(b"0" * unit * points)
            yield sketch.bytes()
    for command in range(4):
        for device in (WORD, BIT):
            for sketch in _sketches(command, families=("1E",)):
                for count in {points & 0xff, (points & 0xff) // 2, (points & 0x3f) + 12}:
                    sketch.fields = []
                    sketch.device(device, 0xffffffff - 15 * (points & 0x100))
                    sketch.number(count, 1)
                    sketch.number(0, 1)
                    if command == 2:
                        sketch.states([1] * (count or 256))
                    elif command == 3:
                        sketch.raw((b"12AB" if sketch.ascii else b"\x12\xab") * (count or 256))
                    yield sketch.bytes()


def _mixed(command, subcommand, words, dwords):
    for sketch in _sketches(command, subcommand, families=("3E",)):
        sketch.number(words, 1)
        sketch.number(dwords, 1)
        for entry in range(words + dwords):
            sketch.device(WORD, entry)
            if command == 0x1402:
                sketch.number(entry, 2 if entry < words else 4)
        yield sketch.bytes()


def _listed(count):
    for subcommand in (1, 3):
        for sketch in _sketches(0x1402, subcommand):
            sketch.number(count, 1)
            for entry in range(count):
                sketch.device(BIT, entry)
                sketch.number(entry & 1, 2 if subcommand & 2 else 1)
            yield sketch.bytes()
    for command in (0x0406, 0x1406):
        for subcommand in (0, 2):
            for points in {1, 960 // (count or 1), 960 // (count or 1) + 1}:
                for sketch in _sketches(command, subcommand):
                    sketch.number(count // 2, 1)
                    sketch.number(count - count // 2, 1)
                    for entry in range(count):
                        sketch.device(BIT, 32 * entry)
                        sketch.number(points, 2)
                        if command == 0x1406:
                            sketch.raw((b"12AB" if sketch.ascii else b"\x12\xab") * points)
                    yield sketch.bytes()
    for command in (4, 5, 6, 7):
        for sketch in _sketches(command, families=("1E",)):
            sketch.number(count, 1)
            sketch.number(0, 1)
            for entry in range(count):
                sketch.device(BIT, entry)
                if command < 6:
                    sketch.number(1, 1 if command == 4 else 2)
            yield sketch.bytes()
