"""From SIGKILL of a healthy instance to the first instruction of its replacement."""

import os
import signal
import statistics
import time

import bench_peers
import bench_supd
import bench_tools

# Milliseconds that supd may take longer than a bare loop of wait and fork.
AFTER_BARE = 0.5


class Subject:
    """One supervisor with one instance of `first_instruction`, and the file in which that says when it began."""

    def __init__(self, label, record):
        self.label = label
        self.record = record
        self.milliseconds = []

    def last(self):
        """Pid and beginning (CLOCK_MONOTONIC, nanoseconds) of the newest process."""
        try:
            lines = self.record.read_text().splitlines()
        except OSError:
            return None
        return tuple(map(int, lines[-1].split())) if lines else None

    def round(self):
        pid, _ = self.last()
        killed = time.monotonic_ns()
        os.kill(pid, signal.SIGKILL)
        # Looks rarely, so as not to compete for the processor with what is measured.
        new = bench_tools.eventually(f"{self.label} has restarted", lambda: self.last()[0] != pid and self.last(), 30, 0.02)
        self.milliseconds.append((new[1] - killed) / 1e6)


def run(workspace):
    rounds = 3 if workspace.quick else 41
    program = workspace.compile("first_instruction")
    subjects = []

    def subject(label):
        subjects.append(Subject(label, workspace.path / f"record-{len(subjects)}"))
        return str(subjects[-1].record)

    bench_peers.BareLoop(workspace, [program, subject("bare loop in C")], 1)
    # resetAfter: a run of a second counts as healthy here, since one is killed every few seconds.
    bench_supd.Supd(workspace, {"instance": {
        "command": [str(program), subject("supd")], "restart": {"resetAfter": "1s"}}})
    for peer in bench_peers.installed():
        peer(workspace, [program, subject(peer.label)], 1)
    for each in subjects:
        bench_tools.eventually(f"{each.label} has started its service", each.last)
    time.sleep(1.5)
    for _ in range(rounds):
        # Each has run for more than a second when it is killed: runit and s6 pause before they restart a younger one.
        for each in subjects:
            each.round()
            time.sleep(0.05)
        time.sleep(1.3)
    rows = [[each.label, bench_tools.spread(each.milliseconds, " ms")] for each in subjects]
    print(f"{rounds} interleaved rounds, median (range)")
    bench_tools.table(["supervisor", "SIGKILL to first instruction"], rows)
    found = {each.label: each.milliseconds for each in subjects}
    bare, supd = found["bare loop in C"], found["supd"]
    more = [right - left for left, right in zip(bare, supd)]
    targets = bench_tools.Targets()
    targets.ask("supd after the bare loop, of the same round", f"at most {AFTER_BARE:.2f} ms",
                bench_tools.spread(more, " ms"), statistics.median(more) <= AFTER_BARE)
    targets.report(workspace.strict)
    # Far apart where all is well, so that noise is no excuse.
    if "runit" in found and statistics.median(supd) >= statistics.median(found["runit"]):
        raise bench_tools.BenchError("supd is not below runit")
