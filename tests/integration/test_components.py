"""Roles of the server on other machines: link and relay, by a component certificate."""
import base64
import contextlib
import http.client
import json
import os
import signal
import socket
import sqlite3
import ssl
import subprocess
import threading
import time
from types import SimpleNamespace

import grpc
import pytest

from console import Browser, browser_of
from component import Component, InsideMesh, Network
from harness import IS_ROOT, PATIENCE, PROGRAMS, Agent, Echo, Mesh, Program, Target, gone, join_parts, legs, murmesh, refused, until
from people import Elsewhere, password_give
from test_live import Live
from test_messages import bodies, send
from test_web_tasks import rows, start, through
from test_web_terminal import Screen
from wire import Device, Key, Peer, User, certificate_make, console as console_pb2, enrol, fleet, internal, live, openssl, pem, refusal, router, unpadded32

DENIED = (grpc.StatusCode.PERMISSION_DENIED, "E1019")


# ---- three networks: core's, that of link and relay, and one that sees the latter alone ----

class Apart:
    """core - edge - far: who is in far reaches core's machine through link and relay of edge only."""

    def __init__(self, folder):
        self.folder = folder
        self.core, self.edge, self.far = Network(), Network(), Network()
        self.core.connect(self.edge, "10.91.1.1/30", "10.91.1.2/30")
        self.edge.connect(self.far, "10.91.2.1/30", "10.91.2.2/30")
        self.mesh = InsideMesh(self.core, folder / "server", port=8443, address="10.91.1.1")
        self.component = self.component_start(self.mesh.json("key", "new", "--component", "link,relay")["join"])
        self.component.ready()
        line = self.mesh.json("key", "new", "--relay", "10.91.2.1:8443")["join"]
        self.leaf = Agent(line, folder / "leaf", "leaf", before=self.far.before).online()
        assert self.mesh.cli("user", "add", "anna", "--role", "administrator").returncode == 0
        self.core.call(password_give, self.mesh, "anna")
        self.anna = Elsewhere(folder / "anna", before=self.far.before)
        result = self.anna.login(self.front(), "anna", host="10.91.2.1")
        assert result.returncode == 0, result.stderr
        self.vm = next(device["name"] for device in self.mesh.json("ls") if device["name"] != "leaf")

    def front(self):
        return SimpleNamespace(port=8443, info=self.mesh.info)

    def component_start(self, line=None):
        return Component(self.folder / "edge", "10.91.1.1:8443", "link", "relay", line=line, name="edge", address="10.91.2.1", port=8443,
                         before=self.edge.before)

    def works(self, device="leaf", network=None):
        """ls, run and a map, all through the edge; the map's target is on the device's machine."""
        network = network or self.far
        if device not in self.anna.cli("ls").stdout or self.anna.cli("run", device, "--", "true").returncode:
            return False
        echo = network.call(Echo)
        log = self.folder / f"map-{time.monotonic_ns()}.log"
        command = [PROGRAMS / "murmesh", "map", f"TCP:0:{device}:HTTP:{echo.port}", "--json"]
        with echo, Program(command, log, before=self.far.before, env=self.anna.env) as mapped:
            line = mapped.process.stdout.readline()
            assert line, mapped.log()
            return self.far.call(self.echoes, json.loads(line)["local_port"])

    @staticmethod
    def echoes(port):
        with socket.create_connection(("127.0.0.1", port), 20) as connection:
            try:
                connection.sendall(b"hello")
                return connection.recv(100) == b"hello"
            except ConnectionError:
                return False

    def online(self):
        return any(device["name"] == "leaf" and device["online"] for device in self.mesh.json("ls"))

    def stop(self):
        self.leaf.stop()
        self.component.stop()
        self.mesh.stop()
        for network in (self.core, self.edge, self.far):
            network.close()


@pytest.fixture(scope="module")
def apart(tmp_path_factory):
    if not IS_ROOT or subprocess.run(["unshare", "-n", "true"], capture_output=True).returncode:
        pytest.skip("only root makes networks of its own")
    all = Apart(tmp_path_factory.mktemp("apart"))
    yield all
    all.stop()


def test_far_sees_no_core(apart):
    """What follows would else show nothing."""
    with pytest.raises(OSError):
        apart.far.call(socket.create_connection, ("10.91.1.1", 8443), 2)


def test_all_works_through_link_and_relay_elsewhere(apart):
    assert apart.works("leaf")


def test_the_ends_of_a_tunnel_come_in_at_different_machines(apart):
    """A user at the edge and a device of core's machine, and the other way round."""
    assert apart.works(apart.vm, apart.core)
    result = apart.mesh.run("leaf", "--", "echo", "hello")
    assert (result.returncode, "hello" in result.stdout) == (0, True), result.stderr


def test_messages_and_inventories_come_through(apart):
    send(apart.mesh, "leaf", "to the far end", "--wait")
    assert "to the far end" in bodies(apart.leaf.directory)
    until(lambda: apart.mesh.json("show", "leaf")["inventory"], "the inventory is there")
    assert apart.mesh.json("show", "leaf")["signs"]


def test_roles_of_the_other_machine(apart):
    """No database, no certification manager, no core; one connection to core's machine."""
    assert set(apart.component.monitor.roles()) == {"uplink", "resolve", "front", "link", "relay"}
    assert not [path for path in ("db", "ca", "run/core.sock") if (apart.component.directory / path).exists()]
    shown = subprocess.run(["ss", "-tnH", "state", "established", "dst", "10.91.1.1"], capture_output=True, text=True, preexec_fn=apart.edge.enter).stdout
    assert len(shown.splitlines()) == 1, shown


def test_the_other_machine_starts_again(apart):
    """Its monitor is killed: all its roles go.  Started again, without a line, the device and the user are there by themselves."""
    below = list(apart.component.monitor.roles().values())
    os.kill(apart.component.pid, signal.SIGKILL)
    gone(below)
    until(lambda: not apart.online(), "the device is offline", 20)
    apart.component.stop()
    apart.component = apart.component_start().ready()
    until(apart.online, "the device is back", 40)
    assert apart.works()


@pytest.mark.parametrize("role", ["uplink", "link", "relay"])
def test_a_role_there_dies(apart, role):
    os.kill(apart.component.monitor.roles()[role], signal.SIGKILL)
    until(lambda: apart.online() and apart.mesh.json("component")[0]["attached"], "it is back", 40)
    until(apart.works, "all works", 40)


