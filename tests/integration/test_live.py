"""The whole way of an event: kernel, probe, net, link, collect, viz, web, browser."""
import os
import signal
import socket
import subprocess
import threading
import time

import pytest

from console import browser_of
from harness import PATIENCE


class Live:
    """What one browser knows of one device (or of the fleet): as its page would keep it."""

    def __init__(self, mesh, device=None, browser=None):
        self.browser, self.device = browser or browser_of(mesh), device
        self.socket = self.browser.socket()
        self.nodes, self.edges, self.rows, self.missing, self.sources, self.complete = {}, {}, [], {}, {}, False
        self.not_shown = 0  # rows that were too many: other things run on this machine too
        self.socket.subscribe("live", **({"device": device} if device else {}))

    def read(self):
        """The next batch."""
        message = self.socket.message()
        if message["channel"] != "live":
            return
        assert "error" not in message, message
        if message.get("reset"):
            self.nodes, self.edges, self.complete = {}, {}, False
        for event in message["events"]:
            (kind, value), = event.items()
            if kind == "node":
                self.nodes[value["id"]] = value
            elif kind == "node_removed":
                self.nodes.pop(value, None)  # what came and went between two batches is told as gone alone
            elif kind == "edge":
                self.edges[value["id"]] = value
            elif kind == "edge_removed":
                self.edges.pop(value, None)
            elif kind == "row":
                self.rows.append(value)
            elif kind == "missing" and value["not_shown"]:
                self.not_shown = value["events"]
            elif kind == "missing":
                self.missing[value["device"]] = value["events"]
            elif kind == "source":
                self.sources[value["module"]] = value["text"]
            else:
                self.complete = True

    def until(self, condition, what, seconds=20):
        """Reads until it holds; returns its value."""
        end = time.monotonic() + seconds * PATIENCE
        while not (value := condition()):
            assert time.monotonic() < end, f"not within {seconds} s: {what}; last rows {self.rows[-5:]}"
            self.read()
        return value

    def row(self, event, text):
        """The first row of this kind whose subject, object or detail has the text; None when it may be among those not shown."""
        before = self.not_shown

        def find():
            return next((row for row in self.rows if row["event"] == event and text in f"{row['subject']} {row['object']} {row['detail']}"), None)
        self.until(lambda: find() or self.not_shown > before, f"{event} of {text}")
        return find()

    def process(self, pid):
        return next((node for node in self.nodes.values() if node["kind"] == "process" and node["pid"] == pid), None)

    def close(self):
        self.socket.close()
        self.browser.close()


def patiently(story):
    """Again, when a row of it was among those that are not shown because other programs made too many."""
    for _ in range(20):
        if story():
            return
    pytest.fail("the machine is too busy to see a row of one's own")


@pytest.fixture
def live(mesh):
    """Makes browsers that watch; when the snapshot is whole."""
    made = []

    def make(device=None):
        made.append(Live(mesh, device))
        made[-1].until(lambda: made[-1].complete, "the snapshot")
        return made[-1]
    yield make
    for one in made:
        one.close()


@pytest.fixture
def device(mesh):
    return mesh.device("web02")["id"]


def test_processes_start_and_end(live, device):
    """Every one, in the order in which things happened; it stands in the graph below its parent while it runs."""
    page = live(device)
    page.until(lambda: "process" in page.sources, "where it comes from")

    def story():
        sleeper = subprocess.Popen(["sleep", "613"])
        started = page.row("exec", f"({sleeper.pid})")
        node = page.until(lambda: page.process(sleeper.pid), "its node")
        assert (node["label"], node["device"]) == ("sleep", device) and "613" in node["detail"]
        page.until(lambda: any(edge["to"] == node["id"] and edge["kind"] == "child" for edge in page.edges.values()), "its edge")
        sleeper.terminate()
        sleeper.wait()
        ended = page.row("exit", f"({sleeper.pid})")
        page.until(lambda: not page.process(sleeper.pid), "its node is gone")
        if not started or not ended:
            return False
        assert (started["pid"], started["module"], started["device"]) == (sleeper.pid, "process", device)
        assert "sleep 613" in started["detail"]
        assert page.rows.index(started) < page.rows.index(ended)
        return True
    patiently(story)


