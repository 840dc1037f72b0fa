"""What a client without a certificate can hold: little, not for long, and nobody out."""
import socket
import ssl
import struct
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness import Mesh, until

STRANGERS_MAX, CALLS_MAX = 500, 4  # src/server/role_link.c


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
