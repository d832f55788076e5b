"""Debian's kernel in Doppel with an init of the test's own, for the system tests and bench/kill9."""
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import threading

import machine_files as files

PATIENCE = 900  # seconds after which a guest hangs: these machines may be slow and busy

# What every test's init begins with: the modules of the image's initrd reach the disk.
PRELUDE = """#!/bin/sh
B=/bin/busybox
$B mount -t proc proc /proc; $B mount -t devtmpfs dev /dev
"""
MODULES = 'while read -r module; do $B insmod "/lib/$module"; done </lib/order\n'
POWER_OFF = "$B sync; $B poweroff -f\n$B sleep 1000\n"

# Each number is printed when its block is durable, never before: as a file of its own and in one growing file.
WRITER = MODULES + """
$B mkdir -p /disk
n=0; while [ ! -b /dev/vda ] && [ $n -lt 100 ]; do n=$((n + 1)); $B sleep 0.1; done
$B mount -t ext4 /dev/vda /disk || echo "cannot mount"
i=0
while :; do
  printf '%04096d' $i | $B dd of=/disk/log bs=4096 seek=$i conv=notrunc,fsync iflag=fullblock 2>/dev/null || break
  echo "block $i"
  printf '%d' $i >/disk/new && $B fsync /disk/new && $B mv /disk/new /disk/file$i && $B fsync /disk/file$i && echo "file $i"
  i=$((i + 1))
done
echo "stopped at $i"
"""


class Guest:
    """One Debian image (a folder with kernel, initrd and image.json) and the program that runs it."""

    def __init__(self, program, image, folder):
        self.program, self.folder = program, pathlib.Path(folder)
        image = pathlib.Path(image)
        description = json.loads((image / "image.json").read_text())
        self.kernel, self.initrd = image / description["kernel"], image / description["initrd"]

    def command(self, script, *arguments, append="", net="none"):
        initrd = self.folder / "initrd"
        initrd.write_bytes(files.initrd_with_init(self.initrd, PRELUDE + script))
        cache = [] if "--code-cache" in arguments else ["--code-cache", str(self.folder / "code")]
        return [self.program, "run", "--kernel", str(self.kernel), "--initrd", str(initrd), "--memory", "256M", "--net", net, *cache,
                "--append", f"console=ttyS0 {append}", *arguments]

    def run(self, script, *arguments, append="quiet"):
        command = self.command(script, *arguments, append=append)
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE)

    def run_until_killed(self, script, *arguments, numbers):
        """Kills the program (SIGKILL) some microseconds after that many lines of the writer; the lines that it printed."""
        command = self.command(script, *arguments, append="quiet")
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        hung = threading.Timer(PATIENCE, process.kill)
        hung.start()
        lines = []
        for line in process.stdout:
            lines.append(line.decode(errors="replace").strip())
            if len([l for l in lines if re.fullmatch(r"(block|file) \d+", l)]) == numbers:
                # A moment within one round of the writer, not always the one behind a line.
                threading.Timer(random.uniform(0, 0.1), process.send_signal, [signal.SIGKILL]).start()
        status = process.wait()
        hung.cancel()
        hung.join()
        if status != -signal.SIGKILL or len(lines) < numbers:
            raise AssertionError("the guest did not get that far:\n" + "\n".join(lines[-30:]))
        return lines


def run_tool(*command):
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return result.returncode, result.stdout.decode(errors="replace")


def check_file_system(disk, lines):
    """What is wrong with an ext4 disk whose writer printed these lines: a list of sentences."""
    wrong = []
    status, text = run_tool("e2fsck", "-y", "-E", "journal_only", disk)
    if status not in (0, 1):
        wrong.append(f"the journal does not replay: {text.strip()}")
    status, text = run_tool("e2fsck", "-f", "-n", disk)
    if status != 0:
        wrong.append(f"e2fsck -f is not clean: {text.strip()}")
    numbers = {kind: [int(line.split()[1]) for line in lines if re.fullmatch(kind + r" \d+", line)] for kind in ("block", "file")}
    log = subprocess.run(["debugfs", "-R", "cat /log", disk], capture_output=True).stdout
    for number in numbers["block"]:
        if log[number * 4096 : (number + 1) * 4096] != b"%04096d" % number:
            wrong.append(f"block {number}, which was flushed, is not there")
    listing = run_tool("debugfs", "-R", "ls -p /", disk)[1]
    names = set(re.findall(r"/(file\d+)/", listing))
    for number in numbers["file"]:
        if f"file{number}" not in names:
            wrong.append(f"file {number}, which was flushed, is not there")
    if numbers["file"]:
        last = numbers["file"][-1]
        if subprocess.run(["debugfs", "-R", f"cat /file{last}", disk], capture_output=True).stdout != b"%d" % last:
            wrong.append(f"file {last} has other contents")
    return wrong


def kill_round(guest, kind, numbers):
    """A fresh disk of this kind ("raw", "qcow2"), a guest that is killed, and what was found: (lines, what is wrong)."""
    raw, disk = guest.folder / "disk.raw", guest.folder / f"disk.{kind}"
    for old in guest.folder.glob("disk.*"):
        old.unlink()
    files.ext4_disk(raw, 64)
    if kind == "qcow2":
        subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, disk], check=True)
        raw.unlink()
    lines = guest.run_until_killed(WRITER, "--disk", f"{disk},format={kind}", numbers=numbers)
    if kind == "qcow2":
        status, text = run_tool(guest.program, "image", "convert", str(disk), str(raw), "--format", "raw")
        if status != 0:
            return lines, [f"the overlay cannot be read: {text.strip()}"]
    return lines, check_file_system(str(raw), lines)


def find_image(program):
    """DOPPEL_TEST_IMAGE or the default image."""
    if given := os.environ.get("DOPPEL_TEST_IMAGE"):
        return given
    result = subprocess.run([program, "image", "path", "debian"], capture_output=True, text=True)
    if result.returncode != 0:
        raise SystemExit(f"{result.stderr.strip()}; or set DOPPEL_TEST_IMAGE to an image's folder")
    return result.stdout.strip()
