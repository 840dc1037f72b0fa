"""Commands about devices, users and the audit log: show, rename, group, tag, delete, user, audit, and queries in ls and run."""
import hashlib
import json
import os
import re
import threading

import pytest

from harness import Agent, Mesh, refused, until
from people import Elsewhere, database, password_give


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    """app1 and app2 in the group shop, db1 in lab, and this machine in none."""
    with Mesh(tmp_path_factory.mktemp("fleet") / "server") as mesh:
        for name in ("app1", "app2", "db1"):
            mesh.join(name)
        good(mesh.cli("group", "name:app*", "shop"))
        good(mesh.cli("group", "db1", "lab"))
        good(mesh.cli("tag", "name:app*", "+web"))
        yield mesh


@pytest.fixture
def away(tmp_path):
    return Elsewhere(tmp_path / "home")


def good(result):
    assert result.returncode == 0, result.stderr
    return result


def names(mesh, *query):
    return sorted(device["name"] for device in mesh.json("ls", *query))


def lines(result):
    """Rows of tab-separated values as dictionaries."""
    head, *rows = [line.split("\t") for line in result.stdout.splitlines()]
    return [dict(zip(head, row)) for row in rows]


# ---- queries ----

@pytest.mark.parametrize("query, found", [
    ("tag:web", ["app1", "app2"]),
    ("group:lab or app2", ["app2", "db1"]),
    ("not group:shop not group:lab", None),
    ("name:app* -app1", ["app2"]),
    ("tag:nothing", []),
    ("online:no", []),
    ("app1", ["app1"]),
    ("app", ["app1", "app2"]),
])
def test_ls_takes_a_query(fleet, query, found):
    local = [name for name in names(fleet) if name not in ("app1", "app2", "db1")]
    assert names(fleet, query) == (local if found is None else found)


def test_ls_in_all_forms(fleet):
    table = lines(good(fleet.cli("ls", "tag:web")))
    assert [(row["name"], row["group"], row["tags"], row["online"]) for row in table] == [("app1", "shop", "web", "yes"), ("app2", "shop", "web", "yes")]
    assert [device["tags"] for device in fleet.json("ls", "tag:web")] == [["web"], ["web"]]
    assert [json.loads(line)["group"] for line in good(fleet.cli("ls", "tag:web", "--jsonl")).stdout.splitlines()] == ["shop", "shop"]
    assert "no device matches" in good(fleet.cli("ls", "tag:none")).stderr


def test_wrong_query(fleet):
    for query in ("tag:", "(tag:web", "colour:red", "seen:yesterday"):
        result = fleet.cli("ls", query)
        refused(result, 2, "E1032")
        assert "column" in result.stderr
        refused(fleet.cli("tag", query, "+x"), 2, "E1032")
        refused(fleet.cli("run", query, "--", "true"), 2, "E1032")
    refused(fleet.cli("ls", "x" * 2000), None, "E1002")


def test_empty_query(fleet):
    """As an empty variable of a script has it: nothing, instead of all."""
    for query in ("", " ", "\t"):
        for words in (("delete", query, "--yes"), ("tag", query, "+x"), ("group", query, "x"), ("run", query, "--", "true")):
            refused(fleet.cli(*words), 2)
    refused(fleet.cli("run", "app1,,app2", "--", "true"), 2, "E1032")
    assert len(names(fleet, "name:*")) == len(names(fleet)) == 4


def test_run_takes_a_query(fleet):
    result = good(fleet.cli("run", "tag:web", "--", "echo", "hello"))
    assert sorted(result.stdout.splitlines()) == ["app1: hello", "app2: hello"] and result.stderr == "2 devices\n"
    assert sorted(good(fleet.cli("run", "db1, tag:web, app1", "--", "true")).stderr.splitlines()) == ["3 devices"]
    assert good(fleet.cli("run", "db1", "-q", "--", "echo", "alone")).stdout == "alone\n"
    assert fleet.cli("run", "tag:web", "--", "sh", "-c", "exit 3").returncode == 7


def test_run_dry(fleet, tmp_path):
    result = good(fleet.cli("run", "tag:web", "--dry-run", "--", "touch", tmp_path / "ran"))
    assert [row["name"] for row in lines(result)] == ["app1", "app2"] and not (tmp_path / "ran").exists()
    assert [row["name"] for row in json.loads(good(fleet.cli("run", "-n", "db1", "--json")).stdout)] == ["db1"]
    refused(fleet.cli("run", "tag:web"), 2, "there is no command")
    refused(fleet.cli("run", "tag:none", "--dry-run"), 3)


