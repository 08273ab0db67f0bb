"""Many services, of which one is changed: how long `supctl apply` takes, and that all other processes stay."""

import json
import time

import bench_supd
import bench_tools

# What of a service is changed to what, and whether its process is replaced.
CHANGES = [("nothing", {}, False), ("a limit (live)", {"limits": {"nofile": "512:1024"}}, False),
           ("a variable of its environment", {"environment": {"RELEASE": "2"}}, True)]


def manifest(program, count, changed=None, change=()):
    services = {f"service-{number}": {"command": [str(program)], "environment": {"RELEASE": "1"},
                                      "limits": {"nofile": "256:1024"}} for number in range(1, count + 1)}
    if changed:
        services[changed].update(change)
    return services


def apply(supd, services):
    """Seconds it took."""
    supd.manifest.write_text(json.dumps({"services": services}))
    began = time.monotonic()
    supd.control("apply")
    return time.monotonic() - began


def expect_kept(what, before, after, replaced):
    """All processes are the same but those named; returns how many."""
    other = [name for name in before if before[name] != after.get(name)]
    if other != replaced or before.keys() != after.keys():
        raise bench_tools.BenchError(f"{what}: other processes than {replaced} are not the same: {other[:10]}")
    return len(before) - len(other)


def run(workspace):
    program = workspace.compile("sleeper")
    count, times = (50, 2) if workspace.quick else (500, 20)
    supd = bench_supd.Supd(workspace, manifest(program, count), "apply")
    supd.wait_ready()
    rows = []
    for what, change, is_replaced in CHANGES:
        took, kept = [], set()
        for number in range(times):
            changed = f"service-{number * (count // times) + 1}"
            # From the time before another service differs: it is put back first, which is not measured.
            apply(supd, manifest(program, count))
            before = supd.pids()
            took.append(apply(supd, manifest(program, count, changed, change)))
            kept.add(expect_kept(what, before, supd.pids(), [f"{changed}/1"] if is_replaced else []))
        rows.append([what, times, bench_tools.spread(took, " s", 3), *kept])
    supd.stop()
    print(f"{count} services of which one is changed. (One without a readiness check is started when it has run for half a "
          "second, for which apply waits.)")
    bench_tools.table(["changed", "times", "supctl apply took", "processes that stayed, each time"], rows)
