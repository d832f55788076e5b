#!/usr/bin/env python3
"""cli_test.py --doppel PROGRAM: what a user meets at the command line: help, versions, and for each thing that cannot be done
one sentence on standard error, exit status 2 and nothing half done."""
import argparse
import os
import pathlib
import socket
import struct
import subprocess
import sys
import tempfile
import unittest

import machine_files as files

PROGRAM = None
PATIENCE = 120  # seconds after which a command hangs


class Cli(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        os.chmod(self.folder.name, 0o755)
        self.kernel = self.file("kernel", files.htif_elf())

    def file(self, name, content):
        path = pathlib.Path(self.folder.name) / name
        path.write_bytes(content)
        return str(path)

    def path(self, name):
        return str(pathlib.Path(self.folder.name) / name)

    def doppel(self, *arguments, **options):
        options = {"stdin": subprocess.DEVNULL, "env": {**os.environ, "XDG_CACHE_HOME": self.path("cache")}, **options}
        return subprocess.run([PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE, **options)

    def refused(self, *arguments, says=(), **options):
        """The command fails with status 2 and one sentence that has all of these words."""
        result = self.doppel(*arguments, **options)
        error = result.stderr.decode()
        self.assertEqual(result.returncode, 2, error)
        self.assertEqual(result.stdout, b"")
        self.assertRegex(error, r"\Adoppel: [^\n]{10,400}[^.\n]\n\Z")
        for word in says:
            self.assertIn(word, error)
        return error

    def run_refused(self, *arguments, says=(), **options):
        return self.refused("run", "--kernel", self.kernel, "--memory", "64M", "--net", "none", *arguments, says=says, **options)


class Words(Cli):
    def test_help(self):
        for arguments in (["--help"], ["run", "--help"], ["image", "--help"], ["image", "convert", "--help"],
                          ["disk", "commit", "--help"],
                          *([verb, "--help"] for verb in "ls attach logs stats pause resume stop kill rm snapshot fork fleet".split())):
            result = self.doppel(*arguments)
            self.assertEqual((result.returncode, result.stderr), (0, b""))
            self.assertGreater(len(result.stdout), 200)
        options = ("--kernel --initrd --append --firmware --dtb --disk --snapshot --memory --cpus --mmu --net --publish --console "
                   "--engine --code-cache --clock --dump-dtb --signature --stats --no-sandbox --name --detach --rm")
        text = self.doppel("run", "--help").stdout.decode()
        for option in options.split():
            self.assertIn(option, text)

    def test_version(self):
        self.assertRegex(self.doppel("version").stdout.decode(), r"\Adoppel \d+\.\d+\.\d+\n\Z")

    def test_a_reader_who_left_is_no_error(self):
        reader, writer = os.pipe()
        os.close(reader)
        command = [PROGRAM, "run", "--kernel", self.kernel, "--memory", "64M", "--net", "none", "--stats"]
        result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=writer, timeout=PATIENCE)
        os.close(writer)
        self.assertEqual(result.returncode, 0)

    def test_without_a_verb_help_comes_on_standard_error(self):
        result = self.doppel()
        self.assertEqual((result.returncode, result.stdout), (2, b""))
        self.assertIn(b"run", result.stderr)

    def test_unknown_words_get_a_suggestion(self):
        self.refused("rnu", says=["rnu", "'run'"])
        self.refused("version2", says=["'version'"])
        self.refused("image", "biuld", says=["biuld", "'build'"])
        self.refused("run", "--memroy", "1G", says=["--memroy", "'--memory'"])
        self.refused("run", "--cpu=2", says=["'--cpus'"])
        self.refused("xyzzy", says=["xyzzy"])
        self.refused("run", "--xyzzy", says=["--xyzzy"])

    def test_values_that_are_not_known(self):
        self.run_refused("--mmu", "40", says=["40"])
        self.run_refused("--net", "bridge", says=["bridge"])
        self.run_refused("--engine", "magic", says=["magic"])
        self.run_refused("--code-cache", self.path("no/where"), says=["no/where", "No such file"])
        self.run_refused("--code-cache", self.kernel, says=[self.kernel, "not a folder"])
        self.run_refused("--code-cache-size", "1M", says=["16M to 1G"])
        self.run_refused("--clock", "sundial", says=["sundial"])
        self.run_refused("--cpus", "two", says=["two"])
        self.refused("run", "--kernel", says=["--kernel"])
        self.refused("image", "convert", self.kernel, says=[])
        self.refused("image", "convert", self.kernel, self.path("new"), "--format", "vmdk", says=["vmdk"])


class Kernels(Cli):
    def test_missing(self):
        self.refused("run", "--kernel", self.path("missing"), says=[self.path("missing")])

    def test_unreadable(self):
        self.refused("run", "--kernel", self.folder.name, says=[self.folder.name])
        secret = self.file("secret", b"x")
        os.chmod(secret, 0)
        if os.geteuid() != 0:
            self.refused("run", "--kernel", secret, says=[secret])
        elif subprocess.run(["setpriv", "--reuid=65534", "--clear-groups", PROGRAM, "version"], capture_output=True).returncode == 0:
            unprivileged = ["setpriv", "--reuid=65534", "--clear-groups"]
            result = subprocess.run([*unprivileged, PROGRAM, "run", "--kernel", secret], capture_output=True, timeout=PATIENCE)
            self.assertEqual(result.returncode, 2)
            self.assertIn(secret, result.stderr.decode())

    def test_empty(self):
        self.refused("run", "--kernel", self.file("empty", b""), says=["empty"])

    def test_no_kernel(self):
        for name, content in {"text": b"#!/bin/sh\necho hello\n" * 100, "zeros": bytes(65536), "noise": bytes(range(256)) * 64}.items():
            self.refused("run", "--kernel", self.file(name, content), says=[name])

    def test_kernel_of_another_machine(self):
        other = bytearray(files.htif_elf())
        struct.pack_into("<H", other, 18, 62)  # x86-64
        self.refused("run", "--kernel", self.file("other", bytes(other)), says=["other"])

    def test_truncated(self):
        image = bytearray(files.cpio({"x": (0, bytes(1 << 20))}))
        image[0:64] = struct.pack("<IIQQQIIQ8sII", 0x13, 0x6F, 0x200000, 1 << 20, 0, 2, 0, 0, b"RISCV\0\0\0", 0x05435352, 0)
        self.refused("run", "--kernel", self.file("short", bytes(image[:40])), says=["short"])
        elf = files.htif_elf()
        for length in (20, 64, 100, 0x1000, len(elf) - 1):
            self.refused("run", "--kernel", self.file("short", elf[:length]), says=["short"])
        debian = os.environ.get("DOPPEL_TEST_IMAGE")
        if debian:
            whole = (pathlib.Path(debian) / "kernel").read_bytes()
            for length in (63, 4096, len(whole) // 2, len(whole) - 4096):
                self.refused("run", "--kernel", self.file("short", whole[:length]), says=["short", "truncated"])

    def test_firmware_initrd_and_device_tree(self):
        for option in ("--firmware", "--initrd", "--dtb"):
            self.run_refused(option, self.path("missing"), says=[self.path("missing")])
            self.run_refused(option, self.folder.name, says=[self.folder.name])
        self.run_refused("--dtb", self.kernel, says=["kernel"])

    def test_initrd_too_large(self):
        big = self.path("big")
        with open(big, "wb") as file:
            file.truncate(100 << 20)
        self.run_refused("--initrd", big, says=[big])
        with open(big, "wb") as file:
            file.truncate((64 << 20) - 4096)
        self.run_refused("--initrd", big, says=[big, "--memory"])

    def test_an_image_and_a_kernel(self):
        self.refused("run", "debian", "--kernel", self.kernel, says=["either"])


class Machines(Cli):
    def test_memory(self):
        kernel = ["run", "--kernel", self.kernel, "--net", "none", "--memory"]
        for size in ("0", "0M", "-1", "-5G", "", "lots", "1X", "1.5G", "99999999999G", "18446744073709551616", "4097"):
            self.refused(*kernel, size)
        self.refused(*kernel, "0", says=["memory"])
        self.refused(*kernel, "1000T", says=["host"])

    def test_processors(self):
        for number in ("0", "33", "1000000", "-1", "4294967297"):
            self.run_refused("--cpus", number)
        self.run_refused("--cpus", "33", says=["33", "32"])

    def test_published_ports(self):
        net = ["run", "--kernel", self.kernel, "--memory", "64M"]
        with socket.socket() as taken, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            datagrams.bind(("127.0.0.1", 0))
            self.refused(*net, "--publish", f"{taken.getsockname()[1]}:22", says=[str(taken.getsockname()[1])])
            self.refused(*net, "--publish", f"{datagrams.getsockname()[1]}:53/udp", says=[str(datagrams.getsockname()[1])])
        for port in ("80", "a:b", "1:2:3:4", "70000:80", "80:0", "8080:80/sctp", "", ":"):
            self.refused(*net, "--publish", port)
        self.run_refused("--publish", "8080:80", says=["--net none"])

    def test_consoles(self):
        self.run_refused("--console", self.path("no/such/folder"), says=["no/such/folder"])
        self.run_refused("--console", self.folder.name, says=[self.folder.name])
        self.run_refused("--console", "unix:" + self.path("no/such"), says=["no/such"])
        self.run_refused("--console", "unix:" + "x" * 200)
        self.run_refused("--console", "")

    def test_results_that_cannot_be_written(self):
        self.run_refused("--signature", self.path("no/such"), says=["no/such"])
        self.run_refused("--dump-dtb", self.path("no/such"), says=["no/such"])
        if os.path.exists("/dev/full"):
            self.run_refused("--dump-dtb", "/dev/full", says=["/dev/full"])


class Disks(Cli):
    def disk_refused(self, disk, says=(), **options):
        return self.run_refused("--disk", disk, says=says, **options)

    def test_missing_and_unreadable(self):
        self.disk_refused(self.path("missing"), says=[self.path("missing")])
        self.disk_refused(self.folder.name, says=["directory"])
        self.disk_refused("/dev/null")

    def test_words_after_the_file(self):
        disk = self.file("disk", bytes(1 << 20))
        for words in (",rw", ",format=vmdk", ",format=", ",ro,snapshto", ","):
            self.disk_refused(disk + words)
        self.disk_refused("")
        self.disk_refused(",ro")

    def test_zero_bytes(self):
        self.disk_refused(self.file("nothing", b""), says=["nothing"])
        self.disk_refused(self.file("nothing.qcow2", files.qcow2_header(size=0)), says=["zero"])

    def test_the_sound_image_that_the_others_are_made_from(self):
        disk = self.file("good.qcow2", files.qcow2_header())
        result = self.doppel("run", "--kernel", self.kernel, "--memory", "64M", "--net", "none", "--disk", disk + ",snapshot")
        self.assertEqual((result.returncode, result.stderr), (0, b""))

    def test_corrupt_qcow2(self):
        bad = {
            "cut": files.qcow2_header()[:50],
            "version": files.qcow2_header(version=9),
            "cluster_size": files.qcow2_header(cluster_bits=40),
            "tiny_clusters": files.qcow2_header(cluster_bits=3),
            "size": files.qcow2_header(size=1 << 63),
            "short_table": files.qcow2_header(size=1 << 40),
        }
        for name, content in bad.items():
            self.disk_refused(self.file(name, content), says=[name])

    def test_tables_outside_the_file(self):
        for where in (1 << 20, 1 << 40, 0xFFFFFFFFFFFF0000):
            self.disk_refused(self.file("l1", files.qcow2_header(l1_at=where)), says=["outside"])
            self.disk_refused(self.file("refcounts", files.qcow2_header(table_at=where)), says=["outside"])
        image = bytearray(files.qcow2_header())
        struct.pack_into(">Q", image, 0x30000, 1 << 63 | 1 << 40)
        self.disk_refused(self.file("l2", bytes(image)), says=["outside"])

    def test_backing_loops(self):
        one, other = self.path("one"), self.path("other")
        self.file("self", files.qcow2_header(backing=b"self"))
        self.disk_refused(self.path("self"), says=["backing"])
        self.file("one", files.qcow2_header(backing=other.encode()))
        self.file("other", files.qcow2_header(backing=one.encode()))
        self.disk_refused(one, says=["backing"])
        self.file("lost", files.qcow2_header(backing=b"nowhere"))
        self.disk_refused(self.path("lost"), says=["nowhere"])

    def test_more_disks_than_slots(self):
        many = []
        for number in range(9):
            many += ["--disk", self.file(f"disk{number}", bytes(4096)) + ",ro,format=raw"]
        self.run_refused(*many, says=["slots"])

    def test_what_lies_over_what_and_merging(self):
        plain = self.file("plain", bytes(1 << 20))
        info = self.doppel("disk", "info", plain)
        self.assertEqual((info.returncode, info.stderr), (0, b""))
        self.assertIn(b"raw", info.stdout)
        self.assertIn(b"1048576", info.stdout)
        self.refused("disk", "commit", plain, says=["plain", "not an overlay"])
        self.refused("disk", "commit", self.path("nothing"), says=["nothing"])
        self.refused("disk", "info", self.path("nothing"), says=["nothing"])
        image = self.file("image.qcow2", bytes(files.qcow2_header()))
        self.doppel("run", "--kernel", self.kernel, "--memory", "64M", "--net", "none", "--console", "none", "--disk", image)
        overlay = image + ".overlay"
        info = self.doppel("disk", "info", overlay)
        self.assertEqual((info.returncode, info.stderr), (0, b""))
        self.assertIn(b"lies over image.qcow2", info.stdout)
        self.assertIn(overlay.encode(), self.doppel("disk", "info", image).stdout)
        self.refused("disk", "commit", overlay, says=["qcow2", "doppel image convert"])
        self.assertTrue(os.path.exists(overlay))

    def test_one_disk_for_two_machines(self):
        disk = self.file("disk", bytes(1 << 20))
        self.run_refused("--disk", disk, "--disk", disk, says=[disk])


class Images(Cli):
    def test_names(self):
        self.refused("run", "no-such-image", says=["no-such-image"])
        for name in ("../x", "a/b", ".hidden", "", "x" * 65, "a b"):
            self.refused("run", name) if name else None
            self.refused("image", "rm", name) if name else None
        self.refused("image", "rm", "missing", says=["missing"])
        self.refused("image", "path", "missing", says=["missing"])
        self.refused("image", "build", "windows", says=["windows", "debian"])

    def test_a_list_of_none_is_empty(self):
        result = self.doppel("image", "ls")
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, b"", b""))

    def test_damaged(self):
        folder = pathlib.Path(self.path("cache")) / "doppel/images/broken"
        folder.mkdir(parents=True)
        whole = '{"kernel": "kernel", "initrd": "initrd", "disk": "disk.raw"}'
        texts = ["", "[]", "{", "{}", '{"kernel": 7}', whole, whole.replace('"kernel"}', '"../../x"}'), '{"kernel": "../kernel"}']
        for text in texts:
            (folder / "image.json").write_text(text)
            self.refused("run", "broken", says=["damaged"])

    def test_nowhere_to_keep_them(self):
        environment = {key: value for key, value in os.environ.items() if key not in ("HOME", "XDG_CACHE_HOME")}
        self.refused("image", "path", env=environment, says=["HOME"])
        self.refused("image", "build", env={**os.environ, "XDG_CACHE_HOME": self.kernel})

    def test_a_full_host_disk(self):
        """Needs root, to mount a small file system in a mount namespace of its own."""
        unshare = ["unshare", "--mount", "--propagation", "private"]
        if os.geteuid() != 0 or subprocess.run([*unshare, "true"], capture_output=True).returncode != 0:
            self.skipTest("needs root and mount namespaces")
        folder = self.path("cache")
        os.mkdir(folder)
        script = 'mount -t tmpfs -o size=8m tmpfs "$1" && XDG_CACHE_HOME=$1 exec "$2" image build'
        command = [*unshare, "sh", "-c", script, "sh", folder, PROGRAM]
        result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE)
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertRegex(result.stderr.decode(), r"\Adoppel: [^\n]*too full[^\n]*\n\Z")

    def test_no_network_at_the_first_run(self):
        """Nothing listens at the only source of packages."""
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            mirror = f"http://127.0.0.1:{bound.getsockname()[1]}/debian"
            environment = {**os.environ, "XDG_CACHE_HOME": self.path("cache"), "DOPPEL_DEBIAN_MIRROR": mirror, "no_proxy": "*"}
            result = self.doppel("run", env=environment)
        lines = result.stderr.decode().splitlines()
        self.assertEqual((result.returncode, result.stdout), (2, b""), lines)
        self.assertRegex(lines[-1], r"\Adoppel: [^\n]*(cannot|could not)[^\n]*127.0.0.1")
        self.assertTrue(all(line.startswith("doppel: ") for line in lines), lines)
        self.assertEqual([path for path in pathlib.Path(self.path("cache")).rglob("*") if path.suffix in (".raw", ".json")], [])

    def test_convert(self):
        new = self.path("new")
        self.refused("image", "convert", self.path("missing"), new, "--format", "raw", says=["missing"])
        self.refused("image", "convert", self.file("bad", files.qcow2_header(version=9)), new, "--format", "raw", says=["bad"])
        disk = self.file("disk", os.urandom(1 << 20))
        self.refused("image", "convert", disk, self.path("no/such"), "--format", "qcow2", says=["no/such"])
        self.assertFalse(os.path.exists(new))
        self.assertEqual(self.doppel("image", "convert", disk, new, "--format", "qcow2").returncode, 0)
        back = self.path("back")
        self.assertEqual(self.doppel("image", "convert", new, back, "--format", "raw").returncode, 0)
        self.assertEqual(pathlib.Path(disk).read_bytes(), pathlib.Path(back).read_bytes())
        self.refused("image", "convert", new, back, "--format", "raw", says=["exists"])


def main():
    global PROGRAM
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--doppel", required=True)
    options, rest = parser.parse_known_args()
    PROGRAM = os.path.abspath(options.doppel)
    unittest.main(argv=[sys.argv[0], *rest])


if __name__ == "__main__":
    main()
