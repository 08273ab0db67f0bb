"""Processes of services and of supd itself are killed and stopped under load: what clients see.

The load opens a connection per request at a steady rate. A failure is *assigned* if its request was under way when
the process was killed (or came within the time the kernel needs to take its sockets down, its backlog included).
"""

import json
import os
import re
import signal
import subprocess
import time

import bench_supd
import bench_tools

FRONT = 18970
RATE = 500


class Load:
    """The load generator, running."""

    def __init__(self, workspace, seconds, port=FRONT, path="/"):
        self.process = workspace.start(
            [workspace.compile("load"), path, port, RATE, seconds, 30], stdout=subprocess.PIPE, text=True)
        time.sleep(0.7)  # into a steady state

    def result(self):
        return json.loads(self.process.communicate(timeout=180)[0])


def manifest(workspace, replicas, extra=()):
    return {
        "api": {"command": [str(workspace.binaries / "demo-service"), "--quiet"], "replicas": replicas, "listen": FRONT,
                "ready": {"http": "/healthz"}, "restart": {"resetAfter": "1s"}, "environment": {"BENCH": "failures"}},
        **dict(extra),
    }


def later(result, killed, seconds=0.05):
    """How many failures hit requests that began more than a moment after the kill."""
    return sum(one["begin"] > killed + seconds * 1e9 for one in result["failures"])


def failures(result):
    return result["requests"] - result["ok"]


def kinds(results):
    """The failures of some results by kind, as text."""
    names = ["refused", "reset", "closedEarly", "badAnswer", "timedOut", "ownShortage"]
    counts = {name: sum(result[name] for result in results) for name in names}
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "none"


def row(name, results, late, note=""):
    return [name, len(results), sum(result["requests"] for result in results), kinds(results), late,
            bench_tools.spread([result["medianMs"] for result in results], " ms"),
            bench_tools.spread([result["longestMs"] for result in results], " ms", 1), note]


def instance_killed(workspace, replicas, repeats):
    supd = bench_supd.Supd(workspace, manifest(workspace, replicas), f"instance-{replicas}")
    supd.wait_ready()
    results, late = [], 0
    for number in range(repeats):
        name = f"api/{number % replicas + 1}"
        time.sleep(1.2)
        load = Load(workspace, 3)
        pid = supd.pids()[name]
        killed = time.monotonic_ns()
        os.kill(pid, signal.SIGKILL)
        results.append(load.result())
        late += later(results[-1], killed)
        supd.wait_ready()
    supd.stop()
    return row(f"SIGKILL of an instance, {replicas} replica{'s' * (replicas > 1)}", results, late)


def instance_restarted(workspace, replicas, repeats):
    supd = bench_supd.Supd(workspace, manifest(workspace, replicas), f"restart-{replicas}")
    supd.wait_ready()
    results, took = [], []
    for _ in range(repeats):
        load = Load(workspace, 4)
        began = time.monotonic()
        supd.control("restart", "api")
        took.append(time.monotonic() - began)
        results.append(load.result())
    supd.stop()
    return row(f"supctl restart, {replicas} replica{'s' * (replicas > 1)}", results, sum(map(failures, results)),
               f"took {bench_tools.spread(took, ' s')}")


def balancer_killed(workspace, repeats):
    supd = bench_supd.Supd(workspace, manifest(workspace, 3), "balancer")
    supd.wait_ready()
    results, late, before = [], 0, supd.pids()
    for _ in range(repeats):
        load = Load(workspace, 3)
        old = supd.roles()["balancer"]
        killed = time.monotonic_ns()
        os.kill(old, signal.SIGKILL)
        results.append(load.result())
        late += later(results[-1], killed)
        supd.wait_role("balancer", old)
    note = "same pids" if supd.pids() == before else "PIDS CHANGED"
    supd.stop()
    return row("SIGKILL of the balancer", results, late, note)


def supervisor_killed(workspace, times):
    lines = workspace.compile("lines")
    writer = {"writer": {"command": [str(lines), "1000000", "100", "500"], "log": {"maxSize": "1M", "keep": 500}}}
    supd = bench_supd.Supd(workspace, manifest(workspace, 3, writer.items()), "supervisor")
    supd.wait_ready()
    before = supd.pids()
    load = Load(workspace, times * 1.0 + 2)
    back = []
    for _ in range(times):
        old = supd.roles()["supervisor"]
        began = time.monotonic()
        os.kill(old, signal.SIGKILL)
        supd.wait_role("supervisor", old)
        back.append(time.monotonic() - began)
        time.sleep(max(0, 0.9 - back[-1]))
    result = load.result()
    note = "same pids" if supd.pids() == before else "PIDS CHANGED"
    supd.stop()
    wrong, total = check_lines(supd.directory / "logs" / "writer")
    note += f"; {total} log lines, {wrong} lost or doubled; status answers after {bench_tools.spread(back, ' s')}"
    return row(f"SIGKILL of the supervisor, {times} times", [result], failures(result), note)