def test_a_word_alone_names_one_device(fleet):
    """Where something is done, part of a name is not enough."""
    for words in (("run", "app", "--", "true"), ("tag", "app", "+x"), ("group", "app", "x"), ("delete", "app", "--yes"), ("rename", "app", "x"), ("show", "app")):
        refused(fleet.cli(*words), 3, "E1017")
    assert "name:app" in fleet.cli("tag", "app", "+x").stderr
    device = fleet.device("app1")
    for word in ("app1", "APP1", device["full_name"], device["id"]):
        assert good(fleet.cli("run", word, "--", "echo", "this")).stdout == "this\n"


def test_two_of_one_name(fleet):
    twin = Agent(fleet.key(), fleet.directory.parent / "twin", "db1").online()
    fleet.agents.append(twin)
    assert names(fleet, "db1") == ["db1", "db1"]
    for words in (("run", "db1", "--", "true"), ("tag", "db1", "+x"), ("delete", "db1", "--yes"), ("show", "db1")):
        refused(fleet.cli(*words), 3, "E1027")
    full_name = max(device["full_name"] for device in fleet.json("ls", "db1"))
    good(fleet.cli("delete", full_name, "--yes"))
    assert names(fleet, "db1") == ["db1"]
    twin.stop()


# ---- one device ----

