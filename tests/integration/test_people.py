"""Who may what, and where: roles by group, by command line and console; what ends when somebody is shut out."""
import hashlib
import json
import os
import signal
import socket

import pytest

from console import Browser, browser_of
from harness import PROGRAMS, Echo, Mesh, Program, closed, legs, refused, until
from people import PASSWORD, Elsewhere, database, password_give
from wire import Device, User


@pytest.fixture(scope="module")
def office(tmp_path_factory):
    """web02 is in group shop, web03 in lab; the server's own machine in none."""
    with Mesh(tmp_path_factory.mktemp("people") / "server") as mesh:
        mesh.first = next(iter(mesh.devices()))
        mesh.web02, mesh.web03 = mesh.join("web02", mesh.key("--group", "shop")), mesh.join("web03", mesh.key("--group", "lab"))
        for name, role, groups in (("olga", "operator", "shop"), ("vera", "viewer", "shop"), ("adam", "administrator", "shop"),
                                   ("root", "administrator", "*")):
            assert mesh.cli("user", "add", name, "--role", role, "--groups", groups).returncode == 0
            password_give(mesh, name)
        yield mesh


@pytest.fixture
def log_in(office, tmp_path):
    def elsewhere(name):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        away = Elsewhere(folder)
        assert away.login(office, name).returncode == 0
        return away
    return elsewhere


def names(away):
    result = away.cli("ls", "--json")
    assert result.returncode == 0, result.stderr
    return {device["name"] for device in json.loads(result.stdout)}


def good(result):
    assert result.returncode == 0, result.stderr
    return result


# ---- by command line ----

def test_an_operator_of_one_group(office, log_in):
    olga = log_in("olga")
    assert names(olga) == {"web02"}
    assert good(olga.cli("run", "web02", "--", "echo", "hello")).stdout == "hello\n"
    for other in ("web03", office.first, office.first.rsplit("-", 1)[0]):
        refused(olga.cli("run", other, "--", "true"), 3)
        refused(olga.cli("show", other), 3)
    device = next(row for row in office.json("ls") if row["name"] == "web03")
    refused(olga.cli("show", device["id"]), 3)
    refused(olga.cli("tag", "web02", "+blue"), 4, "E1019")
    refused(olga.cli("relay", "move", "web02", "-"), 4, "E1019")
    refused(olga.cli("key", "new"), 4, "E1019")
    refused(olga.cli("user", "ls"), 4, "E1019")
    refused(olga.cli("audit", "ls"), 4, "E1019")


def test_a_viewer(log_in):
    vera = log_in("vera")
    assert names(vera) == {"web02"}
    refused(vera.cli("run", "web02", "--", "true"), 4, "E1019")
    refused(vera.cli("send", "web02", "test", "--body", "-", input="x"), 4, "E1019")
    refused(vera.cli("relay", "enable", "web02"), 4, "E1019")
    refused(vera.cli("relay", "move", "web02", "-"), 4, "E1019")
    assert good(vera.cli("ping", "web02", "--json")).stdout
    refused(vera.cli("ping", "web03"), 3)


def test_an_administrator_of_one_group(office, log_in):
    adam = log_in("adam")
    assert names(adam) == {"web02"}
    good(adam.cli("tag", "web02", "+blue"))
    good(adam.cli("key", "new", "--group", "shop"))
    refused(adam.cli("key", "new"), 4, "E1019")
    refused(adam.cli("key", "new", "--group", "lab"), 4, "E1019")
    refused(adam.cli("group", "web02", "lab"), 4, "E1019")
    refused(adam.cli("delete", "web03", "--yes"), 3)
    refused(adam.cli("relay", "enable", "web02"), 4, "your role does not hold in all")
    good(adam.cli("relay", "move", "web02", "-"))
    refused(adam.cli("relay", "move", "web03", "-"), 3)
    refused(adam.cli("user", "add", "mallory"), 4, "E1019")
    refused(adam.cli("user", "ls"), 4, "E1019")
    refused(adam.cli("audit", "ls"), 4, "E1019")


