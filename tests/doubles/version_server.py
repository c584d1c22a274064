"""
A server that answers `GET /version` as etcd does, in the clear or by TLS, and nothing else.
"""

from __future__ import annotations

import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

ETCD = (
    b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{"etcdserver":"3.6.14","etcdcluster":"3.6.0"}'
)


@contextmanager
def serving(context: ssl.SSLContext | None = None, answer: bytes = ETCD) -> Iterator[int]:
    """Its port on the loopback."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with self.request as plain, plain.dup() as held:
                try:
                    if context is None:
                        self._answer(plain)
                    else:
                        with context.wrap_socket(plain, server_side=True) as encrypted:
                            self._answer(encrypted)
                except OSError:
                    # What says why would be lost if the connection went while something waits to be read.
                    held.shutdown(socket.SHUT_WR)
                    while held.recv(1 << 12):
                        pass

        def _answer(self, connection: socket.socket) -> None:
            if connection.recv(1 << 12):
                connection.sendall(answer)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
