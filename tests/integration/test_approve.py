"""Machines that wait until somebody lets them in: join keys made with --approve."""
import hashlib
import json

import pytest

from harness import PROGRAMS, Agent, Mesh, Program, refused, until
from people import Elsewhere, database, password_give
from wire import Device, Key, enrol, refusal


def waiting(mesh):
    """By full name."""
    return {row["full_name"]: row for row in mesh.json("approve")}


@pytest.fixture
def ask(mesh, tmp_path):
    """Starts an agent that has to wait; returns it with its row of the list."""
    agents = []

    def start(name, *words, folder=None):
        agent = Agent(mesh.key("--approve", *words), tmp_path / (folder or name), name)
        agents.append(agent)
        until(lambda: "waiting for approval as " in agent.log() or agent.process.poll() is not None, f"{name} waits")
        full_name = agent.log().split("waiting for approval as ")[1].split(";")[0]
        return agent, waiting(mesh)[full_name]
    yield start
    for agent in agents:
        if agent.process.poll() is None:
            agent.stop()


def test_approved(mesh, ask):
    agent, row = ask("patient")
    assert row["name"] == "patient" and row["address"] == "127.0.0.1" and row["fingerprint"] in agent.log()
    assert mesh.device("patient") is None
    done = mesh.cli("approve", "patient")
    assert done.returncode == 0 and "patient-1 is approved" in done.stderr
    agent.online()
    assert mesh.device("patient")["id"] == row["id"] and row["full_name"] not in waiting(mesh)
    told = [(event["action"], event["detail"]) for event in mesh.json("audit", "ls") if event["object"] == "patient-1"]
    assert ("approved", f"fingerprint {row['fingerprint']}") in told
    assert any(action == "approval asked for" and "127.0.0.1" in detail for action, detail in told)
    assert mesh.run("patient", "--", "echo", "in").stdout == "in\n"


def test_rejected(mesh, ask, tmp_path):
    agent, row = ask("unwanted")
    assert mesh.cli("reject", "UNWANTED-1").returncode == 0
    assert agent.wait(60) == 4 and "E1228" in agent.log()
    assert row["full_name"] not in waiting(mesh) and mesh.device("unwanted") is None
    assert not (tmp_path / "unwanted" / "join.pending").exists()
    refused(mesh.cli("approve", "unwanted"), 3, "E1017")
    assert any(event["action"] == "rejected" and event["object"] == "unwanted-1" for event in mesh.json("audit", "ls"))


def test_by_fingerprint_and_id(mesh, ask):
    agent, row = ask("printed")
    refused(mesh.cli("approve", row["fingerprint"][:7]), 3, "E1017")  # too short to be meant
    refused(mesh.cli("approve", "f" * 64), 3)
    assert mesh.cli("approve", row["fingerprint"][:12]).returncode == 0
    agent.online()
    agent, row = ask("named-by-id")
    assert mesh.cli("approve", row["id"]).returncode == 0
    agent.online()


def test_two_of_one_name(mesh, ask):
    first, one = ask("double", folder="double1")
    second, other = ask("double", folder="double2")
    assert one["full_name"] != other["full_name"] and one["fingerprint"] != other["fingerprint"]
    refused(mesh.cli("approve", "double"), what="E1027")
    assert set(waiting(mesh)) >= {one["full_name"], other["full_name"]}
    assert mesh.cli("approve", other["full_name"], one["full_name"]).returncode == 0
    first.online()
    second.online()


def test_a_use_is_spent_by_asking(mesh, ask, tmp_path):
    line = mesh.key("--approve")
    agent = Agent(line, tmp_path / "only", "only")
    until(lambda: any(row["name"] == "only" for row in mesh.json("approve")), "it waits")
    late = Agent(line, tmp_path / "late", "late")
    assert late.wait(60) == 4 and "E1211" in late.log()
    assert mesh.cli("approve", "only").returncode == 0
    agent.online()
    agent.stop()


def test_goes_on_waiting_after_restarts(tmp_path):
    """Of the server, while the agent asks on; of the agent, which has kept its line and its key."""
    directory = tmp_path / "server"
    with Mesh(directory) as mesh:
        port = mesh.port
        agent = Agent(mesh.key("--approve"), tmp_path / "w", "waiter")
        until(lambda: "waiting for approval" in agent.log(), "it waits")
        row = waiting(mesh)["waiter-1"]
    with Mesh(directory, port=port) as mesh:
        assert waiting(mesh)["waiter-1"] == row
        assert agent.process.poll() is None
        agent.stop()
        with open(tmp_path / "again.log", "wb") as log, Program([PROGRAMS / "murmesh-agent", "--dir", tmp_path / "w"], log.name) as agent:
            until(lambda: "waiting for approval" in agent.log(), "it waits again")
            assert waiting(mesh) == {"waiter-1": row}
            assert mesh.cli("approve", "waiter").returncode == 0
            until(lambda: "online as waiter-1" in agent.log(), "online", 60)


