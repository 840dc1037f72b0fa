"""A stock omniORB client of proto/router.idl: reads our object references, enrols, calls, and is refused where it should be."""
import os
import shutil
import signal
import socket
import ssl
import subprocess
import types

import pytest
import wire
from harness import IS_ROOT, PATIENCE, ROOT, Program, closed, murmesh, refused, until

SECONDS = 20 * PATIENCE


@pytest.fixture(scope="session")
def omni(tmp_path_factory):
    """The client, made from the IDL as anybody would."""
    folder = tmp_path_factory.mktemp("omni")
    for tool in ("omniidl", "g++", "catior"):
        assert shutil.which(tool), f"{tool} is not installed (packaging/packages-test.txt)"
    subprocess.run(["omniidl", "-bcxx", ROOT / "proto/router.idl"], cwd=folder, check=True)
    subprocess.run(["g++", "-I.", "-o", "orb_client", ROOT / "tests/interop/orb_client.cc", "routerSK.cc", "-lomnisslTP4", "-lomniDynamic4", "-lomniORB4", "-lomnithread",
                    "-lssl", "-lcrypto"], cwd=folder, check=True)
    return folder / "orb_client"


BOTH_WAYS = ["-ORBofferBiDirectionalGIOP", "1", "-ORBendPoint", "giop:ssl:127.0.0.1:0"]


class Client:
    def __init__(self, program, mesh, key="-"):
        self.program, self.mesh, self.key = program, mesh, key

    def command(self, reference, *words):
        return list(map(str, [self.program, reference, self.mesh.directory / "ca/root.crt", self.key, *words]))

    def __call__(self, reference, *words, rule="* ssl,tcp"):
        """Exit code and lines."""
        done = subprocess.run(self.command(reference, *words), capture_output=True, text=True, timeout=SECONDS,
                              env={"ORBclientTransportRule": rule, "PATH": "/usr/bin"})
        return done.returncode, done.stdout.splitlines()

    def background(self, *words):
        """That can be called back."""
        log = self.mesh.directory.parent / "orb_client.log"
        return Program(self.command(location(self.mesh), *words, *BOTH_WAYS), log, env={"ORBclientTransportRule": "* bidir,ssl", "PATH": "/usr/bin"})

    def fields(self, reference, *words):
        code, lines = self(reference, *words)
        assert code == 0, lines
        return dict((line.split(" ", 1) + [""])[:2] for line in lines)


def location(mesh, key="Router"):
    return f"corbaloc:ssliop:1.2@127.0.0.1:{mesh.info['ports']['tls']}/{key}"


@pytest.fixture
def stranger(omni, mesh):
    return Client(omni, mesh)


def ask_certificate(client, mesh, device, csr_path):
    """Token, proof and request: the fields of the answer."""
    manager = location(mesh, "CertificationManager")
    token = client.fields(manager, "token", device.secret[:16].hex(), device.name)
    csr = device.key.request()
    csr_path.write_bytes(csr)
    proof = device.proof(types.SimpleNamespace(full_name=token["name"]), csr)
    return client.fields(manager, "certificate", token["enrolment"], csr_path, proof.hex())


def enrol(client, mesh, folder, name):
    device = wire.Device(mesh, folder, name)
    got = ask_certificate(client, mesh, device, folder / "csr.der")
    assert got["status"] == "0" and got["name"].startswith(f"{name}-"), got
    pem = folder / f"{name}.pem"
    pem.write_text(device.key.path.read_text() + wire.pem(bytes.fromhex(got["leaf"])) + wire.pem(bytes.fromhex(got["intermediate"])))
    return Client(client.program, mesh, pem), got


@pytest.fixture(scope="module")
def node(omni, mesh, tmp_path_factory):
    """Enrolled by CORBA alone."""
    client, got = enrol(Client(omni, mesh), mesh, tmp_path_factory.mktemp("node"), "corba01")
    client.got = got
    return client


def reference_of(mesh):
    return mesh.cli("ior").stdout.strip()