@pytest.mark.parametrize("role", ["core", "link"])
def test_a_role_of_core_s_machine_dies(apart, role):
    before = apart.leaf.log().count("online as ")
    os.kill(apart.mesh.server.roles()[role], signal.SIGKILL)
    until(lambda: apart.leaf.log().count("online as ") > before and apart.online(), "the device is back", 40)
    until(apart.works, "all works", 40)


def test_the_server_starts_again(apart):
    apart.mesh.stop()
    apart.mesh = InsideMesh(apart.core, apart.folder / "server", port=8443, address="10.91.1.1")
    until(lambda: apart.online() and apart.mesh.json("component")[0]["attached"], "the device is back", 60)
    until(apart.works, "all works", 40)


def test_a_user_who_is_shut_out(apart):
    """Also who is connected elsewhere."""
    assert apart.mesh.cli("user", "disable", "anna").returncode == 0
    result = apart.anna.cli("ls")
    assert result.returncode != 0 and ("E1206" in result.stderr or "E1019" in result.stderr), result.stderr


def test_revoked(apart):
    """At once nothing goes through it, and it stops."""
    apart.mesh.json("component", "revoke", "edge")
    until(lambda: not apart.online(), "the device is offline", 2)  # half a second is for who is shut out to hear why
    apart.component.wait()
    assert "E1206" in apart.component.log()
    again = apart.component_start()
    assert again.status() == ["refused", "E1206"]
    again.wait()
    again.stop()


# ---- link on two machines, relay on a third ----

@pytest.fixture
def places(mesh, tmp_path):
    """Makes machines with roles of the shared mesh's server."""
    with contextlib.ExitStack() as stack:
        def make(name, *roles, address="127.0.0.1"):
            line = mesh.key("--component", ",".join(roles))
            place = stack.enter_context(Component(tmp_path / name, f"127.0.0.1:{mesh.port}", *roles, line=line, name=name, address=address))
            stack.callback(lambda: mesh.cli("component", "revoke", name))
            return place.ready()
        yield make


def connections(place):
    """Of its relay: those that are open now."""
    pid = place.monitor.roles()["relay"]
    links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    tcp = {line.split()[9] for path in ("/proc/net/tcp", "/proc/net/tcp6") for line in open(path).read().splitlines()[1:]}
    return sum(link.startswith("socket:[") and link[8:-1] in tcp for link in links)


def test_links_and_a_relay_apart(mesh, places, tmp_path):
    """A tunnel goes through wherever its ends come in; they meet at the relay of a third machine, when there is one, else at core's."""
    here, there = places("part11", "link"), places("part12", "link")
    agent = mesh.join("part13", line=mesh.key("--relay", f"127.0.0.1:{here.port}"))
    assert mesh.cli("user", "add", "partuser", "--role", "operator").returncode == 0
    password_give(mesh, "partuser")
    homes = {}
    for place in (here, there):
        homes[place] = Elsewhere(tmp_path / f"home{place.port}")
        result = homes[place].login(SimpleNamespace(port=place.port, info=mesh.info), "partuser")
        assert result.returncode == 0, result.stderr

    def works(place, *each):
        """each: how many connections a tunnel makes at the machines."""
        with Echo() as echo, Program([PROGRAMS / "murmesh", "map", f"TCP:0:part13:HTTP:{echo.port}", "--json"], tmp_path / "map.log", env=homes[place].env) as mapped:
            port = json.loads(mapped.process.stdout.readline())["local_port"]
            with socket.create_connection(("127.0.0.1", port), 20) as connection:
                connection.sendall(b"hello")
                assert connection.recv(100) == b"hello"
                until(lambda: [connections(one) for one in (here, there, *third)] == [legs(mapped, place.port) * n for n in each], "the tunnels' ways")
                shown = until(lambda: [row["path"] for row in mesh.json("maps") if row["target"] == f"localhost:{echo.port}"], "it is listed")
                return [name.rpartition("-")[0] or name for name in shown[0]]
    third = []
    assert works(here, 2, 0) == ["part11"]  # both legs meet where they come in
    assert works(there, 2, 2) == ["part12", "server", "part11"]  # each goes on to core's machine
    # a name instead of an address: looked up by the machine that passes the leg on
    third.append(places("part14", "relay", address="localhost"))
    assert works(there, 2, 2, 2) == ["part12", "part14", "part11"]
    assert mesh.run("part13", "--", "true").returncode == 0
    agent.stop()


# ---- the console on another machine ----

@pytest.fixture(scope="module")
def console(mesh, tmp_path_factory):
    """Web alone."""
    folder = tmp_path_factory.mktemp("console")
    with Component(folder / "edge", f"127.0.0.1:{mesh.port}", "web", line=mesh.key("--component", "web"), name="part20") as component:
        yield component.ready()
        assert mesh.cli("component", "revoke", "part20").returncode == 0
        component.wait()


def browser_at(mesh, component):
    """Logged in there, by a link that core made."""
    return Browser(component.port, token=mesh.cli("login-link").stdout.split("#token=")[1].split()[0])


def test_console_elsewhere(mesh, console):
    assert set(console.monitor.roles()) == {"uplink", "resolve", "front", "web", "relay"}
    browser = browser_at(mesh, console)
    names = {event["device"]["name"] for event in browser.socket().snapshot("fleet") if "device" in event}
    assert {"web02", *(device["name"] for device in mesh.json("ls"))} <= names
    assert browser.get("/api/me").json["name"] == "local"
    assert refusals(browser) == {401, 403}
    # no command lines are met there
    with pytest.raises(OSError):
        ssl_open(console.port, "h2")


def refusals(browser):
    """What no session, and another site's page, hear."""
    stranger = Browser(browser.port)
    forged = browser.request("POST", "/api/ws-ticket", headers={"Origin": "https://evil.example"})
    browser.close()
    return {stranger.get("/api/me").status, forged.status}


def ssl_open(port, alpn):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([alpn])
    with socket.create_connection(("127.0.0.1", port), 20) as raw, context.wrap_socket(raw):
        pass


