"""
etcd as a test needs it: started, ended at once, started again on what it had, alone or three together.
"""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import attrs
import trustme

from real import servers
from real.processes import Running, free_ports


@attrs.frozen
class Certificates:
    """
    Files in PEM: who signs, the server's, and a client's.
    """

    ca: Path
    server_cert: Path
    server_key: Path
    client_cert: Path
    client_key: Path

    @classmethod
    def issue(cls, folder: Path, *names: str, client: str = "admin") -> Certificates:
        """The server's is for `names`, by default for the loopback."""
        folder.mkdir(parents=True, exist_ok=True)
        authority = trustme.CA()
        ca = folder / "ca.pem"
        authority.cert_pem.write_to_path(str(ca))
        paths: list[Path] = []
        for kind, certificate in (
            ("server", authority.issue_cert(*(names or ("127.0.0.1", "localhost")))),
            ("client", authority.issue_cert(f"{client}.example", common_name=client)),
        ):
            cert, key = folder / f"{kind}.pem", folder / f"{kind}-key.pem"
            cert.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
            certificate.private_key_pem.write_to_path(str(key))
            paths += (cert, key)
        return cls(ca, *paths)


class Etcd:
    """
    One server, in a folder of its own. `start` waits until it answers.
    """

    def __init__(
        self,
        program: Path,
        folder: Path,
        *arguments: str,
        certificates: Certificates | None = None,
        ask_clients: bool = False,
    ) -> None:
        self.program = program
        self.folder = folder
        self.name = folder.name
        self.certificates = certificates
        self.port, self.peer_port, self.metrics_port = free_ports(3)
        self.initial_cluster = f"{self.name}={self.peer_url}"
        self._arguments = arguments
        self._ask_clients = ask_clients
        self._running: Running | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        scheme = "http" if self.certificates is None else "https"
        return f"{scheme}://127.0.0.1:{self.port}"

    @property
    def peer_url(self) -> str:
        return f"http://127.0.0.1:{self.peer_port}"

    @property
    def pid(self) -> int:
        """Of the process, once it has been launched."""
        assert self._running is not None
        return self._running.process.pid

    def command(self) -> list[str | Path]:
        flags = {
            "name": self.name,
            "data-dir": self.folder / "data",
            "listen-client-urls": self.url,
            "advertise-client-urls": self.url,
            "listen-peer-urls": self.peer_url,
            "initial-advertise-peer-urls": self.peer_url,
            "initial-cluster": self.initial_cluster,
            "listen-metrics-urls": f"http://127.0.0.1:{self.metrics_port}",
        }
        if self.certificates is not None:
            flags |= {"cert-file": self.certificates.server_cert, "key-file": self.certificates.server_key}
            if self._ask_clients:
                flags |= {"trusted-ca-file": self.certificates.ca}
        command: list[str | Path] = [self.program, "--unsafe-no-fsync", *self._arguments]
        if self._ask_clients:
            command.append("--client-cert-auth")
        for name, value in flags.items():
            command += (f"--{name}", str(value))
        return command

    def launch(self) -> None:
        """Start it without waiting for it."""
        self._running = Running(self.command(), self.folder / "log")

    def start(self) -> None:
        """Start it, on what it had before if it ran before."""
        self.launch()
        self.wait()

    def wait(self) -> None:
        assert self._running is not None
        self._running.until(self._healthy, f"etcd {self.name}")

    def _healthy(self) -> bool:
        url = f"http://127.0.0.1:{self.metrics_port}/health"
        with urllib.request.urlopen(url, timeout=2) as answer:
            told: dict[str, str] = json.load(answer)
        return told["health"] == "true"

    def stop(self) -> None:
        """End it cleanly."""
        if self._running is not None:
            self._running.stop()

    def kill(self) -> None:
        """End it at once, as `kill -9` does."""
        assert self._running is not None
        self._running.process.kill()
        self._running.process.wait()

    def ctl(self, *arguments: str) -> str:
        """What etcdctl says, asked without TLS or with the client's certificate."""
        command: list[str | Path] = [servers.binary("etcdctl"), "--endpoints", self.url]
        if self.certificates is not None:
            files = self.certificates
            command += ("--cacert", files.ca, "--cert", files.client_cert, "--key", files.client_key)
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def add_users(self, roles: dict[str, Sequence[str]]) -> None:
        """
        Ask for users from now on: `root`, and one a role, whose password is his name, with what he may read:
        keys, and prefixes, which end with a `*`.
        """
        for name in ("root", *roles):
            self.ctl("user", "add", f"{name}:{name}")
        for name, readable in roles.items():
            self.ctl("role", "add", name)
            for each in readable:
                self.allow(name, "read", each)
            self.ctl("user", "grant-role", name, name)
        self.ctl("user", "grant-role", "root", "root")
        self.ctl("auth", "enable")

    def allow(self, role: str, what: str, keys: str, *, user: str = "") -> None:
        """
        Let a role do something with a key, or with a prefix, which ends with a `*`.

        Args:
            user: Who says so, with the same password, once users are asked for.
        """
        key = keys.removesuffix("*")
        as_whom = ("--user", f"{user}:{user}") if user else ()
        self.ctl(
            *as_whom, "role", "grant-permission", role, f"--prefix={str(key != keys).lower()}", what, key
        )


def three_nodes(program: Path, folder: Path, *arguments: str) -> list[Etcd]:
    """One store of three servers, started."""
    nodes = [Etcd(program, folder / f"node{number}", *arguments) for number in range(3)]
    for node in nodes:
        node.initial_cluster = ",".join(f"{each.name}={each.peer_url}" for each in nodes)
    for node in nodes:
        node.launch()
    for node in nodes:
        node.wait()
    return nodes
