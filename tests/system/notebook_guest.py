"""Bare-metal guests for the tests of snapshots and forks: one that keeps what is typed, one that counts.
Having no tohost they run in S-mode."""
import struct

import machine_files as files
from machine_files import addi, andi, lbu, lui, sb, sd, sw

PLIC, FINISHER, VIRTIO = 0x0C000000, 0x100000, 0x10001000  # the first slot: the first disk, if there is one
SECRET = 0x5EC2E7A15EC2E7B3
# From DRAM on.
REQUEST, NOTES, FILLED, FILLED_BYTES, HIDDEN = 0x4000, 0x10000, 0x100000, 4 << 20, 0x654320
A0, T0, T1, T2, T3, T4, T5, T6 = 10, 5, 6, 7, 28, 29, 30, 31
SERIAL, END, BEGIN, MEMORY, DISK = 8, 9, 18, 19, 20  # s0 to s4, which each command finds as they were


class Assembly:
    """Words of code with labels."""

    def __init__(self):
        self.words, self.labels, self.jumps = [], {}, []

    def emit(self, *words):
        self.words += words

    def label(self, name):
        self.labels[name] = 4 * len(self.words)

    def jump(self, label):
        self.branch(0, 0, 0, label)

    def branch(self, kind, first, second, label):
        """kind: 0 equal, 1 not equal, 5 at least, 6 below (as numbers without sign)."""
        self.jumps.append((len(self.words), label))
        self.words.append(second << 20 | first << 15 | kind << 12 | 0x63)

    def number(self, rd, value):
        low = (value & 0xFFF) - (value << 1 & 0x1000)
        self.emit(lui(rd, value - low >> 12 & 0xFFFFF), addi(rd, rd, low))

    def address(self, rd, offset):
        self.number(rd, offset)
        self.emit(add(rd, rd, MEMORY))

    def store(self, address, value, offset=0):
        self.number(T5, address)
        self.number(T6, value)
        self.emit(sw(T6, T5, offset))

    def text(self, text):
        for byte in text.encode():
            self.emit(addi(T6, 0, byte), sb(T6, SERIAL))

    def hexadecimal(self, name):
        """Prints A0; `name` is for its labels."""
        self.emit(addi(T5, 0, 60))
        self.label(name + " digit")
        self.emit(op(5, T6, A0, T5), andi(T6, T6, 15), addi(T6, T6, 48), addi(T4, 0, 58))
        self.branch(6, T6, T4, name + " decimal")
        self.emit(addi(T6, T6, 39))
        self.label(name + " decimal")
        self.emit(sb(T6, SERIAL), addi(T5, T5, -4))
        self.branch(5, T5, 0, name + " digit")

    def file(self, size=0, tail=()):
        """An ELF of this code, with `tail` (pairs of offset and bytes) behind it."""
        code = bytearray(max(size, 4 * len(self.words)))
        for at, label in self.jumps:
            self.words[at] |= files.bne(0, 0, self.labels[label] - 4 * at) & ~0x707F
        struct.pack_into(f"<{len(self.words)}I", code, 0, *self.words)
        for offset, data in tail:
            code[offset : offset + len(data)] = data
        return files.elf(struct.unpack(f"<{len(code) // 4}I", code))


def op(kind, rd, first, second, more=0):
    return more << 25 | second << 20 | first << 15 | kind << 12 | rd << 7 | 0x33


def add(rd, first, second):
    return op(0, rd, first, second)


def shift(rd, rs, bits):
    """To the left, or to the right where bits are negative."""
    return abs(bits) << 20 | rs << 15 | (1 if bits > 0 else 5) << 12 | rd << 7 | 0x13


def ld(rd, base, offset=0):
    return (offset & 0xFFF) << 20 | base << 15 | 3 << 12 | rd << 7 | 0x03


def lw(rd, base, offset=0):
    return (offset & 0xFFF) << 20 | base << 15 | 2 << 12 | rd << 7 | 0x03


