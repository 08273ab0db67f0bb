"""The balancer beside HAProxy, nginx stream and no proxy at all: one run, interleaved, ratios of the same round."""

import contextlib
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import statistics
import subprocess
import time

import bench_supd
import bench_tools

SEED = 20261123
TARGETS = bench_tools.Targets()


class Proxy:
    """Something that forwards a port: where clients connect to, and the processes that its cost is counted of."""

    def __init__(self, label, port, pids):
        self.label = label
        self.port = port
        self.pids = pids

    def cpu(self):
        return bench_tools.cpu_seconds(self.pids)

    def memory(self):
        """Private and shared memory in KiB, without what was only reserved."""
        return bench_tools.pss_mib(self.pids) * 1024


def free_ports(count):
    """Ports that nobody has now; the kernel chooses."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def listening(port):
    with contextlib.closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def supd(workspace, name, command, loops, backend):
    """A running supd whose only service is the backend; its balancer is what counts."""
    front, = free_ports(1)
    daemon = bench_supd.Supd(
        workspace, {"backend": {"command": [str(word) for word in command], "port": backend, "listen": front,
                                "limits": {"nofile": 20000}}},
        name=name, settings={"balancer": {"loops": loops}})
    daemon.wait_ready()
    return daemon, Proxy("supd" if loops == 1 else f"supd, {loops} loops", front, [daemon.roles()["balancer"]])


def haproxy(workspace, backend, threads=1, splice=False):
    # Not splice-auto: by strace 2.6 never splices here with it, and does with both of these.
    front, = free_ports(1)
    label = "HAProxy" + (f", {threads} threads" if threads > 1 else "") + (" with splicing" if splice else "")
    path = workspace.path / f"haproxy-{front}.cfg"
    path.write_text(f"""global
    nbthread {threads}
    maxconn 7900
    maxpipes 64
    ulimit-n 20000
defaults
    mode tcp
    {"option splice-request" if splice else ""}
    {"option splice-response" if splice else ""}
    option clitcpka
    option redispatch
    retries 3
    timeout connect 2s
    timeout client 1h
    timeout server 1h
    timeout client-fin 30s
    timeout server-fin 30s
    timeout queue 10s
listen front
    bind 127.0.0.1:{front}
    server backend 127.0.0.1:{backend}
""")
    process = workspace.start(["haproxy", "-db", "-f", path])
    bench_tools.eventually(f"{label} listens", lambda: listening(front), 10)
    return Proxy(label, front, [process.pid])


def nginx_stream(workspace, backend, workers=1):
    front, = free_ports(1)
    folder = workspace.directory(f"nginx-stream-{front}")
    module = next((path for path in ["/usr/lib/nginx/modules/ngx_stream_module.so"] if os.path.exists(path)), None)
    path = folder / "nginx.conf"
    path.write_text(f"""{f"load_module {module};" if module else ""}
worker_processes {workers}; daemon off; pid {folder}/pid; error_log {folder}/error.log crit; worker_rlimit_nofile 20000;
user root;
events {{ worker_connections 9500; }}
stream {{ server {{ listen 127.0.0.1:{front}; proxy_pass 127.0.0.1:{backend}; proxy_connect_timeout 2s; proxy_timeout 1h; }} }}
""")
    process = workspace.start(["nginx", "-c", path])
    label = "nginx stream" + (f", {workers} workers" if workers > 1 else "")
    bench_tools.eventually(f"{label} listens", lambda: listening(front), 10)
    # The workers come a little after the listener.
    bench_tools.eventually(f"{label} has its workers", lambda: len(bench_tools.children(process.pid)) >= workers, 10)
    return Proxy(label, front, [process.pid, *bench_tools.children(process.pid)])


def web_backend(workspace, port):
    """The command of an HTTP server that answers "ok" as cheaply as can be."""
    folder = workspace.directory(f"nginx-backend-{port}")
    path = folder / "nginx.conf"
    path.write_text(f"""worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error.log crit;
