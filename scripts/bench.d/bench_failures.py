"""Processes of services and of supd itself are killed and stopped under load: what clients see.

The load opens a connection per request at a steady rate, and the service takes 50 ms for each: so several are under way
when a process is killed. It is stopped for a moment before, so that some wait in its backlog; those that the kernel shows
then as established are *assigned* to it. They, and no others, may fail. What does not keep that ends the measurement with
an error, after the table.
"""

import json
import os
import re
import select
import signal
import socket
import struct
import subprocess
import time

import bench_supd
import bench_tools

FRONT = 18970
RATE = 500
PATH = "/work?ms=50"
# Seconds: the pause between two questions of the keeper, and how long it waits for the answer.
HEARTBEAT = 10 + 1


class Load:
    """The load generator, running."""

    def __init__(self, workspace, seconds, port=FRONT, path=PATH):
        self.process = workspace.start(
            [workspace.compile("load"), path, port, RATE, seconds, 30], stdout=subprocess.PIPE, text=True)
        time.sleep(0.7)  # into a steady state

    def result(self):
        """Waits until its time is over."""
        return json.loads(self.process.communicate(timeout=180)[0])

    def end(self):
        """Ends it before its time; requests that are under way are awaited."""
        if self.process.poll() is not None:
            raise bench_tools.BenchError("the load was over before what it was to show")
        self.process.terminate()
        return self.result()


def manifest(workspace, replicas, extra=()):
    return {
        "api": {"command": [str(workspace.binaries / "demo-service"), "--quiet"], "replicas": replicas, "listen": FRONT,
                "ready": {"http": "/healthz"}, "restart": {"resetAfter": "1s"}, "environment": {"BENCH": "failures"}},
        **dict(extra),
    }


class Kill:
    """SIGKILL of a process that serves connections: how many it had, and when its sockets were gone."""

    def __init__(self, pid, port, only_accepted=False):
        handle = os.pidfd_open(pid)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.03)
        counted = time.monotonic_ns()
        self.assigned = connections(port, only_accepted)
        os.kill(pid, signal.SIGKILL)
        # Readable when the kernel has taken down all that the process had.
        select.select([handle], [], [], 10)
        self.died = time.monotonic_ns()
        # What came between the look and the end.
        self.more = int((self.died - counted) / 1e9 * RATE) + 1
        os.close(handle)

    def later(self, result):
        """How many failures hit requests that began when it was dead."""
        return sum(one["begin"] > self.died for one in result["failures"])

    def check(self, what, result):
        """Only those assigned may fail, and none that came later."""
        if failures(result) > self.assigned + self.more:
            violation(f"{what}: {failures(result)} requests failed, and {self.assigned} were assigned ({self.more} more at most)")
        if self.later(result):
            violation(f"{what}: {self.later(result)} requests failed that began when it was dead")


def connections(port, only_accepted):
    """The established connections of a local port, by sock_diag(7): the kernel picks them out, while reading all of
    /proc/net/tcp takes long where thousands are in TIME_WAIT, and the process is stopped meanwhile. In a backlog they
    have no inode yet."""
    established, close_wait = 1 << 1, 1 << 8
    # inet_diag_req_v2: family, protocol, extensions, padding, states; then the socket's id, of which the port is given.
    request = struct.pack("=BBBBI", socket.AF_INET, socket.IPPROTO_TCP, 0, 0, established | close_wait)
    request += struct.pack(">HH", port, 0) + bytes(32) + struct.pack("=I", 0) + b"\xff" * 8
    inodes = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 4) as diag:  # NETLINK_SOCK_DIAG
        # SOCK_DIAG_BY_FAMILY; NLM_F_REQUEST | NLM_F_DUMP
        diag.send(struct.pack("=IHHII", 16 + len(request), 20, 0x301, 1, 0) + request)
        while True:
            messages = diag.recv(1 << 20)
            while messages:
                length, kind = struct.unpack_from("=IH", messages)
                if kind == 3:  # NLMSG_DONE
                    return sum(inode != 0 or not only_accepted for inode in inodes)
                if kind == 2:  # NLMSG_ERROR
                    raise bench_tools.BenchError("the kernel does not tell its connections: "
                                                 + os.strerror(-struct.unpack_from("=i", messages, 16)[0]))
                inodes.append(struct.unpack_from("=I", messages, 16 + 68)[0])  # inet_diag_msg.idiag_inode
                messages = messages[(length + 3) & ~3:]


VIOLATIONS = []


def violation(text):
    VIOLATIONS.append(text)


def expect_none_failed(what, results):
    if sum(map(failures, results)):
        violation(f"{what}: {kinds(results)}, and none may fail")


def failures(result):
    return result["requests"] - result["ok"]


def kinds(results):
    """The failures of some results by kind, as text."""
    names = ["refused", "reset", "closedEarly", "badAnswer", "timedOut", "ownShortage"]
    counts = {name: sum(result[name] for result in results) for name in names}
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "none"


