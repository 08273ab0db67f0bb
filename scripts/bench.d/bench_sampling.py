"""What supd's own processes cost while it looks every 10 s what 100 services use, which do nothing else."""

import json

import bench_idle
import bench_tools


def run(workspace):
    seconds = 40 if workspace.quick else 70
    program = workspace.compile("sleeper")
    services = {f"idle-{number}": {"command": [str(program)]} for number in range(1, 101)}

    def ask(supd):
        # Who asks once has it looked at for a day.
        return json.loads(supd.control("usage", "--json"))["instances"]

    supd, _, cpu = bench_idle.measure(workspace, services, seconds, first=ask)
    known = [instance["hour"]["steps"] for instance in ask(supd)]
    if len(known) != 100 or min(known) < seconds // 10:
        raise bench_tools.BenchError(f"not looked at every 10 s: {known}")
    share = cpu / seconds
    print(f"100 services looked at every 10 s, {min(known)} times: {share * 100:.2f} % of a core")
    if share >= 0.01:
        raise bench_tools.BenchError("looking at 100 services costs 1 % of a core, or more: asked for is less")