worker_rlimit_nofile 20000; user root;
events {{ worker_connections 9500; }}
http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 1h;
server {{ listen 127.0.0.1:{port} backlog=8192; location / {{ return 200 "ok"; }} }} }}
""")
    return [shutil.which("nginx"), "-c", path]


# MARK: Loads. Each returns (units done, seconds, proxy's CPU seconds).


def measured(proxy, load):
    before = proxy.cpu()
    units, seconds = load(proxy.port)
    return units, seconds, proxy.cpu() - before


def pin(pids, cpus):
    """Lets processes run on these CPUs only, all of their threads."""
    for pid in pids:
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{pid}/task"):
                with contextlib.suppress(OSError):
                    os.sched_setaffinity(int(task), cpus)


def wrk(connections, seconds, new=False, cpu=None):
    def load(port):
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
        if cpu is not None:
            command = ["taskset", "-c", str(cpu)] + command
        if new:
            command += ["-H", "Connection: close"]
        text = subprocess.run(command + [f"http://127.0.0.1:{port}/"], capture_output=True, text=True, check=True).stdout
        if re.search(r"Socket errors|Non-2xx", text) and not (new and "read 0, write 0, timeout 0" in text):
            errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
            if not errors or any(int(number) for number in errors.groups()):
                raise bench_tools.BenchError(f"wrk met errors at port {port}:\n{text}")
        done = re.search(r"(\d+) requests in ([\d.]+)(m?s)", text)
        return int(done.group(1)), float(done.group(2)) * (0.001 if done.group(3) == "ms" else 1)
    return load


def bulk(program, streams, seconds):
    def load(port):
        text = subprocess.run([program, "fetch", str(port), str(streams), str(seconds)], capture_output=True, text=True,
                              check=True).stdout.split()
        return int(text[0]) / 1e6, int(text[1]) / 1e9
    return load


def p99(workspace, port, clients, rate, seconds):
    """The 99th percentile of request times in microseconds at a fixed rate, open loop."""
    log = workspace.path / "h2load.log"
    log.unlink(missing_ok=True)
    subprocess.run(
        ["h2load", "--h1", "-c", str(clients), "-t", "1", f"--rps={rate / clients}", f"--duration={seconds}",
         f"--log-file={log}", f"http://127.0.0.1:{port}/"], capture_output=True, check=True)
    times = []
    for line in log.read_text().splitlines():
        parts = line.split("\t")
        if parts[1] != "200":
            raise bench_tools.BenchError(f"h2load got status {parts[1]} at port {port}")
        times.append(int(parts[2]))
    if len(times) < 0.9 * rate * seconds:
        raise bench_tools.BenchError(f"h2load made {len(times)} requests, not {rate * seconds}: too high a rate")
    times.sort()
    return times[int(len(times) * 0.99)]


# MARK: Statistics


def interval(ratios):
    """Median, and its 95 % interval by bootstrap; always the same numbers for the same ratios."""
    source = random.Random(SEED)
    medians = sorted(statistics.median(source.choices(ratios, k=len(ratios))) for _ in range(4000))
    return statistics.median(ratios), medians[100], medians[-101]


def text(ratios):
    return "{:.3f} [{:.3f}, {:.3f}]".format(*interval(ratios))


def ask_rate(load, values, others, least, bound="lower bound"):
    """Asks for a rate, as a ratio to the peer's of the same round."""
    median, lower, _ = interval([a[0] / a[1] / (b[0] / b[1]) for a, b in zip(values, others)])
    found = lower if bound == "lower bound" else median
    TARGETS.ask(f"rate, {load}", f"{bound} at least {least}", f"{found:.3f}", found >= least)


def ask_no_slower(load, results):
    """Asks that HAProxy is not shown to be faster: that the interval of the rate's ratio does not lie below 1."""
    ratios = [a[0] / a[1] / (b[0] / b[1]) for a, b in zip(results["supd"], results["HAProxy"])]
    median, lower, upper = interval(ratios)
    TARGETS.ask(f"rate, {load}", "no slower: upper bound at least 1.0", f"{median:.3f} [{lower:.3f}, {upper:.3f}]", upper >= 1.0)


def ask_cost(load, values, others, median_limit, upper_limit=None):
    """Asks for CPU time a unit, as a ratio to the peer's of the same round."""
    median, _, upper = interval([a[2] / a[0] / (b[2] / b[0]) for a, b in zip(values, others)])
    TARGETS.ask(f"CPU, {load}", f"median at most {median_limit}", f"{median:.3f}", median <= median_limit)
    if upper_limit is not None:
        TARGETS.ask(f"CPU, {load}", f"upper bound at most {upper_limit}", f"{upper:.3f}", upper <= upper_limit)


def rounds_of(subjects, rounds, measure):
    """Measures every subject once a round, in an order that differs from round to round; label → list of results."""
    source = random.Random(SEED)
    results = {subject.label: [] for subject in subjects}
    for subject in subjects:
        measure(subject)
    for _ in range(rounds):
        order = list(subjects)
        source.shuffle(order)
        for subject in order:
            results[subject.label].append(measure(subject))
            time.sleep(0.1)
    return results


