"""Who is who: certificates that have expired, copies of a machine, machines with a wrong clock."""
import datetime
import os
import re
import shutil
import signal
import subprocess
import time

import pytest

from harness import IS_ROOT, PROGRAMS, ROOT, SANITIZED, Agent, Mesh, Program, refused, until
from wire import Device, Key, certificate_make, enrol, openssl, refusal


@pytest.fixture
def machine(mesh, tmp_path):
    """Starts and stops agents of this mesh by their folder; begins with one that has enrolled."""
    agents = []

    def start(folder, line=None, name=None, **options):
        log = tmp_path / f"{folder}-{len(agents)}.log"
        command = [PROGRAMS / "murmesh-agent", "--dir", tmp_path / folder, "--name", name or folder]
        agent = Agent(line, tmp_path / folder, folder) if line else Program(command, log, **options)
        agents.append(agent)
        return agent
    yield start
    for agent in agents:
        if agent.process.poll() is None:
            agent.stop()


def online(agent, name, seconds=30):
    until(lambda: f"online as {name}" in agent.log() or agent.process.poll() is not None, f"{name} is online", seconds)
    assert agent.process.poll() is None, agent.log()


def waiting(mesh, name, kind):
    rows = [row for row in mesh.json("approve") if row["full_name"] == name]
    return rows[0] if rows and rows[0]["kind"] == kind else None


def actions(mesh, name):
    return [event["action"] for event in mesh.json("audit", "ls") if event["object"] == name]


# ---- certificates that have expired ----

def expire(mesh, tmp_path, folder, days):
    """The machine's certificate is one that expired so many days ago, as if it had been away; returns its leaf."""
    net = tmp_path / folder / "net"
    chain = re.findall("-----BEGIN.*?-----END CERTIFICATE-----\n", (net / "node.crt").read_text(), re.DOTALL)
    uri = openssl("x509", "-noout", "-ext", "subjectAltName", input=chain[0].encode()).decode().split("URI:")[1].split(",")[0].strip()
    common_name = openssl("x509", "-noout", "-subject", "-nameopt", "multiline", input=chain[0].encode()).decode().split("= ")[1].strip()
    made = tmp_path / f"expired-{folder}-{days}"
    certificate_make(mesh, made, key=net / "node.key", names=f"URI:{uri}", subject=common_name, from_day=-days - 7, to_day=-days)
    (net / "node.crt").write_text((made / "leaf.crt").read_text() + "".join(chain[1:]))
    return (made / "leaf.crt").read_text()


def leaf_days(tmp_path, folder):
    end = openssl("x509", "-noout", "-enddate", "-in", tmp_path / folder / "net" / "node.crt").decode().split("=")[1].strip()
    return (datetime.datetime.strptime(end, "%b %d %H:%M:%S %Y %Z") - datetime.datetime.utcnow()).days


def test_expired_for_weeks_is_renewed_by_itself(mesh, machine, tmp_path):
    agent = machine("winter", mesh.key())
    online(agent, "winter-1")
    agent.stop()
    expire(mesh, tmp_path, "winter", 80)
    agent = machine("winter")
    online(agent, "winter-1")
    assert leaf_days(tmp_path, "winter") == 6 and "the certificate was renewed" in agent.log()
    assert "certificate renewed after it had expired" in actions(mesh, "winter-1")
    assert mesh.run("winter", "--", "echo", "back").stdout == "back\n"


def test_expired_for_months_waits_for_approval(mesh, machine, tmp_path):
    agent = machine("attic", mesh.key())
    online(agent, "attic-1")
    agent.stop()
    expire(mesh, tmp_path, "attic", 91)
    agent = machine("attic")
    row = until(lambda: waiting(mesh, "attic-1", "renewal"), "it waits")
    until(lambda: f"waiting for approval as attic-1; fingerprint {row['fingerprint']}" in agent.log(), "it says so")
    assert not mesh.device("attic")["online"] and leaf_days(tmp_path, "attic") < -90
    agent.stop()
    agent = machine("attic")  # asks on after a restart, about the same
    until(lambda: "waiting for approval as attic-1" in agent.log(), "it waits again")
    assert waiting(mesh, "attic-1", "renewal") == row
    refused(mesh.cli("approve", "--same", "attic"), 2)
    assert mesh.cli("approve", "attic").returncode == 0
    online(agent, "attic-1")
    assert "late renewal approved" in actions(mesh, "attic-1")
    agent.stop()
    expire(mesh, tmp_path, "attic", 92)  # one approval is for one renewal
    agent = machine("attic")
    until(lambda: waiting(mesh, "attic-1", "renewal"), "it waits anew")
    assert mesh.cli("reject", "attic").returncode == 0
    until(lambda: "E1228" in agent.log(), "it is told")
    assert not mesh.device("attic")["online"]


