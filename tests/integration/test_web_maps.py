"""Open tunnels and those that failed, as the console and `murmesh maps` show and end them."""
import os
import signal
import socket
from types import SimpleNamespace

import pytest
from console import Browser, browser_of
from harness import Echo, refused, until
from people import PASSWORD, password_give

UNKNOWN = "0123456789abcdef" * 2


@pytest.fixture(scope="module")
def quay(mesh):
    """mara operates the group `quay` with the machine quay1."""
    agent = mesh.join("quay1")
    assert mesh.cli("group", "quay1", "quay").returncode == 0
    assert mesh.cli("user", "add", "mara", "--role", "operator", "--groups", "quay").returncode == 0
    password_give(mesh, "mara")
    browser = Browser(mesh.port)
    assert browser.post("/api/login", {"name": "mara", "password": PASSWORD}).status == 200
    yield browser
    agent.stop()


def of(target, ended=False):
    """Whether an event is about one to that port."""
    return lambda event: event.get("map", {}).get("target") == f"localhost:{target.port}" and bool(event["map"]["ended"]) == ended


def talk(connection, data):
    connection.sendall(data)
    back = b""
    while len(back) < len(data):
        back += connection.recv(1 << 16)


def rows(browser, target):
    answer = browser.get("/api/maps")
    assert answer.status == 200, answer
    return [row for row in answer.json if row["target"] == f"localhost:{target.port}"]


def in_use(found):
    """Without the legs that a map keeps ready, over which only a handshake went."""
    return [row for row in found if row["ended"] or row["sent"] > 50000]


def test_seen_and_ended(mesh, quay):
    root = browser_of(mesh)
    with root.socket() as watching, Echo() as echo, mesh.map(f"TCP:0:web02:HTTP:{echo.port}", f"TCP:0:quay1:HTTP:{echo.port}") as mapped:
        watching.snapshot("maps")
        with mapped.connect() as connection:
            talk(connection, bytes(100000))
            all_of_it = lambda event: of(echo)(event) and event["map"]["received"] > 100000
            seen, = [event["map"] for event in watching.until(all_of_it, "maps") if all_of_it(event)]
            assert (seen["user"], seen["full_name"], seen["path"], seen["why"]) == ("local", "web02-1", ["server"], "")
            assert seen["sent"] > 100000 and seen["since"] > 0
            row, = in_use(rows(root, echo))
            assert row["id"] == seen["id"]
            # who operates another group finds nothing there
            assert in_use(rows(quay, echo)) == []
            for browser, name in ((quay, row["id"]), (root, UNKNOWN)):
                answer = browser.request("DELETE", f"/api/maps/{name}")
                assert (answer.status, answer.error()) == (404, "E1017")
            assert root.request("DELETE", f"/api/maps/{row['id']}").status == 204
            with pytest.raises(ConnectionResetError):
                connection.recv(1)
        watching.until(lambda event: event == {"removed": row["id"]}, "maps")
        row, = in_use(rows(root, echo))
        assert (row["error"], row["why"]) == (1735, "local ended it")
        line = root.get("/api/audit?text=tunnel+ended&limit=1").json[0]
        assert (line["actor"], line["object"], line["detail"]) == ("local", "web02-1", f"of local, to localhost:{echo.port}")
        # the map itself goes on, and says what became of the connection before
        with mapped.connect() as connection:
            talk(connection, b"again")
        until(lambda: f"local has ended the last connection to localhost:{echo.port}" in mapped.log(), "it is said")


def test_ends_with_its_relay(mesh, quay):
    root = browser_of(mesh)
    with Echo() as echo, mesh.map(f"TCP:0:quay1:HTTP:{echo.port}") as mapped, mapped.connect() as connection:
        talk(connection, b"hello")
        until(lambda: rows(quay, echo), "she sees those to her machines")
        os.kill(mesh.server.roles()["relay"], signal.SIGKILL)
        until(lambda: not rows(root, echo), "it is gone")
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
        until(lambda: mesh.works("quay1"), "others go on")


def test_failed(mesh, quay):
    """Nothing listens there any more: the device says so."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        target = SimpleNamespace(port=free.getsockname()[1])
    with mesh.map(f"TCP:0:quay1:HTTP:{target.port}") as mapped:
        for _ in range(2):
            with mapped.connect() as connection, pytest.raises(ConnectionResetError):
                connection.recv(1)
        until(lambda: [row["why"] for row in in_use(rows(quay, target))] == ["the target refused the connection"], "one row")


def test_in_the_terminal(mesh, quay):
    with Echo() as echo, mesh.map(f"TCP:0:web02:HTTP:{echo.port}") as mapped, mapped.connect() as connection:
        talk(connection, bytes(100000))
        find = lambda: in_use(row for row in mesh.json("maps") if row["target"] == f"localhost:{echo.port}")
        row, = until(find, "it is listed")
        assert (row["user"], row["full_name"], row["path"], row["ended"], row["error"]) == ("local", "web02-1", ["server"], None, None)
        assert f"\tlocalhost:{echo.port}\t" in mesh.cli("maps").stdout
        refused(mesh.cli("maps", "--end", "x"), None, "E1008")
        refused(mesh.cli("maps", "--end", UNKNOWN), None, "E1017")
        result = mesh.cli("maps", "--end", row["id"])
        assert result.returncode == 0 and f"ended: localhost:{echo.port} of local on web02-1" in result.stderr, result
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
        row, = find()
        assert (row["error"], row["why"]) == ("E1735", "local ended it")