def compare(title, results, peer, cost="CPU a request", unit=1e6, speed="rate"):
    """One row a subject: its own numbers, and ratios to the peer of the same round."""
    rows = []
    for label, values in results.items():
        ratios = [value[0] / value[1] / (other[0] / other[1]) for value, other in zip(values, results[peer])]
        row = [title, label, f"{statistics.median(value[0] / value[1] for value in values):.0f}", text(ratios)]
        if statistics.median(value[2] for value in values) > 0:
            costs = [value[2] / value[0] / (other[2] / other[0]) for value, other in zip(values, results[peer])]
            row += [f"{statistics.median(value[2] / value[0] for value in values) * unit:.2f}", text(costs)]
        else:
            row += ["", ""]
        rows.append(row)
    return rows


HEADER = ["load", "proxy", "per second", "rate, ratio [95 %]", "CPU µs each", "CPU, ratio [95 %]"]


# MARK: Parts


def small_requests(workspace, rounds, seconds):
    backend, = free_ports(1)
    daemon, ours = supd(workspace, "supd-1", web_backend(workspace, backend), 1, backend)
    subjects = [ours, haproxy(workspace, backend), nginx_stream(workspace, backend), Proxy("no proxy", backend, [])]
    rows = []
    loads = [("1 keep-alive", wrk(1, seconds)), ("50 keep-alive", wrk(50, seconds)), ("500 keep-alive", wrk(500, seconds)),
             ("new connection each, 32 clients", wrk(32, seconds, new=True))]
    for title, load in loads:
        results = rounds_of(subjects, rounds, lambda proxy: measured(proxy, load))
        rows += compare(title, results, "HAProxy")
        ask_cost(title, results["supd"], results["HAProxy"], 0.95, 1.0)
        ask_rate(title, results["supd"], results["HAProxy"], 1.0)
    print(f"\nOne loop against one thread, ratios to HAProxy of the same round, {rounds} rounds of {seconds} s")
    bench_tools.table(HEADER, rows)

    fixed = subjects[:3]
    capacity = statistics.median(wrk(50, 1)(fixed[1].port)[0] for _ in range(3))
    rate = int(min(capacity, 40_000) * 0.4 / 50) * 50
    results = rounds_of(fixed, rounds, lambda proxy: p99(workspace, proxy.port, 50, rate, seconds + 1))
    print(f"\n99th percentile at {rate} requests a second (open loop, 50 connections)")
    bench_tools.table(
        ["proxy", "p99 µs", "ratio [95 %]"],
        [[label, f"{statistics.median(values):.0f}", text([a / b for a, b in zip(values, results["HAProxy"])])]
         for label, values in results.items()])
    _, _, upper = interval([a / b for a, b in zip(results["supd"], results["HAProxy"])])
    TARGETS.ask("p99 at a fixed rate", "upper bound at most 1.05", f"{upper:.3f}", upper <= 1.05)
    daemon.stop()


def one_core(workspace, rounds, seconds):
    """Clients, proxy and server on one core that is always busy: whatever the proxy saves becomes requests."""
    cpus = os.sched_getaffinity(0)
    core = max(cpus)
    backend, = free_ports(1)
    daemon, ours = supd(workspace, "supd-core", web_backend(workspace, backend), 1, backend)
    subjects = [ours, haproxy(workspace, backend), nginx_stream(workspace, backend), Proxy("no proxy", backend, [])]
    pin([*bench_tools.children(daemon.process.pid), *(pid for proxy in subjects for pid in proxy.pids)], {core})
    rows = []
    loads = [("1 keep-alive", wrk(1, seconds, cpu=core)), ("50 keep-alive", wrk(50, seconds, cpu=core)),
             ("500 keep-alive", wrk(500, seconds, cpu=core)),
             ("new connection each, 32 clients", wrk(32, seconds, new=True, cpu=core))]
    for title, load in loads:
        results = rounds_of(subjects, rounds, lambda proxy: measured(proxy, load))
        rows += compare(title, results, "HAProxy")
        ask_rate(f"one core, {title}", results["supd"], results["HAProxy"], 1.0)
    print(f"\nOne loop against one thread, everything on one core, {rounds} rounds of {seconds} s")
    bench_tools.table(HEADER, rows)
    daemon.stop()
    redis_requests(workspace, rounds, core)


