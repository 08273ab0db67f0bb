"""The clients of what is changed under load: a steady load of new connections, and a few that keep theirs."""

import socket
import threading
import time

import bench_failures

KEPT = 8
MOST_SECONDS = 3600


class KeptConnections:
    """Clients that use one connection for as long as it lasts."""

    def __init__(self, port=bench_failures.FRONT):
        self.port = port
        self.over = threading.Event()
        self.requests = 0
        self.reconnects = 0
        self.failed = []
        # How old connections were, in seconds, that the client did not end.
        self.ages = []
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(KEPT)]
        for thread in self.threads:
            thread.start()

    def run(self):
        connection, opened = None, 0.0
        while not self.over.is_set():
            if connection is not None and self.is_gone(connection):
                connection.close()
                connection = None
                with self.lock:
                    self.reconnects += 1
                    self.ages.append(time.monotonic() - opened)
            try:
                if connection is None:
                    connection = socket.create_connection(("127.0.0.1", self.port), timeout=30)
                    opened = time.monotonic()
                connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                answer = connection.recv(65536)
                failure = None if answer.startswith(b"HTTP/1.1 200") else repr(answer[:60])
            except OSError as error:
                failure = str(error)
            with self.lock:
                self.requests += 1
                if failure:
                    self.failed.append(failure)
                    if connection is not None:
                        self.ages.append(time.monotonic() - opened)
            if failure and connection is not None:
                connection.close()
                connection = None
            time.sleep(0.02)

    @staticmethod
    def is_gone(connection):
        """Whether it was closed between two requests: the client sees it before it sends."""
        connection.setblocking(False)
        try:
            return connection.recv(1) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            connection.settimeout(30)

    def end(self):
        self.over.set()
        for thread in self.threads:
            thread.join(60)


class Clients:
    """All of them, from the begin of a `with` to its end; then `load` has what the load printed."""

    def __init__(self, workspace):
        self.workspace = workspace

    def __enter__(self):
        self.kept = KeptConnections()
        self.running = bench_failures.Load(self.workspace, MOST_SECONDS)
        return self

    def __exit__(self, failure, *_):
        if failure:
            self.workspace.end(self.running.process)
        else:
            self.load = self.running.end()
        self.kept.end()