def test_reference(mesh, omni):
    ior = reference_of(mesh)
    with socket.create_connection(("127.0.0.1", mesh.info["ports"]["ior"]), SECONDS) as connection:
        line = b"".join(iter(lambda: connection.recv(4096), b"")).decode()
    assert line == ior + "\n"
    assert mesh.json("ior") == {"ior": ior}
    text = subprocess.run(["catior", ior], capture_output=True, text=True, check=True).stdout
    assert 'Type ID: "IDL:murmesh/Router:1.0"' in text and 'IIOP 1.2 127.0.0.1 0 "Router"' in text
    assert f"TAG_SSL_SEC_TRANS port = {mesh.info['ports']['tls']} " in text
    refused(mesh.cli("ior", "web02"), what="no relay")
    refused(mesh.cli("ior", "nobody-there"), code=3)


def test_a_stranger_reaches_the_certification_manager_only(mesh, stranger):
    manager = location(mesh, "CertificationManager")
    assert stranger(manager, "is_a") == (0, ["0 1"])
    assert stranger(manager, "non_existent") == (0, ["0"])
    assert stranger(location(mesh), "version") == (1, ["NO_PERMISSION 0"])
    assert stranger(location(mesh), "echo", "x") == (1, ["NO_PERMISSION 0"])
    assert stranger(reference_of(mesh), "echo", "x") == (1, ["NO_PERMISSION 0"])
    code, lines = stranger(manager, "token", "00" * 16, "web77")
    assert code == 1 and lines[0].startswith("Refused 1210 "), lines
    assert stranger(manager, "token", "00" * 15, "web77") == (1, ["BAD_PARAM 0"])
    assert stranger(manager, "token", "00" * 16, "x" * 64) == (1, ["BAD_PARAM 0"])
    assert stranger(manager, "token", "00" * 16, "x" * 20000)[1][0].split()[0] in ("COMM_FAILURE", "TRANSIENT", "MARSHAL")  # 16 KiB


def test_enrolment_by_corba(mesh, node):
    assert node(reference_of(mesh), "version") == (0, [mesh.cli("version").stdout.split()[1], (mesh.directory / "ca/mesh").read_text().strip()])
    assert node(location(mesh), "is_a") == (0, ["1 0"])
    assert node(location(mesh), "narrow") == (0, ["1"])
    assert node(reference_of(mesh), "echo", "héllo") == (0, ["héllo"])
    assert node(location(mesh), "large", 500000) == (0, ["1"])  # in fragments
    assert node.got["name"] in mesh.devices()


def test_calls_back(mesh, node):
    """Over the client's own connection, when it offers that."""
    assert node(location(mesh), "reaches", *BOTH_WAYS, rule="* bidir,ssl") == (0, ["1"])
    assert node(location(mesh), "reaches_gone", *BOTH_WAYS, rule="* bidir,ssl") == (0, ["0"])
    assert node(location(mesh), "reaches") == (0, ["0"])
    assert node(location(mesh), "reaches_nil") == (1, ["BAD_PARAM 0"])


# ---- envelopes ----

GAP = "murmesh.gap"


@pytest.fixture(scope="module")
def deaf(mesh, omni, tmp_path_factory):
    """It never answers take(): for a test at the end, which sees it dropped after 30 s."""
    client, _ = enrol(Client(omni, mesh), mesh, tmp_path_factory.mktemp("deaf"), "corba03")
    send(mesh, "corba03", "for nobody")
    with client.background("subscribe", "sleeps") as program:
        lines(program, 2)
        yield client


def send(mesh, name, body, *words):
    told = mesh.json("send", name, "test", "--body", "-", *words, input=body)
    assert told["kept"] == 1
    return told["id"]


def queue(mesh, name):
    rows = mesh.json("queue", name)
    return (rows[0]["waiting"], rows[0]["sent"]) if rows else (0, 0)


def lines(program, n):
    return [program.process.stdout.readline().decode().rstrip("\n") for _ in range(n)]


