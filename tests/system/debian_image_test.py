#!/usr/bin/env python3
"""debian_image_test.py --doppel PROGRAM: what the debian image does by itself in a machine that is copied, and for the host's memory."""
import json
import os
import pathlib
import tempfile
import time

import named_machine
from debian_copies_test import Copies, find_image


class Image(Copies):
    @classmethod
    def setUpClass(cls):
        find_image(cls.program)
        cls.kept = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.kept.cleanup)
        cls.environment = {**os.environ, "DOPPEL_RUNTIME_DIR": str(pathlib.Path(cls.kept.name) / "runtime"), "XDG_DATA_HOME": cls.kept.name}
        first = cls("setUp")
        cls.addClassCleanup(first.end_all)
        first.done("run", "--detach", "--snapshot", "--memory", "1G", "--name", "first", "--code-cache", "none")
        first.wait_for_log("first", "bash-")
        first.wait_until("the balloon's driver", lambda: "virtio_balloon" in first.ask("first", "cat /proc/modules"))
        first.ask("first", "date -s @1000000000")
        first.done("snapshot", "save", "first", "shell")
        first.done("rm", "-f", "first")

    def statistics(self, name):
        return json.loads(self.done("stats", name, "--json"))

    def resident(self, name):
        status = pathlib.Path(f"/proc/{self.machines()[name]['pid']}/status").read_text()
        return int(status.split("RssAnon:")[1].split()[0]) >> 10

    def test_a_copy_sets_its_clock(self):
        self.restore("a")
        self.wait_until("the right date", lambda: abs(int(self.ask("a", "date +%s")) - time.time()) < 30)

    def test_what_is_freed_goes_back_to_the_host(self):
        self.restore("a")
        self.ask("a", "head -c 300M /dev/zero | tr '\\0' x > /dev/shm/file")
        full = self.resident("a")
        self.assertGreater(full, 300)
        self.ask("a", "rm /dev/shm/file")
        self.wait_until("200 MiB less", lambda: self.resident("a") < full - 200)
        self.assertGreater(self.statistics("a")["discarded_pages"], 200 << 8)

    def test_the_balloon_fills_and_empties(self):
        self.restore("a")
        self.done("balloon", "a", "512M")
        self.wait_until("a full balloon", lambda: self.statistics("a")["balloon_pages"] == 512 << 8)
        self.assertLess(int(self.ask("a", "sed -n 's/^MemFree: *\\([0-9]*\\).*/\\1/p' /proc/meminfo")), 512 << 10)
        # A copy has it too, and takes its pages out.
        self.done("fork", "a", "--name", "b")
        self.done("balloon", "b", "1G")
        self.wait_until("an empty balloon", lambda: self.statistics("b")["balloon_pages"] == 0)
        self.ask("b", "head -c 400M /dev/zero | tr '\\0' x > /dev/shm/file && sha256sum /dev/shm/file")
        self.refused("balloon", "a", "2G", says=["1 GiB"])
        self.refused("balloon", "a", "much", says=["'much'"])


# Only what is of this file: those that it uses are run where they are from.
def load_tests(loader, _tests, _pattern):
    return loader.loadTestsFromTestCase(Image)


if __name__ == "__main__":
    named_machine.main(__doc__)