def test_login_by_password_elsewhere(mesh, console):
    assert mesh.cli("user", "add", "partweb", "--role", "operator").returncode == 0
    password_give(mesh, "partweb")
    browser = Browser(console.port)
    assert browser.post("/api/login", {"name": "partweb", "password": "wrong password", "code": ""}).status == 401
    answer = browser.post("/api/login", {"name": "partweb", "password": "correct horse battery", "code": ""})
    assert answer.status == 200, answer
    assert browser.get("/api/me").json["name"] == "partweb"
    assert mesh.cli("user", "disable", "partweb").returncode == 0
    browser.close()
    assert browser.get("/api/me").status == 401


def test_terminal_elsewhere(mesh, console):
    """Its leg begins at that machine's relay, and goes on to core's."""
    screen = Screen(browser_at(mesh, console), mesh.device("web02")["id"]).opened()
    screen.type("echo $((6 * 7))-is\n")
    until(lambda: b"42-is" in screen.said or screen.more(), "the shell answers")
    screen.close()


def test_live_elsewhere(mesh, console):
    """What a device's probe sees, by viz of core's machine."""
    live = Live(mesh, mesh.device("web02")["id"], browser_at(mesh, console))
    live.until(lambda: live.complete and live.sources, "its probe says where it gets it from")
    live.close()


def test_tasks_elsewhere(mesh, console):
    """Carried out by that web; when it ends, they are interrupted, and those of others are not."""
    here, there = browser_of(mesh), browser_at(mesh, console)
    done = start(there, "name:web02", 1, "echo", "hello")
    assert through(there, done)["web02"]["output"].strip() == "hello"
    one, other = (start(browser, "name:web02", 1, "sleep", "1000") for browser in (here, there))
    for browser, task in ((here, one), (there, other)):
        until(lambda: rows(browser, task)["web02"]["state"] == "running", "it runs")
    os.kill(console.monitor.roles()["uplink"], signal.SIGKILL)
    until(lambda: rows(here, other)["web02"]["state"] == "interrupted", "it is interrupted")
    assert rows(here, one)["web02"]["state"] == "running"
    here.close()
    assert here.post(f"/api/tasks/{one['id']}/cancel").status == 200
    until(lambda: next(row for row in mesh.json("component") if row["name"] == "part20")["attached"], "it is attached again")
    until(lambda: tried(lambda: browser_at(mesh, console).get("/api/me").status == 200), "it serves again")


def tried(function):
    try:
        return function()
    except (OSError, AssertionError, http.client.HTTPException):
        return False


# ---- collect and viz on other machines ----

class Watched:
    """A mesh whose server runs neither."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "server").mkdir(parents=True)
        (folder / "server" / "murmesh-server.ini").write_text("[Server]\nElsewhere = collect, viz\n")
        self.mesh = Mesh(folder / "server")
        self.mesh.join("leaf")
        self.browser, self.components = browser_of(self.mesh), []

    def component(self, *roles):
        name = "-".join(roles)
        line = self.mesh.key("--component", ",".join(roles))
        self.components.append(Component(self.folder / name, f"127.0.0.1:{self.mesh.port}", *roles, line=line, name=name).ready())
        return self.components[-1]

    def live(self, browser=None):
        """A page that is there; None while nobody makes pictures."""
        browser = browser or browser_of(self.mesh)
        page = Live(self.mesh, self.mesh.device("leaf")["id"], browser)
        page.socket.tls.settimeout(3 * PATIENCE)  # nothing comes from nobody
        try:
            page.until(lambda: page.complete and "process" in page.sources, "what is known of the device", 3)
            return page
        except (AssertionError, OSError):
            page.close()
            return None

    def sees(self, browser=None):
        """Whether a process that starts here comes to a page."""
        page = self.live(browser)
        if not page:
            return False
        with subprocess.Popen(["sleep", "617"]) as sleeper:
            try:
                return bool(page.row("exec", f"({sleeper.pid})"))
            except (AssertionError, OSError):
                return False
            finally:
                sleeper.kill()
                page.close()

    def stop(self):
        self.browser.close()
        for component in self.components:
            component.stop()
        self.mesh.stop()


@pytest.fixture
def watched(tmp_path):
    watched = Watched(tmp_path)
    yield watched
    watched.stop()


def test_collect_and_viz_elsewhere(watched):
    """On one machine, with web too; roles and connections end and come back."""
    assert not {"collect", "viz"} & set(watched.mesh.server.roles())
    assert not watched.live()
    component = watched.component("collect", "viz", "web")
    assert {"uplink", "collect", "viz", "web"} <= set(component.monitor.roles())
    until(watched.sees, "it is seen on the server's page", 60)
    page = Browser(component.port, token=watched.mesh.cli("login-link").stdout.split("#token=")[1].split()[0])
    until(lambda: watched.sees(page), "it is seen on its own page", 60)
    for monitor, role in ((component.monitor, "uplink"), (component.monitor, "collect"), (component.monitor, "viz"), (watched.mesh.server, "link"),
                          (watched.mesh.server, "core")):
        os.kill(monitor.roles()[role], signal.SIGKILL)
        until(lambda: tried(watched.sees), f"it is seen again after {role} ended", 60)
    assert watched.mesh.cli("component", "revoke", "collect-viz-web").returncode == 0
    component.wait()
    assert not watched.live()


def test_collect_and_viz_on_two_machines(watched):
    watched.component("viz")
    watched.component("collect")
    until(watched.sees, "it is seen", 60)


def called_as(port, certificate=None, called=lambda: None):
    """The kinds of the frames (RFC 9113 section 6) that come to somebody who offers to serve, until he is shut out."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["murmesh-serve/1"])
    if certificate:
        context.load_cert_chain(*certificate)
    kinds = []
    with socket.create_connection(("127.0.0.1", port), 20) as raw, context.wrap_socket(raw) as tls, tls.makefile("rb") as reader:
        assert tls.selected_alpn_protocol() == "murmesh-serve/1"
        tls.sendall(b"\0\0\0\4\0\0\0\0\0")  # settings: it would serve
        with contextlib.suppress(ConnectionError):
            reader.read(24)
            while head := reader.read(9):
                reader.read(int.from_bytes(head[:3], "big"))
                kinds.append(head[3])
                if head[3] == 1 and kinds.count(1) == 1:
                    called()
    return kinds


def chain_files(device, folder):
    chain = folder / f"{id(device)}.pem"
    chain.write_text(pem(device.certificates.leaf) + pem(device.certificates.intermediate))
    return chain, device.key.path


