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
    r"_?swift_\w*(retain|release|weak|unowned)\w*|_?swift_\w*(alloc|Alloc)\w*"
    r"|(__libc_)?(malloc|calloc|realloc|free|memalign|posix_memalign|aligned_alloc|cfree)|operator (new|delete).*"
    r"|_?(os_object|os|dispatch|Block)_(retain|release|copy)\w*|_Block_\w+", re.IGNORECASE)
# What copies memory.
COPIES = re.compile(r"(__)?mem(cpy|move|pcpy)\w*")
# More of either for a request is a failure.
LIMIT = 0.01
# A loop that has waited for a few milliseconds goes back to Dispatch; so many calls are made when that calls it again, at most.
# (One such turn may be under way when counting begins, and one when it ends.)
CALLS_OF_TURN = 8
TURN = "$s8Balancer8LoopCoreV3runyyF"
# With more of these for a request than this, what they cost would be the requests' cost.
MOST_TURNS = 0.25


class Failure(Exception):
    """Nothing could be measured; the text says why."""


def check(sentence, is_met, found):
    """A line of the protocol of scripts/interop, and if it is not met what was found instead."""
    print(("ok   " if is_met else "FAIL ") + sentence)
    for line in [] if is_met else found:
        print(f"     | {line}")


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
        names = {}

        def name(text):
            number, _, rest = text.partition(" ")
            if rest:
                names[number] = re.sub(r"'\d+$", "", rest)
            return names[number]
        caller = called = ""
        for line in open(path):
            key, equals, value = line.rstrip("\n").partition("=")
            if equals and key == "fn":
                caller = name(value)
            elif equals and key == "cfn":
                called = name(value)
            elif equals and key == "calls":
                self.calls[caller, called] += int(value.split()[0])
            elif line.startswith("totals:"):
                self.instructions = int(line.split()[1])

    def calls_of(self, pattern):
        """Calls by (caller, called) of what matches, from what does not."""
        return collections.Counter({
            pair: count for pair, count in self.calls.items()
            if pattern.fullmatch(pair[1]) and not pattern.fullmatch(pair[0])})

    def turns(self):
        """How often Dispatch has called a loop."""
        return sum(count for (_, called), count in self.calls.items() if called == TURN)


class Balancer:
    """A supd whose balancer runs under callgrind."""

    def __init__(self, program, library, folder, loops, balance):
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
        service = {"command": command, "port": server, "listen": self.port, "balance": balance}
        manifest = {"supd": {"balancer": {"loops": loops}}, "services": {"server": service}}
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
            with contextlib.suppress(ProcessLookupError):
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


def report(what, counts, requests):
    """A line of numbers, and the checks about them."""
    calls, copies, turns = counts.calls_of(COUNTED), counts.calls_of(COPIES), counts.turns()
    print(f"     | {what}: {counts.instructions / requests:.0f} instructions each; of {requests}: {calls.total()} calls, "
          f"{copies.total()} copies, {turns} turns of Dispatch")
    worst = [f"{count} {called} by {caller}" for (caller, called), count in (calls + copies).most_common(8)]
    if turns > MOST_TURNS * requests:
        print(f"skip no allocation, no reference counted: {what}: the loop had to wait so often that its turns hide them")
    else:
        check(f"no allocation, no reference counted: {what}",
              calls.total() <= LIMIT * requests + CALLS_OF_TURN * (turns + 2), worst)
    check(f"no memory copied: {what}", copies.total() <= LIMIT * requests, worst)


def look_at_start(counts):
    """What does allocate, count and copy is seen: else no other number would mean anything."""
    seen = collections.Counter()
    for (_, called), count in (counts.calls_of(COUNTED) + counts.calls_of(COPIES)).items():
        seen[called] += count
    names = ["swift_retain", "swift_release", "swift_allocObject", "malloc", "free"]
    copies = sum(count for name, count in seen.items() if COPIES.fullmatch(name))
    print("     | at its start: " + ", ".join(f"{seen[name]} {name}" for name in names) + f", {copies} copies")
    check("what the balancer does at its start is seen", copies > 0 and all(seen[name] > 0 for name in names), [str(seen)])


def measure(program, library, folder):
    def connections(port):
        return [("a connection, 1 at a time", new_connections(port, 1), 2000, 1),
                ("a connection, 32 at a time", new_connections(port, 32), 3200, 1)]

    def everything(port):
        return [("a request, 1 connection", keep_alive(port, 1), 3000, 1),
                ("a request, 50 connections", keep_alive(port, 50), 5000, 1),
                *connections(port), ("a MB of a stream", keep_alive(port, 1, 16 << 20), 128, 16)]
    for name, loops, balance, loads in [
        ("one loop", 1, {}, everything), ("two loops", 2, {}, everything),
        ("leastconn, limits", 1, {"algorithm": "leastconn", "maxConnections": 40, "idleTimeout": "60s"}, connections),
        ("random2", 1, {"algorithm": "random2"}, connections), ("source", 1, {"algorithm": "source"}, connections),
    ]:
        balancer = Balancer(program, library, f"{folder}/{name}", loops, balance)
        try:
            balancer.wait()
            balancer.pause(True)
            look_at_start(balancer.dump())
            for what, load, least, units in loads(balancer.port):
                # What is grown once has been grown then.
                for _ in range(10):
                    next(load)
                balancer.dump()
                count = 0
                while count < least:
                    count += next(load) * units
                counts = balancer.dump()
                load.close()
                report(f"{what} ({name})", counts, count)
        finally:
            balancer.end()


def ended(number, frame):
    raise Failure(f"ended by signal {number}")


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    else:
        # So that no supd is left behind.
        signal.signal(signal.SIGTERM, ended)
        measure(*sys.argv[2:5])
