"""`murmesh map`: a device's ports as local ones, byte for byte."""
import hashlib
import http.server
import json
import os
import random
import re
import select
import signal
import socket
import subprocess
import threading
import time

import pytest

from harness import PATIENCE, Agent, Echo, Target, closed, legs, refused, until

MEGABYTE = random.Random(1).randbytes(1 << 20)


def refused_at_once(mapped):
    """A connection that the far side refuses is reset, not ended."""
    with mapped.connect() as connection, pytest.raises(ConnectionResetError):
        connection.recv(1)


# ---- what is printed ----

def test_line_per_map(mesh):
    with Echo() as echo, mesh.map(f"TCP:0:web02:HTTP:{echo.port}", f"TCP:0:web02-1:HTTP:127.0.0.2:{echo.port}") as mapped:
        assert [set(line) for line in mapped.info] == [{"local_port", "device", "target"}] * 2
        assert mapped.info[0]["local_port"] != mapped.info[1]["local_port"]
        assert mapped.info[0]["device"] == "web02" and str(echo.port) in mapped.info[0]["target"]
        assert "127.0.0.2" in mapped.info[1]["target"]


def test_text_for_people(mesh):
    program = mesh.background("map", "TCP:0:web02:HTTP:8000")
    assert re.match(rb"localhost:\d+ -> web02:8000\n", program.process.stdout.readline())
    assert program.stop(signal.SIGTERM) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ends_at_signals(mesh, number):
    mapped = mesh.map("TCP:0:web02:HTTP:8000")
    assert mapped.stop(number) == 0 and mapped.log() == ""
    with pytest.raises(ConnectionRefusedError):
        mapped.connect()


def test_wished_local_port(mesh):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with Echo() as echo, mesh.map(f"TCP:{port}:web02:HTTP:{echo.port}") as mapped:
        assert mapped.port == port and talk(mapped, b"hello") == b"hello"


def test_only_this_machine_is_served(mesh):
    with Echo() as echo, mesh.map(f"TCP:0:web02:HTTP:{echo.port}") as mapped:
        hexes = {f"{mapped.port:04X}"}
        rows = [line.split() for path in ("/proc/net/tcp", "/proc/net/tcp6") for line in open(path).read().splitlines()[1:]]
        addresses = {row[1].split(":")[0] for row in rows if row[1].split(":")[1] in hexes and row[3] == "0A"}
        assert addresses and addresses <= {"0100007F", "00000000000000000000000001000000"}


# ---- bytes ----

def talk(mapped, data, host="127.0.0.1"):
    """Sends, says that this is all, and returns what comes back."""
    with mapped.connect(host) as connection:
        sender = threading.Thread(target=lambda: (connection.sendall(data), connection.shutdown(socket.SHUT_WR)))
        sender.start()
        received = bytearray()
        try:
            while chunk := connection.recv(1 << 20):
                received += chunk
        except ConnectionResetError as error:
            raise ConnectionResetError(mapped.log()) from error
        sender.join()
        return bytes(received)


class Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_curl_reaches_a_web_server(mesh, tmp_path):
    (tmp_path / "page.html").write_text("<p>through the mesh</p>")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), lambda *args: Files(*args, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with mesh.map(f"TCP:0:web02:HTTP:{server.server_port}") as mapped:
            for host in ("127.0.0.1", "localhost"):
                fetched = subprocess.run(["curl", "-fsS", f"http://{host}:{mapped.port}/page.html", f"http://{host}:{mapped.port}/page.html"],
                                         capture_output=True, text=True)
                assert (fetched.returncode, fetched.stdout) == (0, "<p>through the mesh</p>" * 2), fetched.stderr
            missing = subprocess.run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"http://127.0.0.1:{mapped.port}/missing"],
                                     capture_output=True, text=True)
            assert missing.stdout == "404"
    finally:
        server.shutdown()
        server.server_close()


