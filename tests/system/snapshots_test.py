#!/usr/bin/env python3
"""snapshots_test.py --doppel PROGRAM: snapshots and forks of machines as a user meets them: what goes on and where from, what is
kept apart, what becomes of damage, full disks and killed processes. The guests are bare-metal programs (notebook_guest.py)."""
import json
import os
import pathlib
import random
import re
import resource
import signal
import subprocess

import machine_files as files
import named_machine
import notebook_guest
from named_machine import PATIENCE, Named

SEED = int(os.environ.get("DOPPEL_TEST_SEED") or random.randrange(1 << 32))


class Kept(Named):
    def setUp(self):
        super().setUp()
        self.notebook = self.file("notebook", notebook_guest.notebook())
        self.snapshots = pathlib.Path(self.folder.name) / "doppel/snapshots"

    def begin(self, name, *arguments, memory="16M"):
        self.start(name, *arguments, kernel=self.notebook, memory=memory)
        self.wait_for_log(name, "READY")

    def answer(self, name, keys, pattern):
        """What the machine prints, from now on, when this is typed: the match."""
        before = len(self.done("logs", name))
        self.done("attach", name, stdin=None, input=keys.encode())
        found = []

        def look():
            match = re.search(pattern, self.done("logs", name)[before:])
            return found.append(match) or match

        self.wait_until(f"{pattern} in answer to {keys!r}", look)
        return found[-1]

    def notes(self, name, more=""):
        return self.answer(name, more + "\n", r"\[(.*)\]\r\n")[1]

    def fill(self, name):
        """Fills some memory with what does not compress; its checksum."""
        self.answer(name, "M", "filled")
        return self.checksum(name)

    def checksum(self, name):
        return self.answer(name, "C", "sum ([0-9a-f]{16})\r\n")[1]

    def found(self, name):
        """How often the secret is in this machine's memory."""
        return int(self.answer(name, "F", "found ([0-9a-f]{16})\r\n")[1], 16)

    def run_from(self, snapshot, *arguments, keys="\nP", **options):
        """In the foreground; it ends itself by what is typed."""
        return self.doppel("run", "--from", snapshot, "--code-cache", "none", *arguments, stdin=None, input=keys.encode(), **options)

    def restored(self, snapshot, keys="\nP"):
        result = self.run_from(snapshot, keys=keys)
        self.assertEqual((result.returncode, result.stderr), (0, b""), result.stdout)
        return result.stdout.decode()

    def start_from(self, snapshot, name, *arguments):
        self.assertEqual(self.done("run", "--from", snapshot, "--code-cache", "none", "--detach", "--name", name, *arguments), name + "\n")

    def names(self):
        return [snapshot["name"] for snapshot in json.loads(self.done("snapshot", "ls", "--json"))]


