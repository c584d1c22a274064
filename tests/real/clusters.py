"""
Real clusters for tests: Kubernetes' API server, with Cilium's clustermesh-apiserver beside it.

No kubelet, no controllers: objects are what a test applies, and who publishes them is Cilium. The flags are
those with which Kubernetes' own tests start an API server (sigs.k8s.io/controller-runtime, envtest).
"""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from real import servers
from real.etcd_server import Etcd
from real.processes import Running, free_ports

_TOKEN = "fleetmesh-test-token"  # opens nothing but a server of this test, on the loopback

# Kind -> how it is called in the paths of the API.
_PLURALS = {
    "Namespace": "namespaces",
    "Node": "nodes",
    "Pod": "pods",
    "Service": "services",
    "EndpointSlice": "endpointslices",
    "CustomResourceDefinition": "customresourcedefinitions",
    "CiliumNode": "ciliumnodes",
    "CiliumIdentity": "ciliumidentities",
    "CiliumEndpoint": "ciliumendpoints",
    "CiliumEndpointSlice": "ciliumendpointslices",
    "ServiceExport": "serviceexports",
}
_STATUS_APART = ("Pod", "Node", "Service")  # their status is written by itself

# What clustermesh-apiserver waits for or watches (pkg/k8s/synced/crd.go).
_CRDS = (
    "v2/ciliumnodes.yaml",
    "v2/ciliumidentities.yaml",
    "v2/ciliumendpoints.yaml",
    "v2alpha1/ciliumendpointslices.yaml",
)


