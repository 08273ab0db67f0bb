"""What the balancer executes for a request, counted by callgrind: instructions, and calls that allocate memory or count references.

    balancer_calls.py measure SUPD LIBRARY FOLDER    SUPD with symbols; LIBRARY is under_callgrind.c's; prints checks
    balancer_calls.py serve PORT                     the service: answers "%08d" with as many bytes
"""

import collections
import contextlib
import json
import os
import pathlib
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time

# What allocates and frees memory, and what counts references. Calls from one of these to another are the first one's.
COUNTED = re.compile(
    r"_*(swift_(native)?(BridgeObject|bridgeObject|NonObjC|nonatomic_|unknownObject|try|weak|unowned|errorR)?_?(Retain|retain|Release|release)\w*"
    r"|swift_(alloc|dealloc|slowAlloc|slowDealloc|weak|unowned|init|once)\w*|swift_arrayInit\w*"
    r"|(libc_)?(malloc|calloc|realloc|free|memalign|posix_memalign|aligned_alloc)|operator (new|delete).*"
    r"|(os_object|dispatch|_Block|Block)_(retain|release|copy)\w*)")
# More than this for a request is a failure.
LIMIT = 0.01


class Failure(Exception):
    """Nothing could be measured; the text says why."""


def check(sentence, is_met, found=""):
    """One line of the protocol of scripts/interop."""
    print(("ok   " if is_met else "FAIL ") + sentence)
    if not is_met and found:
        print(f"     | {found}")


def receive(peer, size):
    """Reads so many bytes."""
    while size > 0:
        piece = peer.recv(min(size, 1 << 20))
        if not piece:
            raise Failure("a connection ended too early")
        size -= len(piece)


def answer(peer):
    data = bytes(1 << 20)
    with peer, contextlib.suppress(OSError):
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while size := peer.recv(8, socket.MSG_WAITALL):
            size = int(size)
            while size > 0:
                size -= peer.send(data[:size])


def serve(port):
    with socket.create_server(("127.0.0.1", port), backlog=512) as listener:
        while True:
            peer, _ = listener.accept()
            threading.Thread(target=answer, args=[peer], daemon=True).start()


def connect(port):
    peer = socket.create_connection(("127.0.0.1", port), timeout=30)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return peer


def ask(peers, size):
    """One request of each, all under way at the same time."""
    for peer in peers:
        peer.sendall(b"%08d" % size)
    for peer in peers:
        receive(peer, size)


def keep_alive(port, parallel, size=2):
    """Requests over connections that stay; gives how many there were, again and again."""
    peers = [connect(port) for _ in range(parallel)]
    while True:
        ask(peers, size)
        yield parallel


def new_connections(port, parallel):
    """Requests each over a connection of its own."""
    while True:
        peers = [connect(port) for _ in range(parallel)]
        ask(peers, 2)
        for peer in peers:
            peer.close()
        yield parallel


class Counts:
    """What callgrind has counted between two dumps."""

    def __init__(self, path):
        self.instructions = 0
        self.calls = collections.Counter()
        self.costs = collections.Counter()
        names = {}

        def name(text):
            number, _, rest = text.partition(" ")
            if rest:
                names[number] = re.sub(r"'\d+$", "", rest)
            return names[number]
        caller = called = ""
        is_call = False
        for line in open(path):
            key, equals, value = line.rstrip("\n").partition("=")
            if equals and key == "fn":
                caller = name(value)
            elif equals and key == "cfn":
                called = name(value)
            elif equals and key == "calls":
                is_call = True
                self.calls[caller, called] += int(value.split()[0])
            elif line.startswith("totals:"):
                self.instructions = int(line.split()[1])
            elif line[:1] in "+-*0123456789":
                if not is_call:
                    self.costs[caller] += int(line.split()[1])
                is_call = False

    def counted(self):
        """Calls by (caller, called) of those that count."""
        return {pair: count for pair, count in self.calls.items()
                if COUNTED.fullmatch(pair[1]) and not COUNTED.fullmatch(pair[0])}


