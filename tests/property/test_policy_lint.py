"""
Rules that are said to decide nothing do decide nothing: with them left out every flow is as before.
"""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from doubles.effort import examples
from doubles.leaving_out import MODES, Cluster, Mode, mesh_of, without
from doubles.policy_fleets import cases
from fleetmesh.policy.lint.covered import covered_rules


@settings(
    max_examples=examples(100),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
@given(cases(), st.sampled_from(MODES))
def test_rules_that_are_covered_make_no_difference(case: dict[str, Any], mode: Mode) -> None:
    mesh = mesh_of(case, mode)
    for name in mesh.members:
        cluster = Cluster(mesh, name)
        found = list(covered_rules(cluster.rules, cluster.known))
        if not found:
            continue
        left_out = {
            next(number for number, rule in enumerate(cluster.rules) if rule is each.rule): each.isolates
            for each in found
        }
        before = cluster.decisions(cluster.rules)
        for number, isolates in (*left_out.items(), (None, False)):
            gone = left_out if number is None else {number: isolates}
            if cluster.decisions(without(cluster.rules, gone)) != before:
                note("\n".join(str(each) for each in found))
                note("\n".join(str(each) for each in cluster.rules))
                note(f"{case['clusters'][name]['config']} without {gone}")
                raise AssertionError("it makes a difference")
