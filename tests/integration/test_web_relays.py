"""Relays and queues as the console asks for them."""
from datetime import datetime

import pytest
from console import Browser, browser_of
from harness import Mesh, until
from test_messages import send
from test_relay import Relays

PASSWORD = "correct horse battery"


def user(root, mesh, name, role, groups=None):
    answer = root.post("/api/users", {"name": name, "role": role, "all_groups": groups is None, "groups": groups or []})
    assert answer.status == 200, answer
    browser = Browser(mesh.port, token=answer.json["login"].split("#token=")[1])
    assert browser.post("/api/me/setup", {"name": name, "password": PASSWORD}).status == 200
    return browser


class Site:
    """ford01 and ford02 at the server, ford03 at ford01; root, an administrator and a viewer of the group `wade`, where ford03 is."""

    def __init__(self, mesh):
        self.mesh, self.relays = mesh, Relays(mesh)
        self.root = browser_of(mesh)
        for name in "ford01", "ford02":
            self.relays.make(name)
        self.relays.join("ford03", "ford01")
        assert mesh.cli("group", "ford03", "wade").returncode == 0
        self.governor = user(self.root, mesh, "gill", "administrator", ["wade"])
        self.viewer = user(self.root, mesh, "vera", "viewer", ["wade"])

    def id(self, name):
        return self.mesh.device(name)["id"]

    def device(self, name, browser=None):
        answer = (browser or self.root).get(f"/api/devices/{self.id(name)}")
        assert answer.status == 200, answer
        return answer.json["device"]

    def change(self, name, body, browser=None):
        return (browser or self.root).request("PATCH", f"/api/devices/{self.id(name)}", body)

    def move(self, relay, count, parent, browser=None):
        return (browser or self.root).post("/api/devices/change", {"query": f"parent:{self.id(relay)}", "count": count, "parent": parent})


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with Mesh(tmp_path_factory.mktemp("site") / "server") as mesh:
        yield Site(mesh)


def test_who_links_to_whom(site):
    relay, leaf = site.device("ford01"), site.device("ford03")
    assert (relay["relay"], relay["parent"], relay["parent_id"]) == (True, "server", None)
    assert relay["relay_address"] == site.relays.row("ford01")["address"]
    assert (leaf["relay"], leaf["relay_address"], leaf["parent"], leaf["parent_id"]) == (False, "", "ford01-1", site.id("ford01"))
    with site.viewer.socket() as watching:  # also who does not see the relay
        seen = [event["device"] for event in watching.snapshot() if "device" in event]
    assert [(one["name"], one["parent_id"]) for one in seen] == [("ford03", site.id("ford01"))]


def test_round_trips(site):
    answer = site.viewer.get(f"/api/devices/{site.id('ford03')}/ping")
    assert answer.status == 200, answer
    hops = answer.json["hops"]
    assert [hop["full_name"] for hop in hops] == ["ford01-1", "ford03-1"]
    assert all(hop["error"] == 0 and 0 < hop["microseconds"] < 5_000_000 for hop in hops), hops
    assert site.viewer.get(f"/api/devices/{site.id('ford02')}/ping").status == 404  # outside his groups


def test_move(site):
    there = site.device("ford02")["relay_address"]
    assert site.move("ford01", 1, there, site.viewer).error() == "E1019"
    answer = site.move("ford01", 2, there)
    assert (answer.error(), "it is 1 now, not 2" in answer.json["why"]) == ("E1033", True), answer
    assert site.move("ford01", 1, "no such parent").status == 400
    assert site.device("ford03")["parent"] == "ford01-1"
    answer = site.move("ford01", 1, there, site.governor)
    assert (answer.status, answer.json) == (200, {"count": 1})
    until(lambda: site.device("ford03")["parent_id"] == site.id("ford02"), "it links to the other relay")
    assert site.change("ford03", {"parent": "server"}).status == 204
    until(lambda: site.device("ford03")["parent_id"] is None, "it links to the server")
    assert site.mesh.works("ford03")


def test_make_a_relay(site):
    """Only by an administrator of all groups: it speaks for devices of all."""
    answer = site.change("ford03", {"relay": True}, site.governor)
    assert (answer.status, answer.error()) == (403, "E1019"), answer
    assert site.change("ford03", {"relay": True}, site.viewer).status == 403
    assert not site.device("ford03")["relay"]
    assert site.change("ford03", {"relay": True}).status == 204
    until(lambda: site.device("ford03")["relay"], "it is a relay")
    assert site.change("ford03", {"relay": False}).status == 204
    until(lambda: not site.device("ford03")["relay"], "it is none any more")
    actions = [row["action"] for row in site.root.get("/api/audit?text=ford03").json]
    assert actions.index("relay disabled") < actions.index("relay enabled")


def test_queues(site):
    agent = site.mesh.join("ford04")
    agent.stop()
    until(lambda: not site.mesh.device("ford04")["online"], "it is offline")
    send(site.mesh, "ford04", "hello")
    [row] = site.root.get("/api/queues").json
    assert (row["device"], row["full_name"], row["online"]) == (site.id("ford04"), site.mesh.device("ford04")["full_name"], False)
    assert (row["waiting"], row["sent"], row["expired"], row["dead_last"]) == (1, 0, 0, 0) and row["bytes"] > 5
    [same] = site.mesh.json("queue")
    assert row["oldest"] == datetime.fromisoformat(same["oldest"]).timestamp()
    assert [one["device"] for one in site.root.get("/api/queues?query=name:ford04").json] == [row["device"]]
    assert site.root.get("/api/queues?query=name:ford03").json == []
    assert site.root.get("/api/queues?query=(").error() == "E1032"
    assert site.viewer.get("/api/queues").json == []
