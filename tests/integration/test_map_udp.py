"""`murmesh map UDP:...`: datagrams to ports of a device or of its network, each source a flow of its own."""
import json
import os
import random
import re
import signal
import socket

import pytest

from harness import PATIENCE, Echo, UdpEcho, refused, until

LARGEST = 65507
BYTES = random.Random(2).randbytes(LARGEST)


def sender(mapped, host="127.0.0.1", number=0):
    s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(20 * PATIENCE)
    s.connect((host, mapped.info[number]["local_port"]))
    return s


def ask(s, data):
    s.send(data)
    return s.recv(1 << 17)


def answers(mapped, data=b"?"):
    """Within a moment: a datagram may be lost."""
    with sender(mapped) as s:
        s.settimeout(0.2 * PATIENCE)
        try:
            return ask(s, data) == data
        except OSError:
            return False


def test_boundaries(mesh):
    with UdpEcho() as echo, mesh.map(f"UDP:0:web02::{echo.port}") as mapped:
        lengths = [1, 0, 9, 1200, 16384, LARGEST - 1, LARGEST]
        for host in ("127.0.0.1", "::1"):
            with sender(mapped, host) as s:
                for length in lengths:
                    assert ask(s, BYTES[:length]) == BYTES[:length]
                for number in range(20):
                    s.send(b"%d" % number)
                assert [s.recv(100) for _ in range(20)] == [b"%d" % number for number in range(20)]
        assert echo.lengths[:len(lengths)] == lengths and len(echo.senders) == 2
        assert mapped.log() == ""


def test_many_sources(mesh):
    with UdpEcho() as echo, mesh.map(f"UDP:0:web02::{echo.port}") as mapped:
        sources = [sender(mapped) for _ in range(100)]
        for number, source in enumerate(sources):
            source.send(b"from %d" % number)
        assert [source.recv(100) for source in sources] == [b"from %d" % number for number in range(100)]
        whose = [ask(source, b"who") for source in sources]
        assert len(set(whose)) == 100 and len(echo.senders) == 100
        assert [ask(source, b"who") for source in reversed(sources)] == whose[::-1]
        for source in sources:
            source.close()
        assert mapped.log() == ""


def test_relay_maps_and_ranges(mesh):
    with UdpEcho("127.0.0.2") as echo, UdpEcho("::1") as v6:
        specs = [f"UDP:0:web02::127.0.0.2:{echo.port}", f"UDP:0:web02::[::1]:{v6.port}", f"TCP:0:web02::{echo.port}"]
        with mesh.map(*specs) as mapped:
            assert mapped.info[0]["target"] == f"127.0.0.2:{echo.port}/udp through web02"
            for number in range(2):
                with sender(mapped, number=number) as s:
                    assert ask(s, b"hello") == b"hello"
    with UdpEcho() as first:
        try:
            second = UdpEcho(port=first.port + 1)
        except OSError:
            return  # somebody else's
        with second, mesh.background("map", f"UDP:0:web02::{first.port}-{second.port}") as program:
            lines = [program.process.stdout.readline().decode() for _ in range(2)]
            for line, target in zip(lines, (first, second)):
                port = re.fullmatch(rf"localhost:(\d+) -> web02:{target.port}/udp\n", line).group(1)
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                    s.settimeout(20 * PATIENCE)
                    s.connect(("127.0.0.1", int(port)))
                    assert ask(s, b"hello") == b"hello"


def test_nobody_there(mesh):
    with UdpEcho() as free:
        port = free.port
    with mesh.map(f"UDP:0:web02::{port}") as mapped:
        with sender(mapped) as s:
            s.send(b"x")
            log = until(lambda: mapped.log().count("\n") == 3 and mapped.log(), "the reason")
            assert f"web02:{port}/udp" in log and "E1300" in log
            s.send(b"x")
            with UdpEcho(port=port):
                until(lambda: answers(mapped), "an answer of a target that came late")
        assert mapped.log().count("\n") == 3  # told once, however often it is tried


def test_unknown_name(mesh):
    with mesh.map("UDP:0:web02::nowhere.invalid:53") as mapped, sender(mapped) as s:
        s.send(b"x")
        log = until(lambda: mapped.log().count("\n") == 3 and mapped.log(), "the reason", 30)
        assert ("E1303" in log or "E1302" in log) and "nowhere.invalid:53/udp" in log


