"""Relays: agents that others enrol at, link to, and are reached through."""
import contextlib
import hashlib
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import tempfile
import threading
import time
from concurrent import futures

import grpc
import pytest

from harness import AGENT_ROLES, PROGRAMS, Echo, Program, Target, alive, join_parts, murmesh, refused, until
from test_identity import YEARS, clock  # noqa: F401
from test_live import Live
from test_messages import Machine, bodies, send
from wire import Device, Key, Peer, User, certificate_make, enrol, fleet, local, openssl, pem, refusal, relay_request, router


class Relays:
    """Of one mesh, which all tests here share."""

    def __init__(self, mesh):
        self.mesh = mesh

    def row(self, name):
        return next((row for row in self.mesh.json("relay") if row["name"] == name), None)

    def line(self, relay, *words):
        """A join line that leads to a relay (None: to the server)."""
        return self.mesh.key(*words, *(["--relay", relay] if relay else []))

    def folder(self, name):
        folder = self.mesh.directory.parent / f"{self.mesh.directory.name}-{name}"
        folder.mkdir()
        (folder / "murmesh-agent.ini").write_text("[Relay]\nPort = 0\nAddress = 127.0.0.1\n")
        return folder

    def make(self, name, above=None):
        self.folder(name)
        agent = self.mesh.join(name, line=self.line(above))
        result = self.mesh.cli("relay", "enable", name)
        assert result.returncode == 0, result.stderr
        until(lambda: agent.log().count("online as ") == 2 and self.row(name)["address"], f"{name} is a relay")
        return agent

    def join(self, name, relay):
        agent = self.mesh.join(name, line=self.line(relay))
        assert self.mesh.device(name)["parent"] == (relay + "-1" if relay else "server")
        return agent


@pytest.fixture(scope="module")
def relays(mesh):
    """hop01 at the server, hop02 at hop01, hop03 at hop02; leaf01 at hop01, leaf04 at hop03: four links to the server."""
    all = Relays(mesh)
    all.hop01 = all.make("hop01")
    all.hop02 = all.make("hop02", "hop01")
    all.hop03 = all.make("hop03", "hop02")
    all.leaf01 = all.join("leaf01", "hop01")
    all.leaf04 = all.join("leaf04", "hop03")
    return all


def test_tree(mesh, relays):
    rows = {row["name"]: row for row in mesh.json("relay")}
    assert [rows[name]["parent"] for name in ("hop01", "hop02", "hop03")] == ["server", "hop01-1", "hop02-1"]
    assert rows["hop01"]["devices"] == 2 and rows["hop03"]["devices_online"] == 1
    assert all(row["online"] for row in rows.values())


@pytest.mark.parametrize("name", ["leaf01", "leaf04", "hop02"])
def test_all_works_below_relays(mesh, relays, name):
    assert mesh.works(name)
    send(mesh, name, f"to {name}", "--wait")


@pytest.mark.parametrize("name", ["leaf01", "leaf04"])
def test_what_is_signed_comes_through(mesh, relays, name):
    until(lambda: mesh.json("show", name)["inventory"], "the inventory is there")
    shown = mesh.json("show", name)
    assert shown["signs"] and shown["inventory_refused"] is None
    row, = json.loads(mesh.run(name, "--json", "--", "true").stdout)
    assert row["signed"]


def test_a_tunnel_carries_much(mesh, relays):
    whole = bytes(range(256)) * 40000
    with Echo() as echo, mesh.map(f"TCP:0:leaf04:HTTP:{echo.port}") as mapped, mapped.connect() as connection:
        threading.Thread(target=connection.sendall, args=(whole,), daemon=True).start()
        back = b""
        while len(back) < len(whole):
            back += connection.recv(1 << 20)
        assert back == whole
        shown = until(lambda: [row for row in mesh.json("maps") if row["target"] == f"localhost:{echo.port}" and row["received"] > len(whole)], "it is listed")
        assert [name.split("-")[0] for name in shown[0]["path"]] == ["server", "hop01", "hop02", "hop03"]


def test_one_connection_upward(mesh, relays):
    """However many agents link to a relay, it has one to its parent."""
    more = [relays.join(f"many{number}", "hop01") for number in range(5)]
    assert ports_to(relays.hop01.monitor.roles()["net"]).count(mesh.port) == 1
    for agent in more:
        agent.stop()


def test_relay_restarts(mesh, relays):
    """Those below come back by themselves, and nothing is lost."""
    before = relays.leaf04.log().count("online as ")
    net = relays.hop01.monitor.roles()["net"]
    os.kill(net, signal.SIGKILL)
    until(lambda: relays.leaf04.log().count("online as ") > before and mesh.device("leaf04")["online"], "it is back", 40)
    send(mesh, "leaf04", "after the restart", "--wait")
    assert "after the restart" in bodies(relays.leaf04.directory)
    assert mesh.works("leaf04")


def test_reports_come_through(mesh, relays):
    """What the probe of a device behind three relays sees is on the page of the device."""
    live = Live(mesh, mesh.device("leaf04")["id"])
    live.until(lambda: live.complete and live.sources, "its probe says where it gets it from")
    with subprocess.Popen(["sleep", "1000"]) as program:
        try:
            live.until(lambda: live.process(program.pid), "the process is there")
        finally:
            program.kill()
    live.close()


def test_deleted_below_a_relay(mesh, relays):
    agent = relays.join("gone01", "hop01")
    assert mesh.cli("delete", "gone01", "--yes").returncode == 0
    until(lambda: "E1206" in agent.log(), "it hears why")
    assert mesh.device("gone01") is None


def test_disabled(mesh, relays):
    """Who is no relay any more speaks for nobody: those below it go offline."""
    relay = relays.make("brief01")
    agent = relays.join("brief02", "brief01")
    assert mesh.cli("relay", "disable", "brief01").returncode == 0
    until(lambda: not mesh.device("brief02")["online"], "its child is offline")
    until(lambda: "no relay any more" in relay.log(), "it hears that")
    until(lambda: set(relay.monitor.roles()) == AGENT_ROLES, "it is an ordinary agent again")
    until(lambda: mesh.run("brief01", "--", "true").returncode == 0, "it works as one")
    assert relays.row("brief01") is None
    agent.stop()


def relayed(device, *others, speaks_for=None, address="192.0.2.1"):
    """Metadata by which a peer says that it is a relay."""
    via = ",".join([*others, device.id])
    pairs = [("murmesh-via", via), ("murmesh-address", address)]
    return pairs + ([("murmesh-peer", speaks_for)] if speaks_for else [])


