"""Peers that are none of ours, through stock gRPC: what they may call, what they may say, and what they cannot make anybody believe."""
import json
import os
import pty
import random
import socket
import ssl
import subprocess
import time

import grpc
import pytest

from harness import PATIENCE, PROGRAMS, Echo, until
from wire import Device, Peer, User, carry_out, connect, enrol, fleet, openssl, order, pem, preamble, refusal, router, run, server_root

DENIED, UNIMPLEMENTED = grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNIMPLEMENTED
METHODS = {
    "CertificationManager/RequestToken": "anyone", "CertificationManager/RequestCertificate": "anyone", "CertificationManager/RenewCertificate": "anyone", "CertificationManager/Split": "node",
    "MessageRouter/Link": "node", "Fleet/ListDevices": "user", "Fleet/NewKey": "user", "Tunnels/Open": "user", "Tunnels/Order": "user",
    "Core/ComponentCertificate": "none", "Core/Certify": "none", "Ca/Describe": "none", "Ca/Issue": "none", "Ca/Sign": "none", "Relay/Announce": "none",
    "Relay/ClosePair": "none", "Resolve/Lookup": "none", "Manager/Request": "none", "Manager/Install": "none", "Local/Login": "none",
    "Local/Describe": "none", "Run/Start": "none", "Nonsense/Nothing": "none",
}


@pytest.fixture(scope="module")
def rogue(mesh, tmp_path_factory):
    return Device(mesh, tmp_path_factory.mktemp("rogue"), "rogue").enrol()


@pytest.fixture(scope="module")
def user(mesh, tmp_path_factory):
    return User(mesh, tmp_path_factory.mktemp("user"))


# ---- who may call what ----

@pytest.mark.parametrize("who", ["stranger", "node", "user"])
def test_what_a_peer_may_call(mesh, rogue, user, who):
    peer = {"stranger": rogue.stranger, "node": rogue.peer, "user": user.peer}[who]
    for method, allowed in METHODS.items():
        if allowed in ("anyone", who):
            continue
        code, _ = refusal(lambda: peer.unary(method, b"", enrol.Token))
        assert code == (UNIMPLEMENTED if allowed == "none" else DENIED), (method, code)


def test_names_in_the_head_are_no_identity(mesh, rogue, user):
    """What link tells core about its peers cannot be said by the peer."""
    for value in ("murmesh://x/user/" + "0" * 32, user_identity(user)):
        call = rogue.stranger.channel.unary_unary("/murmesh.Fleet/NewKey", lambda m: m.SerializeToString(), fleet.JoinKey.FromString)
        with pytest.raises(grpc.RpcError) as error:
            call(fleet.KeyRequest(), metadata=[("murmesh-peer", value)], timeout=20 * PATIENCE)
        assert error.value.code() == DENIED


def user_identity(user):
    shown = subprocess.run(["openssl", "x509", "-noout", "-ext", "subjectAltName"], input=user.chain.read_text(), capture_output=True, text=True, check=True).stdout
    return shown.split("URI:")[1].split()[0].rstrip(",")


# ---- enrolment ----

def test_stock_enrolment(mesh, rogue):
    device = mesh.device("rogue")
    assert device["id"] == rogue.id and device["os"] == "Other OS" and device["arch"] == "pdp11" and not device["online"]


def test_proof_counts(mesh, tmp_path):
    device = Device(mesh, tmp_path, "prover")
    token = device.token()
    message = device.request(token)
    for field, value in (("proof", bytes(32)), ("csr", device.key.request("other")), ("enrolment", bytes(16))):
        wrong = enrol.CertificateRequest.FromString(message.SerializeToString())
        setattr(wrong, field, value)
        code, error = refusal(lambda: device.certify(wrong))
        assert error == {"proof": "E1213", "csr": "E1213", "enrolment": "E1210"}[field], (field, code, error)
    for kind in (enrol.MANAGER, enrol.USER, enrol.COMPONENT, 99):
        refusal(lambda: device.certify(device.request(token, kind=kind)))
    assert mesh.device("prover") is None
    assert device.certify(message).device_id
    for kind in (enrol.USER, enrol.COMPONENT, 99):
        assert refusal(lambda: device.certify(device.request(token, kind=kind)))[1] == "E1019"


