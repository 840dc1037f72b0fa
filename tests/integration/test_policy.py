"""The policy's whole life, and mode `signed`: what a server with all its keys can no longer do by itself."""
import hashlib
import json
import os
import socket
import ssl
import time

import pytest

from console import Socket, browser_of
from harness import PROGRAMS, Agent, Echo, Mesh, Program, UdpEcho, refused, until
from people import PASSWORD, Elsewhere, password_give
from wire import Peer, User, carry_out, certificate_make, connect, enrol, fleet, openssl, refusal

PEOPLE = ("alice", "bob", "carol")


def policy(mesh):
    return mesh.json("policy", "show")


def failed(result, what, code=None):
    """As refused(), where it has shown what it is about, or says it of several devices."""
    assert result.returncode not in (0, None) and what in result.stderr and (code is None or result.returncode == code), (result.returncode, result.stderr)


def taken(agents, version):
    """Whether net and exec of all of them have it."""
    for agent in agents:
        until(lambda: f"the policy of the mesh is now version {version}" in agent.log(), f"{agent.name} has version {version}")


class Person(Elsewhere):
    """A user on a machine of his own, with a key."""

    def __init__(self, mesh, folder, name):
        super().__init__(folder)
        self.mesh, self.name = mesh, name
        assert mesh.cli("user", "add", name, "--role", "operator").returncode == 0
        self.id = next(user["id"] for user in mesh.json("user", "ls") if user["name"] == name)
        password_give(mesh, name)
        assert self.login(mesh, name, PASSWORD).returncode == 0
        made = self.cli("policy", "key", "new", "--json")
        assert made.returncode == 0, made.stderr
        made = json.loads(made.stdout)
        self.key_file, self.fingerprint = made["file"], made["fingerprint"]
        self.public = folder / f"{name}.pub"
        self.public.write_text(self.cli("policy", "key", "show").stdout)

    def named(self):
        return f"{self.name}={self.public}"

    def sign(self, context, document):
        """Adds his signature to a document, as his command line would."""
        public = openssl("pkey", "-in", self.key_file, "-pubout", "-outform", "DER")
        signature = openssl("dgst", "-sha256", "-sign", self.key_file, input=context + b"\0" + document.document)
        document.users.add(key_hash=hashlib.sha256(public).digest(), signature=signature)
        return document


class Forger(User):
    """Whoever has taken the server: its intermediate key makes any user's certificate, its grant key signs."""

    def __init__(self, mesh, folder, user):
        certificate_make(mesh, folder, kind="user", usage="clientAuth", id=user.id)
        self.mesh, self.user_id, self.chain = mesh, bytes.fromhex(user.id), folder / "chain.crt"
        self.key = type("Key", (), {"path": folder / "leaf.key"})
        leaf, intermediate = (ssl.PEM_cert_to_DER_cert(text + "-----END CERTIFICATE-----\n")
                              for text in self.chain.read_text().split("-----END CERTIFICATE-----\n")[:2])
        root = ssl.PEM_cert_to_DER_cert((mesh.directory / "ca" / "root.crt").read_text())
        self.certificates = enrol.CertificateReply(leaf=leaf, intermediate=intermediate, root=root)
        self.peer = Peer(f"localhost:{mesh.port}", self.key, self.certificates)
        self.mesh_id = bytes.fromhex((mesh.directory / "ca" / "mesh").read_text().strip())

    def sign(self, context, message):
        document = message.SerializeToString()
        signature = openssl("dgst", "-sha256", "-sign", self.mesh.directory / "ca" / "grant.key", input=context + b"\0" + document)
        return enrol.SignedDocument(document=document, signature=signature)

    def grant(self, device, *targets):
        return self.sign(b"murmesh grant 1", fleet.Grant(mesh=self.mesh_id, serial=os.urandom(16), user=self.user_id, device=device.id, targets=targets,
                                                         rights=fleet.CONNECT, until=int(time.time()) + 600))

    def order(self, devices, *argv):
        return self.sign(b"murmesh order 1", fleet.Order(mesh=self.mesh_id, nonce=os.urandom(16), user=self.user_id, argv=argv, count=len(devices),
                                                         digest=hashlib.sha256(b"".join(devices)).digest(), until=int(time.time()) + 120))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """In mode `signed`, with alice and bob as approvers and two signatures for more than one device; carol is none."""
    folder = tmp_path_factory.mktemp("policy")
    with Mesh(folder / "server") as mesh:
        mesh.first = mesh.join("sealed1")
        mesh.second = mesh.join("sealed2")
        mesh.people = {name: Person(mesh, folder / name, name) for name in PEOPLE}
        changed = mesh.cli("policy", "set", "--mode", "signed", "--two-signatures-above", "1", "--approver",
                           ",".join(mesh.people[name].named() for name in ("alice", "bob")))
        assert changed.returncode == 0, changed.stderr
        taken([mesh.first, mesh.second], 2)
        yield mesh


