"""What comes to the front port that no client of ours would send: garbage, old TLS, foreign certificates, thousands of slow handshakes."""
import os
import resource
import socket
import ssl
import subprocess
import time

import pytest

from harness import PATIENCE, Echo, closed, cpu_seconds, die_with_tests, murmesh, until

HELLO = bytes.fromhex("16030100")  # the begin of a ClientHello's record


def dial(mesh, seconds=5):
    return socket.create_connection(("127.0.0.1", mesh.port), seconds * PATIENCE)


def ends(connection):
    """The server closes, whatever it says before; returns what it said."""
    said = b""
    try:
        while chunk := connection.recv(65536):
            said += chunk
    except ConnectionError:
        pass
    return said


def certificates(agent):
    """Key and certificate chain files of an agent."""
    return agent.directory / "net" / "node.crt", agent.directory / "net" / "node.key"


def context_for(agent=None, alpn=("h2",), version=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if version:
        context.minimum_version = context.maximum_version = version
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if agent:
        context.load_cert_chain(*certificates(agent))
    return context


def shake(mesh, context):
    return context.wrap_socket(dial(mesh))


# ---- garbage ----

@pytest.mark.parametrize("first", [
    b"\0" * 100, b"\xff" * 100, b"garbage\r\n\r\n", b"SSH-2.0-client\r\n", b"MMR2" + b"x" * 44, b"POST / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    HELLO + b"\0\5hello", HELLO + b"\xff\xff" + b"x" * 20000, b"\x15\x03\x03\0\2\2\x28", b"\x16\x03\x01\0\0", b"\x80\x2e\1\3\1" + b"x" * 41,
], ids=lambda first: first[:10].hex())
def test_garbage(mesh, first):
    with dial(mesh) as connection:
        connection.sendall(first)
        said = ends(connection)
        assert said == b"" or said[:1] == b"\x15", said  # an alert at most
    assert mesh.cli("ls").returncode == 0


def test_garbage_inside_tls(mesh):
    for first in (b"\0" * 100, b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 100):
        with shake(mesh, context_for()) as connection:
            connection.sendall(first)
            ends(connection)


def test_clear_http_is_redirected(mesh):
    with dial(mesh) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = ends(connection).decode()
    assert answer.startswith("HTTP/1.1 301 ") and f"Location: https://127.0.0.1:{mesh.port}/\r\n" in answer


def test_client_that_goes_at_every_step(mesh):
    """A hello cut at every tenth byte, with an end and with a reset."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context_for().wrap_bio(incoming, outgoing)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    hello = outgoing.read()
    for cut in range(0, len(hello), 10):
        with dial(mesh) as connection:
            connection.sendall(hello[:cut])
            if cut % 20:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert mesh.cli("ls").returncode == 0


# ---- versions and protocols ----

def test_old_version(mesh):
    with pytest.raises(ssl.SSLError, match="(?i)protocol_version|alert"):
        shake(mesh, context_for(version=ssl.TLSVersion.TLSv1_2))
    tried = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{mesh.port}", "-tls1_2", "-alpn", "h2"], stdin=subprocess.DEVNULL,
                           capture_output=True, text=True, timeout=20 * PATIENCE)
    assert tried.returncode != 0 and "alert protocol version" in tried.stderr


def test_new_version(mesh):
    tried = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{mesh.port}", "-alpn", "h2", "-showcerts"], stdin=subprocess.DEVNULL,
                           capture_output=True, text=True, timeout=20 * PATIENCE)
    assert "TLSv1.3" in tried.stdout and "ALPN protocol: h2" in tried.stdout
    assert tried.stdout.count("BEGIN CERTIFICATE") == 3  # up to the mesh root: a joining agent knows its hash only
    assert "Session-ID:" not in tried.stdout.replace("Session-ID: \n", "")  # no tickets


@pytest.mark.parametrize("alpn", [("nonsense",), ("h3",), ("grpc-exp",), ("h2c",)])
def test_unknown_protocol(mesh, alpn):
    with pytest.raises((ssl.SSLError, ConnectionError)):
        with shake(mesh, context_for(alpn=alpn)) as connection:
            assert connection.recv(1) == b""
            raise ConnectionError


def test_stock_offer(mesh):
    """What grpcio offers."""
    with shake(mesh, context_for(alpn=("grpc-exp", "h2"))) as connection:
        assert connection.selected_alpn_protocol() == "h2" and connection.version() == "TLSv1.3"


# ---- certificates ----

def refuses(mesh, context):
    """TLS 1.3 tells after the client's handshake is done."""
    with pytest.raises((ssl.SSLError, ConnectionError)):
        with shake(mesh, context) as connection:
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
            for _ in range(10):
                if not connection.recv(4096):
                    raise ConnectionError


def test_certificate_of_this_mesh(mesh):
    with shake(mesh, context_for(mesh.web02)) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
        assert connection.recv(4096)


def test_certificate_of_another_mesh(mesh, new_mesh):
    refuses(mesh, context_for(new_mesh().join("foreign")))


def self_signed(tmp_path, *words, name="/CN=web02-1"):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", tmp_path / "own.key",
                    "-out", tmp_path / "own.crt", "-subj", name, *words], check=True, capture_output=True)
    context = context_for()
    context.load_cert_chain(tmp_path / "own.crt", tmp_path / "own.key")
    return context


def identity_of(agent):
    shown = subprocess.run(["openssl", "x509", "-in", certificates(agent)[0], "-noout", "-ext", "subjectAltName"], check=True, capture_output=True, text=True)
    return next(part.strip().removeprefix("URI:") for part in shown.stdout.split(",") if "URI:" in part) if "URI:" in shown.stdout else None


