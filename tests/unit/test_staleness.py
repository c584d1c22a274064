"""
Which services are served by what is remembered of clusters that are not heard any more.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import fleetmesh as fm
from fleetmesh.cli.remotes import age
from fleetmesh.state.remote_status import Phase, RemoteStatus
from fleetmesh.state.staleness import StaleService, stale_services

SHOP = Path(__file__).parents[2] / "examples" / "shop"


def status(name: str, stale_for: float) -> RemoteStatus:
    phase: Phase = "stale" if stale_for else "ready"
    return RemoteStatus(
        name=name,
        cluster_id=1,
        phase=phase,
        connected=not stale_for,
        ready=not stale_for,
        store_id="",
        config=None,
        kinds={},
        failures=0,
        last_failure=0,
        last_error="",
        last_heartbeat_age=None,
        stale_for=stale_for,
        revocations=0,
        rejected=0,
        findings=(),
    )


def shop(*own: str) -> fm.Mesh:
    """The shop with some members of this process, and the others heard."""
    whole, mesh = fm.Mesh.from_directory(SHOP), fm.Mesh.from_directory(SHOP, only=own)
    for name, member in mesh.members.items():
        if member.outside:
            member.hear(put=whole.members[name].records())
    return mesh


def found(mesh: fm.Mesh, **ages: float) -> list[StaleService]:
    return list(stale_services(mesh, {name: status(name, seconds) for name, seconds in ages.items()}))


def test_services_with_backends_of_a_stale_cluster_are_named_with_who_uses_them_and_since_when() -> None:
    stale = found(shop("east", "north"), west=75.0)

    assert [(each.name, each.cluster, each.backends, each.seen_from, each.stale_for) for each in stale] == [
        ("catalog", "west", 2, ("east", "north"), 75.0),  # both keep to their own of cart
        ("checkout", "west", 3, ("east", "north"), 75.0),
    ]


def test_who_only_listens_sees_for_all() -> None:
    stale = found(shop(), west=75.0)

    assert {each.seen_from for each in stale} == {("east", "west", "north")}


@pytest.mark.parametrize("ages", [{}, {"west": 0.0}, {"nobody": 75.0}, {"east": 75.0}])
def test_what_is_heard_or_run_here_or_unknown_is_not_stale(ages: dict[str, Any]) -> None:
    assert found(shop("east", "north"), **ages) == []


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h"), (172_800, "2 d")],
)
def test_ages_in_words(seconds: float, words: str) -> None:
    assert age(seconds) == words