@pytest.fixture
def alice(server):
    return server.people["alice"]


@pytest.fixture
def bob(server):
    return server.people["bob"]


@pytest.fixture
def carol(server):
    return server.people["carol"]


@pytest.fixture
def forger(server, alice, tmp_path):
    forger = Forger(server, tmp_path / "forger", alice)
    with forger.peer:
        yield forger


USER_GRANT, USER_ORDER = b"murmesh user grant 1", b"murmesh user order 1"


# ---- what it is for ----

def answer(forger, device, target, grant):
    with forger.leg(forger.tunnel(device, target)) as leg:
        return connect(leg, f"localhost{target}", grant)[0]


def test_a_server_with_all_its_keys_opens_no_tunnel(server, forger, alice, bob, carol):
    device = forger.device("sealed1")
    with Echo() as echo:
        target = f":{echo.port}"
        refused_head = answer(forger, device, target, forger.grant(device, target))
        assert refused_head.startswith("HTTP/1.1 403 ") and "E1230" in refused_head
        cases = {"none of these": lambda grant: grant,
                 "another approver": lambda grant: bob.sign(USER_GRANT, grant),
                 "no approver": lambda grant: carol.sign(USER_GRANT, grant),
                 "for an order": lambda grant: alice.sign(USER_ORDER, grant),
                 "two of the wrong": lambda grant: carol.sign(USER_GRANT, bob.sign(USER_GRANT, grant))}
        for name, sign in cases.items():
            assert "E1230" in answer(forger, device, target, sign(forger.grant(device, target))), name
        assert not echo.connections
        other = alice.sign(USER_GRANT, forger.grant(device, ":1"))  # of another grant
        moved = forger.grant(device, target)
        moved.users.extend(other.users)
        assert "E1230" in answer(forger, device, target, moved) and not echo.connections
        good = answer(forger, device, target, alice.sign(USER_GRANT, forger.grant(device, target)))
        assert good.startswith("HTTP/1.1 200 "), good


def test_a_server_with_all_its_keys_runs_nothing(server, forger, alice, bob, carol, tmp_path):
    device = forger.device("sealed1")
    made = tmp_path / "made"

    def error(document):
        return refusal(lambda: carry_out(server, forger, device, document))[1]

    assert error(forger.order([device.id], "touch", str(made))) == "E1230"
    for name, sign in {"another approver": lambda o: bob.sign(USER_ORDER, o), "no approver": lambda o: carol.sign(USER_ORDER, o),
                       "for a grant": lambda o: alice.sign(USER_GRANT, o)}.items():
        assert error(sign(forger.order([device.id], "touch", str(made)))) == "E1230", name
    assert not made.exists()
    good = alice.sign(USER_ORDER, forger.order([device.id], "touch", str(made)))
    assert carry_out(server, forger, device, good)[-1].HasField("exit") and made.exists()
    made.unlink()
    assert error(good) == "E1218"  # again
    assert not made.exists()


def test_two_signatures(server, forger, alice, bob, carol, tmp_path):
    first, second = forger.device("sealed1"), forger.device("sealed2")
    devices, made = [first.id, second.id], tmp_path / "both"

    def order():
        return forger.order(devices, "touch", str(made))

    def error(document):
        return refusal(lambda: carry_out(server, forger, first, document, b"".join(devices)))[1]

    assert error(order()) == "E1230"
    assert error(alice.sign(USER_ORDER, order())) == "E1231"
    assert error(alice.sign(USER_ORDER, alice.sign(USER_ORDER, order()))) == "E1231"  # one person is one
    assert error(carol.sign(USER_ORDER, alice.sign(USER_ORDER, order()))) == "E1230"
    assert error(bob.sign(USER_ORDER, order())) == "E1230"  # his own is missing
    assert not made.exists()
    assert carry_out(server, forger, first, bob.sign(USER_ORDER, alice.sign(USER_ORDER, order())), b"".join(devices))[-1].exit.code == 0
    assert made.exists()


# ---- the command line signs ----

def test_command_line_signs(server, alice, carol):
    assert alice.cli("run", "sealed1", "--", "echo", "signed").stdout == "signed\n"
    shown = alice.terminal("ssh", "sealed1", answers=[("$" if os.geteuid() else "#", "exit 3\n")])
    assert shown[0] == 3, shown
    refused(carol.cli("run", "sealed1", "--", "true"), 4, "E1230")
    # without a key, what to do is said
    keys = alice.home / "config" / "murmesh" / "keys"
    keys.rename(alice.home / "away")
    try:
        assert "murmesh policy key new" in refused(alice.cli("run", "sealed1", "--", "true"), 4, "E1230")[2]
        refused(alice.cli("run", "sealed1,sealed2", "--order-out", alice.home / "o", "--", "true"), what="E1236")
    finally:
        (alice.home / "away").rename(keys)
    os.chmod(keys / "user.key", 0o644)  # what others may read signs nothing, and is not passed over
    assert "user.key" in refused(alice.cli("run", "sealed1", "--", "true"), 4, "E1040")[1]
    os.chmod(keys / "user.key", 0o600)
    refused(alice.cli("policy", "key", "new"), what="E1018")