def check_lines(directory):
    """How many steps from one numbered line to the next are not a step of one; and how many lines there are."""
    numbers = []
    for path in directory.iterdir():
        found = [int(number) for number in re.findall(r"\bF (\d{9}) x", path.read_text(errors="replace"))]
        if found:
            numbers.append(found)
    numbers.sort(key=lambda found: found[0])
    flat = [number for found in numbers for number in found]
    wrong = sum(right - left != 1 for left, right in zip(flat, flat[1:])) + (not flat or flat[0] != 1)
    return wrong, len(flat)


def supervisor_stopped(workspace):
    supd = bench_supd.Supd(workspace, manifest(workspace, 3), "stopped")
    supd.wait_ready()
    before, old = supd.pids(), supd.roles()["supervisor"]
    load = Load(workspace, 22)
    began = time.monotonic()
    os.kill(old, signal.SIGSTOP)
    # (supctl would wait for the stopped one: look at the process instead.)
    bench_tools.eventually("the stopped supervisor is gone", lambda: not bench_tools.alive(old), 60, 0.05)
    supd.wait_role("supervisor", old)
    took = time.monotonic() - began
    result = load.result()
    note = f"replaced after {took:.1f} s; " + ("same pids" if supd.pids() == before else "PIDS CHANGED")
    supd.stop()
    return row("SIGSTOP of the supervisor", [result], failures(result), note)


def keeper_killed(workspace, repeats):
    """How long after the keeper's death the last process of any service is gone, and how many stay for ever."""
    gone, left = [], 0
    for number in range(repeats):
        token = f"keeper-{os.getpid()}-{number}"
        services = {
            "api": {"command": [str(workspace.binaries / "demo-service"), "--quiet", "--grandchild-holds-output"],
                    "replicas": 3, "listen": FRONT, "environment": {"BENCH": token}},
            "stubborn": {"command": [str(workspace.binaries / "demo-service"), "--ignore-term", "--grandchild-holds-output"],
                         "port": 18975, "environment": {"BENCH": token}},
        }
        supd = bench_supd.Supd(workspace, services, f"keeper-{number}")
        supd.wait_ready()
        expected = 2 * 4
        bench_tools.eventually("grandchildren are there", lambda: len(with_environment(token)) == expected)
        began = time.monotonic()
        os.kill(supd.process.pid, signal.SIGKILL)
        try:
            bench_tools.eventually("all are gone", lambda: not with_environment(token), 5, 0.01)
            gone.append((time.monotonic() - began) * 1000)
        except bench_tools.BenchError:
            survivors = with_environment(token)
            left += len(survivors)
            for pid in survivors:
                os.kill(pid, signal.SIGKILL)
    print(f"SIGKILL of the keeper, {repeats} times, 8 processes each (4 are grandchildren): all gone after "
          f"{bench_tools.spread(gone, ' ms', 0)}; {left} left over")


def with_environment(token):
    """The live processes that have a variable BENCH of this value."""
    found, wanted = [], f"BENCH={token}".encode()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                if wanted in open(f"/proc/{entry}/environ", "rb").read().split(b"\0") and bench_tools.alive(int(entry)):
                    found.append(int(entry))
            except OSError:
                pass
    return found


def run(workspace):
    repeats = 1 if workspace.quick else 5
    rows = []
    for replicas in [3, 1]:
        rows.append(instance_killed(workspace, replicas, repeats))
        rows.append(instance_restarted(workspace, replicas, repeats))
    rows.append(balancer_killed(workspace, repeats))
    rows.append(supervisor_killed(workspace, 3 if workspace.quick else 20))
    rows.append(supervisor_stopped(workspace))
    print(f"{RATE} requests a second, a new connection each")
    bench_tools.table(
        ["what happens", "runs", "requests", "failed", "failed that began after it", "median request", "longest wait", ""],
        rows)
    keeper_killed(workspace, repeats)
