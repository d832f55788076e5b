#!/usr/bin/env python3
"""style.py CHECK: one of the rules that hold for the whole tree; prints each place that breaks it, exit status 1 if any."""
import argparse
import pathlib
import re
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]

# docs/architecture.md, "Dependencies run one way": what a folder of src may include besides itself.
BELOW_MACHINE = {"base", "memory", "ir", "guest", "codegen", "engine", "device", "storage", "network"}
MAY_INCLUDE = {
    "base": set(),
    "memory": {"base"},
    "ir": {"base", "memory"},
    "guest": {"base", "memory", "ir"},
    "codegen": {"base", "memory", "ir"},
    "engine": {"base", "memory", "ir", "guest", "codegen"},
    "storage": {"base", "memory"},
    "network": {"base", "memory"},
    "device": {"base", "memory", "storage", "network"},
    "machine": BELOW_MACHINE,
    "process": BELOW_MACHINE | {"machine"},
    "container": {"base"},
    "snapshot": BELOW_MACHINE | {"machine", "process"},
    "api": BELOW_MACHINE | {"machine", "process", "container", "snapshot"},
    "cli": BELOW_MACHINE | {"machine", "process", "container", "snapshot", "api"},
}
LONGEST_FILE = 600
EMPTY_WORDS = {"util", "utils", "misc", "common", "helper", "helpers", "manager", "impl"}


def sources(*folders):
    """The C++ files under these folders, which must be there: a check of nothing would always pass."""
    found = [path for folder in folders for path in sorted((TOP / folder).rglob("*")) if path.suffix in (".cc", ".h", ".inc")]
    if not found:
        sys.exit(f"no sources in {', '.join(folders)}")
    return found


def dependencies():
    """A folder includes only what is below it, by its path from src."""
    for path in sources("src"):
        folder = path.relative_to(TOP / "src").parts[0]
        if folder not in MAY_INCLUDE:
            yield path, 1, f"src/{folder} is not in the architecture's list of folders"
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if not (match := re.match(r'\s*#\s*include\s*"([^"]+)"', line)):
                continue
            target = match[1].split("/")[0]
            if not (TOP / "src" / match[1]).is_file():
                yield path, number, f'"{match[1]}" is not the path of a file from src'
            elif target != folder and target not in MAY_INCLUDE[folder]:
                yield path, number, f"{folder} may not include {target}: dependencies run one way (docs/architecture.md)"


def lengths():
    """No file is longer than a reader can hold."""
    for path in sources("src"):
        lines = len(path.read_text().splitlines())
        if lines > LONGEST_FILE:
            yield path, lines, f"{lines} lines, the limit is {LONGEST_FILE}: split it by what it is about"


def names():
    """Files are nouns of the field in snake_case; tests say that they are tests."""
    for path in sources("src", "tests"):
        words = set(path.stem.split("_"))
        if not re.fullmatch(r"[a-z][a-z0-9_]*", path.stem):
            yield path, 1, "file names are snake_case"
        for word in sorted(words & EMPTY_WORDS):
            yield path, 1, f"'{word}' in a name says nothing: name what is in it"
        if path.is_relative_to(TOP / "tests/unit") and path.suffix == ".cc":
            mirrored = TOP / "src" / path.relative_to(TOP / "tests/unit").parent
            if not mirrored.is_dir():
                yield path, 1, f"tests/unit mirrors src, and there is no {mirrored.relative_to(TOP)}"
        if path.is_relative_to(TOP / "src") and path.suffix == ".h" and "#pragma once" not in path.read_text():
            yield path, 1, "a header begins with #pragma once"


def scripts():
    """Shell scripts parse and can be started."""
    found = [TOP / "doppel", TOP / "test", TOP / ".ci/run", *sorted((TOP / "share/image").glob("*.sh"))]
    for path in found:
        if not path.stat().st_mode & 0o111:
            yield path, 1, "is not executable"
        parsed = subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True)
        if parsed.returncode != 0:
            yield path, 1, parsed.stderr.strip()
    for path in sorted((TOP / "share/image/debian/root/usr/lib/doppel").iterdir()):
        if subprocess.run(["sh", "-n", str(path)], capture_output=True).returncode != 0:
            yield path, 1, "does not parse"


def format_(clang_format):
    """All code is as clang-format would write it."""
    run = subprocess.run([clang_format, "--dry-run", "-Werror", *map(str, sources("src", "tests"))], capture_output=True, text=True)
    places = re.findall(r"^(/[^:\n]+):(\d+):\d+: error", run.stderr, re.M)
    for name in dict.fromkeys(name for name, _ in places):
        line = next(number for other, number in places if other == name)
        yield pathlib.Path(name), int(line), "is not formatted: clang-format-19 -i"
    if run.returncode != 0 and not places:
        sys.exit(run.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    checks = {"dependencies": dependencies, "lengths": lengths, "names": names, "scripts": scripts, "format": format_}
    parser.add_argument("check", choices=checks)
    parser.add_argument("--clang-format", default="clang-format-19")
    options = parser.parse_args()
    arguments = [options.clang_format] if options.check == "format" else []
    broken = list(checks[options.check](*arguments))
    for path, line, sentence in broken:
        print(f"{path.relative_to(TOP)}:{line}: {sentence}")
    sys.exit(1 if broken else 0)


main()
