#!/usr/bin/env python3
"""wasm_program_test.py --doppel PROGRAM: WebAssembly programs as a user runs them: what they are given, how they end, what stops
them, and one sentence for what cannot be done. The programs are text in wasm/; no toolchain is needed."""
import argparse
import os
import pathlib
import pty
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

PROGRAM = None
PATIENCE = 120  # seconds after which a command hangs
PROGRAMS = pathlib.Path(__file__).parent / "wasm"


class Programs(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def file(self, name, content):
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    def command(self, *words):
        """doppel run, where the names of programs in wasm/ stand for their paths."""
        return [PROGRAM, "run", *(str(PROGRAMS / word) if (PROGRAMS / word).is_file() else word for word in words)]

    def run_program(self, *words, **options):
        options = {"stdin": subprocess.DEVNULL, "cwd": self.folder, **options}
        if "input" in options:
            del options["stdin"]
        return subprocess.run(self.command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE, **options)

    def output(self, *words, status=0, **options):
        """Of a program that says nothing on standard error and ends with the status."""
        result = self.run_program(*words, **options)
        self.assertEqual((result.returncode, result.stderr.decode()), (status, ""))
        return result.stdout

    def refused(self, *words, says=()):
        """The command fails with status 2 and one sentence that has all of these words, and nothing has run."""
        result = self.run_program(*words)
        error = result.stderr.decode()
        self.assertEqual((result.returncode, result.stdout), (2, b""), error)
        self.assertRegex(error, r"\Adoppel: [^\n]{10,400}[^.\n]\n\Z")
        for word in says:
            self.assertIn(word, error)

    def stopped(self, *words, status, says=(), **options):
        """The program is stopped with the status and a reason; gives the lines that say where it was."""
        result = self.run_program(*words, **options)
        error = result.stderr.decode()
        self.assertEqual(result.returncode, status, error)
        first, *places = error.splitlines()
        self.assertRegex(first, r"\Adoppel: \S+ was stopped: ")
        for word in says:
            self.assertIn(word, first)
        return [place.strip() for place in places]


class Given(Programs):
    """What a program is given."""

    def test_arguments(self):
        words = ["a", "", "two words", "--fuel", "--help", "--", "-x"]
        name = str(PROGRAMS / "words.wat")
        lines = self.output("words.wat", *words, status=8).decode().split("\n")
        self.assertEqual(lines, [name, *words, ""])
        self.assertEqual(self.output("--", "words.wat", "--", "a", status=3).decode().split("\n"), [name, "--", "a", ""])

    def test_very_many_arguments(self):
        words = [str(number) * 10 for number in range(10_000)]
        lines = self.output("words.wat", *words, status=10_001 % 256).decode().split("\n")
        self.assertEqual(lines[1:-1], words)

    def test_environment(self):
        environment = {**os.environ, "HERE": "of doppel", "OTHER": "x"}
        self.assertEqual(self.output("words.wat", status=1, env=environment).count(b"\n"), 1)
        lines = self.output("--env", "A=1", "--env=B=x=y", "--env", "HERE", "--env", "NOT_SET", "--env", "C=", "words.wat",
                            status=5, env=environment).decode().split("\n")
        self.assertEqual(lines[1:], ["A=1", "B=x=y", "HERE=of doppel", "C=", ""])
        self.refused("--env", "=x", "words.wat", says=["--env"])

    def test_a_folder(self):
        self.file("note", "from the host\n")
        for words, name in ((["--dir", "."], "."), ([f"--dir={self.folder}:/data"], "/data"), (["--dir", ".:/"], "/")):
            self.assertEqual(self.output(*words, "file.wat"), f"{name}\nfrom the host\n".encode())
            self.assertEqual((self.folder / "done").read_bytes(), b"read\n")
            (self.folder / "done").unlink()

    def test_a_folder_that_may_only_be_read(self):
        self.file("note", "from the host\n")
        self.assertEqual(self.output("--dir", ".:/,ro", "file.wat", status=69), b"/\nfrom the host\n")  # EROFS
        self.assertFalse((self.folder / "done").exists())

    def test_no_folder(self):
        self.file("note", "from the host\n")
        self.output("file.wat", status=8)  # EBADF: there is no descriptor 3
        self.refused("--dir", "missing", "file.wat", says=["missing"])
        self.refused("--dir", self.file("plain", ""), "file.wat", says=["plain"])
        self.refused("--dir", ":/data", "file.wat", says=["--dir"])

    def test_standard_input_and_output(self):
        data = os.urandom(1_000_000)
        self.assertEqual(self.output("copy.wat", input=data), data)
        self.assertEqual(self.output("--timeout", "100", "copy.wat", input=data), data)
        self.assertEqual(self.output("copy.wat"), b"")
        with open(self.file("data", data), "rb") as file:
            self.assertEqual(self.output("copy.wat", stdin=file), data)

    def test_standard_descriptors_that_are_closed(self):
        script = 'exec "$@" <&- >&-'
        result = subprocess.run(["sh", "-c", script, "sh", *self.command("copy.wat")], stderr=subprocess.PIPE, timeout=PATIENCE)
        self.assertEqual((result.returncode, result.stderr), (0, b""))

    def test_a_terminal(self):
        mine, its = pty.openpty()
        process = subprocess.Popen(self.command("copy.wat"), stdin=its, stdout=subprocess.PIPE)
        os.write(mine, b"typed\n")
        self.assertEqual(process.stdout.readline(), b"typed\n")
        os.write(mine, b"\x04")  # the end, as Ctrl-D gives it
        self.assertEqual((process.stdout.read(), process.wait(PATIENCE)), (b"", 0))
        process.stdout.close()
        os.close(mine)
        os.close(its)

    def test_a_reader_who_left(self):
        reader, writer = os.pipe()
        os.close(reader)
        result = subprocess.run(self.command("copy.wat"), input=b"x", stdout=writer, timeout=PATIENCE)
        os.close(writer)
        self.assertEqual(result.returncode, 64)  # EPIPE

    def test_a_listening_socket(self):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            number = listener.fileno()
            process = subprocess.Popen(self.command("--listen", str(number), "echo_server.wat"), pass_fds=[number])
            with socket.create_connection(listener.getsockname(), timeout=PATIENCE) as client:
                client.sendall(b"over there")
                client.shutdown(socket.SHUT_WR)
                received = b""
                while part := client.recv(100):
                    received += part
            self.assertEqual((received, process.wait(PATIENCE)), (b"over there", 0))
        self.refused("--listen", "77", "echo_server.wat", says=["77"])
        self.refused("--listen", "0", "echo_server.wat", says=["0", "no listening socket"])


class Ends(Programs):
    """How a program ends."""

    def test_statuses(self):
        for status in (0, 1, 2, 125, 126, 127, 128, 255):
            self.output("--invoke", "exit", "functions.wat", str(status), status=status)
        self.output("--invoke", "exit", "functions.wat", "256", status=0)  # the kernel keeps eight bits
        self.output("--invoke", "exit", "functions.wat", "-1", status=255)

    def test_a_trap_says_where(self):
        places = self.stopped("--invoke", "recurse", "functions.wat", "60", status=134, says=["functions.wat", "integer divide by zero"])
        self.assertEqual(len(places), 3)
        self.assertRegex(places[0], r"\Aat divide \(byte 0x[0-9a-f]+\)\Z")
        self.assertRegex(places[1], r"\Aat recurse \(byte 0x[0-9a-f]+\)\Z")
        self.assertRegex(places[2], r"\Aat recurse \(byte 0x[0-9a-f]+\), 60 times\Z")

    def test_the_stack_has_a_limit(self):
        self.output_of_depth(2_000)
        self.stopped("--stack-limit", "16K", "--invoke", "recurse", "functions.wat", "2000", status=134, says=["call stack exhausted"])
        self.stopped("--stack-limit", "64M", "--invoke", "recurse", "functions.wat", "200000", status=134, says=["divide by zero"])
        self.refused("--stack-limit", "1K", "functions.wat", says=["4K", "1G"])
        self.refused("--stack-limit", "much", "functions.wat", says=["much"])

    def output_of_depth(self, depth):
        self.stopped("--invoke", "recurse", "functions.wat", str(depth), status=134, says=["divide by zero"])

    def test_fuel(self):
        places = self.stopped("--fuel", "1000000", "--invoke", "spin", "functions.wat", status=134, says=["fuel"])
        self.assertRegex(places[0], r"\Aat spin ")
        self.assertEqual(self.output("--fuel", "1000000", "--invoke", "ready", "functions.wat"), b"40\n")
        self.stopped("--fuel", "0", "--invoke", "spin", "functions.wat", status=134)
        for wrong in ("-1", "x", "", "1.5", "99999999999999999999"):
            self.refused("--fuel", wrong, "functions.wat", says=["--fuel"])

    def test_memory_has_a_limit(self):
        self.assertEqual(self.output("--memory-limit", "1M", "--invoke", "grow", "functions.wat", "15"), b"1\n")
        self.assertEqual(self.output("--memory-limit", "1M", "--invoke", "grow", "functions.wat", "16"), b"-1\n")
        self.refused("--memory-limit", "4K", "--invoke", "ready", "functions.wat", says=["memory"])

    def test_interrupted(self):
        process = subprocess.Popen(self.command("copy.wat"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        process.stdin.write(b"x")
        process.stdin.flush()
        self.assertEqual(process.stdout.read(1), b"x")  # it runs
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(PATIENCE), -signal.SIGINT)
        process.stdin.close()
        process.stdout.close()


class Compiled(Programs):
    """The same programs as host code."""

    def test_they_do_what_they_do_interpreted(self):
        self.assertEqual(self.output("--engine", "fast", "--invoke", "ready", "functions.wat"), b"40\n")
        self.assertEqual(self.output("--engine", "fast", "copy.wat", input=b"some words"), b"some words")
        for status in (0, 1, 255):
            self.output("--engine", "fast", "--invoke", "exit", "functions.wat", str(status), status=status)
        grow = ["--memory-limit", "1M", "--invoke", "grow", "functions.wat", "15"]
        self.assertEqual(self.output("--engine", "fast", *grow), self.output(*grow))
        words = ["words.wat", "some", "words"]
        self.assertEqual(self.output("--engine", "fast", *words, status=3), self.output(*words, status=3))

    def test_a_trap_says_where_it_was(self):
        places = self.stopped("--engine", "fast", "--invoke", "recurse", "functions.wat", "60", status=134, says=["integer divide by zero"])
        self.assertRegex(places[0], r"\Aat divide \(byte 0x[0-9a-f]+\)\Z")
        self.stopped("--engine", "fast", "--stack-limit", "16K", "--invoke", "recurse", "functions.wat", "2000", status=134,
                     says=["call stack exhausted"])

    def test_what_it_cannot_do_is_refused(self):
        for option in (["--fuel", "1000"], ["--timeout", "1"], ["--clock", "instructions"]):
            self.refused("--engine", "fast", *option, "--invoke", "ready", "functions.wat", says=["--fuel", "--timeout"])
        self.refused("--engine", "slow", "functions.wat", says=["slow"])


class Timeout(Programs):
    """--timeout stops a program whatever it does."""

    def late(self, *words, **options):
        begin = time.monotonic()
        places = self.stopped("--timeout", "0.3", *words, status=124, says=["its time is over"], **options)
        self.assertLess(time.monotonic() - begin, 30)
        return places

    def test_while_it_computes(self):
        self.assertRegex(self.late("--invoke", "spin", "functions.wat")[0], r"\Aat spin ")

    def test_while_it_sleeps(self):
        self.assertRegex(self.late("--invoke", "sleep", "outside.wat", str(10**12))[0], r"\Aat sleep ")

    def test_while_it_reads(self):
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        self.addCleanup(os.close, writer)
        self.late("copy.wat", stdin=reader)
        self.late("--clock", "instructions", "copy.wat", stdin=reader)

    def test_while_it_writes(self):
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        with open("/dev/zero", "rb") as zeros:
            result = subprocess.run(self.command("--timeout", "0.3", "copy.wat"), stdin=zeros, stdout=writer,
                                    stderr=subprocess.PIPE, timeout=PATIENCE)
        os.close(writer)
        self.assertEqual(result.returncode, 124, result.stderr)

    def test_while_it_accepts(self):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            self.late("--listen", str(listener.fileno()), "echo_server.wat", pass_fds=[listener.fileno()])

    def test_it_ends_in_time(self):
        self.output("--timeout", "100", "--invoke", "sleep", "outside.wat", "1000000")
        for wrong in ("0", "-1", "nan", "inf", "1e10", "1s", ""):
            self.refused("--timeout", wrong, "functions.wat", says=["--timeout"])


class Repeatable(Programs):
    """--clock instructions: runs are the same."""

    def test_two_runs(self):
        runs = {self.output("--clock", "instructions", "outside.wat") for _ in range(3)}
        self.assertEqual(len(runs), 1)
        output = runs.pop()
        before, after = (int.from_bytes(output[at:at + 8], "little") for at in (8, 32))
        self.assertGreater(after - before, 3_600_000_000_000)  # the hour has passed, at once
        self.assertLess(after - before, 3_600_000_100_000)
        self.assertEqual(self.output("--clock", "instructions", "--timeout", "100", "outside.wat"), output)

    def test_when_input_comes_makes_no_difference(self):
        def slow(process):
            for _ in range(5):
                process.stdin.write(b"line\n")
                process.stdin.flush()
                process.stdout.read(5)
            process.stdin.close()
        process = subprocess.Popen(self.command("--clock", "instructions", "copy.wat"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        thread = threading.Thread(target=slow, args=[process])
        thread.start()
        thread.join(PATIENCE)
        self.assertEqual((process.stdout.read(), process.wait(PATIENCE)), (b"", 0))
        process.stdout.close()

    def test_the_hosts_differ(self):
        module = self.file("random.wat", (PROGRAMS / "outside.wat").read_text().replace("3_600_000_000_000", "1"))
        self.assertNotEqual(self.output(module), self.output(module))


class Functions(Programs):
    """--invoke: functions instead of a program."""

    def test_arguments_and_results(self):
        self.assertEqual(self.output("--invoke", "sum", "functions.wat", "1", "0x2", ".5", "-1e2"), b"-96.5\n")
        self.assertEqual(self.output("--invoke", "both", "functions.wat"), b"-5\n0xffffffffffffffff0000000000000001\n")

    def test_a_reactor_is_initialised(self):
        self.assertEqual(self.output("--invoke", "ready", "functions.wat"), b"40\n")

    def test_what_cannot_be_called(self):
        self.refused("functions.wat", says=["_start", "--invoke"])
        self.refused("--invoke", "missing", "functions.wat", says=["missing"])
        self.refused("--invoke", "memory", "functions.wat", says=["memory", "not as a function"])
        self.refused("--invoke", "sum", "functions.wat", "1", says=["4", "1"])
        self.refused("--invoke", "sum", "functions.wat", "1", "2", "3", "four", says=["four", "f64"])
        self.refused("--invoke", "grow", "functions.wat", "4294967296", says=["4294967296", "i32"])


class Modules(Programs):
    """What is run, and what is not."""

    def test_options_that_are_not_known(self):
        self.refused("--nope", "words.wat", says=["--nope", "not known"])
        self.refused("--timeuot", "3", "words.wat", says=["--timeuot", "--timeout"])
        self.refused("--clock", "sundial", "words.wat", says=["sundial"])
        result = subprocess.run([PROGRAM, "run-program", "--help"], capture_output=True, timeout=PATIENCE)
        for option in ("--dir", "--env", "--listen", "--invoke", "--fuel", "--timeout", "--memory-limit", "--stack-limit", "--clock"):
            self.assertIn(option.encode(), result.stdout)

    def test_a_module_is_known_by_its_first_bytes(self):
        self.assertEqual(self.output(self.file("program", b"\0asm\1\0\0\0\1\4\1\x60\0\0\3\2\1\0\7\n\1\6_start\0\0\n\4\1\2\0\x0b")), b"")

    def test_no_module(self):
        self.refused("missing.wasm", says=["missing.wasm"])
        self.refused(self.file("text.wasm", "hello"), says=["text.wasm", "no WebAssembly module"])
        self.refused(self.file("empty.wasm", ""), says=["empty.wasm"])
        self.refused(self.file("cut.wasm", b"\0asm\1\0\0\0\1"), says=["cut.wasm", "byte 9"])
        self.refused(self.file("wrong.wat", '(module\n  (func (export "_start") (result i32)))'), says=["wrong.wat:2:"])
        self.refused(self.file("wrong.wat", "(module\n (fnuc))"), says=["wrong.wat:2:3"])
        os.mkdir(self.folder / "folder.wasm")
        self.refused("folder.wasm", says=["folder.wasm", "folder"])

    def test_imports(self):
        def importing(what):
            return self.file("importing.wat", f'(module (import {what}) (func (export "_start")))')
        self.refused(importing('"env" "host_call" (func)'), says=["env.host_call", "not part of WASI preview 1"])
        self.refused(importing('"env" "memory" (memory 1)'), says=["env.memory", "not part of WASI preview 1"])
        self.refused(importing('"e\\nv" "\\1b[2J" (func)'), says=["e?v.?[2J"])
        self.refused(importing('"wasi_snapshot_preview1" "fd_write" (func)'), says=["wasi_snapshot_preview1.fd_write"])
        self.refused(importing('"wasi_snapshot_preview1" "fd_write" (memory 1)'), says=["wasi_snapshot_preview1.fd_write"])

    def test_scripts_that_cannot_be_read(self):
        (self.folder / "folder.wast").mkdir()
        with open(self.file("large.wast", "("), "r+b") as large:
            large.truncate(1 << 41)  # of a file system only
        for name in ("folder.wast", "large.wast", "missing.wast", "/dev/null/x.wast"):
            result = subprocess.run([PROGRAM, "wasm", "wast", name], cwd=self.folder, capture_output=True, timeout=PATIENCE)
            self.assertEqual((result.returncode, result.stdout), (2, b""), name)
            self.assertRegex(result.stderr.decode(), r"\Adoppel: [^\n]{10,400}[^.\n]\n\Z")

    def test_a_start_function(self):
        started = '(module (func $before unreachable) (start $before) (func (export "_start")))'
        self.assertRegex(self.stopped(self.file("started.wat", started), status=134, says=["unreachable"])[0], r"\Aat before ")
        data = '(module (memory 1) (data (i32.const 65536) "x") (func (export "_start")))'
        self.refused(self.file("data.wat", data), says=["data.wat", "out of bounds memory access"])

    def test_names_steer_no_terminal(self):
        named = '(module (func $"a\\1b[2J\\nb" (export "_start") unreachable))'
        self.assertRegex(self.stopped(self.file("named.wat", named), status=134)[0], r"\Aat a\?\[2J\?b ")

    def test_large_modules_are_validated_function_by_function(self):
        text = f'(module (func (export "_start")) (func (export "large") {"nop " * 300_000}) (func (export "bad") i32.add drop))'
        module = self.file("large.wat", text)
        self.assertEqual(self.output(module), b"")
        self.stopped("--invoke", "bad", module, status=134, says=["invalid function", "type mismatch"])
        result = subprocess.run([PROGRAM, "wasm", "validate", module], capture_output=True, timeout=PATIENCE)
        self.assertEqual((result.returncode, result.stdout), (2, b""))
        self.assertIn(b"type mismatch", result.stderr)


def main():
    global PROGRAM
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--doppel", required=True)
    options, rest = parser.parse_known_args()
    PROGRAM = os.path.abspath(options.doppel)
    unittest.main(argv=[sys.argv[0], *rest])


if __name__ == "__main__":
    main()