def test_only_who_may_serves(watched, tmp_path):
    """Others are shut out at once and called for nothing, and so is who is revoked."""
    mesh, headers = watched.mesh, 1
    for certificate in (None, Rogue(mesh, tmp_path, "edge", "link,web,relay").enrol(), Device(mesh, tmp_path, "plain").enrol(), User(mesh, tmp_path)):
        assert headers not in called_as(mesh.port, certificate and chain_files(certificate, tmp_path))
    gather, second = Rogue(mesh, tmp_path, "gather", "collect").enrol(), Rogue(mesh, tmp_path, "second", "collect,link").enrol()

    def called():
        """Nobody takes the place of another machine; when that one is shut out he may come."""
        assert headers not in called_as(mesh.port, chain_files(second, tmp_path))
        mesh.cli("component", "revoke", "gather")
    kinds = called_as(mesh.port, chain_files(gather, tmp_path), called)
    assert headers in kinds
    assert headers in called_as(mesh.port, chain_files(second, tmp_path), lambda: mesh.cli("component", "revoke", "second"))


def test_another_component_is_not_core(mesh, console, tmp_path):
    """Its certificate is a server's of this mesh, and its name another one."""
    edge = Component(tmp_path / "edge", f"127.0.0.1:{mesh.port}", "link", line=mesh.key("--component", "link"), name="part24").ready()
    with edge, Component(tmp_path / "behind", f"127.0.0.1:{edge.port}", "link", line=mesh.key("--component", "link"), name="part25") as behind:
        assert behind.status() == ["refused", "E1219"]
        behind.wait()
    assert mesh.cli("component", "revoke", "part24").returncode == 0


def test_unknown_role_elsewhere(tmp_path):
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "murmesh-server.ini").write_text("[Server]\nElsewhere = collect, core\n")
    server = subprocess.run([PROGRAMS / "murmesh-server", "--dir", tmp_path / "server", "--port", "0"], capture_output=True, text=True, check=False)
    assert server.returncode == 78 and "only collect and viz" in server.stderr


# ---- what a component may: a machine that is none of ours, by stock gRPC ----

class Rogue(Device):
    """Enrols as a component."""

    def __init__(self, mesh, folder, name, roles):
        super().__init__(mesh, folder, name, line=mesh.key("--component", roles))

    def request(self, token, **fields):
        return super().request(token, **{"kind": enrol.COMPONENT, "address": "edge.example.org:8443", **fields})

    def call(self, path, message, reply=enrol.CertificateReply, metadata=()):
        """The first answer."""
        call = self.peer.channel.stream_stream(f"/murmesh.{path}", lambda m: m.SerializeToString(), reply.FromString)
        return next(call(iter([message]), timeout=20, metadata=metadata))

    @contextlib.contextmanager
    def attached(self, roles):
        """Answers; a welcome comes first, when it is let in."""
        ended = threading.Event()

        def reports():
            yield internal.ComponentReport(hello=internal.ComponentHello(version="0", roles=roles, address="192.0.2.1:1"))
            ended.wait()
        call = self.peer.stream("Components/Attach", reports(), internal.ComponentTask)
        try:
            yield call
        finally:
            ended.set()
            call.cancel()


def identity(mesh, kind, id):
    return f"murmesh://{(mesh.directory / 'ca' / 'mesh').read_text().strip()}/{kind}/{id}"


def named(peer=None, address="192.0.2.1", **more):
    """Metadata by which a machine says for whom it calls."""
    return [("murmesh-address", address)] + ([("murmesh-peer", peer)] if peer else []) + [(f"murmesh-{name}", value) for name, value in more.items()]


@pytest.fixture(scope="module")
def rogues(mesh, tmp_path_factory):
    """Three machines, each with one role."""
    folder = tmp_path_factory.mktemp("rogues")
    both = SimpleNamespace(relay=Rogue(mesh, folder, "part01", "relay").enrol(), link=Rogue(mesh, folder, "part02", "link").enrol(),
                           web=Rogue(mesh, folder, "part23", "web").enrol(),
                           user=User(mesh, folder), key=Key(folder, "other"))
    both.local = identity(mesh, "user", openssl_identity(both.user.certificates.leaf))
    yield both
    for name in ("part01", "part02", "part23"):
        assert mesh.cli("component", "revoke", name).returncode == 0


def openssl_identity(der):
    shown = openssl("x509", "-inform", "DER", "-noout", "-ext", "subjectAltName", input=der).decode()
    return shown.split("URI:murmesh://")[1].split("/")[2].split(",")[0].strip()


def test_a_relay_does_nothing_that_a_link_does(mesh, rogues):
    """It speaks for nobody, neither users nor devices nor strangers, follows nothing, and gets no certificate that others take for a server's."""
    relay, web02 = rogues.relay, mesh.device("web02")["id"]
    for metadata in ((), named(), named(rogues.local), named(identity(mesh, "node", web02)), named(rogues.local, component=relay.id), named(rogues.local, via=relay.id)):
        assert refusal(lambda: relay.call("Fleet/ListDevices", fleet.ListRequest(), fleet.Device, metadata)) == DENIED, metadata
    hello = router.Frame(hello=router.Hello(version="0"))
    for metadata in ((), named(identity(mesh, "node", web02))):
        assert refusal(lambda: relay.call("MessageRouter/Link", hello, router.Frame, metadata)) == DENIED, metadata
    asked = enrol.RenewRequest(csr=rogues.key.request())
    assert refusal(lambda: relay.call("CertificationManager/CertifyServer", asked)) == DENIED
    assert refusal(lambda: relay.call("CertificationManager/RenewCertificate", asked, metadata=named(identity(mesh, "node", web02)))) == DENIED
    assert refusal(lambda: relay.call("CertificationManager/RenewCertificate", asked)) == DENIED  # kind NODE
    for path in ("Core/Revocations", "Core/CaChanges"):
        assert refusal(lambda: relay.call(path, internal.RevocationsRequest(), internal.Revocation)) == DENIED
    assert mesh.device("web02")["online"]


@pytest.mark.parametrize("path", ["Core/Certify", "Core/UserLogin", "Core/ComponentCertificate", "Core/Submit", "Core/Receive", "Relay/Announce", "Ca/Sign", "Ca/Issue",
                                  "Console/Setup", "Local/Login", "Viz/Announce"])