@pytest.fixture
def away(mesh, tmp_path):
    """A device that is none of ours, and how it asks with an expired certificate."""
    device = Device(mesh, tmp_path, "away").enrol()

    def renew(key=device.key, days=5, continuation=0, kind=enrol.NODE, csr=None, **changes):
        made = tmp_path / f"made-{len(list(tmp_path.iterdir()))}"
        certificate_make(mesh, made, key=changes.pop("shown_key", device.key).path, id=device.id, from_day=-days - 7, to_day=-days, **changes)
        leaf = openssl("x509", "-in", made / "leaf.crt", "-outform", "DER")
        request = enrol.RenewRequest(csr=csr or key.request(), leaf=leaf, continuation=continuation, kind=kind)
        return device.stranger.unary("CertificationManager/RenewCertificate", request, enrol.CertificateReply)
    return device, renew


def test_who_may_renew_late(mesh, away, tmp_path):
    device, renew = away
    assert renew().leaf
    other = Key(tmp_path, "other")
    assert refusal(lambda: renew(key=other))[1] == "E1201"                       # a key that is not the certificate's
    assert refusal(lambda: renew(key=other, shown_key=other))[1] == "E1019"      # a certificate, but not of the key that it enrolled with
    assert refusal(lambda: renew(kind=enrol.MANAGER))[1] == "E1019"
    assert refusal(lambda: renew(names="URI:{uri}extra"))[1] == "E1204"
    assert refusal(lambda: renew(mesh_id="0" * 32))[1] == "E1203"
    assert refusal(lambda: renew(csr=device.key.request()[:-1] + b"x"))[1] in ("E1207", "E1010", "E1007")
    request = enrol.RenewRequest(csr=device.key.request())
    assert refusal(lambda: device.stranger.unary("CertificationManager/RenewCertificate", request, enrol.CertificateReply))[0].name != "OK"
    assert mesh.cli("delete", "away", "--yes").returncode == 0
    assert refusal(renew)[1] == "E1206"


# ---- copies ----

def test_roaming_is_no_copy(mesh, tmp_path):
    device = Device(mesh, tmp_path, "roamer").enrol()
    number = 0
    for _ in range(20):
        before, number = number, device.link(number).continuation
        assert number > before
    assert device.link(number - 1).continuation > number  # its last welcome was lost
    assert mesh.json("approve") == [] or all(row["name"] != "roamer" for row in mesh.json("approve"))


def test_a_copy_is_frozen_and_split(mesh, machine, tmp_path):
    first = machine("orig", mesh.key("--group", "den"))
    online(first, "orig-1")
    assert mesh.cli("tag", "orig", "+payroll").returncode == 0
    first.stop()
    shutil.copytree(tmp_path / "orig", tmp_path / "copy", symlinks=True)
    if IS_ROOT:
        subprocess.run(["cp", "-a", "-T", tmp_path / "orig", tmp_path / "copy"], check=True)
    first = machine("orig")
    online(first, "orig-1")
    second = machine("copy", name="orig")
    row = until(lambda: waiting(mesh, "orig-1", "copy"), "two machines are seen")
    for agent in first, second:
        until(lambda: "E1250" in agent.log(), "both are frozen")
    assert not mesh.device("orig")["online"]
    refused(mesh.run("orig", "--", "true"), None, "E1028")
    assert mesh.cli("approve", row["id"]).returncode == 0
    online(second, "orig-2", 60)
    until(lambda: mesh.devices()["orig-1"]["online"], "the first goes on", 60)
    devices = mesh.devices()
    assert devices["orig-2"]["id"] != devices["orig-1"]["id"]
    assert devices["orig-2"]["group"] == "den" and devices["orig-2"]["tags"] == [] and devices["orig-1"]["tags"] == ["payroll"]
    keys = [(tmp_path / folder / part).read_bytes() for folder in ("orig", "copy") for part in ("net/node.key", "exec/manager.key")]
    assert len(set(keys)) == 4
    assert not (tmp_path / "copy" / "join.pending").exists() and not (tmp_path / "copy" / "split.pending").exists()
    assert mesh.run("orig-2", "--", "echo", "own").stdout == "own\n" and mesh.run("orig-1", "--", "echo", "own").stdout == "own\n"
    assert "two machines showed one identity" in actions(mesh, "orig-1") and "copy let in as a machine of its own" in actions(mesh, "orig-1")