def test_hundred_megabytes_each_way(mesh):
    """Up and down at the same time, through one connection."""
    count, up = 100, hashlib.sha256()

    def serve(connection):
        sender = threading.Thread(target=lambda: [connection.sendall(MEGABYTE) for _ in range(count)] and connection.shutdown(socket.SHUT_WR))
        sender.start()
        while chunk := connection.recv(1 << 20):
            up.update(chunk)
        sender.join()

    wanted = hashlib.sha256()
    for _ in range(count):
        wanted.update(MEGABYTE)
    with Target(serve) as target, mesh.map(f"TCP:0:web02:HTTP:{target.port}") as mapped, mapped.connect() as connection:
        sender = threading.Thread(target=lambda: [connection.sendall(MEGABYTE) for _ in range(count)] and connection.shutdown(socket.SHUT_WR))
        sender.start()
        down = hashlib.sha256()
        while chunk := connection.recv(1 << 20):
            down.update(chunk)
        sender.join()
        until(lambda: up.digest() == wanted.digest(), "the target has it all")
        assert down.digest() == wanted.digest()
        assert mapped.log() == ""


def test_half_close_of_the_client(mesh):
    """The target answers after the client's end: it has seen all and that it is all."""
    def serve(connection):
        data = b"".join(iter(lambda: connection.recv(65536), b""))
        connection.sendall(hashlib.sha256(data).hexdigest().encode())

    with Target(serve) as target, mesh.map(f"TCP:0:web02:HTTP:{target.port}") as mapped:
        assert talk(mapped, MEGABYTE) == hashlib.sha256(MEGABYTE).hexdigest().encode()
        assert talk(mapped, b"") == hashlib.sha256(b"").hexdigest().encode()


def test_half_close_of_the_target(mesh):
    """The client goes on sending after the target's end."""
    got = []

    def serve(connection):
        connection.sendall(b"all that I say")
        connection.shutdown(socket.SHUT_WR)
        got.append(b"".join(iter(lambda: connection.recv(65536), b"")))

    with Target(serve) as target, mesh.map(f"TCP:0:web02:HTTP:{target.port}") as mapped, mapped.connect() as connection:
        assert b"".join(iter(lambda: connection.recv(100), b"")) == b"all that I say"
        connection.sendall(MEGABYTE)
        connection.shutdown(socket.SHUT_WR)
        until(lambda: got, "the target got it")
        assert got == [MEGABYTE]


def test_target_speaks_first(mesh):
    with Target(lambda connection: connection.sendall(b"220 hello\r\n")) as target, mesh.map(f"TCP:0:web02:SMTP:{target.port}") as mapped:
        assert talk(mapped, b"") == b"220 hello\r\n"


def test_slow_reader_holds_the_sender_back(mesh):
    sent = [0]

    def serve(connection):
        while sent[0] < 400:
            connection.sendall(MEGABYTE)
            sent[0] += 1

    with Target(serve) as target, mesh.map(f"TCP:0:web02:HTTP:{target.port}") as mapped, mapped.connect() as connection:
        def settled():
            before = sent[0]
            time.sleep(0.3)
            return sent[0] == before
        until(settled, "the sender waits")
        assert sent[0] < 60  # what sockets and buffers on the way hold


def test_two_hundred_at_once(mesh):
    with Echo() as echo, mesh.map(f"TCP:0:web02:HTTP:{echo.port}") as mapped:
        connections = [mapped.connect(seconds=60) for _ in range(200)]
        for number, connection in enumerate(connections):
            connection.sendall(b"%d." % number)
        for number, connection in enumerate(connections):
            wanted, got = b"%d." % number, b""
            while len(got) < len(wanted):
                chunk = connection.recv(100)
                assert chunk, (number, mapped.log())
                got += chunk
            assert got == wanted
        for connection in connections:
            connection.close()
        assert mapped.log() == ""
        until(lambda: all(closed(c) for c in echo.connections), "every connection ends at the target")


def test_client_that_gives_up(mesh):
    """It closes while the tunnel is still being opened, or resets in the middle: others do not notice."""
    with Echo() as echo, mesh.map(f"TCP:0:web02:HTTP:{echo.port}") as mapped:
        for _ in range(20):
            mapped.connect().close()
            with mapped.connect() as rude:
                rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                rude.sendall(b"x" * 1000)
        assert talk(mapped, b"hello") == b"hello"


# ---- legs that are kept ready ----

