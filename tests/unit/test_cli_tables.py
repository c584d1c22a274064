"""
What people read: aligned, within 80 columns, and without colours unless somebody sees them.
"""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
from pathlib import Path

import pytest

from command_line import EXAMPLES, GUARDED, PROGRAM, SHOP, run
from doubles.mesh_manifests import SERVED

EVERY_TABLE = [
    ("demo",),
    ("status", SHOP),
    ("services", str(EXAMPLES / "stateful")),
    ("backends", SHOP, "shop/checkout"),
    ("resolve", str(EXAMPLES / "stateful"), "ledger.accounts.svc.cluster.local"),
    ("explain", SHOP, "shop/cart"),
    ("compare", SHOP, "--fail", "east"),
    ("compare", SHOP, "--with", str(EXAMPLES / "stateful")),
    ("compare", SHOP, "--with", GUARDED),
    ("up", SHOP, "--once"),
]


def words(text: str) -> str:
    """
    The text without its line breaks.
    """
    return " ".join(text.split())


@pytest.mark.parametrize("arguments", EVERY_TABLE, ids=" ".join)
def test_a_table_keeps_within_80_columns_and_has_no_escape_codes(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(EXAMPLES.parent)
    monkeypatch.delenv("COLUMNS", raising=False)

    result = run(*(argument.replace(f"{EXAMPLES.parent}/", "") for argument in arguments))

    assert result.exit_code == 0
    lines = [line for line in result.stdout.splitlines() if not line.startswith("$ ")]
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in result.stdout
    assert all(line == line.rstrip() for line in lines)


def test_columns_are_aligned() -> None:
    head, *rows = run("status", SHOP).stdout.splitlines()[2:6]

    assert [row[head.index("HEARS") :].split()[0] for row in rows] == ["all"] * 3
    assert [row[: head.index("ID") + 2].split() for row in rows] == [
        ["east", "1"],
        ["west", "2"],
        ["north", "3"],
    ]


def test_clusters_that_see_the_same_stand_together() -> None:
    rows = [line.split() for line in run("services", SHOP).stdout.splitlines()]

    assert ["shop/checkout", "all", "all", "east", "3,", "north", "2,", "west", "3"] in rows
    assert ["west", "west", "2"] in rows


def test_a_comparison_names_what_is_left_without_backends() -> None:
    text = words(run("compare", SHOP, "--fail", "east").stdout)

    assert "east: cut off or gone, sees nothing" in text
    assert "Left without any backend: shop/orders-db in west, north." in text
    assert "east 100% nobody -2 east" in text


def test_compare_names_a_witness_and_the_rule_of_flows_that_are_lost() -> None:
    text = words(run("compare", SHOP, "--with", GUARDED).stdout)

    assert "lost all ports but TCP 5432, " in text
    assert "from shop/checkout in east, west, north to shop/orders-db in east why spec.ingress[0] of" in text
    assert "which is new, isolates east/shop/orders-db-0, and no rule allows it" in text
    assert "flows lost, of" in text


def test_compare_prints_a_few_flows_and_counts_the_rest(tmp_path: Path) -> None:
    policies = [
        f"""
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {{name: p{number}, namespace: shop}}
spec:
  endpointSelector: {{matchLabels: {{app.kubernetes.io/name: cart}}}}
  egress: [{{toEntities: [all], toPorts: [{{ports: [{{port: "{80 + number}", protocol: TCP}}]}}]}}]
"""
        for number in range(12)
    ]
    before, after = tmp_path / "before", tmp_path / "after"
    for folder, given in ((before, policies[:1]), (after, policies)):
        shutil.copytree(SHOP, folder)
        (folder / "east" / "policies.yaml").write_text("---".join(given))

    text = words(run("compare", str(before), "--with", str(after)).stdout)

    assert text.count("gained TCP") == 8
    assert "gained 3 more, " in text
    assert "-o json has all of them" in text


def test_an_explanation_says_in_words_why_a_backend_is_out_and_what_would_change_it() -> None:
    text = words(run("explain", SHOP, "shop/cart", "--seen-from", "north").stdout)

    assert 'north\'s Service is annotated service.cilium.io/affinity: "local"' in text
    assert "fix: change the annotation in north" in text


def test_backends_say_why_there_are_none() -> None:
    text = words(run("backends", SHOP, "shop/orders-db-nodes").stdout)

    assert "Seen from east: no frontend; addresses of a headless Service come from DNS" in text
    assert "Seen from west, north: there is no Service of that name" in text


def test_a_path_in_a_finding_is_never_broken(tmp_path: Path) -> None:
    folder = tmp_path / ("deep-" * 12) / ("and-deeper-" * 6)
    folder.mkdir(parents=True)
    (folder / "web.yaml").write_text(
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n"
        '  annotations: {service.cilium.io/global: "true", service.cilium.io/affinity: near}\nspec: {}\n'
    )

    assert f"at {folder}/web.yaml:1\n" in run("findings", str(folder)).stdout


def test_more_columns_are_used_where_there_are_more() -> None:
    wide = run("explain", SHOP, "shop/cart", env={"COLUMNS": "160"}).stdout

    assert 80 < max(map(len, wide.splitlines())) <= 160


def on_terminal(**environment: str) -> str:
    """
    What `findings` writes to a terminal.
    """
    ours, theirs = pty.openpty()
    env = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "CI")}
    process = subprocess.Popen(
        [*PROGRAM, "findings", str(EXAMPLES / "shared-services")],
        stdout=theirs,
        stderr=theirs,
        env={**env, "TERM": "xterm-256color", **environment},
    )
    os.close(theirs)
    written = b""
    while chunk := _read(ours):
        written += chunk
    os.close(ours)
    assert process.wait(timeout=30) == 0
    return written.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux tells that the other side is closed
        return b""