def test_what_roles_of_one_machine_say_to_each_other(mesh, rogues, path):
    """Is said by nobody on a network."""
    for rogue in (rogues.relay, rogues.link, rogues.web):
        if rogue is rogues.web and path.startswith("Console/"):
            continue
        for metadata in ((), named(rogues.local)):
            assert refusal(lambda: rogue.call(path, internal.PublicKey(key=rogues.key.public()), metadata=metadata))[0] == grpc.StatusCode.UNIMPLEMENTED


def test_a_link_speaks_for_whom_it_has_met(mesh, rogues, tmp_path):
    """Users, devices and strangers of this mesh, and nobody else."""
    link, web02 = rogues.link, mesh.device("web02")["id"]
    assert link.call("Fleet/ListDevices", fleet.ListRequest(selector="web02"), fleet.Device, named(rogues.local)).name == "web02"
    assert refusal(lambda: link.call("CertificationManager/RequestToken", enrol.TokenRequest(key_id=bytes(16), name="x"), enrol.Token, named()))[1] == "E1210"
    other = "murmesh://" + "9" * 32
    for metadata in ((), named(), named(identity(mesh, "node", web02)), named(identity(mesh, "component", link.id)), named(identity(mesh, "manager", web02)),
                     named(f"{other}/user/{link.id}"), named(rogues.local, via=web02), named(rogues.local, via=link.id), named(rogues.local, component=rogues.relay.id, via="7" * 32)):
        assert refusal(lambda: link.call("Fleet/ListDevices", fleet.ListRequest(), fleet.Device, metadata)) == DENIED, metadata
    behind = Device(mesh, tmp_path, "part15").enrol()
    assert mesh.cli("relay", "enable", "part15").returncode == 0
    lists, links = ("Fleet/ListDevices", fleet.ListRequest(), fleet.Device), ("MessageRouter/Link", router.Frame(hello=router.Hello(version="0")), router.Frame)
    until(lambda: not refusal_or_none(lambda: link.call(*links, named(identity(mesh, "node", "6" * 32), via=behind.id))) == DENIED, "it is a relay now")
    assert refusal(lambda: link.call(*lists, named(rogues.local, via=behind.id))) == DENIED  # no user comes through one
    assert mesh.cli("delete", "part15", "--yes").returncode == 0
    # which component it is says its certificate alone
    assert link.call("Fleet/ListDevices", fleet.ListRequest(selector="web02"), fleet.Device, named(rogues.local, component=rogues.relay.id)).name == "web02"
    login = fleet.LoginProof(name="a", password="b", csr=rogues.key.request())
    assert refusal(lambda: link.call("Login/Password", login, metadata=named()))[1] == "E1221"
    assert refusal(lambda: link.call("Login/Password", login, metadata=named(address="nowhere")))[0] != grpc.StatusCode.OK


@pytest.mark.parametrize("path, message, reply", [
    ("People/AddUser", fleet.UserChange(name="partevil", role="administrator", all_groups=True), fleet.UserLink),
    ("People/ChangeUser", fleet.UserChange(name="anna", role="administrator"), fleet.User),
    ("People/NewUserLink", fleet.UserName(name="anna"), fleet.UserLink),
    ("Fleet/NewKey", fleet.KeyRequest(uses=1), fleet.JoinKey),
    ("Fleet/DecideApproval", fleet.ApprovalDecision(selector="web02", approve=True), fleet.Approval),
    ("Fleet/RevokeComponent", fleet.ComponentName(selector="part01"), fleet.Component),
])
def test_a_link_administers_nothing(mesh, rogues, path, message, reply):
    """It may name any user as its client, also the one whom everything is allowed to."""
    assert refusal(lambda: rogues.link.call(path, message, reply, named(rogues.local)))[1] == "E1726"
    assert mesh.cli("user", "ls").stdout.count("partevil") == 0


def test_an_old_connection_of_a_revoked_link_ends(mesh, tmp_path):
    """Also one whose certificate has expired meanwhile, which no list of revoked keys has any more."""
    link, device = Rogue(mesh, tmp_path, "part21", "link").enrol(), Device(mesh, tmp_path, "part22").enrol()
    call = link.peer.channel.stream_stream("/murmesh.MessageRouter/Link", router.Frame.SerializeToString, router.Frame.FromString)
    ended = threading.Event()

    def frames():
        yield router.Frame(hello=router.Hello(version="0"))
        ended.wait()
    answers = call(frames(), timeout=60, metadata=named(identity(mesh, "node", device.id)))
    assert next(answers).HasField("welcome")
    with sqlite3.connect(mesh.directory / "db" / "murmesh.db", timeout=20) as database:
        assert database.execute("UPDATE certificates SET not_after = 1000 WHERE subject = ?", (bytes.fromhex(link.id),)).rowcount == 1
    closed = threading.Thread(target=lambda: refusal_or_none(lambda: [None for _ in answers]))
    closed.start()
    assert mesh.cli("component", "revoke", "part21").returncode == 0
    closed.join(10 * PATIENCE)
    assert not closed.is_alive()
    ended.set()
    assert mesh.cli("delete", "part22", "--yes").returncode == 0


def test_a_link_gets_no_certificate_of_a_device(mesh, rogues, tmp_path):
    """With a key of its own: it could answer users in the device's name."""
    device = Device(mesh, tmp_path, "part03").enrol()
    renewed = rogues.link.call("CertificationManager/RenewCertificate", enrol.RenewRequest(csr=device.key.request()), metadata=named(identity(mesh, "node", device.id)))
    assert renewed.device_id.hex() == device.id
    for kind in (enrol.NODE, enrol.MANAGER, enrol.COMPONENT, enrol.RELAY, enrol.USER):
        asked = enrol.RenewRequest(csr=rogues.key.request(), kind=kind)
        assert refusal(lambda: rogues.link.call("CertificationManager/RenewCertificate", asked, metadata=named(identity(mesh, "node", device.id)))) == DENIED, kind
    assert mesh.cli("delete", "part03", "--yes").returncode == 0


