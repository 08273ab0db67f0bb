"""What runs is changed under load, again and again: what clients see, of supd and of what others have in its place.

A steady load opens a connection for each request; beside it a few clients keep one connection open and use it now and then.
With supd none of those may fail. A connection that is kept may end only between two requests, and only when its instance is
replaced, and not before `drainTimeout` is over: its client then connects again, which is counted.
"""

import json
import os
import sys
import time

import bench_changes_peers
import bench_clients
import bench_failures
import bench_supd
import bench_tools

# What a connection has left at least when its instance is replaced, in seconds.
DRAIN_TIMEOUT = 1
# How much earlier than it was a client may take an end to be: the balancer's clock goes in steps of 4 ms.
CLOCK_STEP = 0.02


def manifest(workspace, replicas, release=1, command=None, ready_timeout="60s"):
    services = bench_failures.manifest(workspace, replicas)
    api = services["api"]
    api["environment"]["RELEASE"] = str(release)
    api["balance"] = {"drainTimeout": f"{DRAIN_TIMEOUT}s"}
    api["restart"]["initialDelay"] = "50ms"
    api["ready"]["timeout"] = ready_timeout
    if command:
        api["command"] = command
    return services


class Subject:
    """A supd whose manifest is changed."""

    def __init__(self, workspace, replicas, name):
        self.workspace, self.replicas, self.release = workspace, replicas, 1
        self.supd = bench_supd.Supd(workspace, manifest(workspace, replicas), name)
        self.supd.wait_ready()

    def settle(self):
        """supctl has waited for all there is to wait for."""

    def stop(self):
        self.supd.stop()

    def apply(self, check=True, **changes):
        services = manifest(self.workspace, **{"replicas": self.replicas, "release": self.release, **changes})
        self.supd.manifest.write_text(json.dumps({"services": services}))
        self.supd.control("apply", check=check)

    def restart(self):
        self.supd.control("restart", "api")

    def new_environment(self):
        self.release += 1
        self.apply()

    def scale(self):
        for count in (1, 5, 1, self.replicas):
            self.supd.control("scale", f"api={count}")

    def upgrade(self):
        self.supd.control("upgrade", self.workspace.binaries / "supd")

    def broken(self, command, ready_timeout="60s"):
        before = self.supd.pids()
        self.apply(check=False, release=self.release + 1, command=command, ready_timeout=ready_timeout)
        self.apply()
        if self.replicas > 1 and self.supd.pids() != before:
            bench_failures.violation("a release that never becomes ready has replaced processes")

    def dies_at_once(self):
        self.broken(["/bin/sh", "-c", "exit 1"])

    def never_ready(self):
        service = str(self.workspace.binaries / "demo-service")
        self.broken([service, "--quiet", "--ready-delay", "1h"], ready_timeout="300ms")


# What is changed, how, and whether it may end a connection: it replaces what serves it.
CHANGES = [("supctl restart", Subject.restart, True), ("apply, environment changed", Subject.new_environment, True),
           ("supctl scale 1, 5, 1", Subject.scale, True), ("upgrade", Subject.upgrade, True),
           ("apply, dies at once", Subject.dies_at_once, False), ("apply, never ready", Subject.never_ready, False)]


def measure(workspace, what, subject, change, times):
    """The change as often as asked for; the row of the table, and what clients saw."""
    took = []
    with bench_clients.Clients(workspace) as clients:
        for _ in range(times):
            subject.settle()
            began = time.monotonic()
            change(subject)
            took.append(time.monotonic() - began)
    subject.stop()
    load, kept = clients.load, clients.kept
    return clients, [what, times, load["requests"], bench_failures.kinds([load]), f"{load['longestMs']:.0f} ms",
                     kept.requests, len(kept.failed), kept.reconnects, bench_tools.spread(took, " s")]