def bodies(printed):
    return [bytes.fromhex(line.split(" ")[7]).decode() for line in printed if line.startswith("envelope ")]


def test_poll(mesh, node, deaf):
    assert node(location(mesh), "poll", 10, 0) == (0, ["polled 0", "polled 0"])
    id = send(mesh, "corba01", "one", "--ttl", "1h", "--priority", "low")
    send(mesh, "corba01", "two")
    code, printed = node(location(mesh), "poll", 10)
    assert code == 0 and bodies(printed) == ["two", "one"]
    got = printed[2].split(" ")
    assert got[1:6] == [id, "server", node.got["device"], "test", "1"] and 3000 < int(got[6]) <= 3600
    assert queue(mesh, "corba01") == (2, 0)  # its answer may have been lost
    code, printed = node(location(mesh), "poll", 1, 0)
    assert (code, bodies(printed), printed[-1]) == (0, ["two"], "polled 0")  # which says that it arrived
    assert queue(mesh, "corba01") == (1, 0)
    code, printed = node(location(mesh), "poll", 1, 1)
    assert (code, bodies(printed), printed[-1]) == (0, ["one"], "polled 0")
    assert queue(mesh, "corba01") == (0, 0)
    assert node(location(mesh), "poll", -1)[1][0].startswith("Refused 1005 ")


def test_poll_much(mesh, node):
    """A poll's answer has 64 envelopes and 1 MiB at most; all come, in their order."""
    with mesh.background("send", "corba01", "test", "--wait", "--json") as waiting:
        until(lambda: queue(mesh, "corba01")[0] == 1, "it waits")
        large = [chr(ord("a") + i) * (256 << 10) for i in range(4)]
        for body in large:
            send(mesh, "corba01", body)
        for i in range(66):
            send(mesh, "corba01", str(i))
        code, printed = node(location(mesh), "drain")
        assert code == 0 and bodies(printed) == ["", *large, *map(str, range(66))]
        assert [line for line in printed if line.startswith("polled")] == ["polled 4", "polled 64", "polled 3", "polled 0"]
        assert waiting.wait() == 0  # it was delivered


def test_subscribe(mesh, node):
    send(mesh, "corba01", "before")
    with node.background("subscribe", "", 1) as program:
        assert bodies(lines(program, 3)) == ["before"]  # that the poll had it is told by this
        large = "x" * (256 << 10)
        send(mesh, "corba01", large)
        assert bodies(lines(program, 1)) == [large]
        told = mesh.json("send", "corba01", "test", "--body", "-", "--wait", input="second")
        assert told["delivered"] == 1 and bodies(lines(program, 1)) == ["second"]
        assert queue(mesh, "corba01") == (0, 0)


def test_subscribed(mesh, node):
    """Polls are refused there."""
    with node.background("subscribe", "", 0, 1) as program:
        printed = lines(program, 3)
        assert printed[:2] == ["polled 0", "subscribed"] and printed[2].startswith("Refused 1705 "), printed


@pytest.mark.parametrize("after", ["dies", "throws"])
def test_a_take_without_answer(mesh, node, after):
    """It comes again, once."""
    send(mesh, "corba01", after)
    with node.background("subscribe", after) as program:
        assert bodies(lines(program, 2)) == [after]
        until(lambda: queue(mesh, "corba01") == (1, 0), "it waits again")
    code, printed = node(location(mesh), "drain")
    assert (code, bodies(printed), printed[-1]) == (0, [after], "polled 0")
    assert queue(mesh, "corba01") == (0, 0)


def test_a_newer_connection(mesh, node):
    """Takes over: the older one may be dead without that anybody knows it."""
    send(mesh, "corba01", "for the newest")
    with node.background("subscribe", "sleeps") as program:
        assert bodies(lines(program, 2)) == ["for the newest"]
        assert queue(mesh, "corba01") == (1, 1)
        assert bodies(node(location(mesh), "drain")[1]) == ["for the newest"]
        assert queue(mesh, "corba01") == (0, 0)