def test_a_web_does_nothing_that_a_link_does(mesh, rogues):
    """It has the console, by sessions; it speaks for nobody, follows nothing, and answers no device."""
    web, web02 = rogues.web, mesh.device("web02")["id"]
    nobody = console_pb2.SessionRequest(session=bytes(32))
    assert refusal(lambda: web.call("Console/Me", nobody, console_pb2.Account))[1] == "E1220"
    assert refusal(lambda: web.call("Console/Nothing", nobody, console_pb2.Account))[0] == grpc.StatusCode.UNIMPLEMENTED
    assert refusal(lambda: web.call("Viz/Watch", live.WatchTicket(), live.LiveBatch))[1] != "E1019"  # a ticket that core has not announced
    for path in ("Console/Me", "Viz/Watch"):
        for rogue in (rogues.relay, rogues.link, rogues.user):
            with contextlib.suppress(AttributeError):
                code, _ = refusal(lambda: rogue.call(path, nobody, console_pb2.Account))
                assert code in (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.PERMISSION_DENIED)
    for metadata in (named(), named(rogues.local), named(identity(mesh, "node", web02)), named(rogues.local, component=rogues.link.id)):
        assert refusal(lambda: web.call("Fleet/ListDevices", fleet.ListRequest(), fleet.Device, metadata)) == DENIED
        assert refusal(lambda: web.call("MessageRouter/Link", router.Frame(hello=router.Hello(version="0")), router.Frame, metadata)) == DENIED
        assert refusal(lambda: web.call("Console/Me", nobody, console_pb2.Account, metadata)) == DENIED
    assert refusal(lambda: web.call("Core/Revocations", internal.RevocationsRequest(), internal.Revocation)) == DENIED
    assert refusal(lambda: web.call("Login/Password", fleet.LoginProof(name="a", password="b", csr=rogues.key.request()), metadata=named())) == DENIED


def test_keys_that_a_web_sends(mesh, rogues):
    """Go to the certification manager in the one form that needs no parser."""
    session = session_of(mesh)
    good = rogues.key.public()
    reply = rogues.web.call("Console/UserCertificate", console_pb2.SessionKey(session=session, key=good))
    assert reply.leaf
    compressed = openssl("pkey", "-pubin", "-inform", "DER", "-pubout", "-outform", "DER", "-ec_conv_form", "compressed", input=good)
    for key in (compressed, good[:-1], b"", bytes(91), good[:26] + b"\2" + good[27:]):
        code, error = refusal(lambda: rogues.web.call("Console/UserCertificate", console_pb2.SessionKey(session=session, key=key)))
        assert code != grpc.StatusCode.OK and error in ("E1007", ""), (code, error)


def session_of(mesh):
    return base64.urlsafe_b64decode(browser_of(mesh).cookie + "=")


def refusal_or_none(call):
    try:
        call()
    except StopIteration:
        return None
    except grpc.RpcError as error:
        return error.code(), dict(error.trailing_metadata() or ()).get("murmesh-error", "")
    return None


def usages(der):
    return openssl("x509", "-inform", "DER", "-noout", "-ext", "extendedKeyUsage", input=der).decode()


