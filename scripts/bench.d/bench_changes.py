"""What runs is changed under load, again and again: what clients see.

A steady load opens a connection for each request; beside it a few clients keep one connection open and use it now and then.
None of those may fail. A connection that is kept may end only between two requests, and only when its instance is
replaced (after `drainTimeout`, or because the service closes it): its client then connects again, which is counted.
"""

import json
import os
import socket
import threading
import time

import bench_failures
import bench_supd
import bench_tools

KEPT = 8


class KeptConnections:
    """Clients that use one connection for as long as it lasts."""

    def __init__(self, port=bench_failures.FRONT):
        self.port = port
        self.over = threading.Event()
        self.requests = 0
        self.reconnects = 0
        self.failed = []
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(KEPT)]
        for thread in self.threads:
            thread.start()

    def run(self):
        connection = None
        while not self.over.is_set():
            if connection is None:
                connection = socket.create_connection(("127.0.0.1", self.port), timeout=30)
            else:
                # Closed between two requests: the client sees it before it sends, and connects again.
                connection.setblocking(False)
                try:
                    gone = connection.recv(1) == b""
                except BlockingIOError:
                    gone = False
                except OSError:
                    gone = True
                connection.settimeout(30)
                if gone:
                    connection.close()
                    connection = None
                    with self.lock:
                        self.reconnects += 1
                    continue
            try:
                connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                answer = connection.recv(65536)
                with self.lock:
                    self.requests += 1
                    if not answer.startswith(b"HTTP/1.1 200"):
                        self.failed.append(repr(answer[:60]))
                        connection.close()
                        connection = None
            except OSError as error:
                with self.lock:
                    self.failed.append(str(error))
                connection.close()
                connection = None
            time.sleep(0.02)

    def end(self):
        self.over.set()
        for thread in self.threads:
            thread.join(60)


def manifest(workspace, replicas, release=1, command=None):
    services = bench_failures.manifest(workspace, replicas)
    api = services["api"]
    api["environment"]["RELEASE"] = str(release)
    api["balance"] = {"drainTimeout": "1s"}
    api["restart"]["initialDelay"] = "50ms"
    if command:
        api["command"] = command
    return services


class Subject:
    """A supd whose manifest is changed."""

    def __init__(self, workspace, replicas, name):
        self.workspace, self.replicas, self.release = workspace, replicas, 1
        self.supd = bench_supd.Supd(workspace, manifest(workspace, replicas), name)
        self.supd.wait_ready()

    def apply(self, check=True, **changes):
        services = manifest(self.workspace, **{"replicas": self.replicas, "release": self.release, **changes})
        self.supd.manifest.write_text(json.dumps({"services": services}))
        self.supd.control("apply", check=check)

    def restart(self):
        self.supd.control("restart", "api")

    def new_environment(self):
        self.release += 1
        self.apply()

    def scale(self):
        for count in (1, 5, 1):
            self.apply(replicas=count)
        self.apply()

    def upgrade(self):
        self.supd.control("upgrade", self.workspace.binaries / "supd")

    def broken(self):
        before = self.supd.pids()
        self.apply(check=False, release=self.release + 1, command=["/bin/sh", "-c", "exit 1"])
        self.apply()
        if self.replicas > 1 and self.supd.pids() != before:
            bench_failures.violation("a release that never becomes ready has replaced processes")


CHANGES = [("supctl restart", Subject.restart), ("apply, environment changed", Subject.new_environment),
           ("apply, replicas 1, 5, 1", Subject.scale), ("upgrade", Subject.upgrade),
           ("apply, never ready", Subject.broken)]


def measure(workspace, replicas, times):
    rows = []
    for name, change in CHANGES:
        subject = Subject(workspace, replicas, f"changes-{replicas}-{len(rows)}")
        kept = KeptConnections()
        began = time.monotonic()
        change(subject)
        seconds = (time.monotonic() - began) * times * 2.2 + 2
        load = bench_failures.Load(workspace, round(seconds))
        took = []
        for _ in range(times):
            began = time.monotonic()
            change(subject)
            took.append(time.monotonic() - began)
        covered = load.process.poll() is None
        result = load.result()
        kept.end()
        subject.supd.stop()
        what = f"{name}, {replicas} replica{'s' * (replicas > 1)}"
        bench_failures.expect_none_failed(what, [result])
        if not covered:
            bench_failures.violation(f"{what}: the load was over before the last change")
        # What drainTimeout cuts it may cut in the middle of a request; nothing else may end one.
        other = [text for text in kept.failed if "reset by peer" not in text]
        if other:
            bench_failures.violation(f"{what}: {len(other)} requests on kept connections failed: {other[:3]}")
        rows.append([what, times, result["requests"], bench_failures.kinds([result]), f"{result['longestMs']:.0f} ms", kept.requests, len(kept.failed), kept.reconnects,
                     bench_tools.spread(took, " s")])
    return rows


def run(workspace):
    bench_failures.VIOLATIONS.clear()
    times = int(os.environ.get("BENCH_CHANGES_TIMES", 3 if workspace.quick else 50))
    header = ["change", "times", "requests", "failed", "longest wait", "on kept connections", "cut by drainTimeout", "connected again", "took"]
    print(f"{bench_failures.RATE} requests of {bench_failures.PATH} a second, a new connection each; "
          f"{KEPT} clients beside them keep theirs")
    bench_tools.table(header, [*measure(workspace, 3, times), *measure(workspace, 1, times)])
    if bench_failures.VIOLATIONS:
        raise bench_tools.BenchError("\n  ".join(["what was promised was not kept:", *bench_failures.VIOLATIONS]))
    print("no request failed but those that drainTimeout has cut on a kept connection")