def test_a_device_that_moves(office, log_in):
    olga = log_in("olga")
    good(office.cli("group", "web03", "shop"))
    assert names(olga) == {"web02", "web03"}
    good(olga.cli("run", "web03", "--", "true"))
    good(office.cli("group", "web03", "lab"))
    assert names(olga) == {"web02"}
    refused(olga.cli("run", "web03", "--", "true"), 3)


def test_a_role_that_changes(office, log_in):
    olga = log_in("olga")
    good(office.cli("user", "role", "olga", "viewer"))
    refused(olga.cli("run", "web02", "--", "true"), 4, "E1019")
    good(office.cli("user", "role", "olga", "operator", "--groups", "lab"))
    assert names(olga) == {"web03"}
    good(office.cli("user", "role", "olga", "operator", "--groups", "shop"))
    assert names(olga) == {"web02"}


def test_the_last_administrator(office, log_in):
    root = log_in("root")
    good(root.cli("user", "disable", "local"))
    refused(office.cli("ls"), 4)
    refused(root.cli("user", "disable", "root"), what="E1227")
    refused(root.cli("user", "role", "root", "viewer"), what="E1227")
    refused(root.cli("user", "role", "root", "administrator", "--groups", "shop"), what="E1227")
    good(root.cli("user", "enable", "local"))
    good(office.cli("ls"))


def test_shut_out_at_once(office, log_in):
    """Also what is open already ends: the certificate is refused by link, before core hears of it."""
    vera = log_in("vera")
    good(office.cli("user", "disable", "vera"))
    refused(vera.cli("ls"), 4, "E1206")
    good(office.cli("user", "enable", "vera"))
    refused(vera.cli("ls"), 4, "E1206")
    assert vera.login(office, "vera").returncode == 0
    assert names(vera) == {"web02"}


def test_open_tunnels_end(office, log_in):
    """A connection through a map, and the legs that it keeps ready, of a user whose role changes; another's go on."""
    olga, root = log_in("olga"), log_in("root")
    with Echo() as echo:
        def mapped(away):
            return Program([PROGRAMS / "murmesh", "map", f"TCP:0:web02:HTTP:{echo.port}", "--json"], away.home / "map.log", env=away.env, cwd=away.home)

        def connect(program):
            port = json.loads(program.process.stdout.readline())["local_port"]
            connection = socket.create_connection(("127.0.0.1", port), 20)
            connection.sendall(b"a")
            assert connection.recv(1) == b"a"
            return connection

        with mapped(olga) as one, mapped(root) as two, connect(one) as first, connect(two) as second:
            until(lambda: legs(one, office.port) >= 2 and legs(two, office.port) >= 2, "legs to be ready")
            good(office.cli("user", "role", "olga", "operator", "--groups", "shop"))
            until(lambda: closed(first) and legs(one, office.port) == 0, "her connection and her legs to end")
            assert legs(two, office.port) >= 2
            second.sendall(b"b")
            assert second.recv(1) == b"b"


def test_agents_hear_of_it(office, log_in, tmp_path):
    """So that they refuse him whoever brings his legs: those that are linked at once, others when they come."""
    root, user, device = log_in("root"), User(office, tmp_path), Device(office, tmp_path, "listener").enrol()
    key, node = (hashlib.sha256(one.key.public()).digest() for one in (user, device))

    def hears(frames):
        told = []
        while key not in told:
            told += next(frames).revoked.key_hashes
        return node not in told
    with device.linked() as frames:
        number = next(frames).welcome.continuation
        good(root.cli("user", "disable", "local"))
        assert hears(frames)
    good(root.cli("user", "enable", "local"))
    with device.linked(number) as frames:
        assert next(frames).HasField("welcome")
        assert hears(frames)
    good(root.cli("delete", "listener", "--yes"))


def test_revoked_stays_so_after_a_restart(office, log_in):
    vera = log_in("vera")
    good(office.cli("user", "disable", "vera"))
    good(office.cli("user", "enable", "vera"))
    link = office.server.roles()["link"]
    os.kill(link, signal.SIGKILL)
    until(lambda: office.server.roles().get("link") not in (None, link), "another link")
    until(lambda: office.cli("ls").returncode == 0, "link to serve")
    until(lambda: "E1206" in vera.cli("ls").stderr, "link to know")