def test_a_copy_is_shut_out(mesh, tmp_path):
    device = Device(mesh, tmp_path, "twinned").enrol()
    old = device.link().continuation
    new = device.link(old).continuation
    new = device.link(new).continuation
    assert refusal(lambda: device.link(old))[1] == "E1250"
    assert refusal(lambda: device.link(new))[1] == "E1250"
    # Nor does it get another certificate or identity meanwhile.
    assert refusal(lambda: device.peer.unary("CertificationManager/Split", enrol.SplitRequest(continuation=old), enrol.SplitReply))[1] == "E1019"
    assert mesh.cli("reject", "twinned").returncode == 0
    assert refusal(lambda: device.link(old))[1] == "E1252"
    assert refusal(lambda: device.peer.unary("CertificationManager/Split", enrol.SplitRequest(continuation=old), enrol.SplitReply))[1] == "E1019"
    assert device.link(new).continuation > new


def test_put_back_to_an_earlier_state(mesh, tmp_path):
    device = Device(mesh, tmp_path, "snapshot").enrol()
    old = device.link().continuation
    device.link(device.link(old).continuation)
    assert refusal(lambda: device.link(old))[1] == "E1250"
    assert mesh.cli("approve", "--same", "snapshot").returncode == 0
    assert device.link(old).continuation > old
    assert "copy taken for the machine itself" in actions(mesh, "snapshot-1")


def test_one_line_for_one_copy(mesh, tmp_path):
    device = Device(mesh, tmp_path, "triplet").enrol()
    old = device.link().continuation
    device.link(device.link(old).continuation)
    assert refusal(lambda: device.link(old))[1] == "E1250"
    assert mesh.cli("approve", "triplet").returncode == 0
    split = lambda: device.peer.unary("CertificationManager/Split", enrol.SplitRequest(continuation=old), enrol.SplitReply)
    assert Device(mesh, tmp_path, "triplet-own", split().join).enrol().id != device.id
    assert refusal(split)[1] == "E1019"
    assert refusal(lambda: device.link(old))[1] == "E1250"  # a third one


def test_a_changed_machine_id(mesh, machine, tmp_path):
    """The image of a machine that starts on another: it asks by itself, and comes in when somebody approves."""
    agent = machine("image", mesh.key())
    online(agent, "image-1")
    agent.stop()
    kept = tmp_path / "image" / "net" / "link"
    assert re.search("^machine=[0-9a-f]{64}$", kept.read_text(), re.MULTILINE)
    kept.write_text(re.sub("machine=.*", "machine=" + "5" * 64, kept.read_text()))
    before = (tmp_path / "image" / "net" / "node.key").read_bytes()
    agent = machine("image")
    row = until(lambda: waiting(mesh, "image-2", "new"), "it waits", 30)
    assert "this machine's id has changed" in agent.log()
    assert not mesh.devices()["image-1"]["online"]
    agent.stop(signal.SIGKILL)  # begins where it was
    agent = machine("image")
    until(lambda: "waiting for approval as image-2" in agent.log(), "it waits again")
    assert mesh.cli("approve", row["id"]).returncode == 0
    online(agent, "image-2", 60)
    assert (tmp_path / "image" / "net" / "node.key").read_bytes() != before
    assert mesh.run("image-2", "--", "echo", "own").stdout == "own\n"
    assert not mesh.devices()["image-1"]["online"]


def test_lines_for_copies_are_bounded(mesh, tmp_path):
    device = Device(mesh, tmp_path, "hydra").enrol()
    split = lambda: device.peer.unary("CertificationManager/Split", enrol.SplitRequest(machine_changed=True), enrol.SplitReply)
    lines = [split().join for _ in range(5)]
    assert len(set(lines)) == 5
    assert refusal(split)[1] == "E1020"
    head = Device(mesh, tmp_path, "head", lines[0])
    assert head.certify(head.request(head.token())).status == enrol.PENDING  # as each of them


# ---- deleted, and enrolled again ----

