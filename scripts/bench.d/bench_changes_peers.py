"""What others have in supd's place: supervisord or systemd with HAProxy in front, restarted in the way their users do it.

HAProxy is set up as its documentation does for a web service: HTTP, health checks, three retries, redispatch. The service
finishes the requests that it has taken when it gets SIGTERM.
"""

import contextlib
import csv
import os
import pathlib
import shutil
import socket
import subprocess
import urllib.request

import bench_failures
import bench_tools

FIRST_PORT = 18981


class HAProxy:
    """In front of servers on ports of their own."""

    def __init__(self, workspace, replicas, directory):
        self.names = [f"api{number}" for number in range(1, replicas + 1)]
        self.socket = str(directory / "haproxy.sock")
        path = directory / "haproxy.cfg"
        servers = "\n".join(
            f"    server {name} 127.0.0.1:{FIRST_PORT + index} check" for index, name in enumerate(self.names))
        path.write_text(f"""global
    stats socket {self.socket} mode 600 level admin
    maxconn 7900
    ulimit-n 20000
defaults
    mode http
    option redispatch
    retries 3
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend front
    bind 127.0.0.1:{bench_failures.FRONT}
    default_backend api
backend api
    option httpchk GET /healthz
{servers}
""")
        self.process = workspace.start(["haproxy", "-db", "-f", path])
        bench_tools.eventually("HAProxy answers", self.is_there, 10)

    def is_there(self):
        with contextlib.suppress(OSError):
            return self.ask("show info")

    def ask(self, command):
        """One command on the stats socket; the answer."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(self.socket)
            connection.sendall(command.encode() + b"\n")
            answer = b""
            while more := connection.recv(65536):
                answer += more
        return answer.decode()

    def servers(self):
        """What it says of each server, by name."""
        lines = self.ask("show stat").removeprefix("# ").splitlines()
        return {row["svname"]: row for row in csv.DictReader(lines) if row["svname"] in self.names}

    def are_up(self):
        return all(row["status"] == "UP" for row in self.servers().values())

    def drain(self, name):
        """Takes a server out, and waits until no request is under way there."""
        self.ask(f"set server api/{name} state drain")
        bench_tools.eventually(f"{name} is drained", lambda: self.servers()[name]["scur"] == "0", 30)

    def put_back(self, name):
        self.ask(f"set server api/{name} state ready")


class Site:
    """A supervisor with HAProxy, for a `with`. Subclasses say how it is started and how the named instances are restarted."""

    label = "?"

    def __init__(self, workspace, replicas):
        self.workspace, self.replicas = workspace, replicas
        self.directory = workspace.directory(f"{self.label}-{replicas}-{len(workspace.started)}")
        self.numbers = range(1, replicas + 1)

    def __enter__(self):
        try:
            self.launch()
            bench_tools.eventually(f"{self.label} has started all", lambda: all(map(self.answers, self.numbers)), 30)
            self.haproxy = HAProxy(self.workspace, self.replicas, self.directory)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.stop()
        self.close()

    def launch(self):
        raise NotImplementedError

    def restart(self, numbers):
        raise NotImplementedError

    def close(self):
        """Ends the supervisor."""

    def stop(self):
        self.workspace.end(self.haproxy.process)

    def answers(self, number):
        with contextlib.suppress(OSError):
            with urllib.request.urlopen(f"http://127.0.0.1:{FIRST_PORT + number - 1}/healthz", timeout=5) as answer:
                return answer.status == 200
        return False

    def settle(self):
        """Waits until every instance answers and HAProxy knows it: each change begins with all of them."""
        bench_tools.eventually(
            "all are up", lambda: all(map(self.answers, self.numbers)) and self.haproxy.are_up(), 60, 0.05)

    def await_answer(self, number):
        bench_tools.eventually(f"instance {number} answers", lambda: self.answers(number), 60, 0.02)

    def all_at_once(self):
        self.restart(self.numbers)
        for number in self.numbers:
            self.await_answer(number)

    def one_by_one(self):
        for number in self.numbers:
            self.restart([number])
            self.await_answer(number)

    def drained_before(self):
        for number in self.numbers:
            self.haproxy.drain(f"api{number}")
            self.restart([number])
            self.await_answer(number)
            self.haproxy.put_back(f"api{number}")

    # The command for all of them; a loop that waits for each; a script that drains each at HAProxy's socket before.
    AT_ONCE = ("restarted at once", all_at_once)
    IN_TURN = ("one after the other", one_by_one)
    DRAINED = ("each drained before", drained_before)
    WAYS = [AT_ONCE, IN_TURN]


class Supervisord(Site):
    label = "supervisord"

    @staticmethod
    def missing(_workspace):
        lacking = [name for name in ["supervisord", "supervisorctl", "haproxy"] if not shutil.which(name)]
        return f"{lacking[0]} is not installed" if lacking else None

    def launch(self):
        self.configuration = self.directory / "supervisord.conf"
        self.configuration.write_text(f"""[supervisord]