def test_maps_are_signed(server, alice):
    with Echo() as echo, UdpEcho() as udp, Program([PROGRAMS / "murmesh", "map", f"TCP:0:sealed1:HTTP:{echo.port}", f"UDP:0:sealed1::{udp.port}",
                                                     "--jsonl"], alice.home / "map.log", env=alice.env) as mapped:
        port, udp_port = (json.loads(mapped.process.stdout.readline())["local_port"] for _ in range(2))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            datagrams.settimeout(20)
            datagrams.sendto(b"through", ("127.0.0.1", udp_port))
            assert datagrams.recv(100) == b"through"
        with socket.create_connection(("127.0.0.1", port), 20) as connection:
            connection.sendall(b"through")
            assert connection.recv(100) == b"through"


def test_second_signature_by_file(server, alice, bob, carol, tmp_path):
    file, made = tmp_path / "order.json", tmp_path / "made"
    failed(alice.cli("run", "sealed1,sealed2", "--", "touch", made), "E1231")
    written = alice.cli("run", "sealed1,sealed2", "--order-out", file, "--", "touch", made)
    assert written.returncode == 0 and f"murmesh policy approve {file}" in written.stderr, written.stderr
    failed(alice.cli("run", "--order", file), "E1231")
    failed(alice.cli("policy", "approve", file, "--yes"), "E1018")
    failed(bob.cli("policy", "approve", file), "E1012", 2)  # nobody to ask
    one = file.read_text()
    approved = bob.cli("policy", "approve", file, "--yes")
    assert approved.returncode == 0, approved.stderr
    for shown in ("'touch' ", str(made), "sealed1-1", "sealed2-1", "2 devices", alice.id):
        assert shown in approved.stderr
    two = file.read_text()
    failed(bob.cli("run", "--order", file), "E1215")  # it is alice's
    assert not made.exists()
    done = alice.cli("run", "--order", file)
    assert done.returncode == 0 and made.exists(), done.stderr
    failed(alice.cli("run", "--order", file), "E1218")
    # carol is no approver; a file that was changed is none
    file.write_text(one)
    assert carol.cli("policy", "approve", file, "--yes").returncode == 0
    failed(alice.cli("run", "--order", file), "E1230")
    changed = json.loads(two)
    changed["devices"] = changed["devices"][:-4] + "AAAA"
    file.write_text(json.dumps(changed))
    refused(bob.cli("policy", "approve", file, "--yes"), what="E1239")
    for text in ("", "{}", "[]", '{"murmesh": "order"}', '{"murmesh": "policy", "policy": ""}', two[:-40]):
        file.write_text(text)
        refused(bob.cli("policy", "approve", file, "--yes"), what="E1239")
        refused(alice.cli("run", "--order", file), what="E1239")
    refused(alice.cli("run", "sealed1", "--order", file, "--", "true"), 2)


def test_console_opens_nothing(server):
    browser = browser_of(server)
    answer = browser.post("/api/tasks", {"query": "name:sealed1", "count": 1, "argv": ["true"]})
    assert answer.status == 403 and answer.error() == "E1235" and "murmesh run" in answer.json["try"], answer
    device = server.device("sealed1")["id"]
    ticket = browser.post(f"/api/devices/{device}/terminals", {"columns": 80, "rows": 24}).json["ticket"]
    with Socket(browser, f"/ws/terminal?ticket={ticket}") as terminal:
        assert "E1235" in str(terminal.message())


# ---- its life ----

def test_show(server, alice, bob):
    shown = policy(server)
    assert (shown["version"], shown["mode"], shown["two_signatures_above"]) == (2, "signed", 1)
    assert {(a["name"], a["user"], a["fingerprint"]) for a in shown["approvers"]} == {(p.name, p.id, p.fingerprint) for p in (alice, bob)}
    text = server.cli("policy", "show").stdout
    assert "mode       signed" in text and alice.fingerprint in text