def test_nothing_is_inherited_by_name(mesh, machine, tmp_path):
    line = mesh.key("--uses", "5")
    agent = machine("phoenix", line)
    online(agent, "phoenix-1")
    assert mesh.cli("group", "phoenix", "vault").returncode == 0 and mesh.cli("tag", "phoenix", "+secret").returncode == 0
    before = mesh.device("phoenix")
    assert mesh.cli("delete", "phoenix", "--yes").returncode == 0
    until(lambda: "E1206" in agent.log(), "it is told")
    assert agent.process.poll() is None and mesh.device("phoenix") is None  # its line still has uses: it stays out
    agent.stop()
    agent = machine("phoenix")
    until(lambda: "E1206" in agent.log(), "it is told again")
    assert mesh.device("phoenix") is None
    agent.stop()
    agent = machine("phoenix", line)  # in its old folder, by somebody who has a line
    online(agent, "phoenix-2", 60)
    after = mesh.device("phoenix")
    assert after["id"] != before["id"] and after["group"] == "" and after["tags"] == []
    assert mesh.run("phoenix", "--", "echo", "risen").stdout == "risen\n"


# ---- clocks ----

YEARS = 10 * 365 * 86400


@pytest.fixture(scope="module")
def clock(tmp_path_factory):
    """The environment of a program whose wall clock is wrong by so many seconds."""
    library = tmp_path_factory.mktemp("clock") / "clock_shift.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, ROOT / "tests/integration/clock_shift.c"], check=True)
    library.chmod(0o755)
    return lambda shift: {**os.environ, "LD_PRELOAD": str(library), "CLOCK_SHIFT": str(shift)}


@pytest.mark.skipif(SANITIZED, reason="a sanitizer's library has to be loaded first")
@pytest.mark.parametrize("shift", [YEARS, -YEARS, -int(time.time())], ids=["ahead", "behind", "no clock"])
def test_a_wrong_clock(mesh, machine, clock, shift):
    folder = f"clock{shift}".replace("-", "m")
    agent = machine(folder, mesh.key())
    online(agent, f"{folder}-1")
    agent.stop()
    agent = machine(folder, env=clock(shift))
    online(agent, f"{folder}-1", 60)
    logged = int(agent.log()[:4])
    assert abs(logged - (datetime.datetime.utcnow() + datetime.timedelta(seconds=shift)).year) <= 1  # its clock is indeed wrong
    assert mesh.run(folder, "--", "echo", "on time").stdout == "on time\n"
    sent = mesh.cli("send", folder, "test", "--body", "-", "--wait", input="in time\n")
    assert sent.returncode == 0, sent.stderr  # it has not expired on its way
    assert waiting(mesh, f"{folder}-1", "renewal") is None


@pytest.mark.skipif(SANITIZED, reason="a sanitizer's library has to be loaded first")
def test_a_wrong_clock_and_a_certificate_that_has_expired(mesh, machine, clock, tmp_path):
    agent = machine("sundial", mesh.key())
    online(agent, "sundial-1")
    agent.stop()
    expire(mesh, tmp_path, "sundial", 30)
    agent = machine("sundial", env=clock(-YEARS))
    online(agent, "sundial-1", 60)
    assert leaf_days(tmp_path, "sundial") == 6


def test_a_full_disk_makes_no_copy(mesh, machine, tmp_path):
    """The number of a welcome that cannot be kept is not shown at the next link."""
    agent = machine("crammed", mesh.key())
    online(agent, "crammed-1")
    kept = tmp_path / "crammed" / "net" / "link"
    before = kept.read_text()
    kept.unlink()
    kept.mkdir()  # what replaces it fails
    log = len(agent.log())
    roles = agent.monitor.roles()
    mesh_link = mesh.server.roles()["link"]
    os.kill(mesh_link, signal.SIGKILL)
    until(lambda: "could not be kept" in agent.log()[log:], "it says so", 30)
    until(lambda: mesh.device("crammed")["online"], "online all the same", 30)
    kept.rmdir()
    kept.write_text(before)
    shutil.chown(kept, *((tmp_path / "crammed" / "net").stat().st_uid,) * 2)
    os.kill(roles["net"], signal.SIGKILL)
    log = len(agent.log())
    until(lambda: "online as crammed-1" in agent.log()[log:], "it is online again", 30)
    assert waiting(mesh, "crammed-1", "copy") is None