def test_its_own_certificate_is_no_server_s(mesh, rogues, tmp_path):
    """Nobody who logs in or joins takes it for one, even when he is led there."""
    assert "Client" in usages(rogues.link.certificates.leaf) and "Server" not in usages(rogues.link.certificates.leaf)
    (tmp_path / "chain.crt").write_text("".join(pem(der) for der in (rogues.link.certificates.leaf, rogues.link.certificates.intermediate, rogues.link.certificates.root)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "chain.crt", rogues.link.key.path)
    context.set_alpn_protocols(["h2"])
    with Target(lambda connection: context.wrap_socket(connection, server_side=True).recv(1)) as server:
        port, fingerprint = server.port, mesh.info["fingerprint"]
        refused(murmesh("login", f"127.0.0.1:{port}#{fingerprint}", "--user", "anna", "--password-file", "-", input="x\n", directory=tmp_path / "user"), what="E1205")
        line = f"127.0.0.1:{port}#" + mesh.key().split("#")[1]
        refused(murmesh("join", "-", directory=tmp_path / "agent", input=line + "\n"), what="E1205")


def test_the_certificate_of_its_link(mesh, rogues):
    """For those who connect, by the name that it enrolled with; nobody connects with it."""
    reply = rogues.link.call("CertificationManager/CertifyServer", enrol.RenewRequest(csr=rogues.key.request()))
    assert "Server" in usages(reply.leaf) and "Client" not in usages(reply.leaf)
    names = openssl("x509", "-inform", "DER", "-noout", "-ext", "subjectAltName", input=reply.leaf).decode()
    assert identity(mesh, "component", rogues.link.id) in names and "DNS:edge.example.org" in names and names.count(",") == 1, names
    with Peer(f"localhost:{mesh.port}", rogues.key, reply) as peer:
        code, _ = refusal(lambda: peer.unary("CertificationManager/RequestToken", enrol.TokenRequest(), enrol.Token))
        assert code == grpc.StatusCode.UNAVAILABLE


def test_attached(mesh, rogues):
    """With roles of its key; the newest connection counts."""
    for rogue, roles in ((rogues.relay, enrol.COMPONENT_LINK), (rogues.relay, 3), (rogues.link, enrol.COMPONENT_RELAY), (rogues.link, 0), (rogues.link, 0x80000001)):
        with rogue.attached(roles) as call:
            assert refusal(lambda: next(call)) == DENIED
    device = Device.__new__(Device)
    device.__dict__ = dict(rogues.relay.__dict__, peer=rogues.user.peer)
    with Rogue.attached(device, enrol.COMPONENT_RELAY) as call:
        assert refusal(lambda: next(call)) == DENIED
    with rogues.relay.attached(enrol.COMPONENT_RELAY) as first:
        assert next(first).HasField("welcome")
        row = next(row for row in mesh.json("component") if row["name"] == "part01")
        assert (row["attached"], row["roles"], row["address"], row["version"]) == (True, "relay", "192.0.2.1:1", "0")
        assert row["enrolled"] == "edge.example.org:8443"
        with rogues.relay.attached(enrol.COMPONENT_RELAY) as second:
            assert next(second).HasField("welcome")
            assert refusal(lambda: next(first))[1] == "E1018"
    until(lambda: not next(row for row in mesh.json("component") if row["name"] == "part01")["attached"], "it is not attached any more")


def test_a_key_is_for_one_of_both(mesh, rogues, tmp_path):
    """A component's joins no device, a device's no component."""
    one = Rogue(mesh, tmp_path, "part04", "link")
    token = one.token()
    for kind in (enrol.NODE, enrol.MANAGER, enrol.USER, enrol.RELAY):
        assert refusal(lambda: one.certify(one.request(token, kind=kind))) == DENIED
    other = Device(mesh, tmp_path, "part05")
    token = other.token()
    for kind in (enrol.COMPONENT, enrol.USER, enrol.RELAY):
        assert refusal(lambda: other.certify(other.request(token, kind=kind))) == DENIED
    refused(murmesh("join", "-", directory=tmp_path / "agent", input=one.line + "\n"), what="E1019")
    token = one.token()
    one.certificates = one.certify(one.request(token))
    assert refusal(lambda: one.certify(one.request(token, kind=enrol.MANAGER, csr=Key(tmp_path, "manager").request()))) == DENIED
    assert mesh.cli("component", "revoke", "part04").returncode == 0


def test_renewed(mesh, rogues, tmp_path):
    """In time, and by itself for 90 days after it has expired; its key cannot become another's."""
    link = rogues.link
    for key in (link.key, rogues.key):
        asked = enrol.RenewRequest(csr=key.request(), kind=enrol.COMPONENT)
        assert link.call("CertificationManager/RenewCertificate", asked).device_id.hex() == link.id
    for days, error in ((3, None), (89, None), (91, "E1202")):
        certificate_make(mesh, tmp_path / str(days), kind="component", id=link.id, key=link.key.path, usage="clientAuth", from_day=-days - 7, to_day=-days)
        expired = openssl("x509", "-in", tmp_path / str(days) / "leaf.crt", "-outform", "DER")

        def ask(key, call="RenewCertificate"):
            return link.stranger.unary(f"CertificationManager/{call}", enrol.RenewRequest(csr=key.request(), kind=enrol.COMPONENT, leaf=expired), enrol.CertificateReply)
        if error:
            assert refusal(lambda: ask(link.key))[1] == error
        else:
            assert ask(link.key).device_id.hex() == link.id
        assert refusal(lambda: ask(rogues.key))[1] == "E1201"
        assert refusal(lambda: ask(link.key, "CertifyServer")) == DENIED


def test_it_was_away_for_long(mesh, tmp_path):
    """Its certificate has expired: it gets another one by itself, before it attaches."""
    core = f"localhost:{mesh.port}"
    with Component(tmp_path / "edge", core, "link", line=mesh.key("--component", "link"), name="part17") as component:
        component.ready()
    kept = tmp_path / "edge" / "uplink" / "component.crt"
    id = next(row for row in mesh.json("component") if row["name"] == "part17")["id"]
    certificate_make(mesh, tmp_path / "made", kind="component", id=id, key=kept.with_suffix(".key"), usage="clientAuth", from_day=-20, to_day=-13)
    chain = (tmp_path / "made" / "leaf.crt").read_text() + "-----BEGIN" + kept.read_text().split("-----BEGIN", 2)[2]
    kept.write_text(chain)
    with Component(tmp_path / "edge", core, "link") as component:
        component.ready()
        assert "the certificate was renewed" in component.log()
        assert mesh.cli("component", "revoke", "part17").returncode == 0
        component.wait()


def test_revoked_while_it_speaks(mesh, tmp_path):
    """All that it has open ends, and nothing new begins; its key does not come back."""
    rogue = Rogue(mesh, tmp_path, "part06", "link").enrol()
    expired = rogue.certificates.leaf
    victim = Device(mesh, tmp_path, "part07").enrol()
    ended = threading.Event()

    def frames():
        yield router.Frame(hello=router.Hello(version="0"))
        ended.wait()
    link = rogue.peer.channel.stream_stream("/murmesh.MessageRouter/Link", router.Frame.SerializeToString, router.Frame.FromString)
    call = link(frames(), metadata=named(identity(mesh, "node", victim.id)))
    assert next(call).HasField("welcome") and mesh.device("part07")["online"]
    assert mesh.cli("component", "revoke", "part06").returncode == 0
    assert refusal(lambda: list(call))[0] != grpc.StatusCode.OK
    ended.set()
    until(lambda: not mesh.device("part07")["online"], "whom it spoke for is offline", 2)
    code, error = refusal(lambda: rogue.call("Core/Revocations", internal.RevocationsRequest(), internal.Revocation))
    assert error in ("E1206", "") and code != grpc.StatusCode.OK
    asked = enrol.RenewRequest(csr=rogue.key.request(), kind=enrol.COMPONENT, leaf=expired)
    assert refusal(lambda: rogue.stranger.unary("CertificationManager/RenewCertificate", asked, enrol.CertificateReply))[1] == "E1206"
    assert mesh.cli("delete", "part07", "--yes").returncode == 0
    refused(mesh.cli("component", "revoke", "part06"), 3)
    assert next(row for row in mesh.json("component", "--all") if row["name"] == "part06")["revoked"]


def test_agents_do_not_come_back_to_it(mesh, tmp_path):
    """A captured machine may keep on meeting them, with a certificate that is still good: who has been told goes elsewhere."""
    edge = Component(tmp_path / "edge", f"127.0.0.1:{mesh.port}", "link", line=mesh.key("--component", "link"), name="part18").ready()
    folder = tmp_path / "agent"
    folder.mkdir()
    (folder / "murmesh-agent.ini").write_text(f"[Router]\nParentAddress = 127.0.0.1:{edge.port}, 127.0.0.1:{mesh.port}\nReturnAfter = 1s\n")
    try:
        with Agent(mesh.key("--relay", f"127.0.0.1:{edge.port}"), folder, "part19").online() as agent:
            fleet = {event["device"]["name"]: event["device"] for event in browser_of(mesh).socket().snapshot("fleet") if "device" in event}
            assert (fleet["part19"]["component"], fleet["part19"]["parent"], fleet["web02"]["component"]) == ("part18-1", "server", "")
            os.kill(edge.pid, signal.SIGSTOP)  # its roles do not hear from it that they are to stop
            assert mesh.cli("component", "revoke", "part18").returncode == 0
            until(lambda: (folder / "net" / "ended").exists(), "it is elsewhere, and told", 30)
            until(lambda: mesh.device("part19")["online"], "it is online")
        with Program([PROGRAMS / "murmesh-agent", "--dir", folder], folder / "log") as agent:
            until(lambda: "no machine of the server" in agent.log(), "it does not take it")
            until(lambda: mesh.device("part19")["online"], "it is online elsewhere")
    finally:
        os.kill(edge.pid, signal.SIGCONT)
        edge.stop()
    assert mesh.cli("delete", "part19", "--yes").returncode == 0


def test_tunnels_through_one_that_is_shut_out(mesh, tmp_path):
    """A captured machine may go on carrying them: the device ends them, which hears of it where it links next."""
    edge = Component(tmp_path / "edge", f"127.0.0.1:{mesh.port}", "link", line=mesh.key("--component", "link"), name="part41").ready()
    folder = tmp_path / "agent"
    folder.mkdir()
    (folder / "murmesh-agent.ini").write_text(f"[Router]\nParentAddress = 127.0.0.1:{edge.port}, 127.0.0.1:{mesh.port}\nReturnAfter = 1h\n")
    assert mesh.cli("user", "add", "partowner", "--role", "operator").returncode == 0
    password_give(mesh, "partowner")
    home = Elsewhere(tmp_path / "home")
    assert home.login(SimpleNamespace(port=edge.port, info=mesh.info), "partowner").returncode == 0
    try:
        with Agent(mesh.key("--relay", f"127.0.0.1:{edge.port}"), folder, "part42").online() as agent, Echo() as echo, \
                Program([PROGRAMS / "murmesh", "map", f"TCP:0:part42:HTTP:{echo.port}", "--json"], tmp_path / "map.log", env=home.env) as mapped, \
                socket.create_connection(("127.0.0.1", json.loads(mapped.process.stdout.readline())["local_port"]), 20) as connection:
            connection.sendall(b"hello")
            assert connection.recv(100) == b"hello"
            until(lambda: connections(edge) == 2 * legs(mapped, edge.port) > 0, "the tunnels to go through it")
            assert mesh.device("part42")["parent"] == "part41-1"
            assert "part42" in mesh.cli("relay", "tree").stdout
            os.kill(edge.pid, signal.SIGSTOP)  # its roles do not hear from it that they are to stop
            assert mesh.cli("component", "revoke", "part41").returncode == 0
            until(lambda: mesh.device("part42")["online"] and mesh.device("part42")["parent"] == "server", "it is online elsewhere", 30)
            connection.settimeout(20 * PATIENCE)
            with contextlib.suppress(ConnectionError):
                assert connection.recv(100) == b""
            assert agent.process.poll() is None
    finally:
        os.kill(edge.pid, signal.SIGCONT)
        edge.stop()
    assert mesh.cli("delete", "part42", "--yes").returncode == 0


# ---- people ----

def test_who_may(mesh, tmp_path):
    """Administrators of all groups."""
    waits = Rogue(mesh, tmp_path, "part16", "link")
    waits.line = mesh.key("--component", "link", "--approve")
    waits.secret = unpadded32(join_parts(waits.line)[1])
    assert waits.certify(waits.request(waits.token())).status == enrol.PENDING
    for name, words in (("partoperator", ["--role", "operator"]), ("partlocal", ["--role", "administrator", "--groups", "partgroup"])):
        assert mesh.cli("user", "add", name, *words).returncode == 0
        password_give(mesh, name)
        home = Elsewhere(tmp_path / name)
        assert home.login(mesh, name).returncode == 0
        for command in (["key", "new", "--component", "link"], ["component"], ["component", "revoke", "part01"]):
            refused(home.cli(*command), 4, what="E1019")
        result = home.cli("approve", "--json")
        assert "part16" not in result.stdout and home.cli("approve", "part16").returncode != 0
    assert mesh.cli("reject", "part16").returncode == 0


def test_approved(mesh, tmp_path):
    """It waits, is shown as what it is, and is in once somebody of all groups has said so."""
    line = mesh.key("--component", "link,relay", "--approve")
    with Component(tmp_path / "edge", f"127.0.0.1:{mesh.port}", "link", line=line, name="part08") as component:
        assert component.status() == ["waiting", "part08-1"]
        row = next(row for row in mesh.json("approve") if row["name"] == "part08")
        assert row["kind"] == "component" and row["fingerprint"] in component.log()
        assert not [row for row in mesh.json("component") if row["name"] == "part08"]
        assert mesh.cli("approve", "part08").returncode == 0
        component.ready()
        assert (row["address"], row["roles"], row["reach"]) == ("127.0.0.1", "link,relay", f"127.0.0.1:{component.port}")
        asked, = [row for row in mesh.json("audit", "ls", "--text", "part08") if row["action"] == "approval asked for"]
        assert f"for link,relay at 127.0.0.1:{component.port}" in asked["detail"]
        joined, = [row for row in mesh.json("audit", "ls", "--text", "part08") if row["action"] == "component joined"]
        assert joined["detail"] == f"from 127.0.0.1, for link,relay at 127.0.0.1:{component.port}"
        assert not mesh.device("part08")
        assert mesh.cli("component", "revoke", "part08").returncode == 0
        component.wait()


def test_rejected(mesh, tmp_path):
    with Component(tmp_path / "edge", f"127.0.0.1:{mesh.port}", "relay", line=mesh.key("--component", "relay", "--approve"), name="part09") as component:
        assert component.status() == ["waiting", "part09-1"]
        assert mesh.cli("reject", "part09").returncode == 0
        assert component.status() == ["refused", "E1228"]
        component.wait()


def test_roles_that_its_key_does_not_have(mesh, tmp_path):
    with Component(tmp_path / "edge", f"127.0.0.1:{mesh.port}", "link", "relay", line=mesh.key("--component", "relay"), name="part10") as component:
        until(lambda: "the key of this machine was made for relay" in component.log(), "it says why")
        assert mesh.cli("component", "revoke", "part10").returncode == 0
        component.wait()
        assert "E1206" in component.log()


def test_command_line(mesh, tmp_path):
    refused(mesh.cli("key", "new", "--component", "core"), what="E1724")
    refused(mesh.cli("key", "new", "--component", "link", "--group", "shop"), 2)
    refused(mesh.cli("component", "revoke"), 2)
    refused(mesh.cli("component", "revoke", "nobody"), 3)
    program = PROGRAMS / "murmesh-server"
    core = ["--core", "127.0.0.1:1"]
    for words, code in ((["--role", "core", *core], 64), (["--role", "link"], 64), (core, 64), (["--role", "link", "--core", "nowhere"], 64), (["--role", "link", *core, "--join", tmp_path / "no"], 65),
                        (["--role", "link", *core], 77)):
        result = subprocess.run([program, "--dir", tmp_path / "edge", "--port", "0", *words], capture_output=True, text=True, timeout=20)
        assert result.returncode == code, (words, result.stderr)
