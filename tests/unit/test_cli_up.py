"""
`fleetmesh up` in a process of its own: it follows files, keeps what it has, and ends when asked to.
"""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest
import yaml

from command_line import EXAMPLES, run
from running_up import PATIENCE, running


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EXAMPLES / "shop", tmp_path / "shop"))


def edit(file: Path, old: str, new: str) -> None:
    """
    Change a file as editors do: written beside its place and renamed into it.
    """
    text = file.read_text()
    assert old in text
    beside = file.with_suffix(".new")
    beside.write_text(text.replace(old, new))
    beside.rename(file)


def test_the_first_line_is_the_state(shop: Path) -> None:
    with running(shop, "-o", "json") as up:
        state = up.event()

    assert state["event"] == "state"
    assert [each["name"] for each in state["members"]] == ["east", "west", "north"]
    assert len(state["services"]) == 6


def test_a_change_of_a_file_says_what_it_moves_for_whom(shop: Path) -> None:
    with running(shop, "-o", "json") as up:
        up.event()
        edit(shop / "west" / "checkout.yaml", "replicas: 3", "replicas: 5")
        change = up.change(rows="checkout")

    assert set(change) == {
        "event",
        "time",
        "generation",
        "files",
        "members",
        "joined",
        "left",
        "rows",
        "flows",
        "traffic",
        "new_findings",
        "settled_findings",
    }
    assert change["event"] == "change"
    assert change["files"] == [str(shop / "west" / "checkout.yaml")]
    assert [row["viewer"] for row in change["rows"]] == ["east", "west", "north"]
    assert {row["name"] for row in change["rows"]} == {"checkout"}
    assert [len(row["backends_in"]) for row in change["rows"]] == [2, 2, 2]
    assert change["rows"][0]["share_after"] == pytest.approx({"east": 0.3, "north": 0.2, "west": 0.5})
    sampled = {row["name"]: row for row in change["traffic"] if row["viewer"] == "east"}
    assert sampled["checkout"]["before"] == sampled["checkout"]["after"]  # open connections stay
    assert (sampled["checkout"]["moved"], sampled["checkout"]["without_backend"]) == (0, 0)


def test_a_change_is_told_in_words(shop: Path) -> None:
    with running(shop) as up:
        up.lines_until("shop/storefront")
        edit(shop / "west" / "checkout.yaml", "replicas: 3", "replicas: 0")
        told = up.lines_until("1 service moved, seen from 3 clusters.")

    assert "west/checkout.yaml" in told
    assert "-3 west" in told


def test_a_file_that_comes_and_goes_brings_and_takes_its_pods(shop: Path) -> None:
    file = shop / "west" / "cart.yaml"
    text = file.read_text()
    with running(shop, "-o", "json") as up:
        up.event()
        file.unlink()
        gone = up.change(rows="cart")
        file.write_text(text)
        back = up.change(rows="cart")

    assert [(row["viewer"], set(row["share_after"])) for row in gone["rows"]] == [("west", {"east", "north"})]
    assert [(row["viewer"], set(row["share_after"])) for row in back["rows"]] == [("west", {"west"})]


def test_a_half_written_file_keeps_what_it_gave_and_is_a_finding(shop: Path) -> None:
    file = shop / "east" / "checkout.yaml"
    text = file.read_text()
    with running(shop, "-o", "json") as up:
        up.event()
        file.write_text(text[: text.index("containers:")] + "containers: [\n")
        broken = up.change(new_findings="manifest-problem")
        file.write_text(text)
        mended = up.change(settled_findings="manifest-problem")

    assert broken["rows"] == []
    assert mended["rows"] == []


@pytest.mark.parametrize("gone", [".", "west"])
def test_a_folder_that_vanishes_keeps_what_it_gave_and_is_a_finding(shop: Path, gone: str) -> None:
    folder, aside = shop / gone, shop.parent / "aside"
    with running(shop, "-o", "json") as up:
        up.event()
        folder.rename(aside)
        lost = up.change(new_findings="source-missing")
        aside.rename(folder)
        back = up.change(settled_findings="source-missing")

    assert lost["rows"] == []
    assert back["rows"] == []


def test_a_cluster_joins_with_an_entry_of_the_fleet_file(shop: Path) -> None:
    shutil.copytree(shop / "north", shop / "south")
    with running(shop, "-o", "json") as up:
        up.event()
        edit(shop / "fleet.yaml", "- name: north", "- {name: south, id: 4}\n- name: north")
        change = up.change(rows="checkout")

    assert change["members"] == ["east", "west", "north", "south"]
    assert (change["joined"], change["left"]) == ({"south": 4}, [])


def test_who_joins_and_leaves_is_told_in_words(shop: Path) -> None:
    (shop / "south").mkdir()
    with running(shop) as up:
        up.lines_until("shop/storefront")
        edit(shop / "fleet.yaml", "- name: north", "- {name: south, id: 4}\n- name: north")
        came = up.lines_until("south joined with cluster id 4.")
        edit(shop / "fleet.yaml", "- {name: south, id: 4}\n", "")
        went = up.lines_until("south left.")

    assert came
    assert went


@pytest.mark.parametrize("form", ["table", "json", "yaml"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(shop: Path, number: signal.Signals, form: str) -> None:
    with running(shop, "-o", form) as up:
        up.line()
        up.process.send_signal(number)

        assert up.process.wait(timeout=PATIENCE) == 0
        assert up.process.stderr is not None
        assert up.process.stderr.read() == ""


def test_a_signal_ends_it_while_its_folder_is_gone(shop: Path) -> None:
    with running(shop, "-o", "json") as up:
        up.event()
        shutil.rmtree(shop)
        up.change(new_findings="source-missing")
        up.process.terminate()

        assert up.process.wait(timeout=PATIENCE) == 0


def test_yaml_is_one_document_each(shop: Path) -> None:
    with running(shop, "-o", "yaml") as up:
        up.lines_until("storefront")
        edit(shop / "west" / "checkout.yaml", "replicas: 3", "replicas: 5")
        text = up.lines_until("settled_findings:")

    assert yaml.safe_load(text[text.index("---\n") :])["event"] == "change"


def test_once_prints_the_state_and_ends(shop: Path) -> None:
    result = run("up", str(shop), "--once", "-o", "json")

    assert result.exit_code == 0
    assert json.loads(result.stdout)["event"] == "state"
    assert result.stdout.count("\n") == 1