def row(name, results, kills=(), note=""):
    late = sum(kill.later(result) for kill, result in zip(kills, results))
    return [name, len(results), sum(result["requests"] for result in results),
            f"{sum(kill.assigned for kill in kills)}–{sum(kill.assigned + kill.more for kill in kills)}" if kills else "", kinds(results), late if kills else "",
            bench_tools.spread([result["medianMs"] for result in results], " ms"),
            bench_tools.spread([result["longestMs"] for result in results], " ms", 1), note]


def instance_killed(workspace, replicas, repeats):
    what = f"SIGKILL of an instance, {replicas} replica{'s' * (replicas > 1)}"
    supd = bench_supd.Supd(workspace, manifest(workspace, replicas), f"instance-{replicas}")
    supd.wait_ready()
    results, kills = [], []
    for number in range(repeats):
        time.sleep(1.2)
        load = Load(workspace, 3)
        instance = supd.instances()[f"api/{number % replicas + 1}"]
        kills.append(Kill(instance["pid"], instance["port"]))
        results.append(load.result())
        kills[-1].check(what, results[-1])
        supd.wait_ready()
    supd.stop()
    return row(what, results, kills)


def instance_restarted(workspace, replicas, repeats):
    what = f"supctl restart, {replicas} replica{'s' * (replicas > 1)}"
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
    expect_none_failed(what, results)
    return row(what, results, note=f"took {bench_tools.spread(took, ' s')}")


def same_pids(what, supd, before):
    if supd.pids() == before:
        return "same pids"
    violation(f"{what}: processes of services were replaced")
    return "PIDS CHANGED"


def balancer_killed(workspace, repeats):
    what = "SIGKILL of the balancer"
    supd = bench_supd.Supd(workspace, manifest(workspace, 3), "balancer")
    supd.wait_ready()
    results, kills, before = [], [], supd.pids()
    for _ in range(repeats):
        load = Load(workspace, 3)
        old = supd.roles()["balancer"]
        # Those that it had not accepted yet wait for the next one.
        kills.append(Kill(old, FRONT, only_accepted=True))
        results.append(load.result())
        kills[-1].check(what, results[-1])
        if results[-1]["refused"]:
            violation(f"{what}: {results[-1]['refused']} were refused")
        supd.wait_role("balancer", old)
    note = same_pids(what, supd, before)
    supd.stop()
    return row(what, results, kills, note)


def supervisor_killed(workspace, times):
    what = f"SIGKILL of the supervisor, {times} times"
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
    note = same_pids(what, supd, before)
    supd.stop()
    wrong, total = check_lines(supd.directory / "logs" / "writer")
    expect_none_failed(what, [result])
    if wrong:
        violation(f"{what}: {wrong} log lines were lost or doubled")
    note += f"; {total} log lines, {wrong} lost or doubled; status answers after {bench_tools.spread(back, ' s')}"
    return row(what, [result], note=note)


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
    what = "SIGSTOP of the supervisor"
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
    expect_none_failed(what, [result])
    if took > HEARTBEAT:
        violation(f"{what}: replaced after {took:.1f} s, and its heartbeat time is {HEARTBEAT} s")
    note = f"replaced after {took:.1f} s; " + same_pids(what, supd, before)
    supd.stop()
    return row(what, [result], note=note)


def keeper_killed(workspace, repeats):
    """How long after the keeper's death the last process of any service is gone, and how many stay for ever."""
    gone, left = [], 0
    for number in range(repeats):
        token = f"keeper-{os.getpid()}-{number}"
        services = {
            "api": {"command": [str(workspace.binaries / "demo-service"), "--quiet", "--grandchild-holds-output"],
                    "replicas": 3, "listen": FRONT, "environment": {"BENCH": token}},
            "stubborn": {"command": [str(workspace.binaries / "demo-service"), "--ignore-term", "--daemonize-child"],
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
            violation(f"SIGKILL of the keeper: {len(survivors)} processes are left")
            for pid in survivors:
                os.kill(pid, signal.SIGKILL)
    if max(gone, default=0) > 1000:
        violation(f"SIGKILL of the keeper: the last process was gone after {max(gone):.0f} ms, more than a second")
    print(f"SIGKILL of the keeper, {repeats} times, 8 processes each (4 are grandchildren, one of which has left its "
          f"session, group and parent): all gone after "
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
    VIOLATIONS.clear()
    repeats = 1 if workspace.quick else 5
    rows = []
    for replicas in [3, 1]:
        rows.append(instance_killed(workspace, replicas, repeats))
        rows.append(instance_restarted(workspace, replicas, repeats))
    rows.append(balancer_killed(workspace, repeats))
    rows.append(supervisor_killed(workspace, 3 if workspace.quick else 20))
    rows.append(supervisor_stopped(workspace))
    print(f"{RATE} requests of {PATH} a second, a new connection each")
    bench_tools.table(
        ["what happens", "runs", "requests", "assigned at the kill", "failed", "of them begun later", "median request",
         "longest wait", ""], rows)
    keeper_killed(workspace, repeats)
    if VIOLATIONS:
        raise bench_tools.BenchError("\n  ".join(["what was promised was not kept:", *VIOLATIONS]))
    print("only requests that a killed process had been given failed, and none that began later")
