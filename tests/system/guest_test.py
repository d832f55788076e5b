#!/usr/bin/env python3
"""guest_test.py --doppel PROGRAM [TESTS]: Debian's unmodified kernel in Doppel: it boots on one and more processors, runs by the
instruction clock are the same, and no byte that it flushed is lost when Doppel is killed."""
import argparse
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import unittest

import guest_machine
from guest_machine import MODULES, POWER_OFF

PROGRAM = IMAGE = None
SEED = int(os.environ.get("DOPPEL_TEST_SEED") or random.randrange(1 << 32))
REPORT = """echo "processors $($B grep -c ^processor /proc/cpuinfo)"
echo "memory $($B awk '/^MemTotal/ { print $2 }' /proc/meminfo)"
"""


# What --stats says of what the guest did, however its code was executed.
GUEST_COUNTERS = ("memory hash", "exceptions", "interrupts", "device accesses", "waits (WFI)")


class GuestTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.guest = guest_machine.Guest(PROGRAM, IMAGE, folder.name)


class Boot(GuestTest):
    def boots(self, processors, *arguments, script=REPORT, status=0, ending=POWER_OFF):
        result = self.guest.run(script + ending, "--cpus", str(processors), *arguments)
        text = result.stdout.decode(errors="replace")
        self.assertEqual((result.returncode, result.stderr), (status, b""), text)
        return text.replace("\r", "").splitlines()

    def test_one_processor(self):
        lines = self.boots(1)
        self.assertIn("processors 1", lines)
        memory = next(int(line.split()[1]) for line in lines if line.startswith("memory "))
        self.assertTrue(150_000 < memory < 262_144, memory)

    def test_two_processors(self):
        self.assertIn("processors 2", self.boots(2))

    def test_four_processors(self):
        self.assertIn("processors 4", self.boots(4))

    def test_sv48(self):
        lines = self.boots(1, "--mmu", "48", script="$B awk '/^mmu/ { print $3 }' /proc/cpuinfo\n")
        self.assertIn("sv48", lines)

    def test_reboot_and_a_panic(self):
        """A reboot boots again; what init left on the disk says that it is the second time. Then it crashes."""
        disk = self.folder / "disk"
        disk.write_bytes(bytes(4096))
        script = MODULES + """
n=0; while [ ! -b /dev/vda ] && [ $n -lt 100 ]; do n=$((n + 1)); $B sleep 0.1; done
if [ "$($B head -c 5 /dev/vda)" = again ]; then echo second time; echo c >/proc/sysrq-trigger; fi
echo first time; printf again | $B dd of=/dev/vda conv=notrunc,fsync 2>/dev/null; $B reboot -f
"""
        command = self.guest.command(script, "--disk", f"{disk},format=raw", append="quiet panic=-1 oops=panic")
        # A panic reboots too (panic=-1), and the third boot would crash again: so it ends by what it says, not by itself.
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        seen = b""
        while seen.count(b"second time") < 2:
            line = process.stdout.readline()
            self.assertTrue(line, seen[-2000:])
            seen += line
        process.kill()
        process.stdout.close()
        process.wait()
        self.assertEqual(seen.count(b"first time"), 1)
        self.assertIn(b"sysrq triggered crash", seen)


class Determinism(GuestTest):
    def test_two_runs_by_the_instruction_clock_are_the_same(self):
        def run(engine, code_cache="none"):
            # Its whole boot log with time stamps, random numbers, and a disk.
            disk = self.folder / "disk"
            disk.write_bytes(bytes(1 << 20))
            script = MODULES + "$B od -An -N32 -tx1 /dev/urandom; $B date; $B dd if=/dev/urandom of=/dev/vda bs=64k count=4; " + POWER_OFF
            result = self.guest.run(script, "--engine", engine, "--code-cache", code_cache, "--clock", "instructions", "--stats", "--disk", f"{disk},format=raw", append="")
            self.assertEqual(result.returncode, 0, result.stdout[-2000:] + result.stderr)
            counters = dict(line.rsplit(None, 1) for line in result.stderr.decode().splitlines() if line.strip())
            self.assertIn("memory hash", {key.strip() for key in counters})
            same = {key.strip(): value for key, value in counters.items() if "second" not in key}
            return result.stdout, same, disk.read_bytes()

        first, second, interpreted = run("fast"), run("fast"), run("interpreter")
        self.assertIn(b"Linux version", first[0])
        self.assertEqual(first[0], second[0])
        self.assertEqual(first[1], second[1])
        self.assertEqual(first[2], second[2])
        self.assertNotEqual(first[2], bytes(1 << 20))
        # Code from an earlier run does what code made now does.
        cache = str(self.folder / "code")
        cold, warm = run("fast", cache), run("fast", cache)
        self.assertLess(100 * int(warm[1]["translations"]), int(cold[1]["translations"]))
        self.assertNotEqual(cold[1]["stored"], "0")
        for again in (cold, warm):
            self.assertEqual((again[0], again[2]), (first[0], first[2]))
            for counter in GUEST_COUNTERS:
                self.assertEqual(again[1][counter], first[1][counter], counter)
        # Every engine executes the same instructions to the same end.
        self.assertEqual(first[0], interpreted[0])
        self.assertEqual(first[2], interpreted[2])
        for counter in GUEST_COUNTERS:
            self.assertEqual(first[1][counter], interpreted[1][counter], counter)
        self.assertEqual(run("optimizing")[0], first[0])


class Paths(GuestTest):
    def test_paths_are_made_and_compute_the_same(self):
        script = "i=0; while [ $i -lt 12 ]; do $B seq 1 9000 | $B sha256sum; $B seq 1 20000 | $B gzip | $B md5sum; i=$((i+1)); done; " + POWER_OFF
        plain = self.guest.run(script, "--engine", "fast")
        optimized = self.guest.run(script, "--engine", "optimizing", "--stats")
        sums = lambda result: [line for line in result.stdout.splitlines() if line.rstrip().endswith(b"-")]
        self.assertEqual(len(sums(plain)), 24, plain.stdout[-2000:])
        self.assertEqual(sums(plain), sums(optimized), optimized.stdout[-1500:])
        made = [line.split()[-1] for line in optimized.stderr.decode().splitlines() if line.startswith("paths ")]
        self.assertGreater(int(made[0]), 0)


class Kill(GuestTest):
    def loses_nothing(self, kind):
        numbers = random.Random(f"{SEED} {kind}").randint(20, 120)
        lines, wrong = guest_machine.kill_round(self.guest, kind, numbers)
        self.assertEqual(wrong, [], f"DOPPEL_TEST_SEED={SEED}, {len(lines)} lines")

    def test_a_raw_disk_loses_nothing_that_was_flushed(self):
        self.loses_nothing("raw")

    def test_a_qcow2_disk_and_its_overlay_lose_nothing_that_was_flushed(self):
        self.loses_nothing("qcow2")


def main():
    global PROGRAM, IMAGE
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--doppel", required=True)
    options, rest = parser.parse_known_args()
    PROGRAM = os.path.abspath(options.doppel)
    IMAGE = guest_machine.find_image(PROGRAM)
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    unittest.main(argv=[sys.argv[0], *rest])


if __name__ == "__main__":
    main()