def test_ready_legs(mesh):
    """One is there before anybody asks for it, and again; more after a burst."""
    with Echo() as echo, mesh.map(f"TCP:0:web02:HTTP:{echo.port}") as mapped:
        until(lambda: legs(mapped, mesh.port) == 1, "a leg to be ready")
        assert not echo.connections
        assert talk(mapped, b"hello") == b"hello"
        until(lambda: legs(mapped, mesh.port) == 1, "another one")
        connections = [mapped.connect() for _ in range(5)]
        for connection in connections:
            connection.sendall(b"x")
        for connection in connections:
            assert connection.recv(1) == b"x"
            connection.close()
        until(lambda: 1 < legs(mapped, mesh.port) <= 16, "more of them")
        assert len(echo.connections) == 6 and mapped.log() == ""


def test_ready_legs_that_end(mesh):
    """Of a device that moves to another group, where others may use it: the next connection has a new one."""
    mesh.join("warmdev")
    with Echo() as echo, mesh.map(f"TCP:0:warmdev:HTTP:{echo.port}") as mapped:
        until(lambda: legs(mapped, mesh.port) == 1, "a leg to be ready")
        assert mesh.cli("group", "warmdev", "warmgroup").returncode == 0
        until(lambda: legs(mapped, mesh.port) == 0, "its end")
        assert talk(mapped, b"hello") == b"hello"
        until(lambda: legs(mapped, mesh.port) >= 1, "a leg to be ready again")
        assert mapped.log() == ""


# ---- targets ----

def test_closed_port(mesh):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with mesh.map(f"TCP:0:web02:HTTP:{port}") as mapped:
        refused_at_once(mapped)
        lines = until(lambda: mapped.log().count("\n") == 3 and mapped.log(), "the reason").splitlines()
        assert [line.split()[0] for line in lines] == ["error:", "why:", "try:"]
        assert str(port) in lines[0] and "E1300" in lines[1]
        with Target(Echo.echo) as late:  # the map lives on
            assert mapped.process.poll() is None and late
        refused_at_once(mapped)


@pytest.mark.parametrize("host", ["127.0.0.2", "[::1]"])
def test_relay_map(mesh, host):
    with Echo(host.strip("[]")) as echo, mesh.map(f"TCP:0:web02:HTTP:{host}:{echo.port}") as mapped:
        assert talk(mapped, b"hello") == b"hello"
        assert talk(mapped, b"hello", "::1") == b"hello"


def test_relay_map_by_name(mesh):
    """The device's resolver knows its own names (/etc/hosts)."""
    for line in open("/etc/hosts"):
        address, *names = line.split("#")[0].split() or [""]
        if address.startswith("127.") and names:
            with Echo(address) as echo:
                for name in names:
                    with mesh.map(f"TCP:0:web02:HTTP:{name}:{echo.port}") as mapped:
                        assert talk(mapped, b"hello") == b"hello", (name, mapped.log())


def test_name_that_is_not_known(mesh):
    with mesh.map("TCP:0:web02:HTTP:nowhere.invalid:80") as mapped:
        refused_at_once(mapped)
        log = until(lambda: mapped.log().count("\n") == 3 and mapped.log(), "the reason", 30)
        assert "E1303" in log or "E1302" in log, log  # unknown, or no name server that could say so
        assert "nowhere.invalid:80" in log


def test_device_goes_away_and_comes_back(mesh):
    agent = mesh.join("leaves")
    with Echo() as echo, mesh.map(f"TCP:0:leaves:HTTP:{echo.port}") as mapped:
        assert talk(mapped, b"hello") == b"hello"
        agent.stop()
        until(lambda: not mesh.device("leaves")["online"], "offline")
        refused_at_once(mapped)
        assert "leaves" in until(lambda: "E1028" in mapped.log() and mapped.log(), "the reason")
        mesh.join("leaves")
        assert talk(mapped, b"hello") == b"hello"


def test_map_of_an_offline_device(mesh):
    mesh.join("off-map").stop()
    until(lambda: not mesh.device("off-map")["online"], "offline")
    with mesh.map("TCP:0:off-map:HTTP:80") as mapped:
        assert "offline" in mapped.log()
        refused_at_once(mapped)
        until(lambda: "E1028" in mapped.log(), "the reason")


# ---- which device ----

def test_name_in_any_case(mesh):
    with Echo() as echo, mesh.map(f"TCP:0:WEB02:HTTP:{echo.port}", options=["--strict"]) as mapped:
        assert talk(mapped, b"hello") == b"hello" and mapped.log() == ""


