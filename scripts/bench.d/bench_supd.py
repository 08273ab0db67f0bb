"""supd as a peer among peers: starting it with a manifest, asking it, ending it."""

import json
import os
import signal
import subprocess
import time

import bench_tools


class Supd:
    """A running supd."""

    label = "supd"

    def __init__(self, workspace, services, name="supd", settings=None):
        """Starts it with a `services` section; does not wait for them."""
        self.workspace = workspace
        self.directory = workspace.directory(name)
        for part in ["run", "state", "logs"]:
            (self.directory / part).mkdir()
        self.manifest = self.directory / "manifest.json5"
        self.manifest.write_text(json.dumps({"supd": settings or {}, "services": services}))
        self.messages = open(self.directory / "messages", "w")
        self.began = time.monotonic()
        self.process = workspace.start(
            [workspace.binaries / "supd", self.manifest, "--runtime-directory", self.directory / "run",
             "--state-directory", self.directory / "state", "--log-directory", self.directory / "logs"],
            stdout=self.messages, stderr=self.messages)

    def control(self, *words, check=True, seconds=120):
        """Runs supctl; returns what it printed."""
        command = [self.workspace.binaries / "supctl", "--socket", self.directory / "run/control.sock", *words]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=seconds)
        if check and done.returncode != 0:
            raise bench_tools.BenchError(f"supctl {' '.join(words)} ended with {done.returncode}: {done.stderr}")
        return done.stdout

    def status(self):
        """The status as JSON; None while there is none."""
        try:
            return json.loads(self.control("status", "--json", check=False))
        except json.JSONDecodeError:
            return None

    def instances(self):
        """All instances by id."""
        status = self.status() or {"services": []}
        return {instance["id"]: instance for service in status["services"] for instance in service["instances"]}

    def pids(self):
        """The processes of all instances by id."""
        return {name: instance["pid"] for name, instance in self.instances().items()}

    def wait_ready(self, seconds=120, pause=0.05):
        """Waits until every instance is ready, and returns the seconds since the start."""
        def ready():
            if self.process.poll() is not None:
                raise bench_tools.BenchError(f"supd ended: {open(self.directory / 'messages').read()[-2000:]}")
            found = self.instances()
            return found and all(instance["ready"] or instance["state"] == "completed" for instance in found.values())
        bench_tools.eventually("every instance is ready", ready, seconds, pause)
        return time.monotonic() - self.began

    def roles(self):
        """The processes of supd itself by role."""
        return {name: pid for name, pid in self.status()["daemon"]["roles"].items() if pid}

    def wait_role(self, role, old):
        """Waits for another process in a role; returns its pid."""
        def replaced():
            status = self.status()
            pid = status and status["daemon"]["roles"].get(role)
            return pid if pid and pid != old else None
        return bench_tools.eventually(f"{role} is replaced", replaced, 60, 0.02)

    def supervisors(self):
        """The pids that the supervising costs are counted of: the roles, and the process forked in advance."""
        program = os.path.realpath(self.workspace.binaries / "supd")
        def is_supd(pid):
            try:
                return os.readlink(f"/proc/{pid}/exe") == program
            except OSError:
                return False
        return [self.process.pid, *filter(is_supd, bench_tools.children(self.process.pid))]

    def stop(self):
        """Stops everything in order; returns the seconds it took."""
        began = time.monotonic()
        os.kill(self.process.pid, signal.SIGTERM)
        self.process.wait(120)
        return time.monotonic() - began
