"""
What is left empty in Cilium's policies, and what that means there.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from fleetmesh.findings import Finding, finding
from fleetmesh.policy.labels import K8S, NAMESPACE, LabelKey
from fleetmesh.policy.lint.known import Known
from fleetmesh.policy.reading import Field
from fleetmesh.resources.model import PolicyObject

_KINDS = ("CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy")
_DIRECTIONS = ("ingress", "egress")
_PORTS = ("toPorts", "icmps")
_OPEN = ("toServices", "toFQDNs")
"""Of these an empty list is as if it were not there."""


def empties(known: Known) -> Iterator[Finding]:
    """Of all policies of a cluster that are in force."""
    for policy in known.policies:
        if policy.kind in _KINDS:
            for spec in _specs(policy):
                yield from _Spec(policy, spec, known).findings()


def _specs(policy: PolicyObject) -> Iterator[Field]:
    document = Field("", policy.document)
    if document["spec"].is_set:
        yield document["spec"]
    yield from document["specs"].items()


@attrs.frozen
class _Spec:
    policy: PolicyObject
    spec: Field
    known: Known

    def findings(self) -> Iterator[Finding]:
        yield from self._subject()
        for direction in _DIRECTIONS:
            yield from self._direction(direction)
            yield from self._default_deny(direction)
            for name in (direction, f"{direction}Deny"):
                for rule in self.spec[name].items():
                    yield from self._rule(rule, name)

    def _told(self, code: str, message: str) -> Finding:
        return finding(code, self.policy.subject, message, where=self.policy.origin)

    def _subject(self) -> Iterator[Finding]:
        """A namespace of its own that a policy names is not looked at (pkg/k8s/apis/cilium.io/utils)."""
        if self.policy.kind != "CiliumNetworkPolicy":
            return
        labels = self.spec["endpointSelector"]["matchLabels"]
        for text in labels.object():
            value = labels[text].text()
            if LabelKey.parse(text) == LabelKey(K8S, NAMESPACE) and value != self.policy.namespace:
                yield self._told(
                    "policy-subject-namespace",
                    f"{labels.path} names the namespace {value}, in the place of which its own is taken: it "
                    f"is about pods of {self.policy.namespace}",
                )

    def _rules(self, direction: str) -> list[Field]:
        return [*self.spec[direction].items(), *self.spec[f"{direction}Deny"].items()]

    def _direction(self, direction: str) -> Iterator[Finding]:
        if self.spec[direction].is_set and not self._rules(direction):
            yield self._told(
                "policy-empty-direction",
                f"{self.spec.path}.{direction} is an empty list, which is as if it were not there: it "
                f"refuses no {direction}",
            )

    def _default_deny(self, direction: str) -> Iterator[Finding]:
        given = self.spec["enableDefaultDeny"][direction].value
        path = f"{self.spec.path}.enableDefaultDeny.{direction}"
        if given is True and not self._rules(direction):
            yield self._told(
                "policy-default-deny-idle",
                f"{path} is true, but it has no rule of {direction}: it refuses no {direction}",
            )
        if given is False and self._rules(direction) and not self.known.non_default_deny:
            yield self._told(
                "policy-default-deny-idle",
                f"{path} is false, but disable_non_default_deny is on: {direction} that nothing allows is "
                "refused",
            )

    def _rule(self, rule: Field, name: str) -> Iterator[Finding]:
        said = [each for each in rule.object() if rule[each].is_set]
        verb = "denies" if name.endswith("Deny") else "allows"
        if not said:
            if len(self._rules(name.removesuffix("Deny"))) > 1 or verb == "denies":
                yield self._told(
                    "policy-empty-rule",
                    f"{rule.path} is empty: it {verb} nobody, not everybody",
                )
            return
        for field in said:
            if field in _PORTS or not isinstance(rule[field].value, (list, tuple)) or rule[field].value:
                continue
            if field not in _OPEN:
                yield self._told(
                    "policy-empty-peers",
                    f"{rule.path}.{field} is an empty list: it {verb} nobody, and all that it does is to "
                    "isolate its subject",
                )
            elif any(rule[each].is_set for each in _PORTS):
                yield self._told(
                    "policy-peers-everybody",
                    f"{rule.path}.{field} is an empty list, as if it were not there: it {verb} everybody "
                    "on its ports",
                )
        if verb == "denies" and rule["toServices"].is_set and tuple(rule["toServices"].items()):
            ports = any(rule[each].is_set for each in _PORTS)
            yield self._told(
                "policy-peers-everybody" if ports else "policy-empty-peers",
                f"{rule.path}.toServices is resolved in rules that allow only: it denies "
                + ("everybody on its ports" if ports else "nobody"),
            )
