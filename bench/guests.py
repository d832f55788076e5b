"""What the benchmarks that boot a guest share: the folder with kernel, initrd and peer (QEMU 10), programs built for the guest,
and the commands that boot them in either. The folder is BENCH_DIR or doppel-bench in the user's cache folder; in it are Image and
initrd.zst (Debian's riscv64 kernel and an initial RAM disk), and peers, a root file system with qemu-system-riscv64."""
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile

TOP = pathlib.Path(__file__).resolve().parents[1]
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
FOLDER = pathlib.Path(os.environ.get("BENCH_DIR") or CACHE / "doppel-bench")
LATE = 124  # the exit status of timeout when the time is over
COMPILER = "riscv64-linux-gnu-gcc"
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no guest stays behind
sys.dont_write_bytecode = True
sys.path.insert(0, str(TOP / "tests/system"))
import machine_files  # noqa: E402


def stop(sentence):
    print(sentence, file=sys.stderr)
    sys.exit(2)


def need_folder(*names):
    for name in names:
        if not (FOLDER / name).exists():
            stop(f"{FOLDER / name} is not there: set BENCH_DIR to a folder with a kernel (Image), an initrd.zst and peers")


def need_compiler():
    """Debian's cross compiler for the guest, installed when it is missing and this is root."""
    packages = ["gcc-riscv64-linux-gnu", "libc6-dev-riscv64-cross"]
    if shutil.which(COMPILER) and pathlib.Path("/usr/riscv64-linux-gnu/lib/libc.a").exists():
        return
    if os.geteuid() != 0:
        stop(f"the cross compiler is missing: install {' and '.join(packages)}")
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    for words in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *packages]):
        if subprocess.run(["apt-get", *words], env=environment, stdout=subprocess.DEVNULL).returncode != 0:
            stop(f"apt-get {' '.join(words)} failed")


def compile_program(output, *words):
    """One call of the compiler; its complaints are ours."""
    if subprocess.run([COMPILER, "-O2", "-Wall", "-Wextra", "-o", str(output), *map(str, words)]).returncode != 0:
        stop(f"{COMPILER} could not make {pathlib.Path(output).name}")


def answering_initrd():
    """An initrd whose first process is bench/million_guest.c."""
    with tempfile.TemporaryDirectory() as folder:
        program = pathlib.Path(folder) / "answer"
        machine_files.compile_bare(TOP / "bench/million_guest.c", program)
        return initrd_with_init("million", program)


def build(program):
    subprocess.run(["ninja", "-C", TOP / "build", program], check=True, stdout=subprocess.DEVNULL)
    return TOP / "build" / program


def initrd_with_init(name, program):
    """An initrd in the folder, where the peer sees it too, whose /init is this program."""
    base = (FOLDER / "initrd.zst").read_bytes()
    path = FOLDER / f"{name}-initrd"
    archive = machine_files.cpio({"init": (0o100755, pathlib.Path(program).read_bytes())})
    path.write_bytes(base + bytes(-len(base) % 4) + archive)
    return path


def peer(*arguments):
    """The command that starts QEMU in the folder's root of its own; /w there is the folder."""
    window = FOLDER / "peers/w"
    if not os.path.ismount(window):
        if subprocess.run(["mount", "--bind", str(FOLDER), str(window)]).returncode != 0:
            stop(f"{FOLDER} cannot be shown to the peer at {window}: that takes root")
    return ["chroot", str(FOLDER / "peers"), "qemu-system-riscv64", "-machine", "virt", "-accel", "tcg,thread=multi", "-nographic",
            "-no-reboot", *arguments]


def peer_boots(initrd, words, memory=2048, cpus=1):
    return peer("-m", str(memory), "-smp", str(cpus), "-kernel", "/w/Image", "-initrd", f"/w/{initrd.name}",
                "-append", f"console=ttyS0 quiet {words}".strip())


def ours_boots(doppel, initrd, words, memory=2048, cpus=1):
    return [str(doppel), "run", "--kernel", str(FOLDER / "Image"), "--initrd", str(initrd), "--memory", f"{memory}M",
            "--cpus", str(cpus), "--net", "none", "--append", f"console=ttyS0 quiet {words}".strip()]


def lines_of(command, patience, log=None, show=False):
    """The lines that a command prints in at most that many seconds; the last one begins with "failed" unless it ended well.
    They are also written to the file `log` as they come."""
    lines, dead = [], False
    out = open(log or os.devnull, "w", buffering=1)
    process = subprocess.Popen(["timeout", "--kill-after=5", str(patience), *command], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        for raw in process.stdout:
            lines.append(raw.decode(errors="replace").rstrip())
            out.write(lines[-1] + "\n")
            if show:
                print(lines[-1], flush=True)
            if "end Kernel panic" in lines[-1]:  # it would only be idle from here on
                dead = True
                break
    finally:
        process.terminate()
        status = process.wait()
        out.close()
    if status == LATE:
        lines.append(f"failed: not done after {patience} s: {shlex.join(command)}")
    elif dead or status != 0:
        lines.append(f"failed: {'the guest crashed' if dead else f'status {status}'}: {shlex.join(command)}")
    return lines