class KubeApiServer:
    """
    An API server that keeps its objects in an etcd.

    Attributes:
        url: Where it is.
        kubeconfig: A file that says so to other programs.
    """

    def __init__(self, folder: Path, etcd: str, number: int = 1) -> None:
        """
        Start one, and wait until it serves.

        Args:
            folder: For its certificates and its log.
            etcd: Where its etcd is, such as http://127.0.0.1:2379.
            number: Tells the ranges of Services of several clusters apart.
        """
        certificates = folder / "apiserver"
        certificates.mkdir()
        tokens = folder / "tokens.csv"
        tokens.write_text(f"{_TOKEN},admin,admin-uid,system:masters\n")
        (port,) = free_ports(1)
        self.url = f"https://127.0.0.1:{port}"
        # The server signs with the key that it makes for itself at its start.
        key = certificates / "apiserver.key"
        self._running = Running(
            [
                servers.binary("kube-apiserver"),
                f"--etcd-servers={etcd}",
                f"--cert-dir={certificates}",
                "--bind-address=127.0.0.1",
                "--advertise-address=127.0.0.1",
                f"--secure-port={port}",
                f"--service-cluster-ip-range=10.{95 + number}.0.0/16,fd00:{95 + number}::/112",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={key}",
                f"--service-account-signing-key-file={key}",
                f"--token-auth-file={tokens}",
                "--authorization-mode=AlwaysAllow",
                "--anonymous-auth=false",
                "--disable-admission-plugins=ServiceAccount",
                "--endpoint-reconciler-type=none",
                "--enable-priority-and-fairness=false",
                "--allow-privileged=true",
            ],
            folder / "kube-apiserver.log",
        )
        # It signed its certificate itself, a moment ago.
        self._tls = ssl.create_default_context()
        self._tls.check_hostname = False
        self._tls.verify_mode = ssl.CERT_NONE
        self._running.until(self._ready, "kube-apiserver")
        self.kubeconfig = folder / "kubeconfig"
        self.kubeconfig.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [
                        {"name": "c", "cluster": {"server": self.url, "insecure-skip-tls-verify": True}}
                    ],
                    "users": [{"name": "u", "user": {"token": _TOKEN}}],
                    "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                    "current-context": "x",
                }
            )
        )

    def apply(self, objects: Iterable[dict[str, Any]]) -> None:
        """Create each object, or put it in the place of the one that is there; their status too."""
        for each in objects:
            self._apply(each)

    def objects(self, examples: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """All objects that it has of the kinds of these, as it gives them."""
        kinds = {(each["apiVersion"], each["kind"]) for each in examples}
        found = []
        for version, kind in sorted(kinds):
            answer = self.call("GET", _collection({"apiVersion": version, "kind": kind, "metadata": {}}))
            found += [{**each, "apiVersion": version, "kind": kind} for each in answer["items"]]
        return found

    def delete(self, resource: dict[str, Any]) -> None:
        """Take an object away; only its names are looked at."""
        self.call("DELETE", f"{_collection(resource)}/{resource['metadata']['name']}")

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """
        One request.

        Raises:
            urllib.error.HTTPError: It was refused.
        """
        request = urllib.request.Request(
            f"{self.url}/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {_TOKEN}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30, context=self._tls) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def define(self, definitions: Iterable[Path]) -> None:
        """Add custom resource definitions, and wait until their kinds are served."""
        names = []
        for path in definitions:
            definition = yaml.safe_load(path.read_text())
            # Cilium compares the version of a schema with its own, and writes no older one over a newer one.
            definition["metadata"].setdefault("labels", {})["io.cilium.k8s.crd.schema.version"] = "99.0.0"
            self._apply(definition)
            names.append(definition["metadata"]["name"])
        self._running.until(lambda: all(map(self._established, names)), "custom resource definitions")

    def stop(self) -> None:
        self._running.stop()

    def _apply(self, wanted: dict[str, Any]) -> None:
        kind, name = wanted["kind"], wanted["metadata"]["name"]
        collection = _collection(wanted)
        try:
            made = self.call("POST", collection, wanted)
        except urllib.error.HTTPError as error:
            if error.code not in (409, 422):
                raise AssertionError(f"{kind} {name}: {error.read().decode(errors='replace')}") from error
            # It is there; of a Service its own address is said to be taken before that.
            old = self.call("GET", f"{collection}/{name}")
            version = {"resourceVersion": old["metadata"]["resourceVersion"]}
            wanted = {**wanted, "metadata": {**wanted["metadata"], **version}}
            made = self.call("PUT", f"{collection}/{name}", wanted)
        if kind in _STATUS_APART and "status" in wanted:
            self.call("PUT", f"{collection}/{name}/status", {**made, "status": wanted["status"]})

    def _established(self, name: str) -> bool:
        path = f"apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}"
        conditions = self.call("GET", path)["status"].get("conditions")
        return any(each["type"] == "Established" and each["status"] == "True" for each in conditions or ())

    def _ready(self) -> bool:
        request = urllib.request.Request(f"{self.url}/readyz", headers={"Authorization": f"Bearer {_TOKEN}"})
        with urllib.request.urlopen(request, timeout=5, context=self._tls) as answer:
            return bool(answer.read() == b"ok")


def _collection(resource: dict[str, Any]) -> str:
    version, namespace = resource["apiVersion"], resource["metadata"].get("namespace", "")
    root = f"{'apis' if '/' in version else 'api'}/{version}"
    return f"{root}/{f'namespaces/{namespace}/' if namespace else ''}{_PLURALS[resource['kind']]}"


class Cluster:
    """
    A cluster whose state Cilium publishes: its own etcd, API server and clustermesh-apiserver. Its objects
    and the keys that others hear are in the one etcd.

    Attributes:
        etcd: Where its etcd is.
    """

    def __init__(self, folder: Path, name: str, cluster_id: int, *, mcs_api: bool = False) -> None:
        """Start its etcd and its API server, with Cilium's kinds; `publish` starts Cilium."""
        self.name, self.cluster_id, self.mcs_api = name, cluster_id, mcs_api
        self._folder = folder
        folder.mkdir()
        with ExitStack() as stack:
            etcd = Etcd(servers.binary("etcd"), folder / "etcd")
            stack.callback(etcd.stop)
            etcd.start()
            self.etcd = etcd.url
            self.api = KubeApiServer(folder, self.etcd, cluster_id)
            stack.callback(self.api.stop)
            cilium = servers.module_folder("github.com/cilium/cilium")
            crds = [cilium / "pkg/k8s/apis/cilium.io/client/crds" / each for each in _CRDS]
            if mcs_api:
                crds += sorted((servers.module_folder("sigs.k8s.io/mcs-api") / "config/crd").glob("*.yaml"))
            self.api.define(crds)
            self._stack = stack.pop_all()

    def publish(self, *flags: str) -> None:
        """Start clustermesh-apiserver: its state is in the etcd once `cilium/synced/...` is."""
        (health,) = free_ports(1)
        running = Running(
            [
                servers.binary("clustermesh-apiserver"),
                "clustermesh",
                f"--cluster-name={self.name}",
                f"--cluster-id={self.cluster_id}",
                f"--k8s-kubeconfig-path={self.api.kubeconfig}",
                f"--kvstore-opt=etcd.address={self.etcd}",
                f"--health-port={health}",
                "--enable-gops=false",
                f"--shell-sock-path={self._folder / 'shell.sock'}",
                *(
                    ("--clustermesh-enable-mcs-api", "--clustermesh-mcs-api-install-crds=false")
                    * self.mcs_api
                ),
                *flags,
            ],
            self._folder / "clustermesh-apiserver.log",
        )
        self._stack.callback(running.stop)
        running.until(lambda: _answers_ok(f"http://127.0.0.1:{health}/readyz"), "clustermesh-apiserver")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


class KubeControllerManager:
    """The controllers of a cluster that make EndpointSlices; no kubelet or scheduler is needed for them."""

    def __init__(self, folder: Path, api: KubeApiServer) -> None:
        (port,) = free_ports(1)
        certificates = folder / "controller-manager"
        certificates.mkdir()
        self._running = Running(
            [
                servers.binary("kube-controller-manager"),
                f"--kubeconfig={api.kubeconfig}",
                "--leader-elect=false",
                "--bind-address=127.0.0.1",
                f"--secure-port={port}",
                f"--cert-dir={certificates}",
                "--controllers=endpointslice-controller",
                "--use-service-account-credentials=false",
                "--authentication-skip-lookup=true",
            ],
            folder / "kube-controller-manager.log",
        )

    def stop(self) -> None:
        self._running.stop()


class KvStoreMesh:
    """
    Cilium's mirror of remote clusters into an etcd.

    Attributes:
        remotes: A folder with one file a remote cluster, `add` writes them; they are picked up as it runs.
    """

    def __init__(self, folder: Path, name: str, cluster_id: int, etcd: str) -> None:
        folder.mkdir()
        self.remotes = folder / "remotes"
        self.remotes.mkdir()
        health, api = free_ports(2)
        self._api = f"http://127.0.0.1:{api}"
        self._running = Running(
            [
                servers.binary("clustermesh-apiserver"),
                "kvstoremesh",
                f"--cluster-name={name}",
                f"--cluster-id={cluster_id}",
                f"--clustermesh-config={self.remotes}",
                f"--kvstore-opt=etcd.address={etcd}",
                f"--health-port={health}",
                f"--api-serve-addr=127.0.0.1:{api}",
                "--enable-gops=false",
                f"--shell-sock-path={folder / 'shell.sock'}",
                "--per-cluster-ready-timeout=5s",
                "--global-ready-timeout=20s",
            ],
            folder / "kvstoremesh.log",
        )

    def add(self, name: str, etcd: str) -> None:
        """Have it mirror a cluster."""
        (self.remotes / name).write_text(f"endpoints:\n- {etcd}\n")

    def status(self, name: str) -> dict[str, Any] | None:
        """What its API says of a remote cluster, `None` before it knows of it."""
        with urllib.request.urlopen(f"{self._api}/v1/cluster", timeout=5) as answer:
            found = {each["name"]: each for each in json.load(answer) or ()}
        return found.get(name)

    def until_ready(self, name: str) -> dict[str, Any]:
        """Wait until a remote cluster is ready, and say what its API says of it."""
        self._running.until(lambda: bool((self.status(name) or {}).get("ready")), f"kvstoremesh of {name}")
        found = self.status(name)
        assert found is not None
        return found

    def stop(self) -> None:
        self._running.stop()


def _answers_ok(url: str) -> bool:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return bool(answer.status == 200)