class Balancer:
    """A supd whose balancer runs under callgrind."""

    def __init__(self, program, library, folder):
        self.folder = pathlib.Path(folder)
        for part in ["run", "state", "logs", "counts"]:
            (self.folder / part).mkdir(parents=True)
        # The balancer is a user without rights.
        self.counts = self.folder / "counts"
        self.counts.chmod(0o1777)
        (self.counts / "supd: balancer").symlink_to(os.path.realpath(program))
        for name in ["ask", "done"]:
            os.mkfifo(self.counts / name)
            (self.counts / name).chmod(0o666)
        # For both ends, so that nobody waits for the other to open it.
        self.ask, self.done = (os.open(self.counts / name, os.O_RDWR) for name in ["ask", "done"])
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        self.port, server = [each.getsockname()[1] for each in sockets]
        for each in sockets:
            each.close()
        command = [sys.executable, os.path.realpath(__file__), "serve", str(server)]
        manifest = {"supd": {"balancer": {"loops": 1}},
                    "services": {"server": {"command": command, "port": server, "listen": self.port}}}
        (self.folder / "manifest.json5").write_text(json.dumps(manifest))
        self.messages = open(self.folder / "messages", "w+")
        self.process = subprocess.Popen(
            [program, self.folder / "manifest.json5", "--runtime-directory", self.folder / "run", "--state-directory",
             self.folder / "state", "--log-directory", self.folder / "logs"],
            env=dict(os.environ, LD_PRELOAD=os.path.realpath(library), SUPD_UNDER_CALLGRIND=str(self.counts)),
            stdin=subprocess.DEVNULL, stdout=self.messages, stderr=self.messages, start_new_session=True)
        self.pid = self.supervisor = None
        self.dumps = 0

    def wait(self):
        """Waits until it forwards requests."""
        deadline = time.monotonic() + 40
        while True:
            try:
                with connect(self.port) as peer:
                    ask([peer], 2)
                break
            except (OSError, Failure):
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise Failure("the balancer does not forward; supd said: " + open(self.messages.name).read()[-2000:])
                time.sleep(0.1)
        for child in open(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read().split():
            arguments = open(f"/proc/{child}/cmdline", "rb").read()
            if b"--tool=callgrind" in arguments:
                self.pid = int(child)
            elif arguments.startswith(b"supd: supervisor"):
                self.supervisor = int(child)
        if not self.pid or not self.supervisor:
            raise Failure("the balancer does not run under callgrind")

    def pause(self, pauses):
        """Stops those that speak to the balancer every few seconds, or lets them go on: only connections are counted then."""
        for pid in [self.process.pid, self.supervisor]:
            os.kill(pid, signal.SIGSTOP if pauses else signal.SIGCONT)

    def dump(self):
        """What was counted since the last dump."""
        self.dumps += 1
        os.write(self.ask, b".")
        if not select.select([self.done], [], [], 20)[0]:
            raise Failure("callgrind does not write its counts")
        os.read(self.done, 1)
        return Counts(self.counts / f"counts.{self.dumps}")

    def end(self):
        if self.supervisor:
            self.pause(False)
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def measure(program, library, folder):
    balancer = Balancer(program, library, folder)
    try:
        balancer.wait()
        start = balancer.dump()
        seen = collections.Counter()
        for (_, called), count in start.counted().items():
            seen[called] += count
        print("until the first request: " + ", ".join(f"{n} {name}" for name, n in seen.most_common()))
        balancer.pause(True)
        for what, load, least in [
            ("a keep-alive request, 1 connection", keep_alive(balancer.port, 1), 3000),
            ("a keep-alive request, 50 connections", keep_alive(balancer.port, 50), 5000),
            ("a new connection, 1 at a time", new_connections(balancer.port, 1), 2000),
            ("a new connection, 32 at a time", new_connections(balancer.port, 32), 3200),
            ("16 MB, 1 stream", keep_alive(balancer.port, 1, 16 << 20), 8),
        ]:
            began = time.monotonic()
            for _ in range(10):
                next(load)
            balancer.dump()
            count = 0
            while count < least:
                count += next(load)
            counts = balancer.dump()
            load.close()
            found = counts.counted()
            print(f"{what}: {sum(found.values()) / count:.4f} calls, {counts.instructions / count:.0f} instructions ({count} in {time.monotonic() - began:.1f} s)")
            for (caller, called), n in sorted(found.items(), key=lambda x: -x[1])[:25]:
                print(f"     {n / count:.4f} {called} by {caller}")
            for (name, n) in counts.costs.most_common(30):
                print(f"     {n / count:.0f} instr {name}")
    finally:
        balancer.end()


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    else:
        measure(*sys.argv[2:5])
