"""A small web application: counts its visits in Redis, which it finds in $REDIS_ADDRESS.

GET / answers with JSON and counts a visit; /ping answers at once; /healthz says that it works.
"""

import http.server
import json
import os
import socket
import sys


def count_visit():
    """Adds one to the number of visits and returns it (one INCR in Redis' own protocol)."""
    host, port = os.environ["REDIS_ADDRESS"].rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(b"INCR visits\r\n")
        return int(connection.makefile("rb").readline()[1:])


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/healthz" or self.path == "/ping":
            self.answer(200, {"ok": True})
        elif self.path == "/":
            self.answer(200, {"visits": count_visit(), "instance": int(os.environ["INSTANCE"]), "pid": os.getpid()})
        else:
            self.answer(404, {"error": "no such page"})

    def answer(self, status, value):
        body = (json.dumps(value) + "\n").encode()
        head = f"HTTP/1.1 {status} {'OK' if status == 200 else 'Not Found'}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.wfile.write(head.encode() + body)  # in one packet

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request, client_address):
        print(f"a connection failed: {sys.exc_info()[1]}", flush=True)


if __name__ == "__main__":
    server = Server((os.environ["HOST"], int(os.environ["PORT"])), Handler)
    print(f"listening on {os.environ['HOST']}:{os.environ['PORT']}", flush=True)
    server.serve_forever()
