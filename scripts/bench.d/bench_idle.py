"""What all roles cost while 100 services do nothing."""

import time

import bench_supd
import bench_tools


def run(workspace):
    seconds = 3 if workspace.quick else 10
    program = workspace.compile("sleeper")
    services = {f"idle-{number}": {"command": [str(program)]} for number in range(1, 100)}
    services["front"] = {"command": [str(program)], "listen": 18980}
    supd = bench_supd.Supd(workspace, services)
    supd.wait_ready()
    roles = supd.roles()
    time.sleep(5)  # whatever starting has left to do
    before = {role: (bench_tools.cpu_seconds([pid]), bench_tools.context_switches([pid])) for role, pid in roles.items()}
    time.sleep(seconds)
    rows, wakes, cpu = [], 0, 0.0
    for role, pid in roles.items():
        used = bench_tools.cpu_seconds([pid]) - before[role][0]
        voluntary = bench_tools.context_switches([pid])[0] - before[role][1][0]
        wakes += voluntary
        cpu += used
        rows.append([role, f"{used * 1000:.2f} ms", voluntary])
    rows.append(["all", f"{cpu * 1000:.2f} ms", wakes])
    print(f"100 idle services, {seconds} s; {wakes / seconds:.2f} wake-ups a second in all")
    bench_tools.table(["role", "CPU time", "wake-ups"], rows)