def call_link(device, metadata):
    call = device.peer.channel.stream_stream("/murmesh.MessageRouter/Link", router.Frame.SerializeToString, router.Frame.FromString)
    return call(iter([router.Frame(hello=router.Hello(version="0"))]), timeout=20, metadata=metadata)


def node(mesh, id):
    return f"murmesh://{(mesh.directory / 'ca' / 'mesh').read_text().strip()}/node/{id}"


def test_nobody_else_speaks_for_others(mesh, relays, tmp_path):
    """A device that is no relay, a relay that names others, users and other meshes."""
    rogue = Device(mesh, tmp_path, "rogue01").enrol()
    victim = mesh.device("web02")["id"]
    denied = (grpc.StatusCode.PERMISSION_DENIED, "E1019")
    assert refusal(lambda: next(call_link(rogue, relayed(rogue, speaks_for=node(mesh, victim))))) == denied
    assert mesh.cli("relay", "enable", "rogue01").returncode == 0
    until(lambda: refusal_or_none(lambda: next(call_link(rogue, relayed(rogue, speaks_for=node(mesh, "6" * 32))))) != denied, "it is one now")
    hop = mesh.device("hop01")["id"]
    rows = [
        [("murmesh-via", hop), ("murmesh-peer", node(mesh, victim))],  # is not the last one
        relayed(rogue, "7" * 32, speaks_for=node(mesh, victim)),  # the one before it is no relay
        relayed(rogue, speaks_for=node(mesh, victim).replace("/node/", "/user/")),
        relayed(rogue, speaks_for=node(mesh, victim).replace("/node/", "/component/")),
        relayed(rogue, speaks_for="murmesh://" + "9" * 32 + "/node/" + victim),
        [("murmesh-address", "192.0.2.1"), ("murmesh-peer", node(mesh, victim))],  # through nobody
    ]
    for metadata in rows:
        assert refusal(lambda: next(call_link(rogue, metadata))) == denied, metadata
    for metadata in ([("murmesh-via", "x")], relayed(rogue, *["7" * 32] * 8), relayed(rogue, address="<script>"), relayed(rogue, speaks_for="nobody")):
        code, _ = refusal(lambda: next(call_link(rogue, metadata)))
        assert code != grpc.StatusCode.OK, metadata
    assert mesh.device("web02")["online"] and mesh.run("web02", "--", "true").returncode == 0
    # a user's calls and logins never come through a relay
    login = rogue.peer.channel.unary_unary("/murmesh.Login/Password", fleet.LoginProof.SerializeToString, enrol.CertificateReply.FromString)
    assert refusal(lambda: login(fleet.LoginProof(name="a", password="b", csr=rogue.key.request()), timeout=20, metadata=relayed(rogue))) == denied
    assert mesh.cli("delete", "rogue01", "--yes").returncode == 0


def test_a_relay_gets_no_certificate_of_others(mesh, relays, tmp_path):
    """Whom it speaks for keeps the key that he has: with another, the relay could answer users in his name."""
    rogue, other = Device(mesh, tmp_path, "rogue02").enrol(), Device(mesh, tmp_path, "honest02").enrol()
    assert mesh.cli("relay", "enable", "rogue02").returncode == 0
    renew = rogue.peer.channel.unary_unary("/murmesh.CertificationManager/RenewCertificate", enrol.RenewRequest.SerializeToString, enrol.CertificateReply.FromString)

    def ask(key, kind=enrol.NODE):
        return renew(enrol.RenewRequest(csr=key.request(), kind=kind), timeout=20, metadata=relayed(rogue, speaks_for=node(mesh, other.id)))
    until(lambda: not refusal_or_none(lambda: ask(other.key)), "a relay passes renewals on")
    assert ask(other.key).device_id.hex() == other.id
    assert refusal(lambda: ask(rogue.key)) == (grpc.StatusCode.PERMISSION_DENIED, "E1019")
    assert refusal(lambda: ask(rogue.key, enrol.MANAGER)) == (grpc.StatusCode.PERMISSION_DENIED, "E1019")  # it has none yet
    for name in ("rogue02", "honest02"):
        assert mesh.cli("delete", name, "--yes").returncode == 0


def test_a_relay_gets_no_certificate_of_another_relay(mesh, relays, tmp_path):
    """The other one's own key has to vouch for the new one; what somebody else's vouches for, or nobody's, is refused."""
    rogue, other, key = Device(mesh, tmp_path, "rogue03").enrol(), Device(mesh, tmp_path, "honest03").enrol(), Key(tmp_path, "relay")
    for name in ("rogue03", "honest03"):
        assert mesh.cli("relay", "enable", name).returncode == 0
    renew = rogue.peer.channel.unary_unary("/murmesh.CertificationManager/RenewCertificate", enrol.RenewRequest.SerializeToString, enrol.CertificateReply.FromString)

    def ask(request):
        return renew(request, timeout=20, metadata=relayed(rogue, speaks_for=node(mesh, other.id)))
    good = relay_request(key, other.key)
    until(lambda: not refusal_or_none(lambda: ask(good)), "a relay passes on what is signed")
    assert ask(good).device_id.hex() == other.id
    denied = grpc.StatusCode.PERMISSION_DENIED
    unsigned = enrol.RenewRequest(csr=key.request(), kind=enrol.RELAY)
    assert refusal(lambda: ask(unsigned)) == (denied, "E1727")
    assert refusal(lambda: other.peer.unary("CertificationManager/RenewCertificate", unsigned, enrol.CertificateReply)) == (denied, "E1727")  # an older agent
    until(lambda: "the relay honest03-1 gets no certificate" in mesh.log(), "the server says what is to be done")
    its_own = relay_request(key, rogue.key)
    another = enrol.RenewRequest(csr=Key(tmp_path, "another").request(), kind=enrol.RELAY, node_key=good.node_key, node_signature=good.node_signature)
    claimed = enrol.RenewRequest(csr=good.csr, kind=enrol.RELAY, node_key=good.node_key, node_signature=its_own.node_signature)
    for request in (its_own, another, claimed):
        assert refusal(lambda: ask(request)) == (denied, "E1019")
    for name in ("rogue03", "honest03"):
        assert mesh.cli("delete", name, "--yes").returncode == 0


