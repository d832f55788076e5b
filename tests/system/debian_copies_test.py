#!/usr/bin/env python3
"""debian_copies_test.py --doppel PROGRAM: fleets of a Debian guest at whose console a shell waits, and what its kernel notices of
being restored and forked: randomness, its name, its connections, its clocks."""
import json
import os
import pathlib
import re
import socket
import subprocess
import tempfile
import time
import unittest

import guest_machine
import named_machine
from guest_machine import MODULES
from named_machine import PATIENCE, Named

SHELL = """export B; $B mount -t sysfs sys /sys
""" + MODULES + """
$B ip link set lo up; $B ip addr add 10.0.2.15/24 dev eth0; $B ip link set eth0 up; $B ip route add default via 10.0.2.2
while [ ! -c /dev/vport*p1 ]; do $B sleep 0.1; done
echo SHELL; exec $B setsid $B cttyhack $B sh
"""


def find_image(program):
    try:
        return guest_machine.find_image(program)
    except SystemExit as missing:
        raise unittest.SkipTest(str(missing)) from None


class Copies(Named):
    """All tests of a class have the snapshot `shell`, and are after its moment."""

    @classmethod
    def setUpClass(cls):
        image = find_image(cls.program)
        cls.kept = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.kept.cleanup)
        cls.kept_path = pathlib.Path(cls.kept.name)
        cls.guest = guest_machine.Guest(cls.program, image, cls.kept.name)
        cls.runtime = cls.kept_path / "runtime"
        cls.environment = {**os.environ, "DOPPEL_RUNTIME_DIR": str(cls.runtime), "XDG_CACHE_HOME": cls.kept.name, "XDG_DATA_HOME": cls.kept.name}
        first = cls("setUp")
        cls.addClassCleanup(first.end_all)
        command = cls.guest.command(SHELL, "--detach", "--name", "first", append="quiet", net="user")
        subprocess.run(command, env=cls.environment, check=True, stdout=subprocess.DEVNULL, timeout=PATIENCE)
        first.wait_for_log("first", "SHELL")
        cls.uptime, cls.date = first.clocks("first")
        first.done("snapshot", "save", "first", "shell")
        cls.saved = time.monotonic()
        first.done("rm", "-f", "first")

    def setUp(self):
        self.addCleanup(self.end_all)

    def ask(self, name, command):
        """What it prints at the shell of this machine; its status is 0."""
        before = len(self.done("logs", name))
        typed = f"printf 'be%s\\n' gin; {command}; printf 'e%s %d\\n' nd $?\n"
        self.done("attach", name, stdin=None, input=typed.encode())
        found = []

        def look():
            match = re.search(r"begin\r\n(.*?)end (\d+)\r\n", self.done("logs", name)[before:], re.DOTALL)
            return found.append(match) or match

        self.wait_until(f"an answer to {command}", look)
        self.assertEqual(found[-1][2], "0", found[-1][1])
        return found[-1][1].replace("\r\n", "\n")

    def clocks(self, name):
        """Its uptime and its date, in seconds."""
        uptime, date = self.ask(name, "$B cut -d ' ' -f 1 /proc/uptime; $B date +%s").split()
        return float(uptime), int(date)

    def restore(self, name):
        self.done("run", "--from", "shell", "--detach", "--name", name)

    def fleet(self, *arguments, status=0):
        result = self.doppel("fleet", "--from", "shell", "--json", *arguments)
        self.assertEqual((result.returncode, result.stderr), (status, b""), result.stdout)
        return json.loads(result.stdout)