class Snapshots(Kept):
    def test_from_save_to_removal(self):
        self.refused("snapshot", "show", "one", says=["no snapshots yet", "doppel snapshot"])
        self.refused("run", "--from", "one", says=["no snapshots yet", "doppel snapshot"])
        self.begin("a")
        checksum = self.fill("a")
        self.assertRegex(self.done("snapshot", "save", "a", "one"), r"\Aone: \d+ pages, [\d.]+ MiB on disk; a stood still for [\d.]+ ms\n\Z")
        self.assertEqual(self.notes("a", "later"), "later")
        self.assertRegex(self.done("snapshot", "save", "a", "two"), r"\Atwo: \d+ pages, [\d.]+ KiB on disk; a stood still for ")
        self.refused("snapshot", "save", "a", "one", says=["'one' already"])
        self.refused("snapshot", "save", "a", "../one", says=["no name for a snapshot"])
        self.refused("snapshot", "save", "b", "three", says=["'b'"])
        self.assertEqual(self.names(), ["one", "two"])
        one = json.loads(self.done("snapshot", "ls", "--json"))[0]
        self.assertEqual(one["bytes"], 16 << 20)
        self.assertGreater(one["pages"], notebook_guest.FILLED_BYTES // 4096)
        table = self.done("snapshot", "ls").splitlines()
        self.assertRegex(table[0], r"\ANAME +MADE +OWN +PAGES\Z")
        self.assertRegex(table[1], rf"\Aone +\d+ (s|min) +[\d.]+ (bytes|[KM]iB) +{one['pages']}\Z")
        shown = json.loads(self.done("snapshot", "show", "one", "--json"))
        self.assertEqual((shown["machine"]["memory"], shown["machine"]["kernel"]), (16 << 20, self.notebook))
        self.assertEqual([space["name"] for space in shown["spaces"]], ["memory"])
        self.assertRegex(self.done("snapshot", "show", "one"), rf"\Aone: made \d+ (s|min) ago, of {self.notebook}\n  memory +16.* MiB, {one['pages']} pages held\n\Z")
        # What both have stays until none needs it.
        self.done("snapshot", "rm", "one")
        self.assertIn(f"[later]\r\nsum {checksum}\r\n", self.restored("two", "\nCP"))
        self.done("snapshot", "rm", "two")
        self.done("snapshot", "a", "three")  # short for save
        self.done("snapshot", "rm", "three")
        self.refused("snapshot", "lss", says=["'ls'"])
        self.assertEqual((self.done("snapshot", "ls"), self.names()), ("", []))
        self.assertEqual([path.name for path in self.snapshots.iterdir()], ["lock"])
        self.refused("run", "--from", "one", says=["'one'"])

    def test_it_goes_on_where_it_was_twice(self):
        self.begin("a")
        checksum = self.fill("a")
        self.notes("a", "before")
        self.done("snapshot", "save", "a", "s")
        self.notes("a", " original")
        self.assertIn(f"[before once]\r\nsum {checksum}\r\n", self.restored("s", " once\nCP"))
        self.assertIn("[before again]\r\n", self.restored("s", " again\nP"))
        for name in ("x", "y"):
            self.start_from("s", name)
        self.assertEqual(self.notes("x", " in x"), "before in x")
        self.assertEqual(self.notes("y", " in y"), "before in y")
        self.assertEqual(self.notes("a"), "before original")
        self.assertEqual(self.checksum("y"), checksum)
        self.assertEqual(self.machines()["x"]["what"], "snapshot s")
        # What runs holds all that it needs.
        self.done("snapshot", "rm", "s")
        self.assertEqual(self.checksum("x"), checksum)

    def test_a_snapshot_of_a_restored_machine_and_of_a_paused_one(self):
        self.begin("a")
        self.notes("a", "1")
        self.done("pause", "a")
        self.done("snapshot", "save", "a", "first")
        self.assertEqual(self.machines()["a"]["status"], "paused")
        self.start_from("first", "b")
        self.assertEqual(self.notes("b", "2"), "12")
        self.done("snapshot", "save", "b", "second")
        self.done("rm", "-f", "a", "b")
        self.done("snapshot", "rm", "first")
        self.assertIn("[123]", self.restored("second", "3\nP"))

    def test_output_goes_on_without_a_gap(self):
        """A machine that counts: what a copy prints follows on what was printed when the snapshot was made."""
        self.start("a", kernel=self.file("counter", notebook_guest.counter()))
        self.wait_for_log("a", "%016x\n" % 20)
        before = self.done("logs", "a")
        self.done("snapshot", "save", "a", "s")
        after = self.done("logs", "a")
        seen = []
        for _ in range(2):
            process = subprocess.Popen([self.program, "run", "--from", "s"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=self.environment)
            seen.append(process.stdout.read(17 * 20).decode())
            process.kill()
            process.stdout.close()
            process.wait()
        self.assertEqual(seen[0], seen[1])
        whole = "".join("%016x\n" % number for number in range(100000))
        self.assertIn(seen[0], whole)
        self.assertTrue(len(before) <= whole.index(seen[0]) <= len(after), (len(before), seen[0], len(after)))

    def test_export_and_import(self):
        self.begin("a")
        checksum = self.fill("a")
        self.notes("a", "kept")
        self.done("snapshot", "save", "a", "s")
        exported = str(pathlib.Path(self.folder.name) / "exported")
        self.done("snapshot", "export", "s", exported)
        self.refused("snapshot", "export", "s", exported, says=[exported])
        self.refused("snapshot", "export", "t", exported + "2", says=["'t'"])
        self.refused("snapshot", "import", exported, "s", says=["'s' already"])
        self.done("rm", "-f", "a")
        self.done("snapshot", "rm", "s")
        self.done("snapshot", "import", exported, "other")
        os.unlink(exported)
        self.assertIn(f"[kept]\r\nsum {checksum}", self.restored("other", "\nCP"))

    def test_replace(self):
        self.begin("a")
        self.notes("a", "old")
        self.done("snapshot", "save", "a", "s")
        self.notes("a", " new")
        self.done("snapshot", "save", "a", "s", "--replace")
        self.assertEqual(self.names(), ["s"])
        self.assertIn("[old new]", self.restored("s"))

    def test_what_cannot_go_with_a_snapshot(self):
        self.begin("a")
        self.done("snapshot", "save", "a", "s")
        fixed = {"--kernel": self.notebook, "--initrd": self.notebook, "--append": "x", "--firmware": self.notebook, "--dtb": self.notebook, "--disk": self.notebook,
                 "--memory": "64M", "--cpus": "2", "--mmu": "48", "--net": "none", "--mac": "52:54:00:00:00:01", "--clock": "instructions",
                 "--dump-dtb": "x", "--signature": "x"}
        for option, value in fixed.items():
            self.refused("run", "--from", "s", option, value, says=["--from", option])
        self.refused("run", "debian", "--from", "s", says=["--from", "IMAGE"])
        self.refused("run", "--from", "s", "--publish", "1234:80", says=["--publish", "'s'"])
        self.refused("run", "--from", "x", says=["'x'", "doppel snapshot ls"])
        self.refused("run", "--from", "x/../s", says=["no name for a snapshot"])
        self.refused("run", "--from", "x", "--detach", says=["'x'"])
        self.refused("run", "--from", "s", "--name", "a", says=["'a'", "runs already"])

    def test_what_a_machine_has_its_kernel_file_for_is_past(self):
        self.begin("a")
        self.notes("a", "x")
        self.done("snapshot", "save", "a", "s")
        os.unlink(self.notebook)
        self.assertIn("[x]", self.restored("s"))


class Forks(Kept):
    def test_copies_and_the_original_go_on_apart(self):
        self.begin("b")
        checksum = self.fill("b")
        self.notes("b", "all")
        self.assertEqual(self.done("fork", "b", "-n", "3"), "b-1\nb-2\nb-3\n")
        self.assertEqual(self.done("fork", "b", "--name", "other"), "other\n")
        self.assertEqual(self.done("ls", "-q").split(), ["b", "b-1", "b-2", "b-3", "other"])
        for name in ("b-2", "other", "b", "b-1", "b-3"):
            self.assertEqual(self.notes(name, " " + name), "all " + name)
        for name in ("b-1", "b-2", "b-3", "other"):
            self.assertEqual(self.checksum(name), checksum)
        self.assertEqual(self.notes("b-1"), "all b-1")

    def test_names(self):
        self.begin("b")
        self.refused("fork", "b", "-n", "2", "--name", "x", says=["{}"])
        self.refused("fork", "b", "--name", "../x", says=["no name for a machine"])
        self.refused("fork", "b", "--name", "b", says=["'b'", "runs already"])
        self.refused("fork", "c", says=["'c'"])
        self.refused("fork", "b", "-n", "0")
        # One in the middle is taken: those before it were made, which is what was printed, and run.
        self.done("fork", "b", "--name", "x-3")
        result = self.doppel("fork", "b", "-n", "5", "--name", "x-{}")
        self.assertEqual((result.returncode, result.stdout), (2, b"x-1\nx-2\n"))
        self.assertRegex(result.stderr.decode(), r"\Adoppel: [^\n]*'x-3'[^\n]*runs already[^\n]*\n\Z")
        self.assertEqual(self.done("ls", "-q").split(), ["b", "x-1", "x-2", "x-3"])
        self.assertEqual(self.notes("x-2", "runs"), "runs")

    def test_a_fork_of_a_fork_ten_deep(self):
        self.begin("f0")
        checksum = self.fill("f0")
        for depth in range(1, 11):
            self.notes(f"f{depth - 1}", "%x" % depth)
            self.done("fork", f"f{depth - 1}", "--name", f"f{depth}")
            self.done("rm", "-f", f"f{depth - 1}")
        self.assertEqual(self.notes("f10"), "123456789a")
        self.assertEqual(self.checksum("f10"), checksum)

    def test_a_copy_has_all_when_the_command_is_back(self):
        """Whatever becomes of the original: its process is killed at once."""
        self.notebook = self.file("large", notebook_guest.notebook(filled=160 << 20))
        self.begin("b", memory="192M")
        checksum = self.fill("b")
        for original, copy in (("b", "c"), ("c", "d"), ("d", "e")):
            process = self.machines()[original]["pid"]
            self.done("fork", original, "--name", copy)
            os.kill(process, signal.SIGKILL)
            self.assertEqual(self.checksum(copy), checksum)

    def test_the_original_is_killed_while_it_is_copied(self):
        """Either there is a whole copy, or one sentence and no machine."""
        self.notebook = self.file("large", notebook_guest.notebook(filled=160 << 20))
        self.begin("b", memory="192M")
        checksum = self.fill("b")
        self.done("snapshot", "save", "b", "s")
        chance = random.Random(SEED)
        for attempt in range(10):
            if attempt:
                self.done("rm", "-f", "b")
                self.start_from("s", "b")
                self.assertEqual(self.checksum("b"), checksum)  # all pages are there
            process = subprocess.Popen([self.program, "fork", "b", "--name", "c"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, env=self.environment)
            try:
                process.wait(chance.uniform(0, 0.2))
            except subprocess.TimeoutExpired:
                pass
            os.kill(self.machines()["b"]["pid"], signal.SIGKILL)
            output, error = process.communicate(timeout=PATIENCE)
            if process.returncode == 0:
                self.assertEqual(self.checksum("c"), checksum, f"DOPPEL_TEST_SEED={SEED}")
                self.done("rm", "-f", "c")
            else:
                self.assertEqual((process.returncode, output), (2, b""))
                self.assertRegex(error.decode(), r"\Adoppel: [^\n]{10,400}[^.\n]\n\Z")
                self.assertNotIn("c", [name for name, m in self.machines().items() if m["alive"]], f"DOPPEL_TEST_SEED={SEED}")
                self.doppel("rm", "-f", "c")


class Isolation(Kept):
    def test_a_secret_stays_where_it_was_written(self):
        base = self.file("disk", bytes(range(256)) * 4096)
        content = pathlib.Path(base).read_bytes()
        self.begin("a", "--disk", f"{base},snapshot,format=raw")
        first = "sector 0706050403020100\r\n"
        self.answer("a", "R", first)
        self.done("fork", "a", "-n", "3", "--name", "c{}")
        self.done("snapshot", "save", "a", "before")
        self.answer("c1", "W", "hidden")
        self.answer("c1", "D", "written")
        self.assertGreater(self.found("c1"), 0)
        self.answer("c1", "R", f"sector {notebook_guest.SECRET:016x}\r\n")
        self.done("fork", "c1", "--name", "heir")
        for name in ("a", "c2", "c3"):
            self.answer(name, "R", first)
            self.assertEqual(self.found(name), 0, name)
        self.assertIn(f"{first}found 0000000000000000\r\n", self.restored("before", "RFP"))
        # What was written before a fork is in the copy.
        self.answer("heir", "R", f"sector {notebook_guest.SECRET:016x}\r\n")
        self.assertGreater(self.found("heir"), 0)
        self.done("snapshot", "save", "heir", "with")
        self.assertIn(f"sector {notebook_guest.SECRET:016x}\r\n", self.restored("with", "RP"))
        self.assertEqual(pathlib.Path(base).read_bytes(), content)

    def test_the_crash_of_one_leaves_the_others(self):
        self.begin("a")
        checksum = self.fill("a")
        self.done("fork", "a", "-n", "3", "--name", "c{}")
        for name in ("c2", "a"):
            os.kill(self.machines()[name]["pid"], signal.SIGKILL)
            self.wait_until("died", lambda name=name: self.machines()[name]["status"] == "died")
        for name in ("c1", "c3"):
            self.assertEqual(self.notes(name, name), name)
            self.assertEqual(self.checksum(name), checksum)

    def test_what_was_written_before_the_first_copy_is_in_it(self):
        disk = self.file("disk", bytes(1 << 20))
        self.begin("a", "--disk", f"{disk},snapshot,format=raw")
        secret = f"sector {notebook_guest.SECRET:016x}\r\n"
        self.answer("a", "W", "hidden")
        self.answer("a", "D", "written")
        self.done("snapshot", "save", "a", "s")
        self.done("fork", "a")
        self.answer("a-1", "R", secret)
        self.assertIn(secret, self.restored("s", "RP"))
        self.assertEqual(pathlib.Path(disk).read_bytes(), bytes(1 << 20))

    def test_disks_that_keep_what_is_written_are_kept_in_overlays(self):
        disk = self.file("disk", bytes(1 << 20))
        self.begin("a", "--disk", f"{disk},format=raw")
        secret = notebook_guest.SECRET.to_bytes(8, "little")
        self.done("snapshot", "save", "a", "s")
        self.done("fork", "a", "-n", "2", "--name", "b{}")
        self.done("fork", "b1", "--name", "heir")
        self.done("fork", "a", "--name", "light", "--snapshot")
        self.start_from("s", "c")
        for name in ("b2", "heir", "c", "light"):
            self.answer(name, "W", "hidden")
            self.answer(name, "D", "written")
        # Written is flushed here: nobody loses it by a power cut.
        for name in ("b2", "heir", "c", "light"):
            self.done("kill", name)
        self.answer("a", "R", "sector 0000000000000000\r\n")
        self.assertEqual(pathlib.Path(disk).read_bytes(), bytes(1 << 20))
        for name in ("a", "b1"):
            self.done("stop", name)
        overlays = {name: f"{disk}.{name}.overlay" for name in ("a", "b1", "b2", "heir", "c")}
        self.assertEqual(sorted(pathlib.Path(disk).parent.glob("disk.*")), sorted(map(pathlib.Path, overlays.values())))
        for name, overlay in overlays.items():
            raw = self.file(f"raw-{name}", b"")
            os.unlink(raw)
            self.done("image", "convert", overlay, raw, "--format", "raw")
            self.assertEqual(secret in pathlib.Path(raw).read_bytes(), name in ("b2", "heir", "c"), name)
        self.refused("run", "--kernel", self.notebook, "--disk", f"{disk},format=raw", says=[disk, "overlay", "commit"])
        for name in ("a", "b1", "heir", "c"):
            os.unlink(overlays[name])
        self.done("disk", "commit", overlays["b2"])
        self.assertIn(secret, pathlib.Path(disk).read_bytes())

    def test_an_overlay_of_a_machine_of_the_same_name_stays(self):
        disk = self.file("disk", bytes(1 << 20))
        self.begin("a", "--disk", f"{disk},format=raw")
        for name in ("a", "b"):
            pathlib.Path(f"{disk}.{name}.overlay").write_bytes(b"somebody's")
        self.refused("fork", "a", says=[f"{disk}.a.overlay", "commit"])
        self.assertEqual(self.notes("a", "runs"), "runs")
        os.unlink(f"{disk}.a.overlay")
        self.refused("fork", "a", "--name", "b", says=[f"{disk}.b.overlay", "commit"])
        self.assertEqual(pathlib.Path(f"{disk}.b.overlay").read_bytes(), b"somebody's")
        self.done("fork", "a", "--name", "c")

    def test_a_disk_that_was_written_to_since(self):
        disk = self.file("disk", bytes(1 << 20))
        self.begin("a", "--disk", f"{disk},snapshot,format=raw")
        self.done("snapshot", "save", "a", "s")
        self.done("stop", "a")
        self.assertIn("sector 0000000000000000", self.restored("s", "RP"))
        time = os.stat(disk).st_mtime_ns
        with open(disk, "r+b") as file:
            file.write(b"x")
        self.assertNotEqual(os.stat(disk).st_mtime_ns, time)
        self.refused("run", "--from", "s", says=[disk, "has been written to"])
        os.unlink(disk)
        self.refused("run", "--from", "s", says=[disk, "cannot be found"])


class Damage(Kept):
    def setUp(self):
        super().setUp()
        self.begin("a")
        self.notes("a", "good")
        self.done("snapshot", "save", "a", "good")
        self.checksum_of_a = self.fill("a")
        self.notes("a", " bad")
        before = set(self.snapshots.iterdir())
        self.done("snapshot", "save", "a", "bad")
        self.chance = random.Random(SEED)
        new = set(self.snapshots.iterdir()) - before
        self.manifest = next(path for path in new if path.suffix == ".snapshot")
        self.pack = next(path for path in new if path.suffix == ".pack")

    def check_damaged(self, path):
        """One sentence that names the file, before it runs or when what is damaged is wanted; or it was never wanted."""
        result = self.run_from("bad", keys="\nCP")
        what = f"DOPPEL_TEST_SEED={SEED} {path} {result}"
        if result.returncode == 0:
            self.assertIn(f"[good bad]\r\nsum {self.checksum_of_a}", result.stdout.decode(), what)
            return False
        self.assertEqual(result.returncode, 2, what)
        self.assertRegex(result.stderr.decode(), r"\Adoppel: [^\n]{10,500}[^.\n]\n\Z", what)
        self.assertIn(path.name, result.stderr.decode(), what)
        return True

    def check_file(self, path, must_be_noticed):
        content = path.read_bytes()
        cuts = [0, 1, 7, len(content) // 2, len(content) - 1, *(self.chance.randrange(len(content)) for _ in range(5))]
        for length in cuts:
            path.write_bytes(content[:length])
            self.assertTrue(self.check_damaged(path), length)
        noticed = 0
        for _ in range(20):
            bit = self.chance.randrange(8 * len(content))
            flipped = bytearray(content)
            flipped[bit // 8] ^= 1 << bit % 8
            path.write_bytes(flipped)
            noticed += self.check_damaged(path)
        self.assertGreaterEqual(noticed, must_be_noticed)
        self.assertIn("[good]", self.restored("good"))
        path.write_bytes(content)
        self.assertIn(self.checksum_of_a, self.restored("bad", "CP"))

    def test_manifest(self):
        self.check_file(self.manifest, 20)

    def test_pack(self):
        self.check_file(self.pack, 15)  # most of it are pages that do not compress and are all wanted

    def test_a_damaged_page_ends_a_machine_in_the_background_with_a_sentence(self):
        flipped = bytearray(self.pack.read_bytes())
        for at in range(len(flipped) // 4, len(flipped) // 2):
            flipped[at] ^= 0x55
        self.pack.write_bytes(flipped)
        self.start_from("bad", "b")
        self.done("attach", "b", stdin=None, input=b"C")
        self.wait_until("ended", lambda: not self.machines()["b"]["alive"])
        self.assertEqual((self.machines()["b"]["status"], self.machines()["b"]["exit_status"]), ("exited", 2))
        self.assertRegex(self.done("logs", "b"), rf"doppel: [^\n]*{self.pack.name}[^\n]*\n\Z")

    def test_missing_files(self):
        content = self.pack.read_bytes()
        self.pack.unlink()
        self.refused("run", "--from", "bad", says=[self.pack.name])
        self.assertIn("[good]", self.restored("good"))
        self.pack.symlink_to("/dev/zero")
        self.refused("run", "--from", "bad", says=[self.pack.name])
        self.pack.unlink()
        self.pack.write_bytes(content)
        self.manifest.write_bytes(b"")
        self.assertRegex(self.done("snapshot", "ls"), r"(?m)^bad +.*bad\.snapshot")
        self.refused("snapshot", "show", "bad", says=["bad.snapshot"])
        self.refused("snapshot", "export", "bad", str(self.snapshots / "../x"), says=["bad.snapshot"])
        self.done("snapshot", "rm", "bad")
        self.assertEqual(self.names(), ["good"])

    def test_damaged_exports(self):
        path = pathlib.Path(self.folder.name) / "exported"
        self.done("snapshot", "export", "bad", str(path))
        content = path.read_bytes()
        for _ in range(10):
            damaged = bytearray(content[: self.chance.choice([len(content), self.chance.randrange(len(content))])])
            if len(damaged) == len(content):
                damaged[self.chance.randrange(len(content))] ^= 0x10
            path.write_bytes(damaged)
            self.refused("snapshot", "import", str(path), "new", says=[str(path)])
        self.assertEqual(self.names(), ["bad", "good"])

    def files(self):
        return {path.name: path.read_bytes() for path in self.snapshots.iterdir() if path.name != "lock"}

    def test_a_full_disk(self):
        checksum = self.fill("a")
        before = self.files()
        for kilobytes in (0, 1, 100, 3000):  # of four megabytes
            limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes << 10, kilobytes << 10))
            for command in (["snapshot", "save", "a", "new"], ["snapshot", "save", "a", "good", "--replace"], ["snapshot", "export", "bad", str(self.snapshots / "../x")]):
                # The memory file of the copy is the machine's to grow; what is written is this process's.
                result = self.doppel(*command, preexec_fn=limit)
                self.assertEqual((result.returncode, result.stdout), (2, b""), command)
                self.assertRegex(result.stderr.decode(), r"\Adoppel: cannot write [^\n]{10,400}[^.\n]\n\Z")
                self.assertFalse((self.snapshots / "../x").exists())
        self.assertEqual(self.files(), before)
        self.assertIn("[good]", self.restored("good"))
        self.done("snapshot", "save", "a", "new")
        self.assertIn(f"sum {checksum}", self.restored("new", "CP"))

    def test_saving_is_killed_at_any_instant(self):
        for attempt in range(20):
            self.notes("a", "n")
            if attempt % 2:
                self.fill("a")
            process = subprocess.Popen([self.program, "snapshot", "save", "a", f"new{attempt}"], stdout=subprocess.DEVNULL, env=self.environment)
            try:
                process.wait(self.chance.uniform(0, 0.25))
            except subprocess.TimeoutExpired:
                process.kill()
            process.wait()
            for name in self.names():
                if name.startswith("new"):
                    self.assertIn("[good bad", self.restored(name))
        self.assertIn("[good]", self.restored("good"))
        self.assertIn(f"[good bad]\r\nsum {self.checksum_of_a}", self.restored("bad", "\nCP"))
        self.notes("a", "still there")
        self.done("snapshot", "save", "a", "last")
        self.assertIn("still there]", self.restored("last"))
        self.assertEqual([name for name in self.files() if name.endswith(".new")], [])


if __name__ == "__main__":
    named_machine.main(__doc__)