def test_same_request_again_is_the_same_device(mesh, tmp_path):
    device = Device(mesh, tmp_path, "repeated")
    message = device.request(device.token())
    first, second = device.certify(message), device.certify(message)
    assert first.device_id == second.device_id and len(mesh.json("ls", "repeated")) == 1
    assert refusal(device.token)[1] == "E1211"  # another machine


@pytest.mark.parametrize("csr", [b"", b"\0", b"\x30\x82\xff\xff", random.Random(1).randbytes(500), b"\x30" * 2000], ids=lambda csr: csr[:4].hex() or "empty")
def test_requests_that_are_none(mesh, tmp_path, csr):
    device = Device(mesh, tmp_path, "malformed")
    message = device.request(device.token(), csr=device.key.request())
    message.csr = csr
    message.proof = device.proof(enrol.Token(full_name="malformed-1"), csr)
    refusal(lambda: device.certify(message))
    assert mesh.device("malformed") is None and mesh.cli("ls").returncode == 0


def test_weak_and_odd_keys(mesh, tmp_path):
    device = Device(mesh, tmp_path, "weak")
    for words in (["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"], ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"],
                  ["-algorithm", "ED448"]):
        openssl("genpkey", *words, "-out", tmp_path / "odd.key")
        csr = openssl("req", "-new", "-key", tmp_path / "odd.key", "-subj", "/CN=x", "-outform", "DER")
        refusal(lambda: device.certify(device.request(device.token(), csr=csr)))
    assert mesh.device("weak") is None


def test_renewal_is_for_the_same_device(mesh, rogue):
    reply = rogue.peer.unary("CertificationManager/RenewCertificate", enrol.RenewRequest(csr=rogue.key.request("anything")), enrol.CertificateReply)
    shown = subprocess.run(["openssl", "x509", "-noout", "-ext", "subjectAltName", "-subject"], input=pem(reply.leaf), capture_output=True, text=True, check=True).stdout
    assert rogue.id in shown and "anything" not in shown


# ---- what a device says about itself ----

HOSTILE = {
    "markup": "<script>alert(1)</script>&amp;",
    "escapes": "\x1b[2J\x1b]0;owned\x07\x1b[31mred",
    "lines": "a\r\nb\nc\td",
    "formula": "=cmd|' /C calc'!A1",
    "direction": "\u202egpj.exe\u2066\u200f",
    "quotes": "\"'`\\$(reboot);--",
    "nul": "before\0behind",
    "wide": "ä€𝄞" * 5,
}


class Linked:
    """The rogue's control link, open until its requests end."""

    def __init__(self, device, hello):
        self.open = True
        first = router.Frame(hello=hello) if not isinstance(hello, bytes) else hello

        def requests():
            yield first
            while self.open:
                time.sleep(0.02)
        self.answers = device.peer.stream("MessageRouter/Link", requests(), router.Frame)

    def close(self):
        self.open = False
        self.answers.cancel()


def shown_on_terminal(mesh, *words):
    master, slave = pty.openpty()
    child = subprocess.Popen([PROGRAMS / "murmesh", "--dir", mesh.directory, *words], stdin=slave, stdout=slave, stderr=slave, env={**os.environ, "TERM": "xterm"})
    os.close(slave)
    output = b""
    while True:
        try:
            output += (chunk := os.read(master, 65536))
        except OSError:
            break
        if not chunk:
            break
    os.close(master)
    child.wait(20 * PATIENCE)
    return output.decode()


def clean(text):
    """No control characters but line ends and tabs, no marks that turn text around."""
    return not any(ord(c) < 32 and c not in "\n\r\t" or 0x7f <= ord(c) < 0xa0 or c in "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069" for c in text)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_strings(mesh, rogue, text):
    log = len(mesh.log())
    link = Linked(rogue, router.Hello(version=text[:10], os=text, arch=text[:10], host_name=text))
    try:
        next(link.answers)
        device = mesh.device("rogue")
        assert device["online"]
        for field in ("os", "arch", "version"):
            assert clean(device[field]) and len(device[field].encode()) <= 256 and "\n" not in device[field] and "\t" not in device[field], device
        table = mesh.cli("ls")
        assert clean(table.stdout) and table.stdout.count("\n") == 1 + len(mesh.json("ls"))  # still a line each
        terminal = shown_on_terminal(mesh, "ls").replace("\x1b[1m", "").replace("\x1b[0m", "")
        assert "\x1b]0" not in terminal and "\x1b[2J" not in terminal and "\u202e" not in terminal and "\x07" not in terminal
        assert clean(mesh.log()[log:])
    finally:
        link.close()
    until(lambda: not mesh.device("rogue")["online"], "the link's end is noticed", 2)