class Fleet(Copies):
    def test_outputs_come_in_the_order_of_numbers(self):
        all = self.fleet("-n", "7", "--workers", "3", "--", "echo", "number {} of {}; hostname -F /dev/null; true")
        self.assertEqual([machine["machine"] for machine in all["machines"]], list(range(1, 8)))
        for machine in all["machines"]:
            self.assertTrue(machine["output"].startswith(f"number {machine['machine']} of {machine['machine']}\r\n"), machine)
            self.assertEqual((machine["end"], machine["status"], machine["bytes"]), ("done", 0, 0))
        self.assertEqual(all["succeeded"], 7)

    def test_text(self):
        result = self.doppel("fleet", "--from", "shell", "-n", "3", "--", "echo hello {}")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(sorted(result.stdout.decode().replace("\r", "").splitlines()), [f"{n}: hello {n}" for n in (1, 2, 3)])
        self.assertRegex(result.stderr.decode(), r"(?m)^succeeded +3$")
        quiet = self.doppel("fleet", "--from", "shell", "--quiet", "--", "echo hello")
        self.assertEqual((quiet.returncode, quiet.stdout), (0, b""))

    def test_a_command_that_fails(self):
        all = self.fleet("-n", "3", "--", "test {} -ne 2", status=1)
        self.assertEqual([(machine["end"], machine["status"]) for machine in all["machines"]], [("done", 0), ("done", 1), ("done", 0)])
        self.assertEqual(all["succeeded"], 2)

    def test_parked_machines_have_a_size(self):
        all = self.fleet("-n", "3", "--park", "--", "echo parked")
        for machine in all["machines"]:
            self.assertTrue(1000 < machine["bytes"] < 16 << 20, machine)
        self.assertGreater(all["bytes_a_machine"], 1000)

    def test_a_guest_that_powers_itself_off(self):
        all = self.fleet("-n", "2", "--", "$B poweroff -f; $B sleep 1000", status=1)
        self.assertEqual([machine["end"] for machine in all["machines"]], ["ended", "ended"])
        # One that ended leaves its worker to the next.
        all = self.fleet("-n", "3", "--workers", "1", "--", "test {} -ne 1 || $B poweroff -f; echo on", status=1)
        self.assertEqual([machine["end"] for machine in all["machines"]], ["ended", "done", "done"])

    def test_a_command_that_hangs(self):
        all = self.fleet("-n", "3", "--workers", "1", "--patience", "3", "--", "test {} -ne 1 || $B sleep 1000", status=1)
        self.assertEqual([machine["end"] for machine in all["machines"]], ["late", "done", "done"])

    def test_a_guest_that_prints_without_end(self):
        def largest(*arguments):
            process = subprocess.Popen([self.program, "fleet", "--from", "shell", "--json", *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=self.environment)
            output = process.stdout.read()
            process.stdout.close()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            return json.loads(output)["machines"], usage.ru_maxrss << 10

        little = largest("--patience", "10", "--", "echo x")
        machines, much = largest("--patience", "15", "--", "$B yes 0123456789012345678901234567890123456789")
        self.assertEqual(machines[0]["end"], "late")
        self.assertGreater(len(machines[0]["output"]), 10000)
        self.assertLess(len(machines[0]["output"]), 3 << 20)
        self.assertLess(much - little[1], 96 << 20)

    def test_what_is_refused(self):
        self.refused("fleet", "--from", "nothing", "--", "true", says=["'nothing'"])
        self.refused("fleet", "--", "true", says=["--from"])
        self.refused("fleet", "--from", "shell", says=["COMMAND"])
        self.refused("fleet", "--from", "shell", "-n", "0", "--", "true")


class Notices(Copies):
    def test_random_numbers_differ_and_so_do_names(self):
        def reseeded(name):
            return int(self.ask(name, "$B dmesg | $B grep 'crng reseeded due to virtual machine fork' | $B wc -l"))

        self.restore("a")
        self.wait_until("reseeded", lambda: reseeded("a") == 1)  # else a copy could be made before that, and be told once of both
        self.done("fork", "a", "-n", "2", "--name", "a{}")
        names = ("a", "a1", "a2")
        numbers = {self.ask(name, "$B od -An -N16 -tx1 /dev/urandom") for name in names}
        self.assertEqual(len(numbers), 3)
        self.assertEqual([reseeded(name) for name in names], [1, 2, 2])
        for name in names:
            self.assertEqual(self.ask(name, "$B timeout 20 $B head -n 1 /dev/vport*p1"), name + "\n")
        cards = {self.ask(name, "$B cat /sys/class/net/eth0/address") for name in names}
        self.assertEqual(len(cards), 1, "a card that runs keeps its address")

    def test_random_numbers_of_a_fleet_differ(self):
        machines = self.fleet("-n", "6", "--workers", "2", "--", "$B od -An -N16 -tx1 /dev/urandom")["machines"]
        self.assertEqual(len({machine["output"] for machine in machines}), 6)

    def resets(self, name):
        """How many connections ended with a reset, by its kernel's counters."""
        names, values = self.ask(name, "$B grep ^Tcp: /proc/net/snmp").splitlines()
        return int(dict(zip(names.split(), values.split()))["EstabResets"])

    def test_a_connection_ends_with_a_reset_in_the_copy(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(PATIENCE)
            port = server.getsockname()[1]
            self.restore("a")
            self.ask("a", f"$B mkfifo /quiet; $B sleep 100000 >/quiet & ($B nc 10.0.2.2 {port} </quiet; echo over) & true")
            connection = server.accept()[0]
            with connection:
                connection.settimeout(PATIENCE)
                connection.sendall(b"hello from outside\n")
                self.wait_for_log("a", "hello from outside")
                self.done("fork", "a", "--name", "copy")
                self.wait_for_log("copy", "over\r\n")
                self.assertEqual((self.resets("copy"), self.resets("a")), (1, 0))
                connection.sendall(b"the original goes on\n")
                self.wait_for_log("a", "the original goes on")
                self.assertNotIn("the original goes on", self.done("logs", "copy"))

    def test_clocks(self):
        """Guest time stood still: uptime does not jump, and Linux's date, which it keeps by that, is late until it asks its real-time
        clock, which is the host's."""
        self.wait_until("five seconds behind the snapshot", lambda: time.monotonic() > self.saved + 5)
        begin, elsewhere = time.monotonic(), time.monotonic() - self.saved
        self.restore("a")
        uptime, date = self.clocks("a")
        ran = time.monotonic() - begin
        self.assertTrue(self.uptime <= uptime <= self.uptime + ran + 1, (self.uptime, uptime, ran))
        self.assertLess(date, self.date + ran + 2)
        self.assertLess(date, time.time() - elsewhere + 2)
        self.ask("a", "$B hwclock -s -u -f /dev/rtc0")
        before = int(time.time())
        self.assertTrue(before - 1 <= self.clocks("a")[1] <= time.time() + 1)


if __name__ == "__main__":
    named_machine.main(__doc__)
