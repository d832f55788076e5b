#!/usr/bin/env python3
"""bare_metal_test.py --doppel PROGRAM: programs of a few instructions through the real program: how they end, where their output
goes, what confines them."""
import argparse
import os
import pathlib
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import unittest
import unittest.mock

import machine_files as files

PROGRAM = None
PATIENCE = 120  # seconds after which something hangs


def eventually(condition):
    """Looks until it holds; what is waited for happens in another process."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return False


class BareMetal(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        user_cache = unittest.mock.patch.dict(os.environ, {"XDG_CACHE_HOME": folder.name})
        user_cache.start()
        self.addCleanup(user_cache.stop)

    def command(self, kernel, *arguments):
        (self.folder / "kernel").write_bytes(kernel)
        return [PROGRAM, "run", "--kernel", str(self.folder / "kernel"), "--memory", "16M", "--net", "none", *arguments]

    def run_it(self, kernel, *arguments, **options):
        options = {"stdin": subprocess.DEVNULL, **options}
        return subprocess.run(self.command(kernel, *arguments), capture_output=True, timeout=PATIENCE, **options)

    def start(self, kernel, *arguments, **options):
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, **options}
        process = subprocess.Popen(self.command(kernel, *arguments), **options)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def sleeper(self, text=b"up"):
        """Prints and then waits for ever."""
        return files.elf([*files.program(text)[:-2], files.WFI, files.LOOP])

    def test_the_exit_status_is_the_programs(self):
        for code in (0, 1, 77, 255):
            self.assertEqual(self.run_it(files.htif_elf(code=code)).returncode, code)

    def test_console_on_standard_output(self):
        result = self.run_it(files.htif_elf(b"hello\r\n"))
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, b"hello\r\n", b""))

    def test_the_signature(self):
        path = self.folder / "signature"
        self.assertEqual(self.run_it(files.htif_elf(), "--signature", str(path)).returncode, 0)
        self.assertEqual(path.read_text(), "00000123\n00000000\nfffffffe\nffffffff\n")

    def test_statistics(self):
        result = self.run_it(files.htif_elf(b"x"), "--stats")
        self.assertEqual((result.returncode, result.stdout), (0, b"x"))
        for word in (b"instructions", b"exceptions", b"TLB misses", b"device accesses", b"seconds in WFI"):
            self.assertIn(word, result.stderr)

    def test_by_the_instruction_clock_the_counters_are_the_same(self):
        def counted():
            lines = self.run_it(files.htif_elf(b"x"), "--stats", "--clock", "instructions").stderr.decode().splitlines()
            return [line for line in lines if line.startswith(("instructions", "memory hash"))]

        self.assertEqual(len(counted()), 2)
        self.assertEqual(counted(), counted())

    def counters(self, *arguments):
        result = self.run_it(files.htif_elf(b"cached", times=9), "--stats", "--clock", "instructions", *arguments)
        self.assertEqual((result.returncode, result.stdout), (0, 9 * b"cached"), result.stderr)
        return {line[:22].strip(): line[22:].strip() for line in result.stderr.decode().splitlines()}

    def test_the_code_cache_on_disk(self):
        """A second run translates nothing and ends as the first; a cache that is damaged or not the user's is not used."""
        cache = self.folder / "code"
        none, cold, warm = (self.counters("--code-cache", where) for where in ("none", str(cache), str(cache)))
        self.assertNotEqual(cold["translations"], "0")
        self.assertEqual((cold["loaded"], cold["stored"]), ("0", cold["translations"]))
        self.assertEqual((warm["translations"], warm["loaded"], warm["stored"]), ("0", cold["translations"], "0"))
        self.assertNotIn("loaded", none)
        # What is found there is not interpreted first.
        cache_lines = {"translations", "of guest code", "code cache on disk", "loaded", "stored", "rejected", "dispatches",
                       "first runs", "links", "bytes of host code", "interpreted", "jump cache misses"}
        for name in set(none) - cache_lines:
            if "second" not in name:
                self.assertEqual((cold[name], warm[name]), (none[name], none[name]), name)
        code = next(cache.glob("*.code"))
        content = bytearray(code.read_bytes())
        content[-500] ^= 1
        code.write_bytes(content)
        damaged = self.counters("--code-cache", str(cache))
        self.assertEqual((damaged["loaded"], damaged["memory hash"]), ("0", none["memory hash"]))
        self.assertNotEqual(damaged["rejected"], "0")
        interpreted = self.counters("--code-cache", str(self.folder / "other"), "--engine", "interpreter")
        self.assertNotIn("loaded", interpreted)
        self.assertFalse((self.folder / "other").exists())

    def test_a_code_cache_that_others_may_write_to(self):
        """As it is by default it is not used; one that was asked for is refused."""
        cache = self.folder / "doppel" / "code"
        cache.mkdir(parents=True)
        cache.chmod(0o777)
        result = self.run_it(files.htif_elf(b"x"), "--stats")
        self.assertEqual((result.returncode, result.stdout), (0, b"x"))
        self.assertRegex(result.stderr, rb"code cache on disk +not used: .*other users may write")
        refused = self.run_it(files.htif_elf(b"x"), "--code-cache", str(cache))
        self.assertEqual((refused.returncode, refused.stdout), (2, b""))
        self.assertRegex(refused.stderr, rb"\Adoppel: other users may write to the code cache [^\n]+[^.\n]\n\Z")
        cache.chmod(0o700)
        used = self.run_it(files.htif_elf(b"x", times=9), "--stats")
        self.assertRegex(used.stderr, rb"stored +[1-9]")

    def test_the_device_tree(self):
        blob = self.folder / "tree.dtb"
        disk = self.folder / "disk"
        disk.write_bytes(bytes(4096))
        arguments = ["--cpus", "3", "--append", "console=ttyS0 x=1", "--disk", f"{disk},ro,format=raw", "--dump-dtb", str(blob)]
        result = self.run_it(self.sleeper(), *arguments)
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, b"", b""))
        source = subprocess.run(["dtc", "-I", "dtb", "-O", "dts", str(blob)], capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual(source.returncode, 0, source.stderr)
        for word in ("cpu@0", "cpu@2", "console=ttyS0 x=1", "ns16550a", "virtio,mmio", "memory@80000000", "timebase-frequency"):
            self.assertIn(word, source.stdout)
        self.assertNotIn("cpu@3", source.stdout)
        again = self.run_it(files.htif_elf(), "--dtb", str(blob))  # what it wrote it also takes
        self.assertEqual((again.returncode, again.stderr), (0, b""))

    def test_console_in_a_file(self):
        path = self.folder / "console"
        path.write_text("what was there before is gone")
        result = self.run_it(files.htif_elf(b"to the file\n"), "--console", str(path))
        self.assertEqual((result.returncode, result.stdout, path.read_bytes()), (0, b"", b"to the file\n"))

    def test_no_console(self):
        result = self.run_it(files.htif_elf(b"nobody reads this"), "--console", "none")
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, b"", b""))

    def test_console_on_a_socket(self):
        path = self.folder / "socket"
        process = self.start(self.sleeper(b"who is there?"), "--console", f"unix:{path}")
        self.assertTrue(eventually(path.exists))
        self.assertTrue(stat.S_ISSOCK(path.stat().st_mode))
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            client.connect(str(path))
            got = b""
            while not got.endswith(b"?"):
                got += client.recv(100)
            self.assertEqual(got, b"who is there?")
        process.terminate()
        self.assertEqual(process.wait(PATIENCE), 0)
        self.assertFalse(path.exists())

    def test_standard_descriptors_that_are_closed(self):
        """The first file that is opened gets the number of one that is closed: a disk must not become the console."""
        disk = self.folder / "disk"
        content = os.urandom(1 << 20)
        disk.write_bytes(content)
        shell = ["sh", "-c", 'exec "$0" "$@" <&- >&- 2>&-']
        command = self.command(files.htif_elf(b"Z" * 100, 3), "--disk", f"{disk},format=raw")
        self.assertEqual(subprocess.run([*shell, *command], timeout=PATIENCE).returncode, 3)
        self.assertEqual(disk.read_bytes(), content)
        for closed in ("<&-", ">&-", "2>&-"):
            shell = ["sh", "-c", f'exec "$0" "$@" {closed}']
            result = subprocess.run([*shell, *command], capture_output=True, timeout=PATIENCE)
            self.assertEqual(result.returncode, 3)
            self.assertEqual(result.stdout, b"" if closed == ">&-" else b"Z" * 100)
            self.assertEqual(disk.read_bytes(), content)

    def test_a_reader_that_goes_away(self):
        process = self.start(self.sleeper(b"x" * 200), stdout=subprocess.PIPE)
        self.assertTrue(process.stdout.read(1))
        process.stdout.close()
        process.terminate()
        self.assertEqual(process.wait(PATIENCE), 0)

    def test_signals_end_it(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            process = self.start(self.sleeper(), stdout=subprocess.PIPE)
            self.assertEqual(process.stdout.read(2), b"up")
            process.send_signal(number)
            self.assertEqual(process.wait(PATIENCE), 0)
            process.stdout.close()

    def test_it_confines_itself(self):
        """Every thread, before the first guest instruction; --no-sandbox does not."""
        for arguments, mode in (([], "2"), (["--cpus", "4"], "2"), (["--no-sandbox"], "0")):
            process = self.start(self.sleeper(), *arguments, stdout=subprocess.PIPE)
            self.assertEqual(process.stdout.read(2), b"up")
            process.stdout.close()
            threads = list(pathlib.Path(f"/proc/{process.pid}/task").iterdir())
            self.assertGreaterEqual(len(threads), 3)
            for thread in threads:
                status = dict(line.split(":\t", 1) for line in (thread / "status").read_text().splitlines() if ":\t" in line)
                if mode == "0" and status["Seccomp"] != "0":
                    self.skipTest("this test is itself confined")
                self.assertEqual(status["Seccomp"], mode)
                if mode == "2":
                    self.assertEqual(status["NoNewPrivs"], "1")
            process.terminate()
            self.assertEqual(process.wait(PATIENCE), 0)

    def test_a_sleeping_guest_costs_no_processor_time(self):
        process = self.start(self.sleeper(), "--cpus", "4", stdout=subprocess.PIPE)
        self.assertEqual(process.stdout.read(2), b"up")
        process.stdout.close()

        def ticks():
            fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
            return int(fields[11]) + int(fields[12])

        # Until two looks, with a second of another's work between them, see the same.
        def quiet():
            before, until = ticks(), time.process_time() + 1
            while time.process_time() < until:
                pass
            return ticks() - before <= 2

        self.assertTrue(any(quiet() for _ in range(10)))
        process.terminate()
        self.assertEqual(process.wait(PATIENCE), 0)


def main():
    global PROGRAM
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--doppel", required=True)
    options, rest = parser.parse_known_args()
    PROGRAM = os.path.abspath(options.doppel)
    if not shutil.which("dtc"):
        sys.exit("dtc is missing: install device-tree-compiler")
    unittest.main(argv=[sys.argv[0], *rest])


if __name__ == "__main__":
    main()
