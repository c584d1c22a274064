"""
Manifests that the tests of meshes share.
"""

from __future__ import annotations


def service(name: str = "web", *, namespace: str = "shop", spec: str = "", **annotations: str) -> str:
    """A Service that selects `app: NAME`, global unless told otherwise; `spec` is more lines of its spec."""
    said = {"global": "true", **annotations}
    lines = "".join(f'\n    service.cilium.io/{key}: "{value}"' for key, value in said.items())
    more = "".join(f"\n  {line}" for line in spec.splitlines())
    return f"""---
apiVersion: v1
kind: Service
metadata:
  name: {name}
  namespace: {namespace}
  annotations:{lines}
spec:
  selector: {{app: {name}}}
  ports: [{{name: http, port: 80, targetPort: http}}]{more}
"""


def deployment(
    name: str = "web", *, replicas: int = 2, namespace: str = "shop", kind: str = "Deployment"
) -> str:
    """A workload whose pods are `app: NAME` and serve on the port 8080, named http."""
    count = "" if kind == "DaemonSet" else f"\n  replicas: {replicas}"
    return f"""---
apiVersion: apps/v1
kind: {kind}
metadata: {{name: {name}, namespace: {namespace}}}
spec:{count}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      containers: [{{name: main, image: example, ports: [{{name: http, containerPort: 8080}}]}}]
"""


def endpoint_slice(name: str, address: str, *, service_name: str = "web", namespace: str = "shop") -> str:
    """A declared slice of one ready endpoint on port 8080, named http."""
    return f"""---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {name}
  namespace: {namespace}
  labels: {{kubernetes.io/service-name: {service_name}}}
addressType: IPv4
endpoints: [{{addresses: ["{address}"], conditions: {{ready: true}}}}]
ports: [{{name: http, port: 8080}}]
"""


def pod(name: str, address: str = "", *, app: str = "web", namespace: str = "shop") -> str:
    """A declared pod."""
    status = f'\nstatus: {{podIPs: [{{ip: "{address}"}}]}}' if address else ""
    return f"""---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {namespace}, labels: {{app: {app}}}}}
spec:
  containers: [{{name: main, image: example, ports: [{{name: http, containerPort: 8080}}]}}]{status}
"""


SERVED = service() + deployment()
