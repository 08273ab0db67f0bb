"""What supd's own processes cost while it looks every 10 s what 100 services use, which do nothing else."""

import json
import os
import time

import bench_supd
import bench_tools


def cpu_time(pid):
    """CPU time of a process in seconds, with that of its threads which have ended: those that look do so in between."""
    fields = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run(workspace):
    seconds = 40 if workspace.quick else 100
    program = workspace.compile("sleeper")
    supd = bench_supd.Supd(workspace, {f"idle-{number}": {"command": [str(program)]} for number in range(1, 101)})
    supd.wait_ready()

    def steps():
        # Who asks once has it looked at for a day.
        return [instance["hour"]["steps"] for instance in json.loads(supd.control("usage", "--json"))["instances"]]

    steps()
    time.sleep(15)  # whatever starting has left to do
    roles = supd.roles()
    before = {role: cpu_time(pid) for role, pid in roles.items()}
    time.sleep(seconds)
    used = {role: cpu_time(pid) - before[role] for role, pid in roles.items()}
    known = steps()
    if len(known) != 100 or min(known) < seconds // 10:
        raise bench_tools.BenchError(f"not looked at every 10 s: {known}")
    bench_tools.table(["role", "CPU time"], [[role, f"{cpu * 1000:.0f} ms"] for role, cpu in used.items()])
    share = sum(used.values()) / seconds
    print(f"100 services looked at every 10 s, {min(known)} times in {seconds} s and before: {share * 100:.2f} % of a core")
    if share >= 0.01:
        raise bench_tools.BenchError("looking at 100 services costs 1 % of a core, or more: asked for is less")