def secret(a, rd):
    """In no place of the code as it is in memory."""
    a.number(rd, SECRET >> 32)
    a.emit(shift(rd, rd, 32))
    a.number(T6, SECRET & 0x7FFFFFFF)
    a.emit(add(rd, rd, T6))


def fill(a, filled):
    """Memory that does not compress, another each time when notes were taken."""
    a.address(T0, FILLED)
    a.address(T1, FILLED + filled)
    a.number(T2, 0x12345677)
    a.emit(add(T2, T2, END))
    a.label("fill")
    for bits in (13, -7, 17):
        a.emit(shift(T3, T2, bits), op(4, T2, T2, T3))
    a.emit(sd(T2, T0), addi(T0, T0, 8))
    a.branch(6, T0, T1, "fill")
    a.text("filled\r\n")


def checksum(a, filled):
    a.address(T0, FILLED)
    a.address(T1, FILLED + filled)
    a.number(T2, 0x10003)
    a.emit(addi(A0, 0, 0))
    a.label("sum")
    a.emit(ld(T3, T0), op(0, A0, A0, T2, 1), add(A0, A0, T3), addi(T0, T0, 8))
    a.branch(6, T0, T1, "sum")
    a.text("sum ")
    a.hexadecimal("sum")
    a.text("\r\n")


def hide(a):
    a.address(T0, HIDDEN)
    secret(a, T1)
    a.emit(sd(T1, T0))
    a.text("hidden\r\n")


def find(a, megabytes):
    a.address(T0, 0)
    a.address(T1, megabytes << 20)
    secret(a, T2)
    a.emit(addi(A0, 0, 0))
    a.label("find")
    a.emit(ld(T3, T0), addi(T0, T0, 8))
    a.branch(1, T3, T2, "other")
    a.emit(addi(A0, A0, 1))
    a.label("other")
    a.branch(6, T0, T1, "find")
    a.text("found ")
    a.hexadecimal("find")
    a.text("\r\n")


# A read and a write of the first sector: three descriptors each, the rings, the two headers, the status; the sector.
AVAILABLE, USED, STATUS, SECTOR = REQUEST + 0x100, REQUEST + 0x200, REQUEST + 0x300, REQUEST + 0x800
QUEUE_FILE = [
    (REQUEST + 48 * kind, struct.pack("<QIHH", files.DRAM + REQUEST + 0x400 + 16 * kind, 16, 1, 3 * kind + 1)
     + struct.pack("<QIHH", files.DRAM + SECTOR, 512, 1 | (2 if kind == 0 else 0), 3 * kind + 2)
     + struct.pack("<QIHH", files.DRAM + STATUS, 1, 2, 0)) for kind in (0, 1)
] + [(REQUEST + 0x400 + 16 * kind, struct.pack("<IIQ", kind, 0, 0)) for kind in (0, 1)]


def set_up_disk(a):
    """Virtio 1.2, 3.1.1 and 4.2.3.2, without asking what the disk can do. The slot may have another device, or none."""
    a.number(DISK, VIRTIO)
    a.emit(lw(T0, DISK, 8), addi(T0, T0, -2))
    a.branch(1, T0, 0, "no disk")
    queue = [(0x80, REQUEST), (0x90, AVAILABLE), (0xA0, USED)]
    for offset, value in [(0x70, 0), (0x70, 3), (0x24, 1), (0x20, 1), (0x70, 11), (0x30, 0), (0x38, 8)]:
        a.store(VIRTIO, value, offset)
    for offset, value in queue:
        a.store(VIRTIO, files.DRAM + value, offset)
    for offset, value in [(0x44, 1), (0x70, 15)]:
        a.store(VIRTIO, value, offset)
    a.label("no disk")