def twins(mesh, folder, n):
    return [Agent(mesh.key(), folder / f"maptwin{i}", "maptwin").online() for i in range(n)]


def test_one_of_several(mesh, tmp_path):
    first, second = twins(mesh, tmp_path, 2)
    with Echo() as echo:
        with mesh.map(f"TCP:0:maptwin:HTTP:{echo.port}") as mapped:
            assert talk(mapped, b"hello") == b"hello"
            assert "warning: 2 devices that are online have the name maptwin" in mapped.log() and "maptwin-2" in mapped.log()
        refused(mesh.cli("map", "--strict", f"TCP:0:maptwin:HTTP:{echo.port}"), 3, "E1027")
        second.stop()
        until(lambda: not mesh.json("ls", "maptwin-2")[0]["online"], "offline")
        with mesh.map(f"TCP:0:MapTwin:HTTP:{echo.port}") as mapped:
            assert talk(mapped, b"hello") == b"hello" and mapped.log() == ""  # there is one that is meant
        refused(mesh.cli("map", "--strict", f"TCP:0:maptwin:HTTP:{echo.port}"), 3, "E1027")
        first.stop()
        until(lambda: not mesh.json("ls", "maptwin-1")[0]["online"], "offline")
        with mesh.map(f"TCP:0:maptwin:HTTP:{echo.port}") as mapped:
            assert "warning: 2 devices have the name maptwin" in mapped.log()
            assert re.search(r"note: maptwin-\d is offline", mapped.log())


def test_strict_wants_it_online(mesh):
    mesh.join("off-strict").stop()
    until(lambda: not mesh.device("off-strict")["online"], "offline")
    refused(mesh.cli("map", "--strict", "TCP:0:off-strict:HTTP:80"), 3, "E1028")


# ---- ranges, and for whom ----

def free_ports(n):
    """That many in a row, which were free a moment ago."""
    for first in range(20000, 60000, 50):
        listeners = []
        try:
            for port in range(first, first + n):
                listeners.append(socket.create_server(("127.0.0.1", port)))
            return first
        except OSError:
            continue
        finally:
            for listener in listeners:
                listener.close()


def test_range(mesh):
    targets = free_ports(3)
    local = free_ports(6) + 3 if free_ports(6) == targets else free_ports(3)
    servers = []
    try:
        for port in range(targets, targets + 3):
            server = socket.create_server(("127.0.0.1", port))
            servers.append(server)
            threading.Thread(target=greet, args=(server, port), daemon=True).start()
        with mesh.background("map", f"TCP:{local}-{local + 2}:web02:HTTP:{targets}-{targets + 2}", f"TCP:0:web02::{targets}-{targets + 1}", "--jsonl") as program:
            lines = [json.loads(program.process.stdout.readline()) for _ in range(5)]
            assert [line["local_port"] for line in lines[:3]] == [local, local + 1, local + 2]
            for line in lines:
                with socket.create_connection(("127.0.0.1", line["local_port"])) as connection:
                    assert "web02:" + connection.recv(10).decode() == line["target"]
    finally:
        for server in servers:
            server.close()


def greet(server, port):
    try:
        while True:
            connection, _ = server.accept()
            connection.sendall(b"%d" % port)
            connection.close()
    except OSError:
        pass


@pytest.mark.parametrize("words", [["--bind", "all"], ["--all"]])
def test_all_addresses(mesh, words):
    with Echo() as echo, mesh.map(f"TCP:0:web02:HTTP:{echo.port}", options=words) as mapped:
        for host in ("127.0.0.1", "127.0.0.3", "::1"):
            assert talk(mapped, b"hello", host) == b"hello"
        assert "whoever reaches this machine" in mapped.log()


def test_one_address(mesh):
    with Echo() as echo, mesh.map(f"TCP:0:web02:HTTP:{echo.port}", options=["--bind", "127.0.0.3"]) as mapped:
        assert talk(mapped, b"hello", "127.0.0.3") == b"hello" and mapped.log() == ""
        with pytest.raises(ConnectionRefusedError):
            mapped.connect("127.0.0.1")