def system_calls(workspace):
    backend, = free_ports(1)
    daemon, ours = supd(workspace, "supd-calls", web_backend(workspace, backend), 1, backend)
    syscalls(workspace, [ours, haproxy(workspace, backend), nginx_stream(workspace, backend)])
    daemon.stop()


def two_loops(workspace, rounds, seconds):
    backend, = free_ports(1)
    daemon, two = supd(workspace, "supd-2", web_backend(workspace, backend), 2, backend)
    subjects = [two, haproxy(workspace, backend, threads=2), nginx_stream(workspace, backend, workers=2)]
    rows = []
    for title, load in [("50 keep-alive", wrk(50, seconds)), ("500 keep-alive", wrk(500, seconds)),
                        ("new connection each, 32 clients", wrk(32, seconds, new=True))]:
        results = rounds_of(subjects, rounds, lambda proxy: measured(proxy, load))
        rows += compare(title, results, "HAProxy, 2 threads")
        ask_cost(f"2 loops, {title}", results[two.label], results["HAProxy, 2 threads"], 0.95, 1.0)
        ask_rate(f"2 loops, {title}", results[two.label], results["HAProxy, 2 threads"], 1.0)
    print(f"\nTwo loops against two threads, {rounds} rounds of {seconds} s")
    bench_tools.table(HEADER, rows)
    daemon.stop()


def loops_cost(workspace, rounds, seconds):
    """Two loops against one, each in front of a backend process of its own of the same kind."""
    subjects, daemons = [], []
    for loops in [1, 2]:
        backend, = free_ports(1)
        command = web_backend(workspace, backend)
        daemon, proxy = supd(workspace, f"supd-loops-{loops}", command, loops, backend)
        subjects.append(proxy)
        daemons.append(daemon)
    rows = []
    for title, load in [("50 keep-alive", wrk(50, seconds)), ("new connection each, 32 clients", wrk(32, seconds, new=True))]:
        results = rounds_of(subjects, rounds, lambda proxy: measured(proxy, load))
        rows += compare(title, results, "supd")
        ask_cost(f"2 loops against 1, {title}", results[subjects[1].label], results["supd"], 1.05)
    print(f"\nTwo loops against one loop, ratios to one loop, {rounds} rounds of {seconds} s")
    bench_tools.table(HEADER, rows)
    for daemon in daemons:
        daemon.stop()


def bulk_transfer(workspace, rounds, seconds):
    program = workspace.compile("bulk")
    backend, = free_ports(1)
    daemon, ours = supd(workspace, "supd-bulk", [program, "serve", backend], 1, backend)
    subjects = [ours, haproxy(workspace, backend), haproxy(workspace, backend, splice=True), nginx_stream(workspace, backend),
                Proxy("no proxy", backend, [])]
    rows = []
    for title, load in [("1 stream", bulk(program, 1, seconds)), ("8 streams", bulk(program, 8, seconds))]:
        results = rounds_of(subjects, rounds, lambda proxy: measured(proxy, load))
        # The better of the two HAProxies, each for its own: the higher rate, and the lower cost.
        best_rate = [max(a[0] / a[1], b[0] / b[1]) for a, b in zip(results["HAProxy"], results["HAProxy with splicing"])]
        best_cost = [min(a[2] / a[0], b[2] / b[0]) for a, b in zip(results["HAProxy"], results["HAProxy with splicing"])]
        found = interval([value[0] / value[1] / best for value, best in zip(results["supd"], best_rate)])[0]
        TARGETS.ask(f"rate, {title}", "median at least 1.2", f"{found:.3f}", found >= 1.2)
        found = interval([value[2] / value[0] / best for value, best in zip(results["supd"], best_cost)])[0]
        TARGETS.ask(f"CPU a MB, {title}", "median at most 0.85", f"{found:.3f}", found <= 0.85)
        for label, values in results.items():
            rates = [value[0] / value[1] / best for value, best in zip(values, best_rate)]
            row = [title, label, f"{statistics.median(value[0] / value[1] for value in values):.0f}", text(rates)]
            if label == "no proxy":
                row += ["", ""]
            else:
                costs = [value[2] / value[0] / best for value, best in zip(values, best_cost)]
                row += [f"{statistics.median(value[2] / value[0] for value in values) * 1e6:.0f}", text(costs)]
            rows.append(row)
    print(f"\nBulk, ratios to the better of HAProxy with and without splicing in the same round, {rounds} rounds")
    bench_tools.table(["load", "proxy", "MB a second", "rate, ratio [95 %]", "CPU µs a MB", "CPU, ratio [95 %]"], rows)
    daemon.stop()