nodaemon=true
logfile={self.directory}/supervisord.log
pidfile={self.directory}/supervisord.pid
childlogdir={self.directory}
[unix_http_server]
file={self.directory}/supervisor.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{self.directory}/supervisor.sock
[program:api]
command={self.workspace.binaries}/demo-service --quiet
process_name=%(program_name)s-%(process_num)s
numprocs={self.replicas}
numprocs_start=1
environment=PORT="{FIRST_PORT // 10}%(process_num)s",SERVICE="api"
""")
        self.process = self.workspace.start(["supervisord", "-c", self.configuration])

    def restart(self, numbers):
        names = ["api:*"] if len(numbers) == self.replicas else [f"api:api-{number}" for number in numbers]
        done = subprocess.run(
            ["supervisorctl", "-c", str(self.configuration), "restart", *names], capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise bench_tools.BenchError(f"supervisorctl restart ended with {done.returncode}: {done.stdout}{done.stderr}")

    def close(self):
        self.workspace.end(self.process)


class Systemd(Site):
    label = "systemd"
    # What draining does is HAProxy's doing: shown once, here, where it is quick.
    WAYS = [*Site.WAYS, Site.DRAINED]

    @staticmethod
    def tool():
        """The script that boots a systemd in namespaces of its own; None without it."""
        places = ["../shared", os.environ.get("SUPD_SHARED", "../shared")]
        return next((path for place in places if (path := pathlib.Path(place).resolve() / "tools/systemd-sandbox").exists()),
                    None)

    @classmethod
    def missing(cls, workspace):
        if not shutil.which("haproxy"):
            return "haproxy is not installed"
        if os.geteuid() != 0:
            return "a systemd of its own needs root"
        if pathlib.Path(workspace.binaries).resolve().parts[1:2] in [("tmp",), ("run",)]:
            return f"its sandbox has a /tmp and a /run of its own, and does not see {workspace.binaries}"
        return None if cls.tool() else "there is no ../shared/tools/systemd-sandbox here"

    def launch(self):
        # A shell in there, told what to run line by line. It ends with its input, and all of the sandbox with it.
        self.process = self.workspace.start(
            ["bash", self.tool(), "-t", "3000", "bash"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, bufsize=1)
        program = self.workspace.binaries / "demo-service"
        self.inside(f"test -x {program} || {{ echo it sees no {program}; false; }}")
        # Restarted this often by hand it would be given up.
        unit = rf"[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart={program} --quiet\nEnvironment=PORT={FIRST_PORT // 10}%%i SERVICE=api\nRestart=always\n"
        self.inside(f"printf '{unit}' >/run/systemd/system/api@.service && systemctl daemon-reload")
        self.inside("systemctl start " + self.units(self.numbers))

    def units(self, numbers):
        return " ".join(f"api@{number}.service" for number in numbers)

    def inside(self, command):
        """Runs a line in the sandbox, and waits for its end."""
        try:
            self.process.stdin.write(command + " </dev/null; echo ended with $?\n")
            self.process.stdin.flush()
        except OSError:
            pass  # what it had to say is read below
        said = []
        for line in self.process.stdout:
            if line.startswith("ended with "):
                if line.strip() != "ended with 0":
                    break
                return
            said.append(line)
        raise bench_tools.BenchError(f"in systemd's sandbox “{command}” failed: {''.join(said[-10:])}")

    def restart(self, numbers):
        self.inside("systemctl restart " + self.units(numbers))

    def close(self):
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(30)
        self.workspace.end(self.process)
