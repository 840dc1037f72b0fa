"""`murmesh map -D`: a SOCKS5 proxy whose connections leave from a device."""
import http.server
import socket
import subprocess
import threading

import pytest

from harness import PATIENCE, Echo, Target, refused, until


class Pages(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"page {self.path} for {self.headers['Host']}".encode())

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def dynamic(mesh):
    with mesh.map("web02", options=["-D", "0"]) as mapped:
        yield mapped


@pytest.fixture(params=["127.0.0.1", "::1"])
def pages(request):
    class Server(http.server.ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    server = Server((request.param, 0), Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"[{request.param}]" if ":" in request.param else request.param, server.server_port
    server.shutdown()
    server.server_close()


def curl(mapped, url, way="--socks5-hostname"):
    return subprocess.run(["curl", "-sS", "--noproxy", "", way, f"127.0.0.1:{mapped.port}", url], capture_output=True, text=True, timeout=60 * PATIENCE)


def test_what_is_printed(dynamic):
    assert dynamic.info == [{"local_port": dynamic.port, "device": "web02", "target": "SOCKS5 through web02"}]


def test_curl(dynamic, pages):
    host, port = pages
    for name in (host, "localhost"):  # a name is looked up where the device is
        result = curl(dynamic, f"http://{name}:{port}/a")
        assert (result.returncode, result.stdout) == (0, f"page /a for {name}:{port}"), result.stderr
    result = curl(dynamic, f"http://{host}:{port}/b", "--socks5")
    assert (result.returncode, result.stdout) == (0, f"page /b for {host}:{port}"), result.stderr


class Client:
    """One that says every byte itself."""

    def __init__(self, mapped):
        self.connection = mapped.connect()

    def request(self, host, port, behind=b""):
        self.connection.sendall(b"\5\1\0" + b"\5\1\0\3" + bytes([len(host)]) + host + port.to_bytes(2, "big") + behind)
        assert self.read(2) == b"\5\0"
        reply = self.read(10)
        assert reply[0] == 5 and reply[2:] == b"\0\1" + bytes(6)
        return reply[1]

    def read(self, n):
        got = b""
        while len(got) < n:
            chunk = self.connection.recv(n - len(got))
            assert chunk, f"only {got}"
            got += chunk
        return got

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()


def test_bytes_behind_the_request_and_half_close(dynamic):
    def serve(connection):
        data = b"".join(iter(lambda: connection.recv(65536), b""))
        connection.sendall(b"all of it: %d" % len(data))

    with Target(serve) as target, Client(dynamic) as client:
        assert client.request(b"127.0.0.1", target.port, b"early") == 0
        client.connection.sendall(b"x" * 1000000)
        client.connection.shutdown(socket.SHUT_WR)
        assert client.read(18) == b"all of it: 1000005" and client.connection.recv(1) == b""


def test_refusals_have_codes(mesh, dynamic):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with Client(dynamic) as client:
        assert client.request(b"127.0.0.1", port) == 5
        assert client.connection.recv(1) == b""
    with Client(dynamic) as client:
        assert client.request(b"nowhere.invalid", 80) in (4, 6)  # unknown, or no name server that could say so
    log = until(lambda: "nowhere.invalid:80 by way of" in dynamic.log() and dynamic.log(), "the reasons")
    assert f"a connection to 127.0.0.1:{port} by way of SOCKS5 through web02 was refused" in log and "E1300" in log
    assert "(97)" in curl(dynamic, f"http://127.0.0.1:{port}/").stderr  # curl says that the proxy refused


def test_offline_device(mesh):
    mesh.join("off-dynamic").stop()
    until(lambda: not mesh.device("off-dynamic")["online"], "offline")
    with mesh.map("off-dynamic", options=["-D", "0"]) as mapped, Client(mapped) as client:
        assert "off-dynamic-1 is offline" in mapped.log() or "is offline" in mapped.log()
        assert client.request(b"127.0.0.1", 80) == 3


@pytest.mark.parametrize("words, answer", [(b"GET / HTTP/1.1\r\n\r\n", b"\5\xff"), (b"\4\1\0\x50\x7f\0\0\1\0", b"\5\xff"), (b"\5\1\2", b"\5\xff"),
                                           (b"\5\1\0\5\2\0\1\x7f\0\0\1\0\x50", b"\5\0\5\7\0\1" + bytes(6)),
                                           (b"\5\1\0\5\1\0\3\xff" + b"\n" * 257, b"\5\0\5\1\0\1" + bytes(6))])
def test_hostile_clients(mesh, dynamic, words, answer):
    with dynamic.connect() as connection:
        connection.sendall(words)
        assert b"".join(iter(lambda: connection.recv(100), b"")) == answer
    with Echo() as echo, Client(dynamic) as client:  # others are served
        assert client.request(b"localhost", echo.port, b"x") == 0 and client.read(1) == b"x"


def test_silent_clients_are_let_go(mesh, dynamic):
    silent = [dynamic.connect(seconds=60) for _ in range(50)]
    for number, connection in enumerate(silent):
        connection.sendall(b"\5\1\0"[:number % 4])
    with Echo() as echo, Client(dynamic) as client:
        assert client.request(b"127.0.0.1", echo.port, b"x") == 0 and client.read(1) == b"x"
    for connection in silent:
        with pytest.raises(ConnectionResetError):
            while connection.recv(100):
                pass


def test_with_maps_and_an_address(mesh):
    with Echo() as echo, mesh.map("web02", f"TCP:0:web02::{echo.port}", options=["-D", "127.0.0.3:0", "--strict"]) as mapped:
        assert "SOCKS5" in mapped.info[0]["target"] and mapped.info[1]["target"] == f"web02:{echo.port}"
        with pytest.raises(ConnectionRefusedError):
            mapped.connect("127.0.0.1")
        with mapped.connect("127.0.0.3") as connection:
            connection.sendall(b"\5\1\0")
            assert connection.recv(2) == b"\5\0"


@pytest.mark.parametrize("words", [["-D", "x", "web02"], ["-D", "65536", "web02"], ["-D", "localhost:1080", "web02"], ["-D", ":1080", "web02"], ["-D", "1080"]])
def test_wrong_words(mesh, words):
    refused(mesh.cli("map", *words), 2)


def test_unknown_device(mesh):
    refused(mesh.cli("map", "-D", "0", "nobody"), 3, "E1017")
