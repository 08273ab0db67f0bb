"""A service that writes as fast as it can: the time and CPU until all is in files, and whether all is there."""

import os
import re
import shutil
import subprocess
import time

import bench_supd
import bench_tools

SIZE = 100
NUMBER = re.compile(rb"(?:^|[ \t])(\d{9}) x")


def verify(directory, lines):
    """Counts what is missing, doubled or out of order in the files of a directory, oldest first."""
    numbered = sorted((path for path in directory.rglob("*") if path.is_file() and path.stat().st_size), key=first_number)
    expected, wrong = 1, 0
    for path in numbered:
        with open(path, "rb") as file:
            for line in file:
                match = NUMBER.search(line)
                if not match:
                    continue
                if int(match[1]) != expected:
                    wrong += 1
                expected = int(match[1]) + 1
    return wrong + abs(lines + 1 - expected)


def first_number(path):
    with open(path, "rb") as file:
        for line in file:
            match = NUMBER.search(line)
            if match:
                return int(match[1])
    return 0


def run_supd(workspace, program, lines, number):
    supd = bench_supd.Supd(workspace, {
        "hold": {"kind": "task", "command": ["/bin/sh", "-c", f"until test -e {workspace.path}/go; do sleep 0.02; done"]},
        "flood": {"kind": "task", "command": [str(program), str(lines), str(SIZE)], "dependsOn": {"hold": "completed"},
                  "log": {"maxSize": "64M", "keep": 50}},
    }, f"supd-{number}")
    bench_tools.eventually("supd is up", lambda: supd.status())
    roles = supd.supervisors()
    before = bench_tools.cpu_seconds(roles)
    (workspace.path / "go").touch()
    began = time.monotonic()
    directory = supd.directory / "logs" / "flood"
    bench_tools.eventually(
        "the flood is over", lambda: supd.instances().get("flood/1", {}).get("state") == "completed", 300, 0.1)
    last = f"{lines:09d} x".encode()
    bench_tools.eventually("the last line is in the log", lambda: last in tail(directory), 60, 0.05)
    # To the moment at which the newest file was last written: our own looking costs nothing.
    newest = max(path.stat().st_mtime for path in directory.iterdir())
    seconds = newest - (time.time() - (time.monotonic() - began))
    cpu = bench_tools.cpu_seconds(roles) - before
    supd.stop()
    (workspace.path / "go").unlink()
    return seconds, cpu, verify(directory, lines), directory


def tail(directory):
    newest = max((path for path in directory.iterdir()), key=lambda path: path.stat().st_mtime, default=None)
    if newest is None:
        return b""
    with open(newest, "rb") as file:
        file.seek(max(0, newest.stat().st_size - 4096))
        return file.read()


def run_logger(workspace, program, lines, label, command, number):
    directory = workspace.directory(f"{label}-{number}")
    if label == "svlogd":
        (directory / "config").write_text("s64000000\nn60\n")
    writer = subprocess.Popen([program, str(lines), str(SIZE)], stdout=subprocess.PIPE)
    began = time.monotonic()
    logger = subprocess.Popen([*command, str(directory)], stdin=writer.stdout, stderr=subprocess.DEVNULL)
    writer.stdout.close()
    _, status, usage = os.wait4(logger.pid, 0)
    logger.returncode = status
    seconds = time.monotonic() - began
    writer.wait()
    if label == "svlogd":
        (directory / "config").unlink()
    return seconds, usage.ru_utime + usage.ru_stime, verify(directory, lines), directory


def run(workspace):
    lines = 100_000 if workspace.quick else 2_000_000
    program = workspace.compile("lines")
    loggers = [
        ("svlogd", ["svlogd", "-ttt"]),
        ("s6-log", ["s6-log", "n60", "s64000000", "T"]),
    ]
    results = {}
    for number in range(1 if workspace.quick else 5):
        results.setdefault("supd", []).append(run_supd(workspace, program, lines, number))
        for label, command in loggers:
            if shutil.which(command[0]):
                results.setdefault(label, []).append(run_logger(workspace, program, lines, label, command, number))
        for found in results.values():
            shutil.rmtree(found[-1][3], ignore_errors=True)
    rows = [[label, bench_tools.spread([one[0] for one in found], " s"), bench_tools.spread([one[1] for one in found], " s"),
             sum(one[2] for one in found)] for label, found in results.items()]
    print(f"{lines} lines of {SIZE} bytes, each logger with time stamps and rotation at 64 MB; median (range)")
    bench_tools.table(["logger", "time", "its CPU time", "lost, doubled or out of order"], rows)
    if any(one[2] for one in results["supd"]):
        raise bench_tools.BenchError("supd has lost, doubled or disordered lines")
