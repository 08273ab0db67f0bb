"""Many instances: the time to start and stop them, and the memory of whoever supervises them."""

import bench_peers
import bench_supd
import bench_tools


def start_supd(workspace, program, count, ready, number):
    return bench_supd.Supd(
        workspace, {"instance": {"command": [str(program)], "replicas": count, "ready": ready}},
        f"supd-{count}-{len(ready)}-{number}")


def run(workspace):
    program = workspace.compile("sleeper")
    most = 50 if workspace.quick else 500
    counts = [1, 20, most] if workspace.quick else [1, 100, most]
    repeats = 1 if workspace.quick else 3
    memory, times = {}, {}

    def measure(label, subject, count, keeps_times):
        ready = subject.wait_ready()
        memory.setdefault(label, {}).setdefault(count, []).append(bench_tools.pss_mib(subject.supervisors()))
        stopped = subject.stop()
        if keeps_times:
            times.setdefault(label, []).append((ready, stopped))

    for number in range(repeats):
        for count in counts:
            # The default of a service with neither port nor front is `started`, as it is for all peers.
            measure("supd", start_supd(workspace, program, count, "started", number), count, count == most)
            for peer in bench_peers.installed():
                measure(peer.label, peer(workspace, [program], count), count, count == most)
        measure("supd, each probed by tcp", start_supd(workspace, program, most, {"tcp": True}, number), most, True)

    print(f"\n{most} instances, median of {repeats} (times include up to 50 ms of looking)")
    bench_tools.table(
        ["supervisor", "until all are ready", "until all are stopped"],
        [[label, *[bench_tools.spread(column, " s") for column in zip(*found)]] for label, found in times.items()])
    print("\nPSS of the supervisor's own processes together")
    bench_tools.table(
        ["supervisor", *[f"{count} instances" for count in counts]],
        [[label, *[bench_tools.spread(found[count], " MiB", 1) if count in found else "" for count in counts]]
         for label, found in memory.items()])
