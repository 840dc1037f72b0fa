"""What breaks under a map: its users see a reset, at once, and never the end of data that was cut short."""
import os
import signal
import socket
import time

import pytest

from harness import PATIENCE, Echo, Target, closed, gone, reset, until


def flowing(mapped):
    """A connection in the middle of a stream without end."""
    connection = mapped.connect()
    connection.sendall(b"go")
    assert len(connection.recv(100000)) > 0
    return connection


def stream(connection):
    connection.recv(2)
    while True:
        connection.sendall(b"x" * 65536)


def is_reset(connection, seconds=1):
    """Reads on: a reset comes within the time, and no end before it."""
    deadline = time.monotonic() + seconds * PATIENCE
    connection.settimeout(seconds * PATIENCE)
    with connection, pytest.raises(ConnectionResetError):
        while time.monotonic() < deadline:
            assert connection.recv(1 << 20), "the stream ended as if it were complete"
        pytest.fail(f"it went on for {seconds} s")


def test_target_dies(mesh):
    with Target(stream) as target, mesh.map(f"TCP:0:web02:HTTP:{target.port}") as mapped:
        connection = flowing(mapped)
        reset(target.connections[0])
        is_reset(connection)
        is_reset_again = flowing(mapped)  # the map lives on
        is_reset_again.close()


def test_target_dies_while_it_is_sent_to(mesh):
    with Target(lambda connection: connection.recv(1)) as target, mesh.map(f"TCP:0:web02:HTTP:{target.port}") as mapped:
        with mapped.connect() as connection, pytest.raises((ConnectionResetError, BrokenPipeError)):
            connection.settimeout(5 * PATIENCE)
            while True:
                connection.sendall(b"x" * 65536)


@pytest.mark.parametrize("victim", ["net", "monitor"])
def test_agent_dies(mesh, victim):
    agent = mesh.join(f"dies-{victim}")
    with Target(stream) as target, mesh.map(f"TCP:0:{agent.name}:HTTP:{target.port}") as mapped:
        connection = flowing(mapped)
        os.kill(agent.pid if victim == "monitor" else agent.monitor.roles()["net"], signal.SIGKILL)
        is_reset(connection)
        until(lambda: all(closed(c) for c in target.connections), "the target is told", 2)
        if victim == "net":
            until(lambda: mesh.device(agent.name)["online"], "the role is back")
            flowing(mapped).close()


def test_agent_is_stopped(mesh):
    agent = mesh.join("stops")
    with Target(stream) as target, mesh.map(f"TCP:0:stops:HTTP:{target.port}") as mapped:
        connection = flowing(mapped)
        agent.stop()
        is_reset(connection)


def test_relay_dies(new_mesh):
    one = new_mesh()
    agent = one.join("web02")
    with Target(stream) as target, one.map(f"TCP:0:web02:HTTP:{target.port}") as mapped:
        connection = flowing(mapped)
        roles, others = one.server.roles(), agent.monitor.roles()
        os.kill(roles["relay"], signal.SIGKILL)
        is_reset(connection)
        until(lambda: all(closed(c) for c in target.connections), "the target is told", 2)
        until(lambda: one.works("web02"), "tunnels open again")
        flowing(mapped).close()  # through the same map
        now = one.server.roles()
        assert now.pop("relay") != roles.pop("relay") and now == roles and agent.monitor.roles() == others


def test_map_dies(mesh):
    """The command line: target and local client are told."""
    with Target(stream) as target, mesh.map(f"TCP:0:web02:HTTP:{target.port}") as mapped:
        connection = flowing(mapped)
        mapped.process.kill()
        is_reset(connection)
        until(lambda: all(closed(c) for c in target.connections), "the target is told", 2)


def test_server_dies(new_mesh):
    """The whole server under a map and a run: both end with an error, the agent comes back when the server does."""
    one = new_mesh()
    one.join("web02")
    running = one.background("run", "web02", "--", "sh", "-c", "echo $$; exec sleep 60")
    pid = int(running.process.stdout.readline())
    with Target(stream) as target, one.map(f"TCP:0:web02:HTTP:{target.port}") as mapped:
        connection = flowing(mapped)
        one.process.kill()
        is_reset(connection, 5)
        assert mapped.wait() != 0 and mapped.log().splitlines()[-3].startswith("error:")
        assert running.wait() != 0 and running.log().startswith("error:")
    gone([pid], 5)
    running.stop()
    again = new_mesh(name=one.directory.name, port=one.port)
    until(lambda: again.device("web02")["online"], "the agent is back", 20)


def test_agent_hangs(mesh):
    """One that is stopped in the middle of all and goes on later loses nothing."""
    agent = mesh.join("hangs")
    with Echo() as echo, mesh.map(f"TCP:0:hangs:HTTP:{echo.port}") as mapped, mapped.connect() as connection:
        connection.sendall(b"before")
        assert connection.recv(100) == b"before"
        os.kill(agent.monitor.roles()["net"], signal.SIGSTOP)
        connection.sendall(b"meanwhile")
        os.kill(agent.monitor.roles()["net"], signal.SIGCONT)
        assert connection.recv(100) == b"meanwhile"