def test_certificate_of_ones_own_making(mesh, tmp_path):
    refuses(mesh, self_signed(tmp_path))
    refuses(mesh, self_signed(tmp_path, "-addext", f"subjectAltName=URI:{identity_of(mesh.web02).splitlines()[-1].strip()}"))


def test_certificate_made_by_a_device(mesh, tmp_path):
    """A device's own key signs nothing that counts."""
    chain, key = certificates(mesh.web02)
    subprocess.run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", tmp_path / "leaf.key", "-out",
                    tmp_path / "leaf.csr", "-subj", "/CN=x"], check=True, capture_output=True)
    (tmp_path / "ext").write_text(f"subjectAltName=URI:{identity_of(mesh.web02).splitlines()[-1].strip()}\nextendedKeyUsage=clientAuth\n")
    subprocess.run(["openssl", "x509", "-req", "-in", tmp_path / "leaf.csr", "-CA", chain, "-CAkey", key, "-CAcreateserial", "-CAserial", tmp_path / "serial",
                    "-extfile", tmp_path / "ext", "-out", tmp_path / "leaf.crt"], check=True, capture_output=True)
    (tmp_path / "chain.crt").write_text((tmp_path / "leaf.crt").read_text() + chain.read_text())
    context = context_for()
    context.load_cert_chain(tmp_path / "chain.crt", tmp_path / "leaf.key")
    refuses(mesh, context)


def test_manager_certificate_opens_no_link(mesh):
    """It is for signatures; the server takes nodes and users."""
    context = context_for()
    context.load_cert_chain(mesh.web02.directory / "exec" / "manager.crt", mesh.web02.directory / "exec" / "manager.key")
    refuses(mesh, context)


# ---- too many, too slow ----

def raise_limit(wanted):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard - 300)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return count


def test_thousands_of_slow_handshakes(new_mesh):
    """One byte each, then silence; some stop later, inside the handshake.  Good clients do not notice, and after 10 s all are gone."""
    one = new_mesh()
    one.join("web02")
    count = raise_limit(5000)
    tls = context_for().wrap_bio(ssl.MemoryBIO(), outgoing := ssl.MemoryBIO())
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    hello = outgoing.read()
    started = time.monotonic()
    slow = []
    for number in range(count):
        connection = dial(one, 30)
        connection.sendall(hello if number % 10 == 0 else hello[:1])
        slow.append(connection)
    asked = time.monotonic()
    assert one.works("web02")
    assert time.monotonic() - asked < 5 * PATIENCE
    assert time.monotonic() - started < 10 * PATIENCE, "the first are gone already: nothing was shown"
    before = cpu_seconds(one.server.roles()["front"]) + cpu_seconds(one.server.roles()["link"])
    for connection in slow:
        connection.settimeout(max(0.1, started + 25 * PATIENCE - time.monotonic()))
        ends(connection)
        connection.close()
    used = cpu_seconds(one.server.roles()["front"]) + cpu_seconds(one.server.roles()["link"]) - before
    assert used < 3 * PATIENCE, used
    assert len(one.log().splitlines()) < 50  # at most one line per second and source
    assert one.works("web02")


def low_limit():
    die_with_tests()
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


def spinning(mesh):
    """Roles that are busy for most of half a second."""
    pids = mesh.server.roles()
    before, deadline = {role: cpu_seconds(pid, True) for role, pid in pids.items()}, time.monotonic() + 0.5
    until(lambda: time.monotonic() > deadline, "half a second")
    return [role for role, pid in pids.items() if cpu_seconds(pid, True) - before[role] > 0.25]


def test_without_descriptors(new_mesh):
    """Roles with 64 descriptors each: connections over that are closed at once, nobody spins, those that are there go on."""
    one = new_mesh(before=low_limit)
    agent = one.join("web02")
    with Echo() as echo, one.map(f"TCP:0:web02:HTTP:{echo.port}") as mapped, mapped.connect() as tunnel:
        tunnel.sendall(b"before")
        assert tunnel.recv(100) == b"before"
        idle = [dial(one) for _ in range(200)]
        for connection in idle:
            try:
                connection.sendall(b"\x16")
            except ConnectionError:
                pass
        until(lambda: 100 < sum(map(closed, idle)) < 200, "most are closed")
        assert not spinning(one)
        tunnel.sendall(b"meanwhile")
        assert tunnel.recv(100) == b"meanwhile"
        for connection in idle:
            connection.close()
        until(lambda: one.cli("ls").returncode == 0, "it works again")
        assert one.device("web02")["online"] and agent.process.poll() is None
        tunnel.sendall(b"after")
        assert tunnel.recv(100) == b"after"
    assert one.works("web02")


def test_link_without_descriptors(new_mesh):
    """Whole hellos go on to the link role: it runs out, too."""
    one = new_mesh(before=low_limit)
    context, open_ones = context_for(), []
    for _ in range(150):
        try:
            open_ones.append(shake(one, context))
        except (ssl.SSLError, OSError):
            pass
    assert 20 < len(open_ones) < 64
    assert not spinning(one)
    for connection in open_ones:
        connection.close()
    until(one.works, "it works again")


def test_core_socket_without_descriptors(new_mesh):
    one = new_mesh(before=low_limit)
    idle = [socket.socket(socket.AF_UNIX) for _ in range(150)]
    run = os.open(one.directory / "run", os.O_PATH)
    for connection in idle:
        connection.settimeout(5 * PATIENCE)
        connection.connect(f"/proc/self/fd/{run}/core.sock")  # a path of any length
    os.close(run)
    assert not spinning(one)
    for connection in idle:
        connection.close()
    until(lambda: murmesh("ls", directory=one.directory).returncode == 0, "it works again")
