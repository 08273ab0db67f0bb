"""What all measurements share: builds, a workspace, tables, and numbers from /proc."""

import contextlib
import os
import pathlib
import platform
import shutil
import signal
import statistics
import subprocess
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent


class BenchError(Exception):
    """A measurement could not be made; the text says why."""


def build():
    """Builds a release with Swift's libraries linked in; returns the directory of the programs."""
    command = ["swift", "build", "-c", "release", "--static-swift-stdlib", "-Xlinker", "-s"]
    for product in ["supd", "supctl", "demo-service"]:
        subprocess.run(command + ["--product", product], check=True, stdout=subprocess.DEVNULL)
    path = subprocess.run(command + ["--show-bin-path"], check=True, capture_output=True, text=True).stdout
    return pathlib.Path(path.strip())


def machine_facts():
    """One line about the machine."""
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    memory = int(next(line.split()[1] for line in open("/proc/meminfo") if line.startswith("MemTotal"))) // 1024
    system = next((line.split("=", 1)[1].strip().strip('"') for line in open("/etc/os-release")
                   if line.startswith("PRETTY_NAME=")), "?")
    load = open("/proc/loadavg").read().split()[0]
    return (f"{model} × {os.cpu_count()}, {memory} MiB, Linux {platform.release()}, {system}, "
            f"load {load} before, {time.strftime('%Y-%m-%d')}")


def table(header, rows):
    """Prints a table in Markdown, so that it can go into a note as it is."""
    cells = [[str(cell) for cell in row] for row in [header, *rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    for index, row in enumerate(cells):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |")
        if index == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")


def spread(values, unit="", digits=2):
    """Median and range of some numbers, as text."""
    values = sorted(values)
    if not values:
        return "none"
    return f"{statistics.median(values):.{digits}f}{unit} ({values[0]:.{digits}f}–{values[-1]:.{digits}f})"


def eventually(what, condition, seconds=30.0, pause=0.005):
    """Waits until the condition gives something true, and returns that."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise BenchError(f"not within {seconds} s: {what}")
        time.sleep(pause)


def alive(pid):
    """Whether a process is there and no zombie."""
    try:
        return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def children(pid):
    """All descendants of a process."""
    found, waiting = [], [pid]
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                parent = int(open(f"/proc/{entry}/stat").read().rsplit(")", 1)[1].split()[1])
                parents.setdefault(parent, []).append(int(entry))
    while waiting:
        for child in parents.get(waiting.pop(), []):
            found.append(child)
            waiting.append(child)
    return found


def cpu_seconds(pids):
    """CPU time of live processes, all threads, to the nanosecond where the kernel has it."""
    total = 0.0
    for pid in pids:
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{pid}/task"):
                with contextlib.suppress(OSError):
                    total += int(open(f"/proc/{pid}/task/{task}/schedstat").read().split()[0]) / 1e9
    return total


def context_switches(pids):
    """How often the threads of live processes were switched to and from: voluntary ones are wake-ups."""
    voluntary = involuntary = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{pid}/task"):
                with contextlib.suppress(OSError):
                    for line in open(f"/proc/{pid}/task/{task}/status"):
                        if line.startswith("voluntary_ctxt_switches"):
                            voluntary += int(line.split()[1])
                        elif line.startswith("nonvoluntary_ctxt_switches"):
                            involuntary += int(line.split()[1])
    return voluntary, involuntary


def pss_mib(pids):
    """Proportional set size of processes together, in MiB."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += next((int(line.split()[1]) for line in open(f"/proc/{pid}/smaps_rollup")
                           if line.startswith("Pss:")), 0)
    return total / 1024


class Targets:
    """What is asked for of a measurement, and whether it was found."""

    def __init__(self):
        self.rows = []

    def clear(self):
        self.rows = []

    def ask(self, what, asked, found, met):
        self.rows.append([what, asked, found, "met" if met else "MISSED"])

    def report(self, strict):
        """Prints all; with `strict` one that was missed ends the measurement with an error."""
        print("\nAsked for")
        table(["what", "asked for", "found", ""], self.rows)
        missed = [row[0] for row in self.rows if row[3] != "met"]
        if strict and missed:
            raise BenchError(f"missed: {'; '.join(missed)}")


class Workspace:
    """A temporary directory, the programs, and every process started: all ended and removed at the end."""

    def __init__(self, binaries, quick, strict=False):
        for name in ["supd", "supctl", "demo-service"]:
            if not os.access(binaries / name, os.X_OK):
                raise BenchError(f"there is no program {binaries / name}")
        self.binaries = binaries
        self.quick = quick
        self.strict = strict
        self.path = None
        self.started = []

    def __enter__(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="supd-bench."))
        self.path.chmod(0o755)
        return self

    def __exit__(self, *_):
        for process in reversed(self.started):
            self.end(process)
        shutil.rmtree(self.path, ignore_errors=True)

    def compile(self, name):
        """Compiles NAME.c of this folder; returns the program's path."""
        program = self.path / name
        if not program.exists():
            compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
            if not compiler:
                raise BenchError("there is no C compiler (cc, gcc or clang)")
            subprocess.run([compiler, "-O2", "-static", "-o", program, HERE / f"{name}.c"], check=True)
        return program

    def directory(self, name):
        """A new directory in the workspace."""
        path = self.path / name
        path.mkdir(parents=True)
        return path

    def start(self, command, **settings):
        """Starts a process in a session of its own."""
        settings.setdefault("stdin", subprocess.DEVNULL)
        settings.setdefault("stdout", subprocess.DEVNULL)
        settings.setdefault("stderr", subprocess.DEVNULL)
        process = subprocess.Popen([str(word) for word in command], start_new_session=True, **settings)
        self.started.append(process)
        return process

    def end(self, process, seconds=30):
        """Ends a process that `start` started, by SIGTERM, and with SIGKILL whatever of it is left."""
        if process in self.started:
            self.started.remove(process)
        below = children(process.pid) if process.poll() is None else []
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for pid in below:
            if alive(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
