#!/usr/bin/env python3
"""named_machines_test.py --doppel PROGRAM: machines with names, in the background and not: what a user does with them, and what
becomes of them when their process is killed. The guests are bare-metal programs: one echoes what is typed, one prints and ends."""
import fcntl
import json
import os
import pathlib
import pty
import select
import socket
import signal
import struct
import subprocess
import termios
import time

import machine_files as files
import named_machine
from named_machine import PATIENCE, Named


class LifeCycle(Named):
    def test_two_machines_from_start_to_removal(self):
        self.start("a")
        self.start("b", "--cpus", "2")
        self.assertEqual(self.done("ls", "-q"), "a\nb\n")
        table = self.done("ls").splitlines()
        self.assertRegex(table[0], r"\ANAME +STATUS +SINCE +MEMORY +CPUS +WHAT\Z")
        self.assertRegex(table[1], r"\Aa +running +\d+ (s|min) +16 MiB +1 +/.*echo\Z")
        self.assertEqual(self.machines()["b"]["cpus"], 2)
        self.wait_for_log("a", "READY")
        self.done("pause", "a", "b")
        self.assertEqual([m["status"] for m in self.machines().values()], ["paused", "paused"])
        self.done("resume", "a")
        self.assertEqual([m["status"] for m in self.machines().values()], ["running", "paused"])
        self.done("stop", "a", "b")  # a paused one too
        for machine in self.machines().values():
            self.assertEqual((machine["status"], machine["exit_status"], machine["alive"]), ("exited", 0, False))
        self.assertIn("READY", self.done("logs", "a"))
        self.done("rm", "a", "b")
        self.assertEqual(self.done("ls"), "")
        self.assertEqual(list((self.runtime / "machines").iterdir()), [])

    def test_what_ended_machines_are_asked(self):
        self.start("a", kernel=self.file("ends", files.htif_elf(b"done\n", 7)))
        self.wait_until("exited", lambda: self.machines()["a"]["status"] == "exited")
        self.assertEqual(self.machines()["a"]["exit_status"], 7)
        for verb in ("attach", "stop", "kill", "pause", "resume", "stats"):
            self.refused(verb, "a", says=["does not run", "exited (7)"])
        self.refused(*self.run_words(), "--name", "a", says=["doppel rm a"])

    def test_a_paused_guest_stands_still(self):
        self.start("a")
        self.wait_for_log("a", "READY")
        counters = [json.loads(self.done("stats", "a", "--json"))["harts"]["instructions"]]
        self.wait_until("work", lambda: json.loads(self.done("stats", "a", "--json"))["harts"]["instructions"] > counters[0])
        self.done("pause", "a")
        counters = [json.loads(self.done("stats", "a", "--json"))["harts"]["instructions"] for _ in range(3)]
        self.assertEqual(len(set(counters)), 1, "a paused machine executes")
        self.done("resume", "a")
        self.wait_until("work", lambda: json.loads(self.done("stats", "a", "--json"))["harts"]["instructions"] > counters[0])
        text = self.done("stats", "a")
        self.assertRegex(text, r"(?m)^instructions +\d+$")
        self.assertRegex(text, r"(?m)^hart 0  is at +[0-9a-f]{16} in [MS]-mode$")

    def test_the_name_of_a_machine_in_the_foreground(self):
        process = subprocess.Popen([self.program, *self.run_words(), "--name", "front"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=self.environment)
        self.addCleanup(process.kill)
        self.assertEqual(process.stdout.readline(), b"READY\r\n")
        self.assertEqual(self.machines()["front"]["status"], "running")
        self.refused("attach", "front", says=["foreground"])
        self.refused("logs", "front", says=["keeps no log"])
        self.done("stop", "front")
        self.assertEqual(process.wait(PATIENCE), 0)
        process.stdout.close()
        self.done("rm", "front")

    def test_nothing_stays_of_what_is_to_be_removed(self):
        ends = self.file("ends", files.htif_elf(b"", 3))
        self.assertEqual(self.doppel(*self.run_words(ends), "--name", "a", "--rm").returncode, 3)
        self.assertEqual(self.done("ls"), "")
        self.start("a", "--rm")
        os.kill(self.machines()["a"]["pid"], signal.SIGKILL)
        self.wait_until("removed", lambda: self.done("ls") == "")
        self.assertEqual(list((self.runtime / "machines").iterdir()), [])

    def test_made_up_names(self):
        names = [self.done(*self.run_words(), "--detach").strip() for _ in range(3)]
        self.assertEqual(sorted(names), self.done("ls", "-q").split())
        for name in names:
            self.assertRegex(name, r"\A[a-z]+-[a-z]+\Z")


class Failures(Named):
    def test_names(self):
        self.start("a")
        self.refused(*self.run_words(), "--name", "a", says=["'a'", "runs already"])
        self.refused(*self.run_words(), "--detach", "--name", "a", says=["'a'", "runs already"])
        for name in ("../a", ".a", "-a", "a b", "x" * 65):
            self.refused(*self.run_words(), f"--name={name}")
        self.start("laboratory")
        self.refused("stop", "labratory", says=["labratory", "did you mean 'laboratory'"])
        self.refused("attach", "xyzzy", says=["xyzzy", "doppel ls"])
        self.refused("rm", "a", says=["rm -f"])

    def test_detached_machines_that_cannot_be_made(self):
        missing = str(pathlib.Path(self.folder.name) / "missing")
        self.refused("run", "--detach", "--name", "a", "--kernel", missing, says=[missing])
        self.refused(*self.run_words(), "--detach", "--cpus", "99", says=["99"])
        self.refused(*self.run_words(), "--detach", "--console", "stdio", says=["doppel attach"])
        self.refused(*self.run_words(), "--detach", "--stats", says=["doppel stats"])
        self.refused(*self.run_words(), "--rm", says=["--name"])
        self.assertEqual(self.done("ls"), "")
        self.assertEqual(list((self.runtime / "machines").iterdir()), [])

    def test_a_killed_machine_died(self):
        self.start("a")
        self.start("b")
        self.wait_for_log("b", "READY")
        os.kill(self.machines()["a"]["pid"], signal.SIGKILL)
        self.wait_until("died", lambda: self.machines()["a"]["status"] == "died")
        self.done("kill", "b")
        self.assertEqual(self.machines()["b"]["status"], "died")
        self.refused("attach", "a", says=["died"])
        self.assertEqual(self.done("logs", "b"), "READY\r\n")
        self.refused(*self.run_words(), "--name", "a", says=["doppel rm a"])
        self.done("rm", "a", "b")
        self.start("a")

    def test_a_stopped_process_is_killed_all_the_same(self):
        self.start("a")
        process = self.machines()["a"]["pid"]
        os.kill(process, signal.SIGSTOP)
        self.assertEqual(self.done("ls", "-q"), "a\n")
        self.done("rm", "-f", "a")
        self.assertEqual(self.done("ls"), "")

    def test_signals_end_it_in_order(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            self.start("a")
            os.kill(self.machines()["a"]["pid"], number)
            self.wait_until("exited", lambda: self.machines()["a"]["status"] == "exited")
            self.assertEqual(self.machines()["a"]["exit_status"], 0)
            self.done("rm", "a")

    def test_a_runtime_folder_that_is_not_to_be_trusted(self):
        self.runtime.mkdir(mode=0o777)
        self.runtime.chmod(0o777)
        self.refused("ls", says=["written by others"])
        self.runtime.rmdir()
        self.runtime.symlink_to(self.folder.name)
        self.refused("ls", says=["symbolic link"])
        self.runtime.unlink()

    def test_damaged_machines_are_listed_and_removed(self):
        self.start("a")
        self.done("stop", "a")
        for text in (b"", b"{", b"[" * 60000, b'{"version":1}', b'{"version":2}', b"\x1b[2J" * 100):
            (self.runtime / "machines/a/machine.json").write_bytes(text)
            table = self.done("ls")
            self.assertRegex(table, r"a +exited \(0\) +the machine 'a' is damaged")
            self.assertNotIn("\x1b", table)
            self.refused("logs", "a", says=["damaged"])
        self.done("rm", "a")


class Consoles(Named):
    def test_what_is_piped_is_typed(self):
        self.start("a")
        self.wait_for_log("a", "READY")
        self.assertIn("READY", self.done("attach", "a"))
        long = "".join(f"line {n}\n" for n in range(2000))  # more than the machine takes at a time
        self.done("attach", "a", stdin=None, input=long.encode())
        self.wait_for_log("a", long)

    def test_a_log_is_followed_to_the_end(self):
        self.start("a")
        follower = subprocess.Popen([self.program, "logs", "-f", "a"], stdout=subprocess.PIPE, env=self.environment)
        self.addCleanup(follower.kill)
        self.assertEqual(follower.stdout.readline(), b"READY\r\n")
        self.done("attach", "a", stdin=None, input=b"one\ntwo\n")
        self.assertEqual(follower.stdout.readline(), b"one\n")
        self.done("stop", "a")
        self.assertEqual(follower.stdout.read(), b"two\n")
        self.assertEqual(follower.wait(PATIENCE), 0)
        follower.stdout.close()
        self.assertEqual(self.done("logs", "a", "--tail", "1"), "two\n")
        self.assertEqual(self.done("logs", "a", "--tail", "0"), "")
        self.assertEqual(self.done("logs", "-f", "a"), "READY\r\none\ntwo\n")

    def terminal(self, name):
        """doppel attach on a pseudo-terminal of 100 by 30: its process and our end."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        self.before = termios.tcgetattr(theirs)
        process = subprocess.Popen([self.program, "attach", name], stdin=theirs, stdout=theirs, stderr=theirs, env=self.environment)
        self.addCleanup(process.kill)
        self.addCleanup(os.close, ours)
        self.addCleanup(os.close, theirs)
        return process, ours, theirs

    def expect(self, terminal, text):
        got, end = b"", time.monotonic() + PATIENCE
        while text not in got:
            ready = select.select([terminal], [], [], max(0, end - time.monotonic()))[0]
            self.assertTrue(ready, f"{text} does not come, but {got}")
            got += os.read(terminal, 65536)
        return got

    def test_a_terminal_attaches_and_detaches(self):
        self.start("a")
        self.wait_for_log("a", "READY")
        process, ours, theirs = self.terminal("a")
        self.expect(ours, b"READY")  # printed before
        self.assertFalse(termios.tcgetattr(theirs)[3] & termios.ECHO, "the terminal is raw")
        os.write(ours, b"typed")
        self.expect(ours, b"typed")
        os.write(ours, b"\x01h")
        self.expect(ours, b"detach; the machine goes on")
        os.write(ours, b"\x03\x01\x01")  # Ctrl-C and Ctrl-A are the guest's
        self.expect(ours, b"\x03\x01")
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 120, 0, 0))
        process.send_signal(signal.SIGWINCH)
        os.write(ours, b"\x01d")
        self.expect(ours, b"detached from a")
        self.assertEqual(process.wait(PATIENCE), 0)
        self.assertEqual(termios.tcgetattr(theirs), self.before)
        self.assertEqual(self.machines()["a"]["status"], "running")
        self.assertIn("typed\x03\x01", self.done("logs", "a"))

    def test_the_terminal_is_given_back_when_the_machine_ends(self):
        for verb in ("stop", "kill"):
            self.start("a")
            process, ours, theirs = self.terminal("a")
            self.expect(ours, b"READY")
            self.done(verb, "a")
            self.expect(ours, b"the machine a has ended")
            self.assertEqual(process.wait(PATIENCE), 0 if verb == "stop" else 2)
            self.assertEqual(termios.tcgetattr(theirs), self.before)
            self.done("rm", "a")

    def test_a_terminal_is_given_back_on_a_signal(self):
        self.start("a")
        process, ours, theirs = self.terminal("a")
        self.expect(ours, b"READY")
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(PATIENCE), 128 + signal.SIGTERM)
        self.assertEqual(termios.tcgetattr(theirs), self.before)
        self.assertEqual(self.machines()["a"]["status"], "running")

    def test_two_share_a_console(self):
        self.start("a")
        first, one, _ = self.terminal("a")
        second, other, _ = self.terminal("a")
        for terminal in (one, other):
            self.expect(terminal, b"READY")
        os.write(one, b"from one")
        self.expect(other, b"from one")
        os.write(other, b"from other")
        self.expect(one, b"from other")
        os.write(one, b"\x01d")
        self.assertEqual(first.wait(PATIENCE), 0)
        os.write(other, b"still there")
        self.expect(other, b"still there")

    def test_the_exit_status_comes_to_who_is_attached(self):
        # Ends when something is typed, by the test finisher's word for failure with code 5.
        read = [files.lui(6, files.UART >> 12), files.lbu(7, 6, 5), files.andi(7, 7, 1), files.beq(7, 0, -8)]
        end = [files.lui(5, 0x100), files.lui(7, 0x53), files.addi(7, 7, 0x333), files.sw(7, 5), files.LOOP]
        self.start("a", kernel=self.file("waits", files.elf(read + end)))
        process = subprocess.Popen([self.program, "attach", "a"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self.environment)
        self.addCleanup(process.kill)
        process.stdin.write(b"x")
        process.stdin.flush()
        self.assertEqual(process.wait(PATIENCE), 5)
        process.stdin.close()
        process.stdout.close()


class Requests(Named):
    """The socket as other programs meet it."""

    def ask(self, name, data):
        folder = os.open(self.runtime / "machines" / name, os.O_PATH | os.O_DIRECTORY)
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(PATIENCE)
                client.connect(f"/proc/self/fd/{folder}/control")
                client.sendall(data)
                client.shutdown(socket.SHUT_WR)
                answer = b""
                try:
                    while more := client.recv(65536):
                        answer += more
                except ConnectionResetError:  # it did not read to the end of what is too long
                    pass
                return answer
        finally:
            os.close(folder)

    def test_lines_of_json(self):
        self.start("a")
        info = json.loads(self.ask("a", b'{"do":"info"}\n'))
        self.assertEqual((info["ok"], info["name"], info["status"], info["memory"]), (True, "a", "running", 16 << 20))
        for line in (b"\n", b"x\n", b"[]\n", b"{}\n", b'{"do":7}\n', b'{"do":"fly"}\n', b'{"do":"resize"}\n', b'{"do":"resize","columns":0,"rows":1}\n',
                     b'{"do":"attach","columns":-1}\n', b"[" * 60000 + b"\n", b"x" * 70000, b'{"do":"\xff"}\n'):
            answer = json.loads(self.ask("a", line))
            self.assertFalse(answer["ok"], line[:80])
            self.assertRegex(answer["error"], r"\A[^\n]{10,300}[^.\n]\Z")
        self.assertEqual(self.ask("a", b'{"do":"info"'), b"")
        self.assertTrue(json.loads(self.ask("a", b'{"do":"resize","columns":80,"rows":25}\n'))["ok"])
        self.assertEqual(self.machines()["a"]["status"], "running")


if __name__ == "__main__":
    named_machine.main(__doc__)
