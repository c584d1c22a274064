"""
Cells stay small, however many clusters there are.
"""

from __future__ import annotations

from fleetmesh.cli.words import counted, listed, numbers, place, shares

MANY = {f"c{number}": number for number in range(1, 11)}


def test_everybody_is_all_but_one_cluster_alone_is_named() -> None:
    assert listed(["b", "a"], ["a", "b"]) == "all"
    assert listed(["a"], ["a"]) == "a"


def test_nobody_is_a_dash() -> None:
    assert listed([]) == "-"


def test_of_many_names_some_are_left_out_but_never_just_one() -> None:
    assert listed(list("abcde")) == "a, b, c, d, e"
    assert listed(list("abcdef")) == "a, b, c, d and 2 more"


def test_many_clusters_are_summed_up() -> None:
    assert numbers({"east": 2, "west": 1}) == "east 2, west 1"
    assert numbers(MANY) == "55 in 10 clusters"


def test_of_many_shares_the_largest_are_shown() -> None:
    parts = {name: number / 55 for name, number in MANY.items()}

    assert shares(parts) == "c7 13%\nc8 15%\nc9 16%\nc10 18%\nand 6 more"
    assert shares({}) == ""


def test_small_phrases() -> None:
    assert (counted(1, "cluster"), counted(2, "cluster")) == ("1 cluster", "2 clusters")
    assert (place("10.1.0.9", 80), place("fd00::9", 80)) == ("10.1.0.9:80", "[fd00::9]:80")
