#!/usr/bin/env python3
"""translation_reports_test.py --doppel PROGRAM: what somebody sees who profiles translated code or looks at it: the files for perf,
and the dump of guest code, IR and host code. All inside the sandbox, as a user runs it."""
import argparse
import os
import pathlib
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


def main():
    global PROGRAM
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--doppel", required=True)
    options, rest = parser.parse_known_args()
    PROGRAM = os.path.abspath(options.doppel)
    unittest.main(argv=[sys.argv[0], *rest])


if __name__ == "__main__":
    main()