def test_a_relay_of_before_signs_from_its_first_signature_on(mesh, relays, tmp_path):
    """A server that is newer than its relays serves them on."""
    relay, key = Device(mesh, tmp_path, "aged02").enrol(), Key(tmp_path, "relay")
    assert mesh.cli("relay", "enable", "aged02").returncode == 0
    with sqlite3.connect(mesh.directory / "db" / "murmesh.db", timeout=20) as database:  # as the migration finds it
        assert database.execute("UPDATE devices SET relay_unsigned = 1 WHERE name = 'aged02'").rowcount == 1

    def ask(request):
        return relay.peer.unary("CertificationManager/RenewCertificate", request, enrol.CertificateReply)
    unsigned = enrol.RenewRequest(csr=key.request(), kind=enrol.RELAY)
    assert ask(unsigned).device_id.hex() == relay.id
    assert ask(relay_request(key, relay.key)).device_id.hex() == relay.id
    assert refusal(lambda: ask(unsigned)) == (grpc.StatusCode.PERMISSION_DENIED, "E1727")
    assert mesh.cli("delete", "aged02", "--yes").returncode == 0


def refusal_or_none(call):
    try:
        call()
    except StopIteration:  # the call was let in, and ended with its requests
        return None
    except grpc.RpcError as error:
        return error.code(), dict(error.trailing_metadata() or ()).get("murmesh-error", "")
    return None


def test_no_relay_certificate_without_leave(mesh, tmp_path):
    device = Device(mesh, tmp_path, "plain01").enrol()
    wanted = enrol.RenewRequest(csr=Key(tmp_path, "other").request(), kind=enrol.RELAY)
    assert refusal(lambda: device.peer.unary("CertificationManager/RenewCertificate", wanted, enrol.CertificateReply))[1] == "E1019"
    for path in ("Core/Revocations", "Core/CaChanges"):
        code, error = refusal(lambda: device.peer.unary(path, b"", enrol.CertificateReply))
        assert error == "E1019"
    assert mesh.cli("delete", "plain01", "--yes").returncode == 0


def test_the_server_is_not_a_relay(mesh, relays, tmp_path):
    """A relay's certificate does not do for the server's: users do not take one for it."""
    host, port = relays.row("hop01")["address"].rsplit(":", 1)
    user = User(mesh, tmp_path)
    with Peer(f"localhost:{port}", user.key, user.certificates, name=mesh.device("hop01")["id"]) as peer:
        denied = refusal(lambda: peer.each("Fleet/ListDevices", fleet.ListRequest(), fleet.Device))
    assert denied == (grpc.StatusCode.PERMISSION_DENIED, "E1019")
    fingerprint = join_parts(mesh.key())[2]
    for words, what in (([f"{host}:{port}#{fingerprint}"], "E1205"), ([f"127.0.0.1:{mesh.port}#{fingerprint}"], "E1221")):
        refused(murmesh("login", *words, "--user", "root", "--password-file", "-", input="a wrong password\n", directory=tmp_path / "user"), what=what)


def test_command_line(mesh):
    refused(mesh.cli("relay", "enable"), 2)
    refused(mesh.cli("relay", "start", "web02"), 2)
    refused(mesh.cli("relay", "enable", "nobody"), 3)
    refused(mesh.cli("key", "new", "--relay", "web02"), what="E1701")


@contextlib.contextmanager
def old_server(mesh, folder):
    """A folder whose server knows nothing of relays: what it is asked to change it ignores, and says that all is well."""
    certificate_make(mesh, folder, kind="component")
    device = fleet.Device(id=b"7" * 16, name="aged01", full_name="aged01-1", parent="server")

    class Old(grpc.GenericRpcHandler):
        def service(self, details):
            if details.method.endswith("/ListDevices"):
                return grpc.unary_stream_rpc_method_handler(lambda request, context: iter([device]), fleet.ListRequest.FromString, fleet.Device.SerializeToString)
            if details.method.endswith("/ChangeDevices"):
                return grpc.unary_unary_rpc_method_handler(lambda request, context: fleet.DevicesChanged(count=1), fleet.DeviceChange.FromString,
                                                           fleet.DevicesChanged.SerializeToString)
            if details.method.endswith("/Ping"):
                return None
            if details.method.endswith("/Describe"):
                described = local.ServerDescription(front_port=port, address=f"127.0.0.1:{port}", version="0")
                return grpc.unary_unary_rpc_method_handler(lambda request, context: described, local.Nothing.FromString, local.ServerDescription.SerializeToString)
            return grpc.unary_unary_rpc_method_handler(lambda request, context: core.unary("Local/Login", request, enrol.CertificateReply),
                                                       response_serializer=enrol.CertificateReply.SerializeToString)
    server = grpc.server(futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers([Old()])
    keys = [((folder / "leaf.key").read_bytes(), (folder / "chain.crt").read_bytes())]
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials(keys))
    with tempfile.TemporaryDirectory() as short:  # a socket's path is short
        os.symlink(mesh.directory / "run" / "core.sock", f"{short}/s")
        os.mkdir(f"{short}/run")
        server.add_insecure_port(f"unix:{short}/run/core.sock")
        with Peer(f"unix:{short}/s", plain=True) as core:
            server.start()
            try:
                yield short
            finally:
                server.stop(0).wait()


def test_with_an_old_server(mesh, tmp_path):
    """It is not said that a device is told to be a relay, or to move, when it is not."""
    with old_server(mesh, tmp_path / "old") as folder:
        lines = refused(murmesh("relay", "enable", "aged01", directory=folder), what="E1016")
        assert "too old" in lines[1]
        assert murmesh("relay", "disable", "aged01", directory=folder).returncode == 0
        assert "too old" in refused(murmesh("relay", "move", "aged01", "server", directory=folder), what="E1016")[1]
        assert murmesh("tag", "aged01", "+old", directory=folder).returncode == 0


@pytest.mark.parametrize("shift", [YEARS, -YEARS], ids=["ahead", "behind"])
def test_a_relay_with_a_wrong_clock(mesh, relays, clock, shift):
    """It goes by the time that the mesh tells, also when it looks at the certificates of those below it."""
    name = "ahead" if shift > 0 else "behind"
    first = relays.make(f"{name}01")
    first.stop()
    with Program([PROGRAMS / "murmesh-agent", "--dir", first.directory], first.directory / "log", env=clock(shift)) as relay:
        until(lambda: "online as " in relay.log() and relays.row(f"{name}01")["address"], "the relay is there")
        agent = relays.join(f"{name}02", f"{name}01")
        assert mesh.run(f"{name}02", "--", "true").returncode == 0
        agent.stop()
        with Machine(agent.directory) as again:  # with its certificate
            again.online()
            assert parent_of(mesh, f"{name}02") == f"{name}01-1"