def test_allowed_sources(mesh):
    with Echo() as echo, mesh.map(f"TCP:0:web02:HTTP:{echo.port}", options=["--bind", "all", "--allow", "127.0.0.4,127.0.1.0/24"]) as mapped:
        def answered(source):
            with socket.create_connection(("127.0.0.1", mapped.port), 20, (source, 0)) as connection:
                connection.sendall(b"x")
                return connection.recv(1)
        for source in ("127.0.0.4", "127.0.1.77"):
            assert answered(source) == b"x"
        for source in ("127.0.0.1", "127.0.2.1"):
            with pytest.raises(ConnectionResetError):
                answered(source)
        lines = until(lambda: mapped.log().count("\n") >= 3 and mapped.log(), "the reason").splitlines()
        assert len(lines) == 3 and "127.0.0.1, which is not in --allow (E1307)" in lines[1]  # told of once, whoever knocks how often


def test_idle_connections(mesh):
    with Echo() as echo, mesh.map(f"TCP:0:web02:HTTP:{echo.port}", options=["--idle", "3s"]) as mapped:
        with mapped.connect() as silent, mapped.connect() as other:
            other.sendall(b"x")
            assert other.recv(1) == b"x"
            with pytest.raises(ConnectionResetError):
                while True:
                    other.sendall(b"x")
                    assert other.recv(1) == b"x"
                    if select.select([silent], [], [], 0.05)[0]:
                        silent.recv(1)
            other.sendall(b"x")
            assert other.recv(1) == b"x"
        assert mapped.log() == ""


def test_expired_maps(mesh):
    with Echo() as echo, mesh.map(f"TCP:0:web02:HTTP:{echo.port}", options=["--expire", "2s"]) as mapped:
        with mapped.connect() as connection:
            connection.sendall(b"x")
            assert connection.recv(1) == b"x"
            with pytest.raises(ConnectionResetError):
                connection.recv(1)
        assert mapped.wait() == 0 and "--expire" in mapped.log()


@pytest.mark.parametrize("words", [["--bind", "localhost"], ["--bind", ""], ["--allow", "10.0.0.1/8"], ["--allow", "web"], ["--idle", "soon"], ["--rate", "10X"], ["--rate", "999"], ["--rate", ""]])
def test_wrong_options(mesh, words):
    refused(mesh.cli("map", *words, "TCP:0:web02:HTTP:80"), 2, words[0])


def test_address_of_another_machine(mesh):
    refused(mesh.cli("map", "--bind", "192.0.2.1", "--allow", "192.0.2.0/24", "TCP:0:web02:HTTP:80"), 1, "192.0.2.1")


# ---- what is refused ----

@pytest.mark.parametrize("spec, column", [("TCP", 4), ("XYZ:0:web02:HTTP:80", 1), ("TCP:x:web02:HTTP:80", 5), ("TCP:65536:web02:HTTP:80", 5),
                                          ("TCP:0::HTTP:80", 7), ("TCP:0:web02:HTTP:", 18), ("TCP:0:web02:HTTP:0", 18),
                                          ("TCP:0:web02:HTTP:host:80:90", None), ("TCP:0:web02:HTTP:::1:80", 18),
                                          ("TCP:8000-8003:web02:HTTP:9000-9002", 26), ("TCP:8003-8000:web02:HTTP:80", 10), ("", 1), ('TCP:0:"web02:HTTP:80', None)])
def test_wrong_maps(mesh, spec, column):
    result = mesh.cli("map", spec)
    lines = refused(result, 2, "E1304")
    assert re.search(r"column \d+", lines[1])
    if column:
        assert f"column {column}:" in lines[1], lines[1]


def test_quoted_device(mesh):
    with Echo() as echo, mesh.map(f'TCP:0:"web02":HTTP:{echo.port}') as mapped:
        assert talk(mapped, b"hello") == b"hello"


def test_one_wrong_map_opens_none(mesh):
    refused(mesh.cli("map", "TCP:0:web02:HTTP:80", "TCP:0:nobody:HTTP:80"), 3, "nobody")


def test_unknown_device(mesh):
    refused(mesh.cli("map", "TCP:0:nobody:HTTP:80"), 3, "E1017")


def test_local_port_taken(mesh):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        refused(mesh.cli("map", f"TCP:{taken.getsockname()[1]}:web02:HTTP:80"), 1, "E1026")
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as taken:
        refused(mesh.cli("map", f"TCP:{taken.getsockname()[1]}:web02:HTTP:80"), 1, "E1026")