def test_the_server_has_forgotten_it(mesh, ask, tmp_path):
    """Its database was put back, say: the agent asks as if for the first time, with the same line, which is good for another."""
    agent, row = ask("forgotten", "--uses", "2")
    agent.stop()
    with database(mesh) as db:
        assert db.execute("DELETE FROM enrolments WHERE name = 'forgotten'").rowcount == 1
    with Program([PROGRAMS / "murmesh-agent", "--dir", tmp_path / "forgotten", "--name", "forgotten"], tmp_path / "again.log") as again:
        until(lambda: "waiting for approval as forgotten-2" in again.log(), "it waits under another name")
        assert waiting(mesh)["forgotten-2"]["fingerprint"] == row["fingerprint"]  # it has kept its key
        assert mesh.cli("approve", "forgotten-2").returncode == 0
        until(lambda: "online as forgotten-2" in again.log(), "online", 60)
    assert mesh.cli("reject", "forgotten-1").returncode == 0


def test_wherever_somebody_may(mesh, ask, tmp_path):
    """An administrator of one group lets machines into that one only; others see nothing of it."""
    _, row = ask("grouped", "--group", "den")
    for name, role, group in (("keeper", "administrator", "den"), ("stranger", "administrator", "moor"), ("helper", "operator", "den")):
        assert mesh.cli("user", "add", name, "--role", role, "--groups", group).returncode == 0
        password_give(mesh, name)
        (tmp_path / f"at-{name}").mkdir()
        away = Elsewhere(tmp_path / f"at-{name}")
        assert away.login(mesh, name).returncode == 0
        if name == "helper":
            refused(away.cli("approve"), 4, "E1019")
            refused(away.cli("approve", "grouped"), 4, "E1019")
        elif name == "stranger":
            assert away.cli("approve").stdout.splitlines()[1:] == []
            refused(away.cli("reject", "grouped"), 3, "E1017")
        else:
            assert [one["id"] for one in json.loads(away.cli("approve", "--json").stdout)] == [row["id"]]
            assert away.cli("approve", "grouped").returncode == 0
    until(lambda: mesh.device("grouped") and mesh.device("grouped")["group"] == "den", "it is in its group")


# ---- networks ----

def test_only_from_its_networks(mesh, tmp_path):
    assert "127.0.0.1" in mesh.info["url"]
    elsewhere = Agent(mesh.key("--from", "192.0.2.0/24,2001:db8::/32"), tmp_path / "elsewhere", "elsewhere")
    assert elsewhere.wait(30) == 4 and "E1229" in elsewhere.log()
    assert mesh.device("elsewhere") is None
    with Agent(mesh.key("--from", "192.0.2.0/24, 127.0.0.0/8"), tmp_path / "here", "here") as here:
        here.online()
    for wrong in ("192.0.2.1/24", "somewhere", "10.0.0.0/8,", "10.0.0.0/8," * 40):
        refused(mesh.cli("key", "new", "--from", wrong), what="E1034")
    assert any("from 192.0.2.0/24" in event["detail"] for event in mesh.json("audit", "ls") if event["action"] == "join key made")


# ---- devices that are none of ours ----

@pytest.fixture
def stranger(mesh, tmp_path):
    return Device(mesh, tmp_path, "odd", mesh.key("--approve"))


def test_nothing_before_approval(mesh, stranger, tmp_path):
    token = stranger.token()
    reply = stranger.certify(stranger.request(token))
    assert reply.status == enrol.PENDING and not reply.leaf and not any(reply.device_id)
    assert waiting(mesh)[token.full_name]["fingerprint"] == hashlib.sha256(stranger.key.public()).hexdigest()
    manager = stranger.request(token, csr=Key(tmp_path, "manager").request(), kind=enrol.MANAGER)
    assert refusal(lambda: stranger.certify(manager))[1] == "E1206"
    # Another key does not come in on this approval.
    other = stranger.request(token, csr=Key(tmp_path, "other").request())
    assert refusal(lambda: stranger.certify(other))[1] == "E1018"
    assert mesh.cli("approve", token.full_name).returncode == 0
    assert refusal(lambda: stranger.certify(other))[1] == "E1018"


def test_asking_again_and_again(mesh, stranger):
    token = stranger.token()
    request = stranger.request(token)
    for _ in range(5):
        assert stranger.certify(request).status == enrol.PENDING
    assert sum(row["name"] == "odd" and row["full_name"] == token.full_name for row in mesh.json("approve")) == 1
    assert mesh.cli("approve", token.full_name).returncode == 0
    issued = stranger.certify(request)
    assert issued.status == enrol.ISSUED and issued.leaf
    assert issued.device_id.hex() == next(row["id"] for row in mesh.json("ls") if row["full_name"] == token.full_name)
    # Once it is taken out of the mesh, its approval is worth nothing.
    assert mesh.cli("delete", token.full_name, "--yes").returncode == 0
    assert refusal(lambda: stranger.certify(request))[1] == "E1206"


def test_what_a_machine_says_of_itself_is_cleaned(mesh, stranger):
    token = stranger.token()
    assert stranger.certify(stranger.request(token, os="<b>\x1b[2J", version="1\n2")).status == enrol.PENDING
    row = waiting(mesh)[token.full_name]
    assert "\x1b" not in row["os"] and "\n" not in row["version"]
    assert "\x1b" not in mesh.cli("approve").stdout
