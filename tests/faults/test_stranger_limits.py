"""What a client without a certificate can hold: little, not for long, and nobody out."""
import socket
import ssl
import struct
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness import Mesh, until
from wire import Key, Peer, User, enrol, fleet, refusal, server_root

STRANGERS_MAX, CALLS_MAX = 500, 4  # src/gateway/role_link.c
LOGINS_MAX = 4  # src/server/link_login.c: of one address


@pytest.fixture(scope="module")
def mesh(tmp_path_factory):
    mesh = Mesh(tmp_path_factory.mktemp("strangers") / "mesh")
    yield mesh
    mesh.stop()


def connect(mesh):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context.wrap_socket(socket.create_connection(("127.0.0.1", mesh.port), timeout=20))


def ended(connection):
    """Whether the server closed it."""
    connection.settimeout(0.01)
    try:
        while connection.recv(65536):
            pass
        return True
    except TimeoutError:
        return False
    except OSError:
        return True


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def head(*fields):
    """HPACK without tables or Huffman codes (RFC 7541 section 6.2.2)."""
    out = b""
    for name, value in fields:
        assert len(name) < 127 and len(value) < 127
        out += b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
    return out


def request(path):
    return head((":method", "POST"), (":scheme", "https"), (":path", path), (":authority", "x"),
                ("content-type", "application/grpc"), ("te", "trailers"))


def frames(connection, enough, seconds=5):
    """Frames that come, until enough(list of (kind, flags, stream, payload))."""
    data, found = b"", []
    connection.settimeout(seconds)
    while not enough(found):
        data += connection.recv(65536)
        while len(data) >= 9 and len(data) >= 9 + int.from_bytes(data[:3], "big"):
            length = int.from_bytes(data[:3], "big")
            found.append((data[3], data[4], int.from_bytes(data[5:9], "big"), data[9:9 + length]))
            data = data[9 + length:]
    return found


def test_many_keep_nobody_out(mesh):
    connections = [connect(mesh) for _ in range(STRANGERS_MAX + 50)]
    until(lambda: sum(map(ended, connections[:60])) >= 50, "the oldest are closed")
    assert not ended(connections[-1])
    assert [device["online"] for device in mesh.json("ls")] == [True]
    assert mesh.cli("run", mesh.json("ls")[0]["name"], "--", "true").returncode == 0
    for connection in connections:
        connection.close()


def test_few_calls_at_once(mesh):
    connection = connect(mesh)
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0))
    for i in range(20):
        connection.sendall(frame(1, 4, 2 * i + 1, request("/murmesh.CertificationManager/RequestToken")))
    answered = [f[2] for f in frames(connection, lambda found: sum(f[0] == 1 for f in found) >= 20 - CALLS_MAX) if f[0] == 1]
    assert sorted(answered) == [2 * i + 1 for i in range(CALLS_MAX, 20)]
    connection.close()


def attempt(mesh, key, root, name="nobody"):
    """A bad login by a client that is none of ours."""
    peer = Peer(f"localhost:{mesh.port}", root=root)
    call = peer.channel.unary_unary("/murmesh.Login/Password", fleet.LoginProof.SerializeToString, enrol.CertificateReply.FromString)
    return peer, call.future(fleet.LoginProof(name=name, password="wrong password", csr=key.request()), timeout=60)


def error_of(attempted):
    peer, future = attempted
    with peer:
        return dict(future.exception().trailing_metadata() or ()).get("murmesh-error")


def test_few_logins_at_once(mesh, tmp_path):
    """Of one address: the rest is turned away at once, whatever connection they come by, and nobody else is kept waiting."""
    key, root = Key(tmp_path, "stranger"), server_root(mesh)
    futures = [attempt(mesh, key, root, f"nobody{i}") for i in range(20)]
    errors = [error_of(future) for future in futures]
    assert set(errors) == {"E1221", "E1022"} and LOGINS_MAX <= errors.count("E1221") < 20, errors
    assert mesh.cli("ls").returncode == 0
    until(lambda: error_of(attempt(mesh, key, root)) == "E1221", "room again")


def test_bad_requests_for_a_login(mesh, tmp_path):
    """What is no request for a certificate reaches nobody's password."""
    key, root = Key(tmp_path, "stranger"), server_root(mesh)
    good = key.request()
    with Peer(f"localhost:{mesh.port}", root=root) as peer:
        for csr in (b"", b"x", good[:-1], good[:-1] + bytes([good[-1] ^ 1]), good + b"x", bytes(2048)):
            call = lambda: peer.unary("Login/Password", fleet.LoginProof(name="a", password="b", csr=csr), enrol.CertificateReply)
            until(lambda: refusal(call)[1] != "E1022", "room")
            assert refusal(call)[1] in ("E1002", "E1007", "E1207", "E1022")
        for raw in (b"\xff" * 100, fleet.LoginProof(name="a" * 64, csr=good).SerializeToString(), fleet.LoginProof(password="a" * 1025, csr=good).SerializeToString(),
                    fleet.LoginProof(name="a", csr=bytes(2049)).SerializeToString()):
            assert refusal(lambda: peer.unary("Login/Password", raw, enrol.CertificateReply))[1] == "E1103"
    assert mesh.cli("ls").returncode == 0


def test_user_may_not_change_who_he_is(mesh, tmp_path):
    """Whoever has a certificate gets no other rights from a login without a password."""
    user = User(mesh, tmp_path)
    proof = fleet.LoginProof(name="local", password="", csr=user.key.request())
    until(lambda: refusal(lambda: user.peer.unary("Login/Password", proof, enrol.CertificateReply))[1] == "E1221", "room")