def idle_connections(workspace, count):
    program = workspace.compile("bulk")
    backend, = free_ports(1)
    daemon, ours = supd(workspace, "supd-idle", [program, "echo", backend], 1, backend)
    rows = []
    for proxy in [ours, haproxy(workspace, backend), nginx_stream(workspace, backend)]:
        before = proxy.memory()
        holder = workspace.start([program, "hold", proxy.port, count], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if holder.stdout.readline() != b"held\n":
            raise bench_tools.BenchError(f"{proxy.label} did not take {count} connections")
        time.sleep(0.5)
        held = proxy.memory()
        holder.stdin.close()
        holder.wait()
        time.sleep(2)
        after = proxy.memory()
        each = (held - before) * 1024 / count
        rows.append([proxy.label, f"{before:.0f}", f"{held:.0f}", f"{each:.0f}", f"{after:.0f}"])
        if proxy is ours:
            TARGETS.ask("bytes each idle connection", "at most 600", f"{each:.0f}", each <= 600)
            kept = (after - before) * 1024 / count
            TARGETS.ask("bytes still held for each 2 s after its end", "at most 60", f"{kept:.0f}", kept <= 60)
    print(f"\n{count} idle connections, each of which has carried a byte both ways: PSS of the proxy")
    bench_tools.table(["proxy", "before, KiB", "with them, KiB", "bytes each", "2 s after their end, KiB"], rows)
    daemon.stop()


def syscalls(workspace, subjects):
    """System calls of the proxy for each request, counted by strace."""
    rows = []
    for proxy in subjects:
        row = [proxy.label]
        for connections, new, most in [(32, True, 16), (1, True, 22), (32, False, 4.3), (1, False, 6)]:
            output = workspace.path / "strace"
            tracer = workspace.start(
                ["strace", "-c", "-f", "-qq", "-U", "calls,name", "-o", output, *sum((["-p", str(pid)] for pid in proxy.pids), [])])
            bench_tools.eventually("strace is there", lambda: all(
                "TracerPid:\t0" not in open(f"/proc/{pid}/status").read() for pid in proxy.pids), 10)
            # So long that what the one connection itself takes, and strace's coming and going, does not show.
            requests, _ = wrk(connections, 10 if connections == 1 and not new else 2, new)(proxy.port)
            tracer.send_signal(signal.SIGINT)
            tracer.wait()
            calls = sum(int(line.split()[0]) for line in output.read_text().splitlines()
                        if re.match(r"\s*\d+\s+\w+$", line) and not line.strip().endswith("total"))
            row.append(f"{calls / requests:.2f}")
            if proxy is subjects[0]:
                # Asked for with one decimal, compared with one. What the second one shows is not the requests': the connection's
                # own calls, heartbeats, and a loop that goes back to Dispatch because a busy machine let it wait.
                TARGETS.ask(f"system calls a {'short connection' if new else 'keep-alive request'}, {connections} at a time",
                            f"at most {most}", f"{calls / requests:.2f}", round(calls / requests, 1) <= most)
        rows.append(row)
    print("\nSystem calls a request, by strace")
    bench_tools.table(["proxy", "new connection, 32 clients", "new connection, 1 client", "keep-alive, 32", "keep-alive, 1"], rows)


def redis_requests(workspace, rounds, core=None):
    """redis-benchmark; with `core` everything is on that one, which is always busy."""
    redis = shutil.which("redis-server")
    if not redis or not shutil.which("redis-benchmark"):
        print("\nno Redis here: left out")
        return
    backend, = free_ports(1)
    daemon, ours = supd(workspace, "supd-redis" if core is None else "supd-redis-core",
                        [redis, "--port", backend, "--save", "", "--appendonly", "no"], 1, backend)
    subjects = [ours, haproxy(workspace, backend), Proxy("no proxy", backend, [])]
    prefix, where = [], ""
    if core is not None:
        pin([*bench_tools.children(daemon.process.pid), *(pid for proxy in subjects for pid in proxy.pids)], {core})
        prefix, where = ["taskset", "-c", str(core)], "one core, "
    rows = []
    for pipeline, requests in [(1, 60_000), (16, 400_000)]:
        def load(port):
            began = time.monotonic()
            subprocess.run([*prefix, "redis-benchmark", "-p", str(port), "-n", str(requests), "-c", "50", "-t", "get", "-q", "-P",
                            str(pipeline)], capture_output=True, check=True)
            return requests, time.monotonic() - began
        results = rounds_of(subjects, rounds, lambda proxy: measured(proxy, load))
        rows += compare(f"GET, -P {pipeline}", results, "HAProxy")
        ask_no_slower(f"{where}redis-benchmark -P {pipeline}", results)
    print(f"\nredis-benchmark, 50 clients, {'everything on one core, ' if where else ''}{rounds} rounds")
    bench_tools.table(HEADER, rows)
    daemon.stop()


def databases(workspace, rounds):
    redis_requests(workspace, rounds)
    postgres = next(iter(sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)
    if not postgres or not shutil.which("pgbench"):
        print("\nno PostgreSQL here: left out")
    else:
        data = workspace.directory("postgres")
        shutil.chown(data, "postgres", "postgres")
        as_postgres = {"user": "postgres", "group": "postgres", "capture_output": True, "check": True, "cwd": "/"}
        subprocess.run([postgres / "initdb", "-D", data / "d", "-U", "postgres", "-A", "trust"], **as_postgres)
        backend, = free_ports(1)
        command = [postgres / "postgres", "-D", data / "d", "-p", backend, "-k", "/tmp", "-c", "listen_addresses=127.0.0.1",
                   "-c", "fsync=off"]
        front, = free_ports(1)
        daemon = bench_supd.Supd(
            workspace, {"backend": {"command": [str(word) for word in command], "port": backend, "listen": front,
                                    "user": "postgres"}}, name="supd-postgres", settings={"balancer": {"loops": 1}})
        daemon.wait_ready()
        subprocess.run(["pgbench", "-h", "127.0.0.1", "-p", str(backend), "-U", "postgres", "-i", "-q", "-s", "5", "postgres"],
                       capture_output=True, check=True)
        subjects = [Proxy("supd", front, [daemon.roles()["balancer"]]), haproxy(workspace, backend), Proxy("no proxy", backend, [])]

        def load(port):
            out = subprocess.run(["pgbench", "-h", "127.0.0.1", "-p", str(port), "-U", "postgres", "-n", "-S", "-c", "8", "-j", "1",
                                  "-T", "3", "postgres"], capture_output=True, text=True, check=True).stdout
            done = int(re.search(r"number of transactions actually processed: (\d+)", out).group(1))
            return done, done / float(re.search(r"tps = ([\d.]+)", out).group(1))
        results = rounds_of(subjects, rounds, lambda proxy: measured(proxy, load))
        rows = compare("pgbench -S, 8 clients", results, "HAProxy")
        ask_no_slower("pgbench -S", results)
        print(f"\nPostgreSQL, {rounds} rounds of 3 s")
        bench_tools.table(HEADER, rows)
        daemon.stop()


PARTS = {"small": small_requests, "core": one_core, "two": two_loops, "loops": loops_cost, "bulk": bulk_transfer, "calls": system_calls,
         "idle": idle_connections, "databases": databases}


def run(workspace):
    TARGETS.clear()
    for program in ["wrk", "h2load", "haproxy", "nginx", "strace"]:
        if not shutil.which(program):
            raise bench_tools.BenchError(
                f"there is no {program}: apt-get install wrk nghttp2-client haproxy nginx-light libnginx-mod-stream strace")
    print(subprocess.run(["haproxy", "-v"], capture_output=True, text=True).stdout.splitlines()[0])
    print(subprocess.run(["nginx", "-v"], capture_output=True, text=True).stderr.strip())
    control = pathlib.Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
    print(f"congestion control of this machine's sockets: {control}")
    rounds, seconds = (2, 1) if workspace.quick else (21, 1)
    only = os.environ.get("BENCH_BALANCER_PARTS", " ".join(PARTS)).split()
    for unknown in set(only) - set(PARTS):
        raise bench_tools.BenchError(f"there is no part {unknown}: the parts are {' '.join(PARTS)}")
    for name in PARTS:
        if name == "idle" and name in only:
            idle_connections(workspace, 1000 if workspace.quick else 4000)
        elif name == "calls" and name in only:
            system_calls(workspace)
        elif name == "databases" and name in only:
            databases(workspace, rounds)
        elif name in only:
            PARTS[name](workspace, rounds, seconds)
    TARGETS.report(workspace.strict)
