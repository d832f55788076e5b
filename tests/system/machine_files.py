"""Files that the system tests give to doppel: bare-metal ELF programs, cpio archives, small disks."""
import pathlib
import shutil
import struct
import subprocess

DRAM = 0x80000000
TOHOST = DRAM + 0x1000
SIGNATURE = DRAM + 0x1100
UART = 0x10000000


def addi(rd, rs, value):
    return (value & 0xFFF) << 20 | rs << 15 | rd << 7 | 0x13


def lui(rd, value):
    return value << 12 | rd << 7 | 0x37


def auipc(rd, value):
    return value << 12 | rd << 7 | 0x17


def sb(source, base, offset=0):
    return source << 20 | base << 15 | (offset & 31) << 7 | (offset >> 5 & 127) << 25 | 0x23


def sw(source, base, offset=0):
    return 2 << 12 | sb(source, base, offset)


def sd(source, base, offset=0):
    return 3 << 12 | sb(source, base, offset)


def bne(first, second, offset):
    at = offset & 0x1FFF
    return (at >> 12) << 31 | (at >> 5 & 63) << 25 | second << 20 | first << 15 | 1 << 12 | (at >> 1 & 15) << 8 | (at >> 11 & 1) << 7 | 0x63


def lbu(rd, base, offset):
    return (offset & 0xFFF) << 20 | base << 15 | 4 << 12 | rd << 7 | 0x03


def andi(rd, rs, value):
    return (value & 0xFFF) << 20 | rs << 15 | 7 << 12 | rd << 7 | 0x13


def beq(first, second, offset):
    return bne(first, second, offset) & ~(1 << 12)


LOOP = 0x0000006F
WFI = 0x10500073


def program(text=b"", code=0, times=1):
    """Prints on the serial port, so many times, leaves four words as its signature and ends with `code` through tohost."""
    words = [auipc(5, 1), lui(6, UART >> 12)]  # t0 = TOHOST, t1 = UART
    if times > 1:
        words.append(addi(28, 0, times))
    for byte in text:
        words += [addi(7, 0, byte), sb(7, 6)]
    if times > 1:
        words += [addi(28, 28, -1), bne(28, 0, -8 * len(text) - 4)]
    words += [addi(7, 0, 0x123), sd(7, 5, 0x100), addi(7, 0, -2), sd(7, 5, 0x108)]
    words += [addi(7, 0, code << 1 | 1), sd(7, 5), LOOP]
    return words


def elf(words, symbols=None):
    """A 64-bit RISC-V ELF that is loaded and begins at DRAM."""
    code = struct.pack(f"<{len(words)}I", *words)
    names, table = b"\0", struct.pack("<IBBHQQ", 0, 0, 0, 0, 0, 0)
    for name, value in (symbols or {}).items():
        table += struct.pack("<IBBHQQ", len(names), 0x10, 0, 0xFFF1, value, 0)
        names += name.encode() + b"\0"
    at_code, at_table = 0x1000, 0x1000 + (len(code) + 7 & ~7)
    at_names = at_table + len(table)
    at_sections = at_names + len(names) + 7 & ~7
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 2, 243, 1, DRAM, 64, at_sections, 0, 64, 56, 1, 64, 2, 0)
    header += struct.pack("<IIQQQQQQ", 1, 7, at_code, DRAM, DRAM, len(code), len(code), 4096)
    file = bytearray(at_sections)
    file[0 : len(header)] = header
    file[at_code : at_code + len(code)] = code
    file[at_table:at_names] = table
    file[at_names : at_names + len(names)] = names
    file += struct.pack("<IIQQQQIIQQ", 0, 2, 0, 0, at_table, len(table), 1, 0, 8, 24)
    file += struct.pack("<IIQQQQIIQQ", 0, 3, 0, 0, at_names, len(names), 0, 0, 1, 0)
    return bytes(file)


def htif_elf(text=b"", code=0, times=1):
    symbols = {"tohost": TOHOST, "fromhost": TOHOST + 8, "begin_signature": SIGNATURE, "end_signature": SIGNATURE + 16}
    return elf(program(text, code, times), symbols)


def cpio(files):
    """A newc archive of {path: (mode, bytes)}; the kernel unpacks it over the archive in front of it."""
    out = bytearray()

    def entry(name, mode, data):
        nonlocal out
        fields = [0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
        out += b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        out += bytes(-len(out) % 4) + data
        out += bytes(-len(out) % 4)

    for name, (mode, data) in files.items():
        entry(name, mode, data)
    entry("TRAILER!!!", 0, b"")
    return bytes(out)


def compile_bare(source, program):
    """A static RISC-V program that needs no library, by the compiler that Doppel is built with and Debian's riscv64 linker."""
    subprocess.run(["clang-19", "--target=riscv64-linux-gnu", "-march=rv64gc", "-O2", "-Wall", "-Wextra", "-Werror", "-nostdlib",
                    "-static", "-ffreestanding", "-fno-builtin", f"--ld-path={shutil.which('riscv64-linux-gnu-ld')}",
                    "-Wl,-z,noexecstack,-z,separate-code", str(source), "-o", str(program)], check=True)


def initrd_with_init(initrd, script):
    """An initrd whose /init is `script`, in front of which is what an image's initrd has."""
    base = pathlib.Path(initrd).read_bytes()
    return base + bytes(-len(base) % 4) + cpio({"init": (0o100755, script.encode())})


def ext4_disk(path, megabytes):
    with open(path, "wb") as file:
        file.truncate(megabytes << 20)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-E", "lazy_itable_init=0", path], check=True)


def qcow2_header(size=1 << 20, cluster_bits=16, l1_at=0x30000, l1_entries=1, table_at=0x10000, version=3, backing=b""):
    """One cluster of header, one of reference counts, their block, one of L1: a sound empty image, or one that is spoilt."""
    file = bytearray(0x40000)
    at = 0x200 if backing else 0
    header = (0x514649FB, version, at, len(backing), cluster_bits, size, 0, l1_entries, l1_at, table_at, 1, 0, 0)
    struct.pack_into(">IIQIIQIIQQIIQ", file, 0, *header)
    struct.pack_into(">QQQII", file, 72, 0, 0, 0, 4, 104)
    struct.pack_into(">Q", file, 0x10000, 0x20000)
    struct.pack_into(">4H", file, 0x20000, 1, 1, 1, 1)
    if backing:
        file[at : at + len(backing)] = backing
    return bytes(file)
