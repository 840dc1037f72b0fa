"""The query language at the command line: `murmesh ls QUERY`, `murmesh run QUERY`, and what changes all devices of a query."""
import json

import pytest

from harness import refused


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    from harness import Mesh
    with Mesh(tmp_path_factory.mktemp("query") / "server") as mesh:
        mesh.first = next(iter(mesh.devices()))
        mesh.web01, mesh.web02 = mesh.join("web01"), mesh.join("web02", mesh.key("--group", "Shop"))
        assert mesh.cli("tag", "name:web*", "+Web", "+eu").returncode == 0
        yield mesh


def names(mesh, *words):
    result = mesh.cli("ls", *words, "--json")
    assert result.returncode == 0, result.stderr
    return {device["full_name"] for device in json.loads(result.stdout)}


def test_group_of_the_key(fleet):
    rows = {row["full_name"]: row for row in fleet.json("ls")}
    assert rows["web02-1"]["group"] == "shop" and rows["web01-1"]["group"] == rows[fleet.first]["group"] == ""
    assert "web" in rows["web01-1"]["tags"] and rows[fleet.first]["tags"] == []


@pytest.mark.parametrize("query, expected", [
    ("tag:web", {"web01-1", "web02-1"}),
    ("tag:WEB group:shop", {"web02-1"}),
    ("tag:web and not group:shop", {"web01-1"}),
    ("web", {"web01-1", "web02-1"}),
    ("name:web*2", {"web02-1"}),
    ("online:no", set()),
    ("tag:web seen:<1m", {"web01-1", "web02-1"}),
    ("tag:web seen:>1m", set()),
    ('group:"" tag:web', {"web01-1"}),
    ("web02-1", {"web02-1"}),
])
def test_ls(fleet, query, expected):
    assert names(fleet, query) == expected


def test_all(fleet):
    assert names(fleet) == names(fleet, "online:yes") == {"web01-1", "web02-1", fleet.first}
    assert names(fleet, "not tag:web") == {fleet.first}


def test_offline(fleet):
    agent = fleet.join("web03")
    assert "web03-1" in names(fleet, "online:yes")
    agent.stop()
    from harness import until
    until(lambda: names(fleet, "online:no") == {"web03-1"}, "web03 to be offline")
    assert names(fleet, "web03 seen:<1h") == {"web03-1"}
    assert fleet.cli("delete", "web03", "--yes").returncode == 0
    assert names(fleet, "online:no") == set()


@pytest.mark.parametrize("query, column", [("tag:", 5), ("web and (tag:web", 9), ("colour:red", 1), ("tag:web or", 11), ("seen:2h", 6)])
def test_wrong(fleet, query, column):
    refused(fleet.cli("ls", query), 2, f"column {column}:")


def test_nothing_by_that_name(fleet):
    refused(fleet.cli("ls", "web77"), 3, "E1017")


def test_dry_run(fleet):
    result = fleet.run("tag:web", "--dry-run", "--json", "--", "touch", "/nowhere/at/all")
    assert result.returncode == 0 and {row["full_name"] for row in json.loads(result.stdout)} == {"web01-1", "web02-1"}


def test_run(fleet):
    result = fleet.run("tag:web", "--", "echo", "here")
    assert result.returncode == 0 and sorted(result.stdout.splitlines()) == ["web01: here", "web02: here"]


def test_a_word_is_a_name_where_something_is_done(fleet):
    """`web` is part of two names, and `web0` could be a typing error."""
    for word in ("web", "web0", "sho"):
        refused(fleet.run(word, "--", "true"), 3, "E1017")
        refused(fleet.cli("tag", word, "+blue"), 3, "E1017")
        refused(fleet.cli("delete", word, "--yes"), 3, "E1017")


def test_groups_and_tags(fleet):
    assert fleet.cli("group", "tag:web", "Lab").returncode == 0
    assert names(fleet, "group:lab") == {"web01-1", "web02-1"}
    assert fleet.cli("group", "group:lab", "-").returncode == 0
    assert names(fleet, "group:lab") == set()
    refused(fleet.cli("group", "web01", "a b"), what="E1009")
    refused(fleet.cli("tag", "web01", "+a*"), what="E1009")
    assert fleet.cli("group", "web02", "shop").returncode == 0