def test_nobody_to_call(mesh, node):
    assert node(location(mesh), "subscribe", "")[1][0].startswith("Refused 1704 ")
    assert node(location(mesh), "subscribe", "gone", *BOTH_WAYS, rule="* bidir,ssl")[1][0].startswith("Refused 1704 ")
    assert node(location(mesh), "subscribe", "nil") == (1, ["BAD_PARAM 0"])


def test_submit(mesh, node):
    assert node(location(mesh), "submit", "07" * 16, "server", GAP, 0, 0, 256 << 10) == (0, [])
    until(lambda: f"device {node.got['device']} has lost messages to the server" in mesh.log(), "the server says so")


@pytest.mark.parametrize("error, words", [
    (1103, ["07" * 15, "server", GAP, 0, 0, 0]), (1103, ["00" * 16, "server", GAP, 0, 0, 0]), (1103, ["07" * 16, "server", "", 0, 0, 0]),
    (1103, ["07" * 16, "server", "x" * 65, 0, 0, 0]), (1103, ["07" * 16, "server", GAP, 3, 0, 0]), (1103, ["07" * 16, "server", GAP, 0, 14 * 86400 + 1, 0]),
    (1002, ["07" * 16, "server", GAP, 0, 0, (256 << 10) + 1]), (1606, ["07" * 16, "server", "test", 0, 0, 0]),
    (1019, ["07" * 16, "corba01", GAP, 0, 0, 0]), (1019, ["07" * 16, "", GAP, 0, 0, 0]), (1019, ["07" * 16, "name:corba01", GAP, 0, 0, 0])])
def test_submit_refused(mesh, node, error, words):
    """And the connection goes on."""
    code, printed = node(location(mesh), "submit", *words)
    assert code == 1 and printed[0].startswith(f"kept Refused {error} "), printed


def test_arguments_that_end_early(mesh, node):
    with connect(mesh, node.key) as tls:
        for number, operation in enumerate((b"submit", b"poll", b"subscribe")):
            tls.sendall(request(2 * number, operation, b"\1"))
            answer = tls.recv(1000)
            assert answer[7] == 1 and b"omg.org/CORBA/MARSHAL:1.0" in answer
        tls.sendall(locate(98))
        assert tls.recv(100)[7] == 4


def receive(tls):
    """One message."""
    def exactly(n):
        got = b""
        while len(got) < n:
            got += tls.recv(n - len(got)) or pytest.fail("the connection ended")
        return got
    head = exactly(12)
    return head + exactly(int.from_bytes(head[8:12], "little"))


def test_a_poll_that_is_given_up(mesh, node):
    """Nobody sees its answer: what it would have said comes with a later one."""
    send(mesh, "corba01", "seen")
    with connect(mesh, node.key) as tls:
        tls.sendall(request(0, b"poll", b"\1\0\0\0") + b"GIOP\1\2\1\2\4\0\0\0\0\0\0\0")
        answer, number = b"TRANSIENT", 0  # while it is under way
        while b"TRANSIENT" in answer:
            number += 2
            tls.sendall(request(number, b"poll", b"\1\0\0\0"))
            answer = receive(tls)
        assert int.from_bytes(answer[12:16], "little") == number and b"seen" in answer
        tls.sendall(request(number + 2, b"poll", bytes(4)))
        assert receive(tls)[24:28] == bytes(4)
    assert queue(mesh, "corba01") == (0, 0)


def test_one_that_is_no_device(mesh, node, tmp_path):
    """A user; a device that the server does not know; one whose agent takes its messages."""
    def client(**changes):
        folder = tmp_path / changes["kind"]
        wire.certificate_make(mesh, folder, **changes)
        (folder / "all.pem").write_text((folder / "leaf.key").read_text() + (folder / "chain.crt").read_text())
        return Client(node.program, mesh, folder / "all.pem")
    agent = mesh.join("corba04")
    net = agent.directory / "net"
    (tmp_path / "agent.pem").write_text((net / "node.key").read_text() + (net / "node.crt").read_text())
    for who, error in ((client(kind="user"), 1019), (client(kind="node"), 1206), (Client(node.program, mesh, tmp_path / "agent.pem"), 1703)):
        for words in (["poll", 1], ["subscribe", "", *BOTH_WAYS], ["submit", "07" * 16, "server", GAP, 0, 0, 0]):
            code, printed = who(location(mesh), *words, rule="* bidir,ssl")
            assert code == 1 and f"Refused {error} " in printed[0], (words, printed)
    assert mesh.json("send", "corba04", "test", "--wait")["delivered"] == 1