# ---- several parents ----

def settings(relays, name, **keys):
    """Of an agent that is not there yet: [Router] of its configuration."""
    folder = relays.folder(name)
    (folder / "murmesh-agent.ini").write_text("[Relay]\nPort = 0\nAddress = 127.0.0.1\n[Router]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items()))
    return folder


def parent_of(mesh, name):
    device = mesh.device(name)
    return device["parent"] if device and device["online"] else None


def test_fails_over_and_returns(mesh, relays):
    first = relays.make("way01")
    address = relays.row("way01")["address"]
    settings(relays, "mover01", ParentAddress=f"{address}, 127.0.0.1:{mesh.port}", ReturnAfter="1s")
    agent = mesh.join("mover01")  # by the server's line: what is configured counts afterwards
    until(lambda: parent_of(mesh, "mover01") == "way01-1", "it is where it likes to be", 20)
    link = first.monitor.roles()["front"], first.monitor.roles()["link"]
    first.stop(signal.SIGKILL)
    until(lambda: parent_of(mesh, "mover01") == "server", "it has another parent", 20)
    assert mesh.run("mover01", "--", "true").returncode == 0
    (first.directory / "murmesh-agent.ini").write_text(f"[Relay]\nPort = {address.rsplit(':')[1]}\nAddress = 127.0.0.1\n")
    until(lambda: not any(map(alive, link)), "its roles have left")
    with Machine(first.directory) as again:
        until(lambda: "online as " in again.log(), "the relay is back")
        until(lambda: parent_of(mesh, "mover01") == "way01-1", "it has gone back", 30)
        assert mesh.works("mover01")
    agent.stop()


def test_a_relay_without_its_parent_is_left(mesh, relays):
    """It answers, but leads nowhere."""
    upper, lower = relays.make("chain01"), relays.make("chain02", "chain01")
    settings(relays, "mover02", ParentAddress=f"{relays.row('chain02')['address']}, 127.0.0.1:{mesh.port}", ReturnAfter="1s")
    agent = mesh.join("mover02")
    until(lambda: parent_of(mesh, "mover02") == "chain02-1", "it is below two relays", 20)
    upper.stop(signal.SIGKILL)
    until(lambda: parent_of(mesh, "mover02") == "server", "it has gone", 20)
    start = agent.log().count("offline")
    asked = lower.log().count("not reachable")
    until(lambda: lower.log().count("not reachable") >= asked, "the relay tries on")
    assert mesh.works("mover02") and agent.log().count("offline") == start
    agent.stop()
    lower.stop()


def test_parents_of_the_policy(new_mesh):
    """Where the mesh is, is told by its policy too, signed by the mesh root."""
    mesh = new_mesh()
    agent = mesh.join("told01")
    other = f"127.0.0.2:{mesh.port}"
    assert mesh.cli("policy", "set", "--parent", other).returncode == 0
    until(lambda: "policy of the mesh is now" in agent.log(), "it has the policy")
    kept = agent.directory / "net" / "parent"
    agent.stop()
    kept.write_text("host=127.0.0.1\nport=1\n")  # nobody is there
    with Machine(agent.directory) as again:
        again.online()


@pytest.mark.parametrize("login", [None, ("squirrel", "a.b_c-42")])
def test_through_a_proxy(mesh, relays, tmp_path, login):
    name = "proxied02" if login else "proxied01"
    with Proxy(tmp_path, login) as proxy:
        keys = {"ProxyUser": login[0], "ProxyPassword": login[1]} if login else {}
        folder = settings(relays, name, Proxy=f"127.0.0.1:{proxy.port}", **keys)
        agent = mesh.join(name)
        assert proxy.connects() > 0
        assert mesh.works(name)
        agent.stop()
    if login:
        with Proxy(tmp_path, login) as proxy:
            (folder / "murmesh-agent.ini").write_text(f"[Router]\nProxy = 127.0.0.1:{proxy.port}\nProxyUser = squirrel\nProxyPassword = wrong\n")
            with Machine(folder) as again:
                until(lambda: "E1722" in again.log(), "it says that the proxy wants another password")


class Proxy(Program):
    """tinyproxy, as anybody would run it."""

    def __init__(self, folder, login):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        config, self.events = folder / "tinyproxy.conf", folder / "tinyproxy.events"
        config.write_text(f'Port {self.port}\nListen 127.0.0.1\nTimeout 600\nMaxClients 100\nAllow 127.0.0.1\nLogFile "{self.events}"\nLogLevel Info\n'
                          + (f'BasicAuth {login[0]} {login[1]}\n' if login else ""))
        super().__init__(["tinyproxy", "-d", "-c", config], folder / "tinyproxy.out")
        until(lambda: self.events.exists() and "Starting main loop" in self.events.read_text(), "the proxy runs")

    def connects(self):
        return self.events.read_text().count("CONNECT ")


class HostileRelay:
    """Has a relay's certificate; opens and answers calls as the test says."""

    def __init__(self, mesh, folder, link, make=None):
        (make or certificate_make)(mesh, folder, kind="relay")
        handlers = {"MessageRouter/Link": grpc.stream_stream_rpc_method_handler(link, router.Frame.FromString, router.Frame.SerializeToString)}
        self.calls = []
        self.server = grpc.server(futures.ThreadPoolExecutor(4))
        self.server.add_generic_rpc_handlers([self])
        self.handlers = handlers
        keys = [((folder / "leaf.key").read_bytes(), (folder / "chain.crt").read_bytes())]
        self.address = f"127.0.0.1:{self.server.add_secure_port('127.0.0.1:0', grpc.ssl_server_credentials(keys))}"
        self.server.start()

    def service(self, details):
        self.calls.append(details.method.removeprefix("/murmesh."))
        return self.handlers.get(self.calls[-1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.stop(0).wait()


def copied(frames, context):
    context.set_trailing_metadata([("murmesh-error", "E1251")])
    context.abort(grpc.StatusCode.UNKNOWN, "a copy")
    yield


def test_a_relay_does_not_tell_the_time(mesh, relays, tmp_path):
    """What it says is not signed: else an agent that has believed it once would refuse its server for days."""
    def link(frames, context):
        yield router.Frame(welcome=router.Welcome(version="0", server_time=int(time.time()) + 4 * 86400))
    with HostileRelay(mesh, tmp_path / "hostile", link) as relay:
        folder = settings(relays, "misled01", ParentAddress=f"{relay.address}, 127.0.0.1:{mesh.port}", ReturnAfter="1h")
        mesh.join("misled01").stop()
        agent = Machine(folder)
        until(lambda: relay.calls.count("MessageRouter/Link") > 0, "it was misled")
    until(lambda: parent_of(mesh, "misled01") == "server", "it links to the server nevertheless", 20)
    assert mesh.run("misled01", "--", "true").returncode == 0
    agent.stop()


def test_a_relay_that_says_copy(mesh, relays, tmp_path):
    """It says that an agent is a copy, which the server does not know of."""
    with HostileRelay(mesh, tmp_path / "hostile", copied) as relay:
        folder = settings(relays, "misled02", ParentAddress=f"{relay.address}, 127.0.0.1:{mesh.port}", ReturnAfter="1h")
        mesh.join("misled02").stop()
        agent = Machine(folder)
        until(lambda: "E1251" in agent.log(), "it was misled", 20)
        until(lambda: parent_of(mesh, "misled02") == "server", "it links to the server all the same", 20)
    assert mesh.run("misled02", "--", "true").returncode == 0
    agent.stop()


def test_a_relay_that_lets_go(mesh, relays, tmp_path):
    """Each link to it begins, and ends at once: the next parent has its turn."""
    def link(frames, context):
        yield router.Frame(welcome=router.Welcome(version="0"))
    with HostileRelay(mesh, tmp_path / "hostile", link) as relay:
        folder = settings(relays, "misled03", ParentAddress=f"{relay.address}, 127.0.0.1:{mesh.port}", ReturnAfter="1h")
        mesh.join("misled03").stop()
        with Machine(folder):
            until(lambda: parent_of(mesh, "misled03") == "server", "it links to the server", 20)
            assert relay.calls.count("MessageRouter/Link") == 2  # once more: it may only have been started again
            assert mesh.run("misled03", "--", "true").returncode == 0


class Captured:
    """A device whose relay certificate somebody else has, too."""

    def __init__(self, mesh, folder, name):
        self.mesh, self.folder, self.device = mesh, folder, Device(mesh, folder, name).enrol()
        self.name = name

    def enable(self):
        assert self.mesh.cli("relay", "enable", self.name).returncode == 0

    def disable(self):
        assert self.mesh.cli("relay", "disable", self.name).returncode == 0

    def certificate(self, mesh, folder, kind):
        """As certificate_make() does, but given by the server."""
        folder.mkdir(exist_ok=True)
        key = Key(folder, "leaf")
        reply = self.device.peer.unary("CertificationManager/RenewCertificate", relay_request(key, self.device.key), enrol.CertificateReply)
        (folder / "chain.crt").write_text(pem(reply.leaf) + pem(reply.intermediate))


def busy(frames, context):
    context.abort(grpc.StatusCode.UNAVAILABLE, "later")
    yield


def test_an_ended_relay_is_not_believed(mesh, relays, tmp_path):
    """Its certificate would be good for days.  Whom it is that was told before does not forget it."""
    captured = Captured(mesh, tmp_path, "captured01")
    captured.enable()
    with HostileRelay(mesh, tmp_path / "hostile", busy, captured.certificate) as relay:
        folder = settings(relays, "wary01", ParentAddress=f"{relay.address}, 127.0.0.1:{mesh.port}", ReturnAfter="1h")
        mesh.join("wary01").stop()
        with Machine(folder) as agent:
            until(lambda: parent_of(mesh, "wary01") == "server", "it is at the server in the end")
            before = relay.calls.count("MessageRouter/Link")
            assert before > 0  # it was believed
            captured.disable()
            until((folder / "net" / "ended").exists, "it is told")
        with Machine(folder) as agent:
            until(lambda: "no relay any more" in agent.log(), "it does not take it")
            until(lambda: parent_of(mesh, "wary01") == "server", "it is at the server")
        assert relay.calls.count("MessageRouter/Link") == before
        captured.enable()
    with HostileRelay(mesh, tmp_path / "again", busy, captured.certificate) as relay:  # with another certificate it is one again
        (folder / "murmesh-agent.ini").write_text(f"[Router]\nParentAddress = {relay.address}, 127.0.0.1:{mesh.port}\nReturnAfter = 1h\n")
        with Machine(folder):
            until(lambda: relay.calls.count("MessageRouter/Link") > 0, "it is believed")
    assert mesh.cli("delete", "captured01", "--yes").returncode == 0


def test_a_relay_is_left_when_it_has_ended(mesh, relays, tmp_path):
    """Also one that does not notice."""
    captured, told, tell = Captured(mesh, tmp_path, "captured02"), [], threading.Event()
    captured.enable()

    def link(frames, context):
        yield router.Frame(welcome=router.Welcome(version="0"))
        tell.wait(60)
        yield from told
        threading.Event().wait(60)
    with HostileRelay(mesh, tmp_path / "hostile", link, captured.certificate) as relay:
        key_hash = hashlib.sha256(openssl("pkey", "-in", tmp_path / "hostile" / "leaf.key", "-pubout", "-outform", "DER")).digest()
        folder = settings(relays, "wary02", ParentAddress=f"{relay.address}, 127.0.0.1:{mesh.port}", ReturnAfter="1h")
        mesh.join("wary02").stop()
        with Machine(folder) as agent:
            agent.online()
            assert parent_of(mesh, "wary02") is None
            with captured.device.linked() as frames:
                captured.disable()
                told.append(next(frame for frame in frames if key_hash in ended_hashes(frame)))
            tell.set()
            until(lambda: parent_of(mesh, "wary02") == "server", "it has left")
            assert "no relay any more" in agent.log()
    assert mesh.cli("delete", "captured02", "--yes").returncode == 0


def granted(mesh, context, message):
    """Signed with the mesh's grant key, which a test can read."""
    document = message.SerializeToString()
    signature = openssl("dgst", "-sha256", "-sign", mesh.directory / "ca" / "grant.key", input=context.encode() + b"\0" + document)
    return enrol.SignedDocument(document=document, signature=signature)


def mesh_id(mesh):
    return bytes.fromhex((mesh.directory / "ca" / "mesh").read_text().strip())


def later_ms(seconds):
    return int((time.time() + seconds) * 1000)


def ended_of(folder):
    """The list that an agent keeps."""
    return router.RelaysEnded.FromString(enrol.SignedDocument.FromString((folder / "net" / "ended").read_bytes()).document)


def test_what_is_signed_for_a_time_to_come(mesh, relays, tmp_path):
    """It is not taken, for nothing would count after it; one that an older version has kept does not stand in the way."""
    folder = relays.folder("early01")
    mesh.join("early01").stop()
    whose, year = {"mesh": mesh_id(mesh), "device": bytes.fromhex(mesh.device("early01")["id"])}, later_ms(365 * 86400)
    ended = granted(mesh, "murmesh relays ended 1", router.RelaysEnded(mesh=mesh_id(mesh), created_ms=year, key_hashes=[bytes(32)]))
    frames = [router.Frame(relays_ended=ended),
              router.Frame(duty=granted(mesh, "murmesh relay 1", router.RelayDuty(created_ms=year, enabled=True, **whose))),
              router.Frame(move=granted(mesh, "murmesh move 1", router.Move(created_ms=year, parent="127.0.0.1:1", fall_back_s=600, **whose)))]

    def link(requests, context):
        yield router.Frame(welcome=router.Welcome(version="0"))
        yield from frames
    with HostileRelay(mesh, tmp_path / "hostile", link) as relay:
        (folder / "murmesh-agent.ini").write_text(f"[Relay]\nPort = 0\nAddress = 127.0.0.1\n[Router]\nParentAddress = {relay.address}, 127.0.0.1:{mesh.port}\nReturnAfter = 1h\n")
        with Machine(folder) as agent:
            until(lambda: agent.log().count("was not taken: what was signed is of a time that has not come") >= 3, "it takes none of them")
            until(lambda: parent_of(mesh, "early01") == "server", "it is at the server")
            assert "becomes a relay" not in agent.log()
    (folder / "net" / "ended").write_bytes(ended.SerializeToString())
    (folder / "net" / "relay").write_text(f"created_ms={year}\n")
    (folder / "net" / "move").write_text(f"created_ms={year}\nhost=\nport=0\nfall_back_s=0\nreached=0\n")
    (folder / "murmesh-agent.ini").write_text("[Relay]\nPort = 0\nAddress = 127.0.0.1\n")
    captured = Captured(mesh, tmp_path, "early02")
    captured.enable()
    captured.certificate(mesh, tmp_path / "early02", "relay")
    with Machine(folder) as agent:
        agent.online()
        captured.disable()
        until(lambda: ended_of(folder).created_ms < year, "it takes the list")
        assert mesh.cli("relay", "move", "early01", "hop01").returncode == 0
        until(lambda: parent_of(mesh, "early01") == "hop01-1", "it takes the order to move")
        assert mesh.cli("relay", "enable", "early01").returncode == 0
        until(lambda: "becomes a relay" in agent.log(), "it takes the order to be a relay")
    for name in ("early01", "early02"):
        assert mesh.cli("delete", name, "--yes").returncode == 0


def test_what_another_grant_key_has_signed(new_mesh, tmp_path):
    """A key that was taken is changed: what it has signed does not count any more, and stands in nobody's way."""
    mesh = new_mesh()
    agent = mesh.join("early03")
    folder = agent.directory
    agent.stop()
    forged = router.RelaysEnded(mesh=mesh_id(mesh), created_ms=later_ms(1800), key_hashes=[bytes(32)])
    (folder / "net" / "ended").write_bytes(granted(mesh, "murmesh relays ended 1", forged).SerializeToString())
    with Machine(folder) as agent:
        agent.online()
        assert mesh.cli("ca", "rotate", "--grant-key").returncode == 0
        until(lambda: "policy of the mesh is now version 2" in agent.log(), "it has the new key")
        captured = Captured(mesh, tmp_path, "early04")
        captured.enable()
        captured.certificate(mesh, tmp_path / "early04", "relay")
        captured.disable()
        until(lambda: ended_of(folder).created_ms < forged.created_ms, "it takes the true list")


def ended_hashes(frame):
    return router.RelaysEnded.FromString(frame.relays_ended.document).key_hashes if frame.HasField("relays_ended") else []


# ---- by order ----

def test_moved(mesh, relays):
    agent = relays.join("sent01", None)
    result = mesh.cli("relay", "move", "sent01", "hop02")
    assert result.returncode == 0 and "sent01-1" in result.stderr, result.stderr
    until(lambda: parent_of(mesh, "sent01") == "hop02-1", "it is below the relay")
    assert "offline" not in agent.log()  # it asked the new one before it left
    assert mesh.works("sent01")
    agent.stop()
    with Machine(agent.directory) as again:
        again.online()
        assert parent_of(mesh, "sent01") == "hop02-1"
        assert mesh.cli("relay", "move", "sent01", "server").returncode == 0
        until(lambda: parent_of(mesh, "sent01") == "server", "back at the server")
        assert mesh.cli("relay", "move", "sent01", "hop01").returncode == 0
        until(lambda: parent_of(mesh, "sent01") == "hop01-1", "below another relay")
        assert mesh.cli("relay", "move", "sent01", "-").returncode == 0
        until(lambda: parent_of(mesh, "sent01") == "server", "where it joined")
    moves = [row for row in mesh.json("audit", "ls") if "parent" in row["detail"] and "sent01" in row["object"]]
    assert len(moves) == 4


def test_moved_to_nobody(mesh, relays):
    """It stays where it is, and forgets the order in time."""
    agent = relays.join("sent02", "hop01")
    assert mesh.cli("relay", "move", "sent02", "127.0.0.1:1", "--fall-back", "2s").returncode == 0
    until(lambda: "it stays where it was" in agent.log(), "it says so")
    assert parent_of(mesh, "sent02") == "hop01-1" and "offline" not in agent.log()
    agent.stop()
    refused(mesh.cli("relay", "move", "sent02", "web02"), what="E1701")
    refused(mesh.cli("relay", "move", "sent02", "nobody01"), 3)
    refused(mesh.cli("relay", "move", "sent02", "a:b:c"), what="E1012")


def test_moved_in_a_circle(mesh, relays):
    """Below itself nothing leads to the server: it stays where it is."""
    upper, lower = relays.make("ring01"), relays.make("ring02", "ring01")
    start = upper.log().count("online as "), lower.log().count("online as ")
    for parent in ("ring01", "ring02"):
        stays = upper.log().count("it stays where it was")
        assert mesh.cli("relay", "move", "ring01", parent, "--fall-back", "2s").returncode == 0
        until(lambda: upper.log().count("it stays where it was") > stays, "it says so")
    assert (upper.log().count("online as "), lower.log().count("online as ")) == start and "offline" not in upper.log()
    lower.stop()
    upper.stop()


def test_moved_to_where_it_is(mesh, relays):
    """Then the order is not forgotten."""
    agent = relays.join("sent05", None)
    assert mesh.cli("relay", "move", "sent05", f"127.0.0.1:{mesh.port}", "--fall-back", "1s").returncode == 0
    until(lambda: "that this machine was moved to" in agent.log(), "it is there")
    agent.stop()


def test_orders_that_cannot_be_kept(mesh, relays):
    """As on a disk that is full: they are not taken, for after a restart an older one would count; the server is told."""
    relays.folder("full01")
    agent = mesh.join("full01")
    for name in ("relay", "move"):
        (agent.directory / "net" / f"{name}.new").mkdir()
    id = mesh.device("full01")["id"]
    assert mesh.cli("relay", "move", "full01", "hop01").returncode == 0
    until(lambda: f"device {id} did not take an order to link to another parent" in mesh.log(), "the server is told")
    assert mesh.cli("relay", "enable", "full01").returncode == 0
    until(lambda: "an order about being a relay was not taken" in agent.log(), "it says so itself, too")
    assert mesh.works("full01") and parent_of(mesh, "full01") == "server"
    assert "becomes a relay" not in agent.log()
    agent.stop()
    for name in ("relay", "move"):
        (agent.directory / "net" / f"{name}.new").rmdir()
    with Machine(agent.directory) as again:
        until(lambda: "becomes a relay" in again.log(), "with its next link it is told again")
        until(lambda: parent_of(mesh, "full01") == "server", "it was not moved")
    assert mesh.cli("delete", "full01", "--yes").returncode == 0


def test_port_that_is_taken(mesh, relays):
    """It says so and stays what it was until the port is free, instead of beginning again for ever."""
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        (relays.folder("taken01") / "murmesh-agent.ini").write_text(f"[Relay]\nPort = {port}\nAddress = 127.0.0.1\n[Router]\nTLSPort = 0\nIORSenderPort = 0\n")
        agent = mesh.join("taken01")
        assert mesh.cli("relay", "enable", "taken01").returncode == 0
        until(lambda: f"as soon as its port {port} is free" in agent.log() and agent.log().count("online as ") == 2, "it says so")
        assert agent.log().count("this machine becomes a relay") == 1
        assert mesh.run("taken01", "--", "true").returncode == 0
    until(lambda: relays.row("taken01")["address"] == f"127.0.0.1:{port}", "it is a relay by itself", 30)
    assert mesh.cli("relay", "disable", "taken01").returncode == 0
    until(lambda: "no relay any more" in agent.log(), "it hears that")
    agent.stop()


def test_disabled_while_its_port_is_taken(mesh, relays):
    with socket.create_server(("0.0.0.0", 0)) as taken:
        (relays.folder("taken02") / "murmesh-agent.ini").write_text(f"[Router]\nTLSPort = {taken.getsockname()[1]}\n[Relay]\nPort = 0\n")
        agent = mesh.join("taken02")
        assert mesh.cli("relay", "enable", "taken02").returncode == 0
        until(lambda: "TLSPort in murmesh-agent.ini" in agent.log() and agent.log().count("online as ") == 2, "it waits for its port")
        assert mesh.cli("relay", "disable", "taken02").returncode == 0
        until(lambda: "no relay any more" in agent.log(), "it hears that")
    agent.stop()


# ---- object references ----

def reference_port(relay):
    return int(re.search(r"object reference is at port (\d+)", relay.log()).group(1))


def test_finds_a_relay_by_its_reference(mesh, relays):
    """Links and tunnels go where the reference says."""
    relay = relays.make("refer01")
    port = reference_port(relay)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        line = b"".join(iter(lambda: connection.recv(4096), b"")).decode()
    assert line.startswith("IOR:") and line.endswith("\n")
    shown = subprocess.run(["catior", line.strip()], capture_output=True, text=True, check=True).stdout
    assert "murmesh/Router" in shown and "127.0.0.1" in shown
    front = int(relays.row("refer01")["address"].rsplit(":")[1])
    told = subprocess.run(["catior", mesh.json("ior", "refer01")["ior"]], capture_output=True, text=True, check=True).stdout
    assert "127.0.0.1" in told and f"{front}" in told
    refused(mesh.cli("ior", "leaf01"), what="E1701")
    settings(relays, "finder01", ParentAddress=f"127.0.0.1:{port}", IORPort=port)
    agent = mesh.join("finder01")
    until(lambda: parent_of(mesh, "finder01") == "refer01-1", "it has found its parent", 20)
    assert front not in ports_to(agent.monitor.roles()["net"])  # but the port that the reference names
    assert mesh.works("finder01")
    agent.stop()


def test_enrols_by_the_reference_of_a_relay(mesh, relays):
    relay = relays.make("refer02")
    port = reference_port(relay)
    folder = settings(relays, "finder03", IORPort=port)
    agent = mesh.join("finder03", line=f"127.0.0.1:{port}#" + relays.line("refer02").split("#")[1])
    assert parent_of(mesh, "finder03") == "refer02-1"
    agent.stop()
    with Machine(folder) as again:
        again.online()
        assert parent_of(mesh, "finder03") == "refer02-1" and mesh.works("finder03")


def ports_to(pid):
    """That the process is connected to."""
    inodes = {text[8:-1] for text in (os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")) if text.startswith("socket:")}
    rows = [line.split() for path in ("/proc/net/tcp", "/proc/net/tcp6") for line in open(path).read().splitlines()[1:]]
    return [int(row[2].rsplit(":")[1], 16) for row in rows if row[9] in inodes and row[3] == "01"]


def test_finds_the_server_by_its_reference(mesh, relays):
    port = mesh.info["ports"]["ior"]
    settings(relays, "finder02", ParentAddress=f"127.0.0.1:{port}", IORPort=port)
    agent = mesh.join("finder02")
    until(lambda: ports_to(agent.monitor.roles()["net"]) == [mesh.info["ports"]["tls"]], "it is linked where the reference says")
    assert parent_of(mesh, "finder02") == "server" and mesh.works("finder02")
    agent.stop()


@pytest.mark.parametrize("name, said", [("finder11", b"IOR:00\n"), ("finder12", b"hello"), ("finder13", b"x" * 20000), ("finder14", b"")])
def test_no_reference(mesh, relays, name, said):
    """It says so, and takes its other parent."""
    with Target(lambda connection: connection.sendall(said)) as wrong:
        folder = settings(relays, name, ParentAddress=f"127.0.0.1:{wrong.port}, 127.0.0.1:{mesh.port}", IORPort=wrong.port, ReturnAfter="1h")
        mesh.join(name).stop()
        agent = Machine(folder)
        until(lambda: "E1700" in agent.log(), "it says so")
        until(lambda: parent_of(mesh, name) == "server", "it has its other parent", 20)
        assert mesh.run(name, "--", "true").returncode == 0
    agent.stop()


def test_ends_while_it_begins_again(mesh, relays):
    relays.folder("brief03")
    agent = mesh.join("brief03")
    assert mesh.cli("relay", "enable", "brief03").returncode == 0
    until(lambda: "this machine becomes a relay" in agent.log(), "it begins again")
    assert agent.stop() == 0
    assert agent.log().count("online as ") == 1 and mesh.cli("relay", "disable", "brief03").returncode == 0


def test_move_orders_are_signed(mesh, relays, tmp_path):
    """Each for one device, which the unit tests of tunnel/grant have refuse all others."""
    orders = {}
    for name in ("sent03", "sent04"):
        device = Device(mesh, tmp_path, name).enrol()
        with device.linked() as frames:
            assert next(frames).HasField("welcome")
            assert mesh.cli("relay", "move", name, "127.0.0.1:9").returncode == 0
            orders[name] = next(frame for frame in frames if frame.HasField("move")).move
        move = router.Move.FromString(orders[name].document)
        assert move.parent == "127.0.0.1:9" and move.device.hex() == device.id and move.fall_back_s == 600 and move.created_ms > 0
        assert mesh.cli("delete", name, "--yes").returncode == 0
    assert orders["sent03"].signature != orders["sent04"].signature


def test_duties_are_signed(mesh, relays, tmp_path):
    """Whoever understands it hears of nothing else; others as ever."""
    device = Device(mesh, tmp_path, "duty01").enrol()

    def told(relay_signed):
        """What it is told when it is made a relay."""
        ended = threading.Event()

        def say():
            yield router.Frame(hello=router.Hello(version="0", relay_signed=relay_signed))
            ended.wait()
        frames = device.peer.stream("MessageRouter/Link", say(), router.Frame)
        welcome = next(frames).welcome
        assert welcome.HasField("relay") != relay_signed
        try:
            assert mesh.cli("relay", "enable", "duty01").returncode == 0
            return next(frame for frame in frames if frame.WhichOneof("body") in ("relay", "duty"))
        finally:
            ended.set()
            frames.cancel()
            assert mesh.cli("relay", "disable", "duty01").returncode == 0
    assert told(False).relay.enabled
    duty = router.RelayDuty.FromString(told(True).duty.document)
    assert duty.enabled and duty.device.hex() == device.id and duty.created_ms > 0
    assert mesh.cli("delete", "duty01", "--yes").returncode == 0


@pytest.mark.parametrize("name, signed", [("duty02", False), ("duty03", True)])
def test_a_duty_that_is_not_signed(mesh, relays, tmp_path, name, signed):
    """A relay above cannot make a relay of a device that has seen a signed order; an older server, which signs none, can of others."""
    def link(frames, context):
        yield router.Frame(welcome=router.Welcome(version="0", relay=router.RelayOrder(enabled=True)))
        for _ in frames:
            pass
    with HostileRelay(mesh, tmp_path / "hostile", link) as relay:
        folder = settings(relays, name)
        agent = mesh.join(name)
        if signed:
            for order in ("enable", "disable"):
                starts = agent.log().count("online as ")
                assert mesh.cli("relay", order, name).returncode == 0
                until(lambda: agent.log().count("online as ") > starts, f"it is told to {order}")
        agent.stop()
        (folder / "murmesh-agent.ini").write_text(f"[Relay]\nPort = 0\n[Router]\nParentAddress = {relay.address}\n")
        with Machine(folder) as again:
            said = "to be a relay was not taken" if signed else "this machine becomes a relay"
            until(lambda: said in again.log(), "it has heard the order")
            assert signed or "was not taken" not in again.log()
            assert not signed or "becomes a relay" not in again.log()


# ---- what people look at ----

def test_ping_names_each_hop(mesh, relays):
    rows = mesh.json("ping", "leaf04")
    assert [row["name"] for row in rows] == ["server", "hop01-1", "hop02-1", "hop03-1", "leaf04-1"]
    assert all(row["ms"] > 0 and row["error"] == "" for row in rows)
    assert [row["name"] for row in mesh.json("ping", "web02", "--count", "1")] == ["server", "web02-1"]
    refused(mesh.cli("ping", "nobody01"), 3)


def test_ping_says_where_it_ends(mesh, relays):
    agent = relays.join("still01", "hop01")
    net = agent.monitor.roles()["net"]
    os.kill(net, signal.SIGSTOP)
    try:
        result = mesh.cli("ping", "still01", "--count", "1", "--json")
        rows = json.loads(result.stdout)
        assert result.returncode == 1 and [row["name"] for row in rows] == ["server", "hop01-1", "still01-1"]
        assert rows[1]["error"] == "" and rows[2]["ms"] is None and "in time" in rows[2]["error"]
    finally:
        os.kill(net, signal.SIGCONT)
    agent.stop()
    until(lambda: not mesh.device("still01")["online"], "offline")
    rows = json.loads(mesh.cli("ping", "still01", "--count", "1", "--json").stdout)
    assert [(row["name"], "offline" in row["error"]) for row in rows] == [("server", False), ("still01-1", True)]


def test_tree_with_devices(mesh, relays):
    rows = mesh.json("relay", "tree")
    names = [row["name"] for row in rows]
    assert {"web02", "leaf01", "leaf04", "hop01"} <= set(names)
    depth = {row["name"]: row["depth"] for row in rows}
    assert (depth["hop01"], depth["hop02"], depth["hop03"], depth["leaf04"], depth["web02"]) == (0, 1, 2, 3, 0)
    assert names.index("hop01") < names.index("hop02") < names.index("hop03") < names.index("leaf04")