def transfer(a, name, kind):
    """One request, and the wait for its end by looking."""
    a.address(T0, AVAILABLE)
    a.address(T1, USED)
    a.emit(lw(T2, T0), shift(T2, T2, -16), andi(T3, T2, 7), shift(T3, T3, 1), add(T3, T3, T0))
    a.emit(addi(T4, 0, 3 * kind), sb(T4, T3, 4), sb(0, T3, 5), addi(T2, T2, 1), sb(T2, T0, 2))
    a.emit(sw(0, DISK, 0x50))
    a.label(name + " wait")
    a.emit(lw(T3, T1), shift(T3, T3, -16), op(4, T3, T3, T2), andi(T3, T3, 255))
    a.branch(1, T3, 0, name + " wait")


def write_secret(a):
    a.address(T0, SECTOR)
    secret(a, T1)
    a.emit(sd(T1, T0))
    transfer(a, "write", 1)
    a.text("written\r\n")


def read_sector(a):
    transfer(a, "read", 0)
    a.address(T0, SECTOR)
    a.emit(ld(A0, T0))
    a.text("sector ")
    a.hexadecimal("read")
    a.text("\r\n")


def show_notes(a):
    a.text("[")
    a.emit(addi(T0, BEGIN, 0))
    a.label("note")
    a.branch(0, T0, END, "noted")
    a.emit(lbu(T1, T0, 0), sb(T1, SERIAL), addi(T0, T0, 1))
    a.jump("note")
    a.label("noted")
    a.text("]\r\n")


def wait_for_key(a):
    """Sleeps until there is one, which is then in A0."""
    a.label("wait")
    a.emit(lbu(T0, SERIAL, 5), andi(T0, T0, 1))
    a.branch(1, T0, 0, "key")
    a.number(T1, PLIC + 0x201004)
    a.emit(files.WFI, lw(T0, T1), sw(T0, T1))
    a.jump("wait")
    a.label("key")
    a.emit(lbu(A0, SERIAL, 0))


def notebook(filled=FILLED_BYTES, megabytes=16):
    """Keeps what is typed, and prints all of it on Enter. Capital letters are commands: M fills so many bytes of memory, C
    prints their checksum; W hides a secret in memory, F prints how often that is there; D writes it to the disk, R reads that;
    P powers off."""
    a = Assembly()
    a.emit(files.auipc(MEMORY, 0), lui(SERIAL, files.UART >> 12))
    a.address(BEGIN, NOTES)
    a.emit(addi(END, BEGIN, 0), addi(T0, 0, 1), sb(T0, SERIAL, 1))
    a.store(PLIC, 1, 4 * 10)
    a.store(PLIC + 0x2080, 1 << 10)
    a.emit(addi(T0, 0, 1 << 9), 0x104 << 20 | T0 << 15 | 1 << 12 | 0x73)  # sie.SEIE
    set_up_disk(a)
    a.text("READY\r\n")
    wait_for_key(a)
    commands = {"\n": show_notes, "M": lambda a: fill(a, filled), "C": lambda a: checksum(a, filled), "W": hide, "F": lambda a: find(a, megabytes), "D": write_secret,
                "R": read_sector, "P": lambda a: a.store(FINISHER, 0x5555)}
    for key, command in commands.items():
        a.emit(addi(T0, 0, ord(key)))
        a.branch(1, A0, T0, "not " + key)
        command(a)
        a.jump("wait")
        a.label("not " + key)
    a.emit(sb(A0, END), addi(END, END, 1), sb(A0, SERIAL))
    a.jump("wait")
    return a.file(REQUEST + 0x1000, QUEUE_FILE)


def counter():
    """Prints 16 hexadecimal digits, each time one more, some hundred lines a second."""
    a = Assembly()
    a.emit(lui(SERIAL, files.UART >> 12), addi(A0, 0, 0))
    a.label("next")
    a.hexadecimal("count")
    a.text("\n")
    a.number(T0, 1 << 20)
    a.label("delay")
    a.emit(addi(T0, T0, -1))
    a.branch(1, T0, 0, "delay")
    a.emit(addi(A0, A0, 1))
    a.jump("next")
    return a.file()