@pytest.mark.parametrize("hello", [
    b"\x0a\x06\x12\x04\xff\xfe\xc0\x80",              # a text that is not UTF-8
    b"\x0a\x0a\x12\x08\xed\xa0\x80\xed\xb0\x80ab",    # surrogates
    b"\x0a\x88\x27\x12\x85\x27" + b"x" * 4997,        # longer than any host name
    b"\xff" * 50, b"\x0a\xff\xff\xff\xff\x0f",
], ids=["bytes", "surrogates", "long", "ones", "length"])
def test_hello_that_is_none(mesh, rogue, hello):
    link = Linked(rogue, hello)
    try:
        next(link.answers)
    except grpc.RpcError:
        pass
    finally:
        table = mesh.cli("ls", "--json")
        assert table.returncode == 0 and all(clean(device["os"]) for device in json.loads(table.stdout))
        link.close()


def test_message_of_a_megabyte(mesh, rogue):
    for size in (1 << 20, 5 << 20):
        refusal(lambda: next(Linked(rogue, router.Frame(hello=router.Hello(os="x" * size)).SerializeToString()).answers))
        refusal(lambda: rogue.stranger.unary("CertificationManager/RequestToken", enrol.TokenRequest(name="x" * size), enrol.Token))
    assert mesh.cli("ls").returncode == 0


@pytest.mark.parametrize("name", ["", "a b", "<b>", "\x1b[2J", "x" * 64, "a\nb", "ä", "../a", ".", "\u202e", "x" * 5000], ids=ascii)
def test_hostile_names(mesh, tmp_path, name):
    device = Device(mesh, tmp_path, "named")
    refusal(lambda: device.token(name))


def test_newest_link_wins(mesh, rogue):
    first = Linked(rogue, router.Hello(os="first"))
    next(first.answers)
    second = Linked(rogue, router.Hello(os="second"))
    next(second.answers)
    try:
        assert refusal(lambda: list(first.answers))[1] == "E1018"
        assert mesh.device("rogue")["online"] and mesh.device("rogue")["os"] == "second"
    finally:
        second.close()


# ---- tunnels ----

def test_stock_tunnel(mesh, user):
    with Echo() as echo:
        tunnel = user.tunnel(user.device("web02"), f":{echo.port}")
        with user.leg(tunnel) as leg:
            head, rest = connect(leg, f"localhost:{echo.port}", tunnel.grant)
            assert head.startswith("HTTP/1.1 200 ") and rest == b""
            leg.sendall(b"hello")
            assert leg.recv(100) == b"hello"


def test_grant_counts(user):
    """For its targets, on its device, for its user, unchanged; and there has to be one."""
    with Echo() as echo, Echo() as other:
        web02 = user.device("web02")
        own = next(device for device in user.peer.each("Fleet/ListDevices", fleet.ListRequest(), fleet.Device) if device.online and device.name not in ("web02", "rogue"))
        for_other_device = user.tunnel(own, f":{echo.port}")
        for_running = user.tunnel(web02, f":{echo.port}", rights=fleet.RUN)

        def changed(grant):
            grant.document = grant.document.replace(str(echo.port).encode(), str(other.port).encode())
            return grant

        cases = {"another port": (f"localhost:{other.port}", lambda t: t.grant), "another host": (f"127.0.0.2:{echo.port}", lambda t: t.grant),
                 "no grant": (f"localhost:{echo.port}", lambda t: None), "another device's": (f"localhost:{echo.port}", lambda t: for_other_device.grant),
                 "for run only": (f"localhost:{echo.port}", lambda t: for_running.grant), "changed": (f"localhost:{other.port}", lambda t: changed(t.grant)),
                 "empty": (f"localhost:{echo.port}", lambda t: enrol.SignedDocument())}
        for case, (target, grant) in cases.items():
            tunnel = user.tunnel(web02, f":{echo.port}")
            with user.leg(tunnel) as leg:
                head, _ = connect(leg, target, grant(tunnel))
                assert head.startswith("HTTP/1.1 403 "), (case, head)
        assert not other.connections


@pytest.mark.parametrize("request_line", ["GET / HTTP/1.1", "CONNECT localhost HTTP/1.1", "CONNECT localhost:0 HTTP/1.1", "CONNECT :80 HTTP/1.1", "nonsense", "\0\0\0",
                                          "CONNECT localhost:80 HTTP/2", "CONNECT localhost:80 HTTP/1.1\r\n folded", "x" * 40000], ids=lambda line: ascii(line[:30]))