def test_a_terminal_gets_colours() -> None:
    assert "\x1b[33mwarning" in on_terminal()


def test_no_color_is_respected_on_a_terminal() -> None:
    assert "\x1b[3" not in on_terminal(NO_COLOR="1")


def test_a_finding_about_a_file_names_it_once_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "web.yaml").write_text("apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: 7\n")
    (tmp_path / "latin.yaml").write_bytes(b"\xff")

    result = run("findings", str(tmp_path), "--severity", "error", env={"COLUMNS": "200"})

    said = "error    web.yaml: spec: expected a mapping, got the number 7 (manifest-problem)"
    assert f"{said}\n         at {tmp_path}/web.yaml:4\n" in result.stdout
    assert result.stdout.count(str(tmp_path / "web.yaml")) == 1
    assert f"         at {tmp_path}/latin.yaml" in result.stdout


def test_findings_are_counted_with_the_command_that_shows_them(tmp_path: Path) -> None:
    (tmp_path / "web.yaml").write_text("apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: 7\n")

    text = words(run("status", str(tmp_path)).stdout)

    assert f"Findings: 1 error, 1 info; see: fleetmesh findings {tmp_path}" in text


def test_where_there_are_no_findings_none_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text("clusters: [{name: a, id: 1, manifests: []}]\n")

    assert run("status", str(tmp_path)).stdout.splitlines()[-1] == "Findings: none"


def test_a_mesh_in_which_nobody_hears_anybody_says_so(tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text("topology: ring\nclusters: [{name: a, id: 1}, {name: b, id: 2}]\n")

    result = run("status", str(tmp_path))

    assert f"Mesh {tmp_path.name}: 2 clusters, none hears another, mode cilium" in words(result.stdout)


def test_a_command_that_is_shown_is_never_broken(tmp_path: Path) -> None:
    folder = tmp_path / ("long-" * 16)
    folder.mkdir()
    (folder / "web.yaml").write_text("kind: [")

    lines = run("status", str(folder)).stdout.splitlines()

    assert lines[-1].endswith(f"; see: fleetmesh findings {folder}")


def test_clusters_that_keep_to_themselves_share_a_row_where_there_are_many(tmp_path: Path) -> None:
    for number in range(1, 7):
        folder = tmp_path / f"c{number}"
        folder.mkdir()
        (folder / "x.yaml").write_text(SERVED.replace("service.cilium.io/global", "example.com/not"))

    rows = [line.split() for line in run("services", str(tmp_path)).stdout.splitlines()]

    assert rows[1:] == [["shop/web", "-", "all", "2", "of", "its", "own"]]