def test_core_is_started_again(new_mesh, omni, tmp_path):
    """A subscription ends with it, by the end of its connection: who calls subscribe again has it again, and what waited comes."""
    one = new_mesh()
    client, _ = enrol(Client(omni, one), one, tmp_path, "corba05")
    with client.background("subscribe", "again") as program:
        assert lines(program, 1) == ["subscribed"]
        os.kill(one.server.roles()["core"], signal.SIGKILL)
        until(lambda: one.cli("ls").returncode == 0, "the server answers")
        send(one, "corba05", "later")
        assert bodies(lines(program, 1)) == ["later"]


def test_renewal(mesh, node, tmp_path):
    wire.openssl("req", "-new", "-key", node.key, "-subj", "/CN=x", "-outform", "DER", "-out", tmp_path / "csr")
    got = node.fields(location(mesh, "CertificationManager"), "renew", tmp_path / "csr")
    assert got["device"] == node.got["device"] and got["leaf"] != node.got["leaf"]


def test_wrong_key_and_operation(mesh, node):
    assert node(location(mesh, "Nothing"), "echo", "x")[1][0].split()[0] == "OBJECT_NOT_EXIST"
    assert node(location(mesh, "CertificationManager"), "echo", "x") == (1, ["BAD_OPERATION 0"])
    assert node(location(mesh), "token", "00" * 16, "x") == (1, ["BAD_OPERATION 0"])


def test_giop_1_0(mesh, node):
    """corbaloc without a version."""
    assert node(location(mesh).replace("1.2@", ""), "echo", "old") == (0, ["old"])


def test_certificate_of_another_mesh(mesh, new_mesh, node, tmp_path):
    other = new_mesh()
    assert Client(node.program, other, node.key)(location(other), "echo", "x")[0] == 1  # our node is not one of theirs
    assert node(location(other), "echo", "x")[0] == 1  # and does not believe them


def test_revoked(mesh, stranger, tmp_path):
    client, got = enrol(stranger, mesh, tmp_path, "corba02")
    assert client(location(mesh), "echo", "x")[0] == 0
    tls = connect(mesh, client.key)
    tls.sendall(locate(2))
    assert tls.recv(100)[7] == 4
    assert mesh.cli("delete", got["name"], "--yes").returncode == 0
    until(lambda: closed(tls), "the end of a revoked one's connection")
    assert client(location(mesh), "echo", "x")[0] == 1


# ---- bytes that omniORB would not send ----