def test_a_snapshot_has_what_runs(live, device):
    sleeper = subprocess.Popen(["sleep", "614"])
    first = live(device)
    first.until(lambda: first.process(sleeper.pid), "the node of a process that runs")
    second = live(device)
    assert second.process(sleeper.pid)
    sleeper.kill()
    sleeper.wait()
    assert all(-1 <= node[axis] <= 1 for node in second.nodes.values() for axis in "xy")
    assert len(second.nodes) <= 500


class Pair:
    """Two ends of a connection that talk all the time."""

    def __enter__(self):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.client = socket.create_connection(("127.0.0.1", self.port))
        self.peer = self.server.accept()[0]
        self.done = threading.Event()
        self.talker = threading.Thread(target=self.talk)
        self.talker.start()
        return self

    def talk(self):
        while not self.done.wait(0.05):
            self.client.sendall(b"x" * 10000)
            self.peer.recv(10000, socket.MSG_WAITALL)

    def __exit__(self, *_):
        self.done.set()
        self.talker.join()
        for one in (self.client, self.peer, self.server):
            one.close()


def test_connections_with_bytes(live, device):
    page = live(device)

    def busy_edges():
        return [edge for edge in page.edges.values() if edge["kind"] == "connection" and "127.0.0.1" in edge["to"] and edge["bytes"] > 50000]

    def story():
        with Pair() as pair:
            begun = page.row("newconn", f":{pair.port}")
            page.until(busy_edges, "an edge with bytes")
        ended = page.row("delconn", f":{pair.port}")
        if not begun or not ended:
            return False
        assert begun["module"] == ended["module"] == "network"
        assert page.rows.index(begun) < page.rows.index(ended)
        return True
    patiently(story)


def storm(n):
    """Connections that begin and end, as many as a loop can make."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        for _ in range(n):
            with socket.create_connection(server.getsockname()), server.accept()[0]:
                pass


def test_loss_is_told(new_mesh):
    """net hears nothing for a while: the probe's queue overflows, and the page says how much is missing."""
    mesh = new_mesh()
    agent = mesh.join("web02")
    device = mesh.device("web02")["id"]
    page = Live(mesh, device)
    page.until(lambda: page.complete and page.sources, "the snapshot")
    net = agent.monitor.roles()["net"]
    for _ in range(10):
        os.kill(net, signal.SIGSTOP)
        try:
            storm(5000)
        finally:
            os.kill(net, signal.SIGCONT)
        page.browser.get("/api/me")
        end = time.monotonic() + 3
        while time.monotonic() < end and not page.missing.get(device):
            page.read()
        if page.missing.get(device):
            break
    assert page.missing[device] > 0
    page.close()


def test_fleet_graph(mesh, live):
    """Devices and what they talk to; no process."""
    page = live()
    ids = {device["id"] for device in mesh.json("ls") if device["online"]}
    page.until(lambda: ids <= set(page.nodes), "a node for each device")
    assert {node["kind"] for node in page.nodes.values()} <= {"device", "address", "more"}


def test_a_device_that_left(new_mesh):
    mesh = new_mesh()
    agent = mesh.join("web02")
    page = Live(mesh)
    device = mesh.device("web02")["id"]
    page.until(lambda: device in page.nodes, "its node")
    agent.stop()
    page.until(lambda: device not in page.nodes, "its node is gone", seconds=40)
    page.close()


@pytest.mark.parametrize("role", ["collect", "viz"])
def test_killed_role(new_mesh, role):
    """The page has all again without being asked, and new events come."""
    mesh = new_mesh()
    device = mesh.json("ls")[0]["id"]
    page = Live(mesh, device)
    page.until(lambda: page.complete and len(page.nodes) > 5, "a graph")
    subprocess.run(["kill", "-9", str(mesh.server.roles()[role])], check=True)
    sleeper = subprocess.Popen(["sleep", "615"])
    page.until(lambda: page.complete and page.process(sleeper.pid), "a process that started in between", seconds=40)
    sleeper.kill()
    sleeper.wait()
    page.until(lambda: not page.process(sleeper.pid), "its node is gone")
    page.close()