def test_device_is_killed_and_comes_back(mesh):
    agent = mesh.join("udp-leaves")
    with UdpEcho() as echo, mesh.map(f"UDP:0:udp-leaves::{echo.port}") as mapped:
        until(lambda: answers(mapped), "an answer")
        os.kill(agent.monitor.roles()["net"], signal.SIGKILL)
        until(lambda: answers(mapped), "an answer of the next net role", 30)
        agent.stop()
        until(lambda: not mesh.device("udp-leaves")["online"], "offline")
        assert not answers(mapped)
        until(lambda: answers(mapped) or "E1028" in mapped.log(), "the reason")
        mesh.join("udp-leaves")
        until(lambda: answers(mapped), "an answer of the device that is back", 30)
    agent.stop()


def test_idle_flows(mesh):
    with UdpEcho() as echo, mesh.map(f"UDP:0:web02::{echo.port}", options=["--idle", "1s"]) as mapped, sender(mapped) as s:
        first = ask(s, b"who")
        assert ask(s, b"who") == first
        s.settimeout(0.5)

        def another():
            with pytest.raises(TimeoutError):
                while True:
                    s.recv(100)  # waits for longer than before, until the flow has been idle
            s.settimeout(s.gettimeout() + 0.5)
            return ask(s, b"who") != first
        until(another, "another flow", 30)
        assert mapped.log() == ""


def test_for_whom(mesh):
    with UdpEcho() as echo, mesh.map(f"UDP:0:web02::{echo.port}", options=["--all", "--allow", "127.0.0.4,::1"]) as mapped:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as good, sender(mapped) as bad, sender(mapped, "::1") as v6:
            good.settimeout(20 * PATIENCE)
            good.bind(("127.0.0.4", 0))
            good.connect(("127.0.0.3", mapped.port))  # where the answer has to come from
            assert ask(good, b"hello") == b"hello" and ask(v6, b"hello") == b"hello"
            bad.send(b"x")
            until(lambda: "127.0.0.1, which is not in --allow (E1307)" in mapped.log(), "the reason")
            assert len(echo.senders) == 2


def test_local_port_taken(mesh):
    with UdpEcho() as taken:
        refused(mesh.cli("map", f"UDP:{taken.port}:web02::53"), 1, "E1026")


# ---- remote desktops ----

def both(host="127.0.0.1"):
    """A TCP and a UDP echo at one port."""
    while True:
        tcp = Echo(host)
        try:
            return tcp, UdpEcho(host, tcp.port)
        except OSError:
            tcp.__exit__()


def speaks_both(mapped, number=0):
    with socket.create_connection(("127.0.0.1", mapped.info[number]["local_port"]), 20 * PATIENCE) as s:
        s.sendall(b"tcp")
        if s.recv(100) != b"tcp":
            return False
    with sender(mapped, number=number) as s:
        return ask(s, b"udp") == b"udp"


def test_rdp(mesh, tmp_path):
    tcp, udp = both()
    path = tmp_path / "desk.mcrouter"
    with tcp, udp:
        with mesh.map(f"RDP:0:web02:{tcp.port}", f"RDP:0:web02:127.0.0.1:{tcp.port}", options=["--write", path]) as mapped:
            assert speaks_both(mapped) and speaks_both(mapped, 1) and mapped.log() == ""
            assert mapped.info[0]["target"] == f"web02:{tcp.port} (TCP and UDP)"
            written = json.loads(path.read_text())["mappings"]
            port = mapped.port
            assert [(m["protocol"], m["appId"], m["localPort"]) for m in written[:2]] == [(1, 3, port), (2, 0, port)] and len(written) == 4
        path.write_text(json.dumps({"mappings": written[:2]}))
        with mesh.map(path) as mapped:
            assert mapped.port == port and speaks_both(mapped)
    with mesh.background("map", "RDP:0:web02") as program:
        assert re.fullmatch(rb"localhost:\d+ -> web02:3389 \(TCP and UDP\)\n", program.process.stdout.readline())


def test_rate(mesh):
    """Slower, but all comes."""
    tcp, udp = both()
    with tcp, udp, mesh.map(f"RDP:0:web02:{tcp.port}", options=["--rate", "2M"]) as mapped:
        with socket.create_connection(("127.0.0.1", mapped.port), 20 * PATIENCE) as s, sender(mapped) as datagrams:
            s.sendall(BYTES)
            assert ask(datagrams, BYTES) == BYTES
            received = b""
            while len(received) < len(BYTES):
                received += s.recv(1 << 16)
            assert received == BYTES and mapped.log() == ""


def test_rdp_wants_both_ports(mesh):
    with UdpEcho() as taken:
        refused(mesh.cli("map", f"RDP:{taken.port}:web02"), 1, "E1026")
