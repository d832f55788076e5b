#!/usr/bin/env python3
"""million_test.py --million PROGRAM [--machines N]: two thousand machines are forked from one booted Debian kernel, parked, and held at once;
each knows its number, also those that run on. What bench/million does with a million."""
import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

import guest_machine
import machine_files

TOP = pathlib.Path(__file__).resolve().parents[2]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--million", required=True)
    parser.add_argument("--doppel", required=True)
    parser.add_argument("--machines", type=int, default=2000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        guest = guest_machine.Guest(options.doppel, guest_machine.find_image(options.doppel), folder)
        program, initrd = pathlib.Path(folder) / "answer", pathlib.Path(folder) / "initrd"
        machine_files.compile_bare(TOP / "bench/million_guest.c", program)
        base = guest.initrd.read_bytes()
        initrd.write_bytes(base + bytes(-len(base) % 4) + machine_files.cpio({"init": (0o100755, program.read_bytes())}))
        words = [options.million, guest.kernel, initrd, str(options.machines), "100", str(os.cpu_count())]
        result = subprocess.run(words, stdout=subprocess.PIPE, timeout=guest_machine.PATIENCE)
    text = result.stdout.decode()
    print(text)
    said = f"{options.machines} machines held, 0 wrong answers" in text and "100 of them answered once more, 0 wrong answers" in text
    sys.exit(0 if result.returncode == 0 and said else "not all machines were held and answered right")


main()