def test_show(fleet):
    until(lambda: fleet.json("show", "app1")["inventory"], "the inventory is there")
    shown = fleet.json("show", "app1")
    listed = fleet.device("app1")
    assert {key: value for key, value in shown.items() if key in listed and key != "last_seen"} == {key: value for key, value in listed.items() if key != "last_seen"}
    assert all(re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", shown[time]) for time in ("created", "certificate_expires", "inventory_time"))
    refused(fleet.cli("show", "nobody"), 3, "E1017")
    table = {row["field"]: row["value"] for row in lines(good(fleet.cli("show", "app1")))}
    assert (table["name"], table["group"], table["tags"], table["online"], table["created"]) == ("app1", "shop", "web", "yes", shown["created"])
    inventory = shown["inventory"]
    assert inventory["kernel"] == table["kernel"] == f"{os.uname().sysname} {os.uname().release}"
    assert inventory["memory"] == int(table["memory"]) == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert table["processor"] == f"{inventory['processors']} x {inventory['processor']}" and inventory["processors"] == os.sysconf("SC_NPROCESSORS_ONLN")
    assert any(system["path"] == "/" and system["size"] >= system["available"] for system in inventory["file_systems"])
    assert any(any("127.0.0.1" in address for address in interface["addresses"]) for interface in inventory["interfaces"])
    assert all(re.fullmatch(r"([0-9a-f]{2}(:[0-9a-f]{2})*)?", interface["hardware"]) for interface in inventory["interfaces"])


def test_rename(fleet):
    before = fleet.device("app2")
    assert "renamed" in good(fleet.cli("rename", "app2", "front")).stderr
    after = fleet.device("front")
    assert after["id"] == before["id"] and fleet.device("app2") is None
    assert good(fleet.cli("run", "front", "--", "echo", "hello")).stdout == "hello\n"
    good(fleet.cli("rename", after["full_name"], "app2"))
    for words, code in ((("rename", "nobody", "x"), 3), (("rename", "app2", ""), None), (("rename", "app2", "a b"), None), (("rename", "app2", "-x"), 2),
                        (("rename", "tag:web", "x"), None), (("rename", "app2", "x" * 64), None), (("rename", "app2"), 2)):
        refused(fleet.cli(*words), code)
    assert fleet.device("app2")["id"] == before["id"]


# ---- many devices ----

def test_tags(fleet):
    good(fleet.cli("tag", "app1", "+one", "+two"))
    assert fleet.device("app1")["tags"] == ["one", "two", "web"]
    assert json.loads(good(fleet.cli("tag", "name:app*", "-one", "+three", "--json")).stdout) == {"count": 2}
    assert fleet.device("app1")["tags"] == ["three", "two", "web"] and fleet.device("app2")["tags"] == ["three", "web"]
    good(fleet.cli("tag", "tag:three", "-three", "-two", "-q"))
    assert fleet.device("app1")["tags"] == ["web"]
    for words in (("tag", "app1", "web"), ("tag", "app1", "+"), ("tag", "app1", "-"), ("tag", "app1"), ("tag", "app1", "+a b"), ("tag", "app1", "+" + "x" * 40),
                  ("tag", "app1", *(f"+t{i}" for i in range(20)))):
        refused(fleet.cli(*words))
    assert fleet.device("app1")["tags"] == ["web"]
    refused(fleet.cli("tag", "tag:none", "+x"), 3, "E1017")


def test_groups(fleet):
    good(fleet.cli("group", "app1", "-"))
    assert fleet.device("app1")["group"] == ""
    shown = good(fleet.cli("group", "name:app*", "shop")).stderr
    assert "2 devices" in shown and "app1-" in shown and "app2-" in shown
    assert names(fleet, "group:shop") == ["app1", "app2"]
    for group in ("", "a b", "x" * 64):
        refused(fleet.cli("group", "app1", group))


def test_delete(fleet):
    agent = fleet.join("old1")
    refused(fleet.cli("delete", "old1"), 2, "--yes")
    assert names(fleet, "old1") == ["old1"]
    good(fleet.cli("delete", "old1", "--yes"))
    assert names(fleet, "tag:none or name:old1") == []
    refused(fleet.cli("delete", "old1", "--yes"), 3)
    refused(fleet.cli("run", "old1", "--", "true"), 3)
    agent.stop()


def test_delete_asks(fleet, away):
    agent = fleet.join("old2")
    for answer in ("n\n", "\n", "yep\n", "\x03", "\x04"):
        code, shown = away.terminal("--dir", fleet.directory, "delete", "name:old2", answers=[("[y/N] ", answer)])
        assert code == 130 and "old2-1" in shown, shown
        assert names(fleet, "name:old2") == ["old2"]
    code, shown = away.terminal("--dir", fleet.directory, "delete", "name:old2", answers=[("[y/N] ", "y\n")])
    assert code == 0 and "out of the mesh" in shown, shown
    assert names(fleet, "name:old2") == []
    agent.stop()


def test_other_devices_than_were_shown(fleet, away):
    """What matches only since the question is not deleted with the rest."""
    agents = [fleet.join("old3")]
    done = threading.Event()

    def meanwhile():
        agents.append(fleet.join("old4"))
        done.set()
        return True

    class Late(str):
        def encode(self):
            assert done.is_set() or meanwhile()
            return b"y\n"
    code, shown = away.terminal("--dir", fleet.directory, "delete", "name:old3 or name:old4", answers=[("[y/N] ", Late())])
    assert code == 1 and "E1033" in shown, shown
    assert names(fleet, "name:old*") == ["old3", "old4"]
    good(fleet.cli("delete", "name:old*", "--yes"))
    for agent in agents:
        agent.stop()


# ---- users ----

def user(mesh, name):
    return next((row for row in mesh.json("user", "ls") if row["name"] == name), None)


def test_users(fleet):
    assert user(fleet, "local")["role"] == "administrator"
    answer = fleet.json("user", "add", "anna", "--role", "operator", "--groups", "shop, lab")
    assert answer["name"] == "anna" and re.fullmatch(r"https://127\.0\.0\.1:\d+/login#token=[a-z2-7]{52}", answer["login"])
    anna = user(fleet, "anna")
    assert (anna["role"], set(anna["groups"]), anna["all_groups"], anna["password"], anna["disabled"]) == ("operator", {"lab", "shop"}, False, False, None)
    refused(fleet.cli("user", "add", "Anna"), None, "E1018")
    good(fleet.cli("user", "role", "ANNA", "viewer"))
    assert (user(fleet, "anna")["role"], set(user(fleet, "anna")["groups"])) == ("viewer", {"lab", "shop"})
    good(fleet.cli("user", "role", "anna", "operator", "--groups", "*"))
    assert user(fleet, "anna")["all_groups"]
    good(fleet.cli("user", "disable", "anna"))
    assert user(fleet, "anna")["disabled"]
    good(fleet.cli("user", "enable", "anna"))
    assert user(fleet, "anna")["disabled"] is None
    first, second = (good(fleet.cli("user", "link", "anna")).stdout for _ in range(2))
    assert first.startswith("https://") and first != second
    password_give(fleet, "anna", totp=True)
    assert user(fleet, "anna")["totp"] and user(fleet, "anna")["password"]
    good(fleet.cli("user", "forget-totp", "anna"))
    assert not user(fleet, "anna")["totp"]
    table = {row["name"]: row for row in lines(good(fleet.cli("user", "ls")))}
    assert (table["anna"]["role"], table["anna"]["groups"], table["anna"]["password"]) == ("operator", "*", "yes")


def test_users_refused(fleet):
    for words in (("user", "add", "x", "--role", "king"), ("user", "add", "a b"), ("user", "add"), ("user", "role", "local"), ("user", "frob"),
                  ("user", "ls", "extra"), ("user", "add", "x", "--groups", ",".join(f"g{i}" for i in range(20)))):
        refused(fleet.cli(*words))
    for operation in ("disable", "enable", "link", "forget-totp"):
        refused(fleet.cli("user", operation, "nobody"), 3, "E1017")
    refused(fleet.cli("user", "disable", "local"), None, "E1227")  # nobody would be left


def test_rights(fleet, away):
    """A viewer of one group: sees that group only, and changes nothing."""
    good(fleet.cli("user", "add", "vera", "--groups", "lab"))
    password_give(fleet, "vera")
    good(away.login(fleet, "vera"))
    server = ("--server", f"127.0.0.1:{fleet.port}")
    assert [device["name"] for device in json.loads(away.cli("ls", "--json", *server).stdout)] == ["db1"]
    refused(away.cli("show", "app1", *server), 3, "E1017")
    good(away.cli("show", "db1", *server))
    for words in (("run", "db1", "--", "true"), ("tag", "db1", "+x"), ("delete", "db1", "--yes"), ("group", "db1", "x"), ("rename", "db1", "x"), ("key", "new"),
                  ("user", "ls"), ("user", "add", "x"), ("audit", "ls"), ("audit", "verify")):
        refused(away.cli(*words, *server), 4, "E1019")
    refused(away.cli("run", "app1", *server, "--", "true"), 3, "E1017")
    assert fleet.device("db1")["tags"] == []


# ---- audit ----

def test_audit(fleet):
    good(fleet.cli("tag", "app1", "+audited"))
    good(fleet.cli("tag", "app1", "-audited"))
    rows = fleet.json("audit", "ls")
    assert len(rows) <= 200 and [row["sequence"] for row in rows] == sorted((row["sequence"] for row in rows), reverse=True)
    assert set(rows[0]) == {"sequence", "time", "actor", "action", "object", "detail"}
    found = fleet.json("audit", "ls", "--text", "audited")
    assert found and all("audited" in row["detail"] + row["object"] + row["action"] for row in found)
    assert len(fleet.json("audit", "ls", "-n", 3)) == 3 and fleet.json("audit", "ls", "-n", 0) == []
    table = lines(good(fleet.cli("audit", "ls", "--limit", "2")))
    assert len(table) == 2 and re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", table[0]["time"])
    for words in (("audit", "frob"), ("audit", "ls", "--limit", "x"), ("audit",), ("audit", "ls", "more")):
        refused(fleet.cli(*words), 2)
    refused(fleet.cli("audit", "ls", "--text", "x" * 200), None, "E1002")


def test_audit_of_many_pages(fleet):
    """More than the server gives at once: all of them, each once."""
    with database(fleet) as db:
        (count,) = db.execute("SELECT max(seq) FROM audit").fetchone()
    while count < 1100:
        good(fleet.cli("run", ",".join(["tag:web"] * 20), "-n"))
        with database(fleet) as db:
            db.execute("BEGIN IMMEDIATE")
            (last, hash_) = db.execute("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1").fetchone()
            fill(db, last, hash_, 1100 - last)
            db.execute("COMMIT")
        count = 1100
    rows = fleet.json("audit", "ls", "-n", 1050)
    assert len(rows) == 1050 and [row["sequence"] for row in rows] == list(range(rows[0]["sequence"], rows[0]["sequence"] - 1050, -1))
    assert "all as they were written" in good(fleet.cli("audit", "verify")).stdout


def fill(db, last, before, count):
    """Good records, as audit/audit.h defines their hash."""
    for sequence in range(last + 1, last + 1 + count):
        texts = [text.encode() for text in ("test", "filled", str(sequence), "")]
        content = b"murmesh audit 1\0" + sequence.to_bytes(8, "big") + (1).to_bytes(8, "big") + b"".join(len(text).to_bytes(4, "big") + text for text in texts) + before
        after = hashlib.sha256(content).digest()
        db.execute("INSERT INTO audit VALUES (?, 1, 'test', 'filled', ?, '', ?, ?)", (sequence, str(sequence), before, after))
        before = after


def test_audit_that_was_changed(fleet):
    """The first bad record is named, and the exit code is 1; last, since the log stays bad."""
    assert re.fullmatch(r"\d+ records, all as they were written\n", good(fleet.cli("audit", "verify")).stdout)
    assert fleet.json("audit", "verify")["first_bad"] is None
    with database(fleet) as db:
        (detail,) = db.execute("SELECT detail FROM audit WHERE seq = 7").fetchone()
        db.execute("UPDATE audit SET detail = detail || '.' WHERE seq = 7")
    result = fleet.cli("audit", "verify")
    refused(result, 1, "E1502")
    assert "record 7 " in result.stderr
    answer = fleet.cli("audit", "verify", "--json")
    assert answer.returncode == 1 and json.loads(answer.stdout)["first_bad"] == 7
    with database(fleet) as db:
        db.execute("UPDATE audit SET detail = ? WHERE seq = 7", (detail,))
        db.execute("DELETE FROM audit WHERE seq = 9")
    assert json.loads(fleet.cli("audit", "verify", "--json").stdout)["first_bad"] == 9
