"""Certificates that the mesh's own keys signed and that still do not count: wrong time, usage, kind, names; and peers that show another's."""
import re
import socket
import ssl
import subprocess
import threading

import grpc
import pytest

from harness import PATIENCE, PROGRAMS, die_with_tests, until
from test_tls_faults import context_for, refuses, shake
from wire import certificate_make, refusal, router


def signed(mesh, folder, **changes):
    """A certificate that is good but for the changes, as a client's context."""
    certificate_make(mesh, folder, **changes)
    context = context_for()
    context.load_cert_chain(folder / "chain.crt", folder / "leaf.key")
    return context


def test_the_good_one(mesh, tmp_path):
    """So that the others fail for their own reasons."""
    with shake(mesh, signed(mesh, tmp_path / "c")) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
        assert connection.recv(4096)


WRONG = {
    "expired": {"from_day": -10, "to_day": -1},
    "not yet valid": {"from_day": 2, "to_day": 5},
    "for servers only": {"usage": "serverAuth"},
    "for mail": {"usage": "emailProtection"},
    "component": {"kind": "component"},
    "manager": {"kind": "manager"},
    "unknown kind": {"kind": "emperor"},
    "another mesh's name": {"mesh_id": "0" * 32},
    "no name": {"names": ""},
    "two names": {"names": "URI:{uri},URI:{uri}"},
    "second name of something else": {"names": "URI:{uri},URI:http://example.org"},
    "odd name": {"names": "URI:{uri}/more"},
    "common name only": {"names": "DNS:web02-1"},
}


@pytest.mark.parametrize("changes", WRONG.values(), ids=WRONG)
def test_wrong_certificate(mesh, tmp_path, changes):
    refuses(mesh, signed(mesh, tmp_path / "c", **changes))


def test_identity_that_the_server_does_not_know(mesh, tmp_path):
    """A good certificate of a device that is in no list: TLS lets it in, its link is refused."""
    signed(mesh, tmp_path / "c")
    creds = grpc.ssl_channel_credentials((mesh.directory / "ca" / "root.crt").read_bytes(), (tmp_path / "c" / "leaf.key").read_bytes(),
                                         (tmp_path / "c" / "chain.crt").read_bytes())
    with grpc.secure_channel(f"localhost:{mesh.port}", creds) as channel:
        call = channel.stream_stream("/murmesh.MessageRouter/Link", lambda m: m.SerializeToString(), router.Frame.FromString)
        answered = threading.Event()

        def requests():
            yield router.Frame(hello=router.Hello(os="x"))
            answered.wait()
        assert refusal(lambda: next(call(requests(), timeout=20 * PATIENCE)))[1] == "E1206"
        answered.set()
    assert not [device for device in mesh.json("ls") if device["id"] == "5" * 32]


def test_endless_chain(mesh, tmp_path):
    """A client that shows a megabyte of certificates."""
    signed(mesh, tmp_path / "c")
    one = (mesh.directory / "ca" / "intermediate.crt").read_text()
    (tmp_path / "many.crt").write_text(one * 2000)
    tried = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{mesh.port}", "-alpn", "h2", "-cert", tmp_path / "c" / "leaf.crt", "-key",
                            tmp_path / "c" / "leaf.key", "-cert_chain", tmp_path / "many.crt", "-quiet"], input="x" * 100, capture_output=True, text=True,
                           timeout=30 * PATIENCE)
    assert tried.returncode != 0 or "alert" in tried.stderr, tried.stderr[-500:]
    assert mesh.cli("ls").returncode == 0


# ---- who poses as the server ----

class Impostor:
    """Takes connections for a parent, with somebody else's certificate; keeps what it is told."""

    def __init__(self, chain, key):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain, key)
        context.set_alpn_protocols(["h2"])
        self.listener, self.heard, self.tries, self.context = socket.create_server(("127.0.0.1", 0)), b"", 0, context
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            try:
                with self.context.wrap_socket(connection, server_side=True) as tls:
                    self.heard += tls.recv(65536)
            except OSError:
                pass
            self.tries += 1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()


def test_device_that_poses_as_the_server(mesh, tmp_path):
    agent = mesh.join("misled")
    agent.stop()
    with Impostor(mesh.web02.directory / "net" / "node.crt", mesh.web02.directory / "net" / "node.key") as impostor:
        with open(tmp_path / "log", "wb") as log:
            program = subprocess.Popen([PROGRAMS / "murmesh-agent", "--dir", agent.directory, "--parent", f"127.0.0.1:{impostor.port}"], stdin=subprocess.DEVNULL,
                                       stderr=log, preexec_fn=die_with_tests)
        try:
            until(lambda: impostor.tries >= 2, "it tries again")
            assert impostor.heard == b"" and "online as" not in (tmp_path / "log").read_text()
            assert re.search("not reachable: .*certificate|not reachable: .*other side", (tmp_path / "log").read_text())
        finally:
            program.terminate()
            assert program.wait(10 * PATIENCE) == 0


def test_parent_given_on_the_command_line(mesh):
    """The other way round: the address in its files is of no use, the one that it is told is."""
    agent = mesh.join("moved")
    agent.stop()
    (agent.directory / "net" / "parent").write_text("host=127.0.0.1\nport=1\n")
    program = subprocess.Popen([PROGRAMS / "murmesh-agent", "--dir", agent.directory, "--parent", f"127.0.0.1:{mesh.port}"], stdin=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, preexec_fn=die_with_tests)
    try:
        until(lambda: mesh.device("moved")["online"], "online")
    finally:
        program.terminate()
        assert program.wait(10 * PATIENCE) == 0
