"""
Asks the oracles (Cilium's own control plane, and its policy engine) about fleets.
"""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

from real import servers


def ask(cases: list[dict[str, Any]], repeat: int = 1) -> list[dict[str, Any]]:
    """
    The cases with Cilium's answers, other answers of repeated runs as `alternatives`.

    A case that Cilium did not settle on in time (on a busy machine) comes back without.
    """
    program = servers.binary("merge-oracle")
    done = subprocess.run(
        [program, "-repeat", str(repeat), "-j", str(os.cpu_count() or 1)],
        input=json.dumps({"cases": cases}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    answered: list[dict[str, Any]] = json.loads(done.stdout)["cases"]
    return answered


def verdicts(cases: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """
    The cases of policies with Cilium's answers, and by the id of those that it can't resolve why.
    """
    done = subprocess.run(
        [servers.binary("policy-oracle")],
        input=json.dumps({"cases": cases}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    failed = dict(line.split(" ", 1) for line in done.stderr.splitlines())
    answered: list[dict[str, Any]] = json.loads(done.stdout)["cases"]
    return [case for case in answered if case["id"] not in failed], failed
