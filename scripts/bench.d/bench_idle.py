"""What all roles cost while 100 services do nothing."""

import contextlib
import os
import time

import bench_supd
import bench_tools


def threads(pid):
    """CPU time in seconds and voluntary switches of each thread of a live process."""
    found = {}
    for task in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(OSError):
            cpu = int(open(f"/proc/{pid}/task/{task}/schedstat").read().split()[0]) / 1e9
            lines = open(f"/proc/{pid}/task/{task}/status").read().splitlines()
            found[task] = cpu, next(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))
    return found


def since(before, after):
    """What threads have used between two looks; one that is new counts in whole."""
    pairs = [(value, before.get(task, (0.0, 0))) for task, value in after.items()]
    return sum(now[0] - then[0] for now, then in pairs), sum(now[1] - then[1] for now, then in pairs)


def measure(workspace, services, seconds):
    """Starts services, lets them be, and prints what each role uses meanwhile; returns wake-ups and CPU time of all."""
    supd = bench_supd.Supd(workspace, services)
    supd.wait_ready()
    roles = supd.roles()
    time.sleep(15)  # whatever starting has left to do; idle worker threads end after some seconds
    before = {role: threads(pid) for role, pid in roles.items()}
    time.sleep(seconds)
    rows, wakes, cpu = [], 0, 0.0
    for role, pid in roles.items():
        used, voluntary = since(before[role], threads(pid))
        wakes += voluntary
        cpu += used
        rows.append([role, f"{used * 1000:.2f} ms", voluntary])
    rows.append(["all", f"{cpu * 1000:.2f} ms", wakes])
    print(f"{len(services)} services, {seconds} s; in all {wakes / seconds:.2f} wake-ups a second, {cpu / seconds * 1e4:.2f} ms of CPU in 10 s")
    bench_tools.table(["role", "CPU time", "wake-ups"], rows)
    return supd, wakes, cpu


def run(workspace):
    # Heartbeats come every seven seconds: so many that it hardly matters where the time begins.
    seconds = 42 if workspace.quick else 70
    program = workspace.compile("sleeper")
    services = {f"idle-{number}": {"command": [str(program)]} for number in range(1, 100)}
    services["front"] = {"command": [str(program)], "listen": 18980}
    _, wakes, _ = measure(workspace, services, seconds)
    if wakes >= seconds:
        raise bench_tools.BenchError("100 idle services cost a wake-up a second, or more: asked for is less")
