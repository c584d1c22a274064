"""
Reading 5,000 YAML documents, decoded and checked, beside the C YAML parser alone.

The goal is within 1.3 times of `yaml.load_all(text, Loader=yaml.CSafeLoader)`, which stops at plain
dictionaries. Run with `pytest benchmarks/test_manifests_perf.py`; the table shows both.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from fleetmesh.resources import read_manifests

PAIRS = 2_500

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: app-{number}
  namespace: team-{team}
  labels:
    app: app-{number}
    tier: backend
spec:
  replicas: 3
  selector:
    matchLabels:
      app: app-{number}
  template:
    metadata:
      labels:
        app: app-{number}
        tier: backend
    spec:
      serviceAccountName: app
      containers:
      - name: server
        image: "example.com/app:{number}"
        ports:
        - name: http
          containerPort: 8080
        env:
        - name: PORT
          value: "8080"
        resources:
          requests:
            cpu: 100m
            memory: 64Mi
"""
SERVICE = """\
apiVersion: v1
kind: Service
metadata:
  name: app-{number}
  namespace: team-{team}
  annotations:
    service.cilium.io/global: "true"
spec:
  type: ClusterIP
  selector:
    app: app-{number}
  ports:
  - name: http
    port: 80
    targetPort: 8080
    protocol: TCP
"""


@pytest.fixture(scope="module")
def text() -> str:
    return "---\n".join(
        document.format(number=number, team=number % 50)
        for number in range(PAIRS)
        for document in (DEPLOYMENT, SERVICE)
    )


@pytest.mark.benchmark(group="manifests: 5,000 documents")
def test_fleetmesh_reads_decodes_and_checks(benchmark: Any, text: str) -> None:
    read = benchmark.pedantic(read_manifests, (text,), rounds=5, warmup_rounds=1)

    assert len(read.resources) == 2 * PAIRS
    assert not read.problems


@pytest.mark.benchmark(group="manifests: 5,000 documents")
def test_the_c_parser_alone(benchmark: Any, text: str) -> None:
    values = benchmark.pedantic(
        lambda: list(yaml.load_all(text, Loader=yaml.CSafeLoader)), rounds=5, warmup_rounds=1
    )

    assert len(values) == 2 * PAIRS


@pytest.mark.benchmark(group="manifests: a JSON list of 5,000")
def test_fleetmesh_reads_a_json_list(benchmark: Any, text: str) -> None:
    items = list(yaml.load_all(text, Loader=yaml.CSafeLoader))
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": items}, indent=1)

    read = benchmark.pedantic(read_manifests, (listed,), rounds=5, warmup_rounds=1)

    assert len(read.resources) == 2 * PAIRS