def check_kept(what, kept, may_end):
    """Says what was not kept of what is promised to those who keep a connection."""
    # The end of a connection may cross a request on its way: a reset, or an end with nothing before it. Half an answer, or
    # another one, may not be.
    other = [text for text in kept.failed if "reset by peer" not in text and text != "b''"]
    if other:
        bench_failures.violation(f"{what}: {len(other)} requests on kept connections failed: {other[:3]}")
    if not may_end and (kept.failed or kept.reconnects):
        bench_failures.violation(f"{what}: {len(kept.failed) + kept.reconnects} kept connections ended")


def check_ends(what, kept):
    """That no kept connection was ended before its time was over. It was given to an instance that was to stay then: its time
    began later. (One that is restarted is back within a moment, and those who were given to its stand-in must go again.)"""
    for age in kept.ages:
        if age < DRAIN_TIMEOUT - CLOCK_STEP:
            bench_failures.violation(f"{what}: a kept connection ended {age:.3f} s after it was opened")


def measure_supd(workspace, replicas, times):
    rows = []
    for name, change, may_end in CHANGES:
        what = f"{name}, {replicas} replica{'s' * (replicas > 1)}"
        subject = Subject(workspace, replicas, f"changes-{replicas}-{len(rows)}")
        clients, row = measure(workspace, what, subject, change, times)
        bench_failures.expect_none_failed(what, [clients.load])
        check_kept(what, clients.kept, may_end)
        check_ends(what, clients.kept)
        rows.append(row)
    return rows


def measure_peer(workspace, peer, times):
    if peer.missing(workspace):
        return []
    rows = []
    for replicas, way, change in [(3, *way) for way in peer.WAYS] + [(1, *peer.WAYS[0])]:
        what = f"{peer.label} + HAProxy, {way}, {replicas} replica{'s' * (replicas > 1)}"
        with peer(workspace, replicas) as subject:
            rows.append(measure(workspace, what, subject, change, times)[1])
    return rows


# Each takes less than ten minutes.
PARTS = {
    "supd": lambda workspace, times: measure_supd(workspace, 3, times),
    "supd-alone": lambda workspace, times: measure_supd(workspace, 1, times),
    "supervisord": lambda workspace, times: measure_peer(workspace, bench_changes_peers.Supervisord, times),
    "systemd": lambda workspace, times: measure_peer(workspace, bench_changes_peers.Systemd, times),
}


def run(workspace):
    bench_failures.VIOLATIONS.clear()
    times = int(os.environ.get("BENCH_CHANGES_TIMES", 3 if workspace.quick else 50))
    parts = os.environ.get("BENCH_CHANGES_PARTS", " ".join(PARTS)).split()
    unknown = [part for part in parts if part not in PARTS]
    if unknown or not parts:
        raise bench_tools.BenchError(f"BENCH_CHANGES_PARTS: found {unknown[:1] or 'none'}; there are: {', '.join(PARTS)}")
    for peer in [bench_changes_peers.Supervisord, bench_changes_peers.Systemd]:
        if peer.label in parts and (missing := peer.missing(workspace)):
            print(f"{peer.label} is left out: {missing}")
    print(f"{bench_failures.RATE} requests of {bench_failures.PATH} a second, a new connection each; "
          f"{bench_clients.KEPT} clients beside them keep theirs", flush=True)
    for part in parts:
        # Each takes minutes: what is known is shown.
        rows = PARTS[part](workspace, times)
        if rows:
            print(f"\n{part}:")
            bench_tools.table(
                ["change", "times", "requests", "failed", "longest wait", "on kept connections", "failed there",
                 "connected again", "took"], rows)
            sys.stdout.flush()
    if bench_failures.VIOLATIONS:
        raise bench_tools.BenchError("\n  ".join(["what was promised was not kept:", *bench_failures.VIOLATIONS]))
    if any(part.startswith("supd") for part in parts):
        print("with supd no request failed but those on a kept connection that crossed its end, and none of these ended before drainTimeout")