def connect(mesh, key=None, alpn=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(mesh.directory / "ca/root.crt")
    if alpn:
        context.set_alpn_protocols([alpn])
    if key:
        context.load_cert_chain(key)
    plain = socket.create_connection(("127.0.0.1", mesh.info["ports"]["tls"]), SECONDS)
    return context.wrap_socket(plain)


def locate(number, key=b"Router", minor=2, order="little"):
    body = number.to_bytes(4, order) + (b"\0\0\xee\xee" if minor == 2 else b"") + len(key).to_bytes(4, order) + key
    return b"GIOP\1" + bytes([minor, order == "little", 3]) + len(body).to_bytes(4, order) + body


def request(number, operation, body):
    """To Router, GIOP 1.2."""
    head = number.to_bytes(4, "little") + b"\3\0\0\0\0\0\0\0\6\0\0\0Router\0\0" + (len(operation) + 1).to_bytes(4, "little") + operation + b"\0"
    head += bytes(-len(head) % 4) + bytes(4)
    head += bytes(-(len(head) + 12) % 8) + body
    return b"GIOP\1\2\1\0" + len(head).to_bytes(4, "little") + head


@pytest.mark.parametrize("bad", [b"GET / HTTP/1.1\r\n\r\n", b"GIOP\1\3\1\3\0\0\0\0", b"GIOP\1\1\1\3\0\0\0\0", locate(3), b"GIOP\1\2\1\7\4\0\0\0\2\0\0\0",
                                 b"GIOP\1\2\1\0\0\0\x30\0"])
def test_framing_errors(mesh, bad):
    """MessageError and the end."""
    with connect(mesh) as tls:
        tls.sendall(locate(2, order="big") + bad)
        answer = b"".join(iter(lambda: tls.recv(4096), b""))
    assert answer[:8] == b"GIOP\1\2\0\4" and answer[20:24] == bytes([71, 73, 79, 80]), answer
    assert answer[20:] == b"GIOP\1\2\1\6\0\0\0\0"


def test_application_protocols(mesh):
    """None is GIOP, h2 goes to link, others nowhere."""
    with connect(mesh) as tls:
        tls.sendall(locate(2))
        assert tls.recv(100)[7] == 4
    with connect(mesh, alpn="h2") as tls:
        assert tls.selected_alpn_protocol() == "h2"
    with pytest.raises(OSError):
        connect(mesh, alpn="http/1.1").recv(1)


# ---- configuration ----

def configured(new_mesh, tmp_path, text, **options):
    (tmp_path / "one").mkdir(mode=0o700)
    (tmp_path / "one/murmesh-server.ini").write_text(text)
    return new_mesh(name="one", **options)


def test_switched_off(new_mesh, tmp_path):
    one = configured(new_mesh, tmp_path, "[Router]\nORB = no\n")
    assert set(one.info["ports"]) == {"front"} and "orb" not in one.server.roles()
    refused(one.cli("ior"), what="E1702")
    assert one.cli("ls").returncode == 0


def test_in_clear(omni, new_mesh, tmp_path):
    one = configured(new_mesh, tmp_path, "[Router]\nIIOPPort = 0\n")
    text = subprocess.run(["catior", reference_of(one)], capture_output=True, text=True, check=True).stdout
    port = text.split('"Router"')[0].split()[-1]
    client = Client(omni, one)
    assert client(f"corbaloc::127.0.0.1:{port}/CertificationManager", "is_a") == (0, ["0 1"])
    assert client(f"corbaloc::1.2@127.0.0.1:{port}/Router", "echo", "x") == (1, ["NO_PERMISSION 0"])


def test_a_port_that_is_taken(new_mesh, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "two").mkdir(mode=0o700)
        (tmp_path / "two/murmesh-server.ini").write_text(f"[Server]\nPort = 0\n[Router]\nTLSPort = {port}\n")
        result = murmesh("up", "--address", "127.0.0.1", directory=tmp_path / "two")
        refused(result, what=str(port))


TAKER = """
import os, socket, subprocess, sys
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
for port in (8192, 8194):
    listener = socket.create_server(("0.0.0.0", port))
    listener.set_inheritable(True)
    listener.detach()
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.skipif(not IS_ROOT, reason="only root makes a network of its own")
def test_usual_ports_that_are_taken(new_mesh):
    """A warning, and all else works.  In a network where nobody else is."""
    one = new_mesh(port=18443, wrap=("unshare", "-n", "/usr/bin/python3", "-c", TAKER))
    assert one.info["ports"] == {"front": 18443}
    assert "TLSPort 8194 cannot be opened" in one.log()
    assert "orb" not in one.server.roles()


# ---- after a while ----

def test_a_client_that_does_not_answer(mesh, deaf):
    """Its connection is closed after 30 s."""
    until(lambda: queue(mesh, "corba03") == (1, 0), "its message waits again", seconds=45)
    code, printed = deaf(location(mesh), "drain")
    assert (code, bodies(printed)) == (0, ["for nobody"])
