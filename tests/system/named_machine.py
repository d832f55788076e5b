"""Named machines of doppel as a program's user has them, for the system tests: commands, what they print, and what they refuse."""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest

import machine_files as files

PATIENCE = 120  # seconds after which a command hangs


def echo_elf():
    """Prints READY, and then each byte that is typed, by polling the serial port's line status."""
    words = [files.lui(6, files.UART >> 12)]
    for byte in b"READY\r\n":
        words += [files.addi(7, 0, byte), files.sb(7, 6)]
    words += [files.lbu(7, 6, 5), files.andi(7, 7, 1), files.beq(7, 0, -8), files.lbu(7, 6, 0), files.sb(7, 6)]
    words += [files.beq(0, 0, -20)]
    return files.elf(words)


class Named(unittest.TestCase):
    """Each test has a folder of its own for what doppel keeps."""

    program = None

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        # Longer than the address of a socket can be.
        self.runtime = pathlib.Path(self.folder.name) / ("long" * 30)
        self.environment = {**os.environ, "DOPPEL_RUNTIME_DIR": str(self.runtime), "XDG_CACHE_HOME": self.folder.name,
                            "XDG_DATA_HOME": self.folder.name}
        self.echo = self.file("echo", echo_elf())
        self.addCleanup(self.end_all)

    def end_all(self):
        names = self.doppel("ls", "-q").stdout.decode().split()
        if names:
            self.doppel("rm", "-f", *names)

    def file(self, name, content):
        path = pathlib.Path(self.folder.name) / name
        path.write_bytes(content)
        return str(path)

    def options(self, **options):
        return {"stdin": subprocess.DEVNULL, "env": self.environment, "timeout": PATIENCE, **options}

    def doppel(self, *arguments, **options):
        return subprocess.run([self.program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **self.options(**options))

    def done(self, *arguments, **options):
        """The command succeeds; what it printed."""
        result = self.doppel(*arguments, **options)
        self.assertEqual((result.returncode, result.stderr), (0, b""), arguments)
        return result.stdout.decode()

    def refused(self, *arguments, says=()):
        result = self.doppel(*arguments)
        error = result.stderr.decode()
        self.assertEqual((result.returncode, result.stdout), (2, b""), error)
        self.assertRegex(error, r"\Adoppel: [^\n]{10,400}[^.\n]\n\Z")
        for word in says:
            self.assertIn(word, error)

    def run_words(self, kernel=None, memory="16M"):
        return ["run", "--kernel", kernel or self.echo, "--memory", memory, "--net", "none", "--code-cache", "none"]

    def start(self, name, *arguments, kernel=None, memory="16M"):
        self.assertEqual(self.done(*self.run_words(kernel, memory), "--detach", "--name", name, *arguments), name + "\n")

    def machines(self):
        return {machine["name"]: machine for machine in json.loads(self.done("ls", "--json"))}

    def wait_until(self, what, condition):
        end = time.monotonic() + PATIENCE
        while not condition():
            self.assertLess(time.monotonic(), end, f"never: {what}")
            time.sleep(0.01)

    def wait_for_log(self, name, text):
        self.wait_until(f"{text} in the log", lambda: text in self.done("logs", name))


def main(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--doppel", required=True)
    options, rest = parser.parse_known_args()
    Named.program = os.path.abspath(options.doppel)
    unittest.main(module="__main__", argv=[sys.argv[0], *rest])