def test_heads_that_are_none(mesh, user, request_line):
    with user.leg(user.tunnel(user.device("web02"), ":80")) as leg:
        try:
            leg.sendall(request_line.encode() + b"\r\n\r\n")
            answer = leg.recv(4096)
        except (ssl.SSLError, ConnectionError):
            answer = b""
        assert answer == b"" or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5")), answer
    assert mesh.web02.process.poll() is None and mesh.device("web02")["online"]


def test_leg_without_certificate(mesh, user):
    with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
        with user.leg(user.tunnel(user.device("web02"), ":80"), certificate=False) as leg:
            head, _ = connect(leg, "localhost:80")
            assert head


def test_leg_with_a_devices_certificate(mesh, user, rogue):
    """Another device is no user."""
    tunnel = user.tunnel(user.device("web02"), ":80")
    chain = rogue.key.path.with_suffix(".crt")
    chain.write_text(pem(rogue.certificates.leaf) + pem(rogue.certificates.intermediate))
    connection = socket.create_connection(("127.0.0.1", mesh.port), 20 * PATIENCE)
    connection.sendall(preamble(tunnel.ticket))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(chain, rogue.key.path)
    with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
        with context.wrap_socket(connection) as leg:
            head, _ = connect(leg, "localhost:80", tunnel.grant)
            assert head


def relay_answer(mesh, first):
    with socket.create_connection(("127.0.0.1", mesh.port), 20 * PATIENCE) as connection:
        connection.sendall(first)
        try:
            return connection.recv(1)
        except ConnectionError:
            return b""


def test_tickets(mesh, user):
    """Unknown, of the other side, used a second time, malformed: closed."""
    web02 = user.device("web02")
    assert relay_answer(mesh, preamble(os.urandom(32))) == b""
    assert relay_answer(mesh, preamble(user.tunnel(web02, ":80").ticket, side=1)) == b""
    assert relay_answer(mesh, preamble(user.tunnel(web02, ":80").ticket, side=7)) == b""
    assert relay_answer(mesh, b"MMR1\2" + preamble(user.tunnel(web02, ":80").ticket)[5:]) == b""
    with Echo() as echo:
        tunnel = user.tunnel(web02, f":{echo.port}")
        with user.leg(tunnel) as leg:
            assert relay_answer(mesh, preamble(tunnel.ticket)) == b""
            head, _ = connect(leg, f"localhost:{echo.port}", tunnel.grant)  # the first one is not disturbed
            assert head.startswith("HTTP/1.1 200 ")


# ---- orders ----

def test_stock_run(mesh, user):
    web02 = user.device("web02")
    out = carry_out(mesh, user, web02, order(user, web02, "sh", "-c", "echo hello; exit 3"))
    assert out[0].started and b"".join(o.stdout for o in out) == b"hello\n" and out[-1].exit.code == 3


def test_order_runs_once(mesh, user, tmp_path):
    web02 = user.device("web02")
    signed = order(user, web02, "sh", "-c", f"echo x >>{tmp_path}/count")
    carry_out(mesh, user, web02, signed)
    assert refusal(lambda: carry_out(mesh, user, web02, signed))[1] == "E1218"
    assert (tmp_path / "count").read_text() == "x\n"


def test_order_counts(mesh, user, rogue, tmp_path):
    """For its devices, as it was signed, by the server."""
    web02, other = user.device("web02"), user.device(rogue.name)
    signed = order(user, web02, "touch", f"{tmp_path}/made")
    wrong = enrol.SignedDocument(document=signed.document.replace(b"touch", b"mkdir"), signature=signed.signature)
    cases = [(wrong, None), (enrol.SignedDocument(document=signed.document), None), (enrol.SignedDocument(), None), (signed, other.id), (signed, web02.id * 2),
             (signed, b""), (user.tunnel(web02, ":80").grant, None), (order(user, other, "touch", f"{tmp_path}/made"), other.id)]
    for document, devices in cases:
        refusal(lambda: carry_out(mesh, user, web02, document, devices))
    assert not (tmp_path / "made").exists()
    carry_out(mesh, user, web02, signed)
    assert (tmp_path / "made").is_file()
    assert server_root(mesh) == user.certificates.root
