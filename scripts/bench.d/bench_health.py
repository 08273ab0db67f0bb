"""What supd's own processes cost while 100 services, which do nothing else, are probed for their health every 10 s."""

import bench_idle
import bench_tools


def run(workspace):
    seconds = 40 if workspace.quick else 70
    program = workspace.compile("healthy")
    services = {
        f"healthy-{number}": {
            "command": [str(program)], "ready": {"tcp": True},
            "health": {"http": {"path": "/healthz", "status": 200, "body": "ok"}, "interval": "10s"},
        } for number in range(1, 101)}
    supd, _, cpu = bench_idle.measure(workspace, services, seconds)
    unhealthy = [name for name, instance in supd.instances().items() if instance["health"]["state"] != "healthy"]
    if unhealthy:
        raise bench_tools.BenchError(f"not healthy: {', '.join(unhealthy)}")
    share = cpu / seconds
    print(f"100 services probed every 10 s: {share * 100:.2f} % of a core")
    if share >= 0.01:
        raise bench_tools.BenchError("100 services that are probed cost 1 % of a core, or more: asked for is less")
