"""What is looked at, with 500 instances: how long supctl and the server take for it, and how many bytes it is."""

import contextlib
import shutil
import socket
import statistics
import subprocess
import time

import bench_supd
import bench_tools

# A front makes the balancer's figures part of all answers, as they are where people look.
SERVICE_SIZE = 10


def services(program, count, fronts):
    """`count` instances of services with ten each, half of them behind a front; and one that is down."""
    found = {}
    for number in range(count // SERVICE_SIZE):
        service = {"command": [str(program)], "replicas": SERVICE_SIZE, "ready": "started"}
        if number % 2:
            service["listen"] = f"unix:{fronts}/{number}"
        found[f"service-{number}"] = service
    found["broken"] = {"command": ["/bin/false"], "restart": "never"}
    return found


def ask(path, method, target):
    """One request over the control socket: seconds from the connect to the last byte, and the bytes of the body."""
    began = time.monotonic()
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as connection:
        connection.settimeout(60)
        connection.connect(str(path))
        connection.sendall(f"{method} {target} HTTP/1.1\r\nHost: supd\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode())
        parts = []
        while part := connection.recv(1 << 20):
            parts.append(part)
    took = time.monotonic() - began
    answer = b"".join(parts)
    head, _, body = answer.partition(b"\r\n\r\n")
    if b" 200 " not in head.split(b"\r\n")[0]:
        raise bench_tools.BenchError(f"{method} {target}: {head[:200]!r}")
    if b"chunked" in head.lower():
        body = dechunked(body)
    return took, len(body)


def dechunked(body):
    """A body without the sizes of its chunks."""
    found = []
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size.split(b";")[0], 16)
        if length == 0:
            break
        found.append(rest[:length])
        body = rest[length + 2:]
    return b"".join(found)


def run_command(command, codes):
    """Seconds that a program took from its start to its end, and the bytes it has printed."""
    began = time.monotonic()
    done = subprocess.run([str(word) for word in command], capture_output=True, timeout=120)
    took = time.monotonic() - began
    if done.returncode not in codes:
        raise bench_tools.BenchError(f"{command}: {done.returncode}: {done.stderr[-500:]!r}")
    return took, len(done.stdout)


def times(values):
    """Median and 95th percentile in milliseconds."""
    values = sorted(values)
    highest = values[min(len(values) - 1, int(len(values) * 0.95))]
    return f"{statistics.median(values) * 1000:.1f}", f"{highest * 1000:.1f}"


def supd_rows(workspace, program, count, repeats, events_size):
    supd = bench_supd.Supd(workspace, services(program, count, workspace.directory("fronts")), "views")
    # All but the one that is down.
    bench_tools.eventually(
        "all instances are ready", lambda: sum(1 for one in supd.instances().values() if one["ready"]) == count, 120, 0.1)
    control = supd.directory / "run/control.sock"
    # As after weeks: supd keeps the last one to two megabytes of events.
    while sum(file.stat().st_size for file in (supd.directory / "state").glob("events*")) < events_size:
        for _ in range(100):
            ask(control, "POST", "/v1/services/service-1%2F1/signal?signal=CONT")
    supctl = [workspace.binaries / "supctl", "--socket", control]
    # The server's share is what the client asks: of several questions the sum.
    # Of instances supctl why asks for the events of those only of which something may have to be said.
    status, usage, events = "/v1/status", "/v1/usage", "/v1/events?follow=false&instances=broken%2F1"
    views = [
        ("supctl status", ["status"], [status]),
        ("supctl status --json", ["status", "--json"], [status]),
        ("supctl why", ["why"], [status, events, usage + "?name=broken%2F1"]),
        ("supctl why broken", ["why", "broken"],
         [status, status + "?name=broken&limits=true", events, usage + "?name=broken"]),
        ("supctl usage service-1/1", ["usage", "service-1/1"], [usage + "?name=service-1%2F1"]),
        ("supctl metrics (GET /metrics)", ["metrics"], ["/metrics"]),
        ("one second of supctl top", None, [status]),
        ("every ten seconds of supctl top", None, [usage]),
    ]
    def share():
        supervisor = [supd.roles()["supervisor"]]
        before = bench_tools.cpu_seconds(supervisor)
        found = [[ask(control, "GET", target) for target in targets] for _ in range(repeats)]
        cpu = bench_tools.cpu_seconds(supervisor) - before
        return [sum(took for took, _ in answers) for answers in found], sum(size for _, size in found[-1]), cpu / repeats
    rows = []
    for label, words, targets in views:
        client = [run_command(supctl + words, [0, 3]) for _ in range(repeats)] if words else []
        server, size, cpu = share()
        rows.append([label, *(times([took for took, _ in client]) if client else ("", "")),
                     *times(server), f"{cpu * 1000:.1f}", f"{size:,}", f"{client[-1][1]:,}" if client else ""])
    supd.stop()
    return rows


def supervisord_row(workspace, program, count, repeats):
    """`supervisorctl status` of as many programs over its Unix socket; none if it is not installed."""
    if not shutil.which("supervisord") or not shutil.which("supervisorctl"):
        print("not installed, so left out: supervisord")
        return []
    directory = workspace.directory("views-supervisord")
    path = directory / "supervisord.conf"
    path.write_text(
        f"[supervisord]\nnodaemon=true\nlogfile=/dev/null\nlogfile_maxbytes=0\npidfile={directory}/pid\n"
        f"childlogdir={directory}\nminfds=4096\n[unix_http_server]\nfile={directory}/socket\n"
        "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = "
        "supervisor.rpcinterface:make_main_rpcinterface\n"
        f"[supervisorctl]\nserverurl=unix://{directory}/socket\n"
        f"[program:service]\ncommand={program}\nnumprocs={count}\nstartsecs=0\n"
        "process_name=%(program_name)s-%(process_num)s\nautorestart=true\n")
    daemon = workspace.start(["supervisord", "-c", path])
    command = ["supervisorctl", "-c", path, "status"]
    def ready():
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60)
        return done.stdout.count("RUNNING") == count
    bench_tools.eventually("supervisord has started all", ready, 120, 0.2)
    found = [run_command(command, [0]) for _ in range(repeats)]
    workspace.end(daemon)
    return [["supervisorctl status", *times([took for took, _ in found]), "", "", "", "", f"{found[-1][1]:,}"]]


def run(workspace):
    program = workspace.compile("sleeper")
    count, repeats, events_size = (50, 3, 100_000) if workspace.quick else (500, 40, 1_500_000)
    rows = supd_rows(workspace, program, count, repeats, events_size) + supervisord_row(workspace, program, count, repeats)
    print(f"{count} instances, half of them behind fronts, and one that is down; {events_size / 1e6:g} MB of events; {repeats} times "
          "each. The client's time includes the start of its process; the server's is that of the same questions over the control socket.")
    bench_tools.table(
        ["", "client, median ms", "95 %", "server, median ms", "95 %", "CPU of the supervisor, ms", "answer, bytes",
         "printed, bytes"], rows)
