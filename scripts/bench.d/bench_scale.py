"""Many instances: the time to start and stop them, and the memory of whoever supervises them."""

import bench_peers
import bench_supd
import bench_tools


def start_supd(workspace, program, count, ready):
    return bench_supd.Supd(
        workspace, {"instance": {"command": [str(program)], "replicas": count, "ready": ready}}, f"supd-{count}-{len(ready)}")


def run(workspace):
    program = workspace.compile("sleeper")
    most = 50 if workspace.quick else 500
    counts = [1, 20, most] if workspace.quick else [1, 100, most]
    memory, times = {}, []

    def measure(label, subject, count, keeps_times):
        ready = subject.wait_ready()
        memory.setdefault(label, {})[count] = bench_tools.pss_mib(subject.supervisors())
        stopped = subject.stop()
        if keeps_times:
            times.append([label, f"{ready:.2f} s", f"{stopped:.2f} s"])

    for count in counts:
        # The default of a service with neither port nor front is `started`, as it is for all peers.
        measure("supd", start_supd(workspace, program, count, "started"), count, count == most)
        for peer in bench_peers.installed():
            measure(peer.label, peer(workspace, [program], count), count, count == most)
    subject = start_supd(workspace, program, most, {"tcp": True})
    measure("supd, each probed by tcp", subject, most, True)

    print(f"\n{most} instances (times include up to 50 ms of looking)")
    bench_tools.table(["supervisor", "until all are ready", "until all are stopped"], times)
    print("\nPSS of the supervisor's own processes together")
    bench_tools.table(
        ["supervisor", *[f"{count} instances" for count in counts]],
        [[label, *[f"{found[count]:.1f} MiB" if count in found else "" for count in counts]]
         for label, found in memory.items()])
