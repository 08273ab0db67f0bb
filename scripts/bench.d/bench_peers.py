"""Other supervisors, each with the same small interface as Supd: start services, name its own processes, stop."""

import os
import shutil
import signal
import subprocess
import time

import bench_tools


class Peer:
    """Starts `count` copies of a command; its own processes are all below it that are not such a copy."""

    label = "?"
    needs = []

    @classmethod
    def is_installed(cls):
        return all(shutil.which(name) for name in cls.needs)

    def __init__(self, workspace, command, count):
        self.workspace = workspace
        self.command = [str(word) for word in command]
        self.count = count
        self.directory = workspace.directory(f"{self.label}-{count}-{time.monotonic_ns()}")
        self.began = time.monotonic()
        self.process = self.launch()

    def launch(self):
        raise NotImplementedError

    def service_pids(self):
        """The processes of the services."""
        found = []
        for pid in bench_tools.children(self.process.pid):
            try:
                if os.readlink(f"/proc/{pid}/exe") == self.command[0]:
                    found.append(pid)
            except OSError:
                pass
        return found

    def wait_ready(self):
        bench_tools.eventually(
            f"{self.label} has started {self.count}", lambda: len(self.service_pids()) == self.count, 120, 0.05)
        return time.monotonic() - self.began

    def supervisors(self):
        services = set(self.service_pids())
        return [pid for pid in [self.process.pid, *bench_tools.children(self.process.pid)] if pid not in services]

    def ask_to_stop(self):
        os.kill(self.process.pid, signal.SIGTERM)

    def stop(self):
        below = bench_tools.children(self.process.pid)
        began = time.monotonic()
        self.ask_to_stop()
        bench_tools.eventually(
            f"{self.label} has stopped", lambda: self.process.poll() is not None and not any(map(bench_tools.alive, below)),
            120, 0.02)
        return time.monotonic() - began

    def scripts(self):
        """A directory of run scripts, as runit and s6 take them."""
        services = self.directory / "services"
        for number in range(1, self.count + 1):
            folder = services / f"service-{number}"
            folder.mkdir(parents=True)
            run = folder / "run"
            run.write_text("#!/bin/sh\nexec " + " ".join(self.command) + "\n")
            run.chmod(0o755)
        return services


class BareLoop(Peer):
    label = "bare loop in C"

    def launch(self):
        return self.workspace.start([self.workspace.compile("wait_and_fork"), *self.command])


class Runit(Peer):
    label = "runit"
    needs = ["runsvdir", "runsv"]

    def launch(self):
        return self.workspace.start(["runsvdir", self.scripts()])

    def ask_to_stop(self):
        os.kill(self.process.pid, signal.SIGHUP)


class S6(Peer):
    label = "s6"
    needs = ["s6-svscan", "s6-supervise"]

    def launch(self):
        return self.workspace.start(["s6-svscan", "-c", str(self.count + 10), self.scripts()])


class Supervisord(Peer):
    label = "supervisord"
    needs = ["supervisord"]

    def launch(self):
        text = f"[supervisord]\nnodaemon=true\nlogfile=/dev/null\nlogfile_maxbytes=0\npidfile={self.directory}/pid\n"
        text += f"childlogdir={self.directory}\nminfds=4096\n"
        text += f"[program:service]\ncommand={' '.join(self.command)}\nnumprocs={self.count}\n"
        text += "process_name=%(program_name)s-%(process_num)s\nautorestart=true\n"
        path = self.directory / "supervisord.conf"
        path.write_text(text)
        return self.workspace.start(["supervisord", "-c", path])


class Dinit(Peer):
    label = "dinit"
    needs = ["dinit"]

    def launch(self):
        services = self.workspace.directory(f"dinit-services-{time.monotonic_ns()}")
        names = []
        for number in range(1, self.count + 1):
            names.append(f"service-{number}")
            (services / names[-1]).write_text(
                f"type = process\ncommand = {' '.join(self.command)}\nrestart = true\nrestart-limit-count = 0\n")
        (services / "boot").write_text("type = internal\n" + "".join(f"waits-for = {name}\n" for name in names))
        return self.workspace.start(
            ["dinit", "--container", "-p", self.directory / "socket", "-d", services])


def installed():
    """The peers that this machine has."""
    found = [peer for peer in [Runit, S6, Supervisord, Dinit] if peer.is_installed()]
    missing = [peer.label for peer in [Runit, S6, Supervisord, Dinit] if not peer.is_installed()]
    if missing:
        print(f"not installed, so left out: {', '.join(missing)}")
    return found


def version(command):
    """The first line a program says about its version, for the note."""
    return subprocess.run(command, capture_output=True, text=True).stdout.split("\n")[0]