def test_what_contradicts_itself(server, alice, carol, tmp_path):
    refused(server.cli("policy", "set"), 2)
    refused(server.cli("policy", "set", "--mode", "committee"), 2)
    refused(server.cli("policy", "set", "--approver", f"carol={alice.public}"), what="E1232")  # one key for two people
    refused(server.cli("policy", "set", "--remove-approver", "alice,bob"), what="E1232")
    refused(server.cli("policy", "set", "--remove-approver", "nobody"), 3)
    refused(server.cli("policy", "set", "--approver", f"nobody={carol.public}"), 3)
    wrong = tmp_path / "wrong.pub"
    wrong.write_text(carol.public.read_text()[:-9])
    refused(server.cli("policy", "set", "--approver", f"carol={wrong}"), what="E1238")
    refused(server.cli("policy", "set", "--parent", "no port"), 2)
    assert policy(server)["version"] == 2


def test_offline_and_forward_only(tmp_path):
    """The root's key is elsewhere: draft, sign, install.  Older versions, others' signatures and other meshes' are refused, by server and devices."""
    with Mesh(tmp_path / "server") as mesh, Mesh(tmp_path / "other") as other:
        agent = Agent(mesh.key(), tmp_path / "far", "far").online()
        person = Person(mesh, tmp_path / "dora", "dora")
        ca, usb, draft = mesh.directory / "ca", tmp_path / "usb", tmp_path / "next.json"
        usb.mkdir(mode=0o700)
        first = (ca / "policy").read_bytes()
        (ca / "root.key").rename(usb / "root.key")
        refused(mesh.cli("policy", "set", "--mode", "signed"), what="E1234")
        drafted = mesh.cli("policy", "draft", "--mode", "signed", "--approver", person.named(), "--parent", "mesh.example:8443", "--out", draft)
        assert drafted.returncode == 0, drafted.stderr
        refused(mesh.cli("policy", "install", draft), what="E1207")  # nobody has signed it
        unsigned = draft.read_text()
        failed(mesh.cli("policy", "sign", draft, "--root", usb), "E1012", 2)
        refused(mesh.cli("policy", "sign", draft, "--root", tmp_path, "--yes"), what="E1234")
        other_root = other.directory / "ca"
        refused(mesh.cli("policy", "sign", draft, "--root", other_root, "--yes"), what="E1203")
        signed = mesh.cli("policy", "sign", draft, "--root", usb, "--yes")
        assert signed.returncode == 0 and person.fingerprint in signed.stderr and "signed" in signed.stderr, signed.stderr
        refused(other.cli("policy", "install", draft), what="E1207")
        assert mesh.cli("policy", "install", draft).returncode == 0
        taken([agent], 2)
        assert policy(mesh)["parents"] == ["mesh.example:8443"]
        assert any((row["action"], row["object"], row["detail"]) == ("policy changed", "version 2", "mode signed") for row in mesh.json("audit", "ls"))
        second = (ca / "policy").read_bytes()
        refused(mesh.cli("policy", "install", draft), what="E1233")  # again
        draft.write_text(unsigned)
        refused(mesh.cli("policy", "sign", draft, "--root", usb, "--yes"), what="E1233")  # the root's owner is warned too
        assert person.cli("run", "far", "--", "echo", "in").stdout == "in\n"
        # a server that was taken puts the old one back: devices stay
        (ca / "policy").write_bytes(first)
        assert mesh.stop() == 0
        with Mesh(mesh.directory, port=mesh.port) as back:
            until(lambda: back.device("far")["online"], "the device is back", 20)
            refused(back.cli("run", "far", "--", "true"), 4, "E1230")
            # and forward again
            (ca / "policy").write_bytes(second)
            drafted = back.cli("policy", "draft", "--mode", "server", "--out", draft)
            assert drafted.returncode == 0 and back.cli("policy", "sign", draft, "--root", usb, "--yes").returncode == 0
            assert back.cli("policy", "install", draft).returncode == 0
            taken([agent], 3)
            assert back.cli("run", "far", "--", "echo", "free").stdout == "free\n"
        agent.stop()


def test_approver_is_removed(server, alice, bob, carol, forger):
    """At once, on links that are open; a device that was away hears of it when it comes back."""
    device = forger.device("sealed1")
    grant_of = lambda: alice.sign(USER_GRANT, forger.grant(device, ":9"))
    server.second.stop()
    changed = server.cli("policy", "set", "--remove-approver", "alice", "--approver", carol.named())
    assert changed.returncode == 0, changed.stderr
    taken([server.first], 3)
    assert "E1230" in answer(forger, device, ":9", grant_of())
    refused(alice.cli("run", "sealed1", "--", "true"), 4, "E1230")
    assert carol.cli("run", "sealed1", "--", "echo", "now").stdout == "now\n"
    with open(server.directory.parent / "again.log", "wb") as log:
        with Program([PROGRAMS / "murmesh-agent", "--dir", server.second.directory], log.name) as again:
            until(lambda: "the policy of the mesh is now version 3" in again.log(), "sealed2 has it")
            refused(alice.cli("run", "sealed2", "--", "true"), 4, "E1230")
            assert carol.cli("run", "sealed2", "--", "echo", "here").stdout == "here\n"
