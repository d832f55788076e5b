#!/usr/bin/env python3
"""translation_reports_test.py --doppel PROGRAM: what somebody sees who profiles translated code or looks at it: the files for perf,
and the dump of guest code, IR and host code. All inside the sandbox, as a user runs it."""
import argparse
import os
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import unittest

import machine_files as files

PROGRAM = None
PATIENCE = 120  # seconds after which something hangs


class Reports(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.kernel = self.folder / "kernel"
        self.kernel.write_bytes(files.htif_elf(b"x"))

    def run_it(self, *arguments):
        """Exit status, standard error, and the process's number."""
        command = [PROGRAM, "run", "--kernel", str(self.kernel), "--memory", "16M", "--net", "none", *arguments]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        error = process.communicate(timeout=PATIENCE)[1]
        return process.returncode, error, process.pid

    def refused(self, *arguments, says):
        status, error, _ = self.run_it(*arguments)
        self.assertEqual(status, 2, error)
        self.assertRegex(error, r"\Adoppel: [^\n]{10,400}[^.\n]\n\Z")
        for word in says:
            self.assertIn(word, error)


class Perf(Reports):
    def test_the_map_names_each_translation(self):
        status, error, pid = self.run_it("--perf-map")
        path = pathlib.Path(f"/tmp/perf-{pid}.map")
        self.addCleanup(path.unlink)
        self.assertEqual((status, error), (0, ""))
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        lines = path.read_text().splitlines()
        self.assertRegex(lines[0], r"\A[0-9a-f]+ [0-9a-f]+ doppel:shared_code\Z")
        self.assertRegex(lines[1], rf"\A[0-9a-f]+ [0-9a-f]+ fast:{files.DRAM:#x}:\d+\Z")
        end = 0
        for line in lines:
            address, size = (int(word, 16) for word in line.split()[:2])
            self.assertGreaterEqual(address, end)
            self.assertGreater(size, 0)
            end = address + size

    def test_the_jitdump_has_the_code(self):
        status, error, pid = self.run_it("--jitdump", str(self.folder))
        self.assertEqual((status, error), (0, ""))
        data = (self.folder / f"jit-{pid}.dump").read_bytes()
        magic, version, size, machine, _, of, start, _ = struct.unpack_from("<IIIIIIQQ", data)
        self.assertEqual((magic, version, size, machine, of), (0x4A695444, 1, 40, 62, pid))
        at, names, last = size, [], start
        while True:
            kind, length, when = struct.unpack_from("<IIQ", data, at)
            self.assertGreaterEqual(when, last)
            last = when
            if kind == 3:
                break
            process, thread, vma, address, bytes_, index = struct.unpack_from("<IIQQQQ", data, at + 16)
            name, code = data[at + 56 : at + length].split(b"\0", 1)
            self.assertEqual((kind, process, vma, index, len(code)), (0, pid, address, len(names), bytes_))
            self.assertTrue(any(code))
            names.append(name.decode())
            at += length
        self.assertEqual(at + 16, len(data))
        self.assertEqual(names[0], "doppel:shared_code")
        self.assertRegex(names[1], rf"\Afast:{files.DRAM:#x}:\d+\Z")

    def test_what_cannot_be_written_is_said(self):
        self.refused("--jitdump", str(self.folder / "missing"), says=["jitdump", "missing", "No such file"])

    def test_the_interpreter_has_nothing_to_report(self):
        self.refused("--perf-map", "--engine", "interpreter", says=["--perf-map", "interpreter"])


class Dump(Reports):
    """The program begins at DRAM: auipc t0,0x1; lui t1,0x10000; addi t2,zero,120; sb t2,0(t1); ..."""

    def dump(self, *specs):
        path = self.folder / "dump"
        arguments = [word for spec in specs for word in ("--dump", spec)]
        status, error, _ = self.run_it(*arguments, "--dump-to", str(path))
        self.assertEqual((status, error), (0, ""))
        return path.read_text()

    def test_guest_code_ir_and_host_code_are_side_by_side(self):
        text = self.dump(f"ir,asm={files.DRAM + 4:x}")
        self.assertRegex(text, rf"\Afast translation of {files.DRAM:#x} \(physical {files.DRAM:#x}\): \d+ instructions")
        guest = re.findall(r"^[0-9a-f]{16}  [0-9a-f]+ +(.*)$", text, re.M)
        self.assertEqual(guest[:4], ["auipc t0,0x1", "lui t1,0x10000", "addi t2,zero,120", "sb t2,0(t1)"])
        self.assertRegex(text, r"(?m)^    store\.i8 %\d+, %\d+, 0 +\| \+[0-9a-f]+ +\w+ .*$")
        self.assertIn("mov byte ptr [", text)
        self.assertIn("aside, of", text)

    def test_either_alone(self):
        ir = self.dump(f"ir={files.DRAM:x}")
        self.assertIn("store.i8", ir)
        self.assertNotIn("byte ptr", ir)
        host = self.dump(f"asm={files.DRAM:x}-{files.DRAM + 0xfff:x}")
        self.assertNotIn("store.i8", host)
        self.assertIn("byte ptr", host)

    def test_only_what_was_asked_for(self):
        self.assertEqual(self.dump("ir=1000"), "")
        everything = self.dump("ir=all", "asm=1000")
        self.assertGreater(everything.count("translation of"), 1)
        status, error, _ = self.run_it("--dump", "ir=all")
        self.assertEqual(status, 0)
        place = re.compile(r"bytes at 0x[0-9a-f]+")  # of the host code, another one in each run
        self.assertEqual(place.sub("", error), place.sub("", everything))

    def test_what_is_not_understood_is_said(self):
        for spec in ("ir", "ir=", "=80000000", "ir,x=80000000", "ir=8000000g", "ir=80000001-80000000", "ir=123456789abcdef01"):
            self.refused("--dump", spec, says=["--dump", spec, "hexadecimal"])
        self.refused("--dump", "ir=all", "--dump-to", str(self.folder / "no" / "file"), says=["dump", "No such file"])


def main():
    global PROGRAM
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--doppel", required=True)
    options, rest = parser.parse_known_args()
    PROGRAM = os.path.abspath(options.doppel)
    unittest.main(argv=[sys.argv[0], *rest])


if __name__ == "__main__":
    main()
