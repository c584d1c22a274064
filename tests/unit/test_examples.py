"""
Every example loads without an error and is served as its README says.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import fleetmesh as fm
from command_line import EXAMPLES, run
from fleetmesh.cli.examples import examples

EVERY = sorted(path.parent for path in EXAMPLES.glob("*/fleet.yaml"))

BLOCK = re.compile(r"^```console\n\$ fleetmesh ([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHOWN = [
    (path, command, printed)
    for path in sorted(EXAMPLES.glob("*/README.md"))
    for command, printed in BLOCK.findall(path.read_text())
]

SERVED: dict[str, dict[str, dict[str, str]]] = {
    "shop": {
        "shop/cart": {"east": "east 2", "west": "west 2", "north": "north 1"},
        "shop/catalog": dict.fromkeys(("east", "west", "north"), "east 2, west 2"),
        "shop/checkout": dict.fromkeys(("east", "west", "north"), "east 3, north 2, west 3"),
        "shop/orders-db": dict.fromkeys(("east", "west", "north"), "east 2"),
        "shop/orders-db-nodes": {"east": ""},
        "shop/storefront": {"east": "east 2", "west": "west 2", "north": "north 1"},
    },
    "shared-services": {
        "identity/login": dict.fromkeys(("platform", "payments", "search"), "platform 3"),
        "payments/api": {"payments": "payments 2"},
        "search/index": {"search": "search 2"},
        "telemetry/collector": dict.fromkeys(("platform", "payments", "search"), "platform 2"),
        "telemetry/metrics": {
            "platform": "payments 1, platform 1, search 2",
            "payments": "payments 1, platform 1",
            "search": "platform 1, search 2",
        },
    },
    "stateful": {
        "accounts/derived-f3sudcl8ao": dict.fromkeys(("data-a", "data-b", "web"), "data-a 2"),
        "accounts/ledger": dict.fromkeys(("data-a", "data-b", "web"), ""),
        "accounts/ledger-audit": {"data-a": "data-a 2"},
        "accounts/ledger-read": {"data-a": "data-a 2", "data-b": "data-b 1", "web": "data-a 2, data-b 1"},
        "accounts/teller": {"web": "web 3"},
    },
}
SERVED["shop-guarded"] = SERVED["shop"]  # policies take no backend away


def load(example: str) -> fm.Mesh:
    return fm.Mesh.from_directory(EXAMPLES / example)


def served(mesh: fm.Mesh) -> dict[str, dict[str, str]]:
    """
    Service -> viewer -> how many backends of which cluster it uses.
    """
    found: dict[str, dict[str, str]] = {}
    for viewer in mesh.members:
        for namespace, name in mesh.services(viewer):
            used = [each.cluster for each in mesh.service(namespace, name).backends(viewer)]
            told = ", ".join(f"{cluster} {used.count(cluster)}" for cluster in sorted(set(used)))
            found.setdefault(f"{namespace}/{name}", {})[viewer] = told
    return found


def test_every_example_is_tested() -> None:
    assert [path.name for path in EVERY] == sorted(SERVED)


@pytest.mark.parametrize("folder", EVERY, ids=lambda path: path.name)
def test_an_example_loads_without_an_error_and_serves_as_it_says(folder: Path) -> None:
    mesh = load(folder.name)

    assert [str(each) for each in mesh.findings if each.severity == "error"] == []
    assert served(mesh) == SERVED[folder.name]


@pytest.mark.parametrize("folder", EVERY, ids=lambda path: path.name)
def test_an_example_has_only_objects_that_some_rule_reads(folder: Path) -> None:
    assert "unknown-kind" not in {each.code for each in load(folder.name).findings}


def test_each_readme_shows_something() -> None:
    assert {path.parent for path, *_ in SHOWN} == set(EVERY)


@pytest.mark.parametrize(
    ("path", "command", "printed"),
    SHOWN,
    ids=[f"{path.parent.name}: {command}" for path, command, _ in SHOWN],
)
def test_a_readme_shows_what_the_command_prints(
    path: Path, command: str, printed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(EXAMPLES.parent)
    monkeypatch.delenv("COLUMNS", raising=False)

    assert run(*shlex.split(command)).stdout == printed


def test_in_the_shop_a_drained_cart_fails_over_and_comes_back() -> None:
    mesh = load("shop")
    cart = mesh.service("shop", "cart")

    mesh.members["west"].drain()
    assert {each.cluster for each in cart.backends("west")} == {"east", "north"}
    mesh.members["west"].restore()
    assert {each.cluster for each in cart.backends("west")} == {"west"}


def test_tenants_of_shared_services_never_see_each_other() -> None:
    mesh = load("shared-services")

    assert [
        (each.severity, each.code, each.subject) for each in mesh.findings if each.severity != "info"
    ] == [("warning", "tenants-reachable", "Cluster search")]
    assert not any(
        each.cluster == other
        for viewer, other in (("payments", "search"), ("search", "payments"))
        for name in mesh.services(viewer)
        for each in mesh.service(*name).backends(viewer)
    )


def test_replicas_of_the_stateful_example_resolve_by_name_in_every_cluster() -> None:
    mesh = load("stateful")

    for name, length in (
        ("ledger.accounts.svc.cluster.local", 3),
        ("ledger-b-0.ledger.accounts.svc.cluster.local", 1),
        ("ledger-audit.accounts.svc.clusterset.local", 1),
    ):
        for viewer in mesh.members:
            assert len(mesh.resolve(name, seen_from=viewer)) == length


def test_the_demo_finds_the_examples_of_the_checkout() -> None:
    assert examples().samefile(EXAMPLES)


def test_an_installed_package_has_the_examples_within(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "lib" / "site-packages" / "fleetmesh"
    (package / "_examples").mkdir(parents=True)
    (package / "_examples" / "shop").symlink_to(EXAMPLES / "shop")
    monkeypatch.setattr("fleetmesh.cli.examples._PACKAGE", package)

    assert examples() == package / "_examples"


def test_without_examples_the_demo_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fleetmesh.cli.examples._PACKAGE", tmp_path / "lib" / "python3" / "fleetmesh")

    with pytest.raises(fm.FleetmeshError, match="there are no examples"):
        examples()