# ---- by the console ----

def browser_user(office, name):
    browser = Browser(office.port)
    answer = browser.post("/api/login", {"name": name, "password": PASSWORD})
    assert answer.status == 200, answer
    return browser


def test_console_sees_the_same(office):
    olga = browser_user(office, "olga")
    with olga.socket() as socket:
        seen = socket.snapshot()
        assert {event["device"]["name"] for event in seen if "device" in event} == {"web02"}
        good(office.cli("group", "web03", "shop"))
        socket.until(lambda event: event.get("device", {}).get("name") == "web03")
        good(office.cli("group", "web03", "lab"))
        socket.until(lambda event: "removed" in event)
    other = next(row["id"] for row in office.json("ls") if row["name"] == "web03")
    assert olga.get(f"/api/devices/{other}").status == 404
    assert olga.request("PATCH", f"/api/devices/{other}", {"add_tags": ["x"]}).status == 403
    assert olga.get("/api/users").status == 403


def test_a_new_user(office):
    admin = browser_of(office)
    answer = admin.post("/api/users", {"name": "nina", "role": "operator", "groups": ["Shop"]})
    assert answer.status == 200, answer
    nina = Browser(office.port, token=answer.json["login"].split("#token=")[1])
    assert nina.get("/api/me").json["setup_wanted"] is True
    assert nina.get("/api/me").json["groups"] == ["shop"]
    assert nina.post("/api/me/setup", {"name": "nina", "password": "short"}).status in (400, 422)
    answer = nina.post("/api/me/setup", {"name": "nina", "password": PASSWORD})
    assert answer.status == 200 and not answer.json["setup_wanted"], answer
    nina = browser_user(office, "nina")
    (row,) = [user for user in admin.get("/api/users").json if user["name"] == "nina"]
    assert row["password"] and row["last_login"]

    with nina.socket() as socket:
        socket.snapshot()
        answer = admin.request("PATCH", f"/api/users/{row['id']}", {"disabled": True})
        assert answer.status == 200 and answer.json["disabled"], answer
        until(lambda: nina.get("/api/me").status == 401, "the session to end")
    assert browser_of(office).request("PATCH", f"/api/users/{row['id']}", {"disabled": False}).json["disabled"] == 0


def test_delicate_things_want_the_password_again(office):
    root = browser_user(office, "root")
    answer = root.post("/api/users", {"name": "mallory", "role": "viewer"})
    assert answer.status == 403 and answer.json["error"] == "E1226", answer
    answer = root.post("/api/keys", {"uses": 1000})
    assert answer.status == 403 and answer.json["error"] == "E1226", answer
    assert root.post("/api/keys", {"uses": 10}).status == 200
    assert root.post("/api/me/step-up", {"password": "wrong"}).status == 401
    assert root.post("/api/me/step-up", {"password": PASSWORD}).status == 200
    assert root.post("/api/keys", {"uses": 1000}).status == 200
    with database(office) as db:
        db.execute("DELETE FROM login_failures")


def test_sessions(office):
    one, two = browser_user(office, "root"), browser_user(office, "root")
    rows = one.get("/api/me/sessions").json
    assert sum(row["own"] for row in rows) == 1
    for row in rows:
        if not row["own"]:
            assert one.request("DELETE", f"/api/me/sessions/{row['id']}").status == 204
    assert two.get("/api/me").status == 401 and one.get("/api/me").status == 200


def test_audit_says_who(office):
    root = browser_user(office, "root")
    rows = root.get("/api/audit?limit=5").json
    assert len(rows) == 5 and root.get(f"/api/audit?before={rows[-1]['sequence']}&limit=1").json[0]["sequence"] == rows[-1]["sequence"] - 1
    found = root.get("/api/audit?text=user+added").json
    assert {row["object"] for row in found} >= {"olga", "vera", "adam"} and {row["actor"] for row in found} >= {"local"}
    assert root.get("/api/audit/verify").json["first_bad"] == 0
