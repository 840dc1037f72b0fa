"""Enrolment that is cut short anywhere: by a lost connection, by kill -9 of the agent, of the server's roles, or of both.

However it ends, the same line serves again (or is refused in order), and in the end there is exactly one device."""
import os
import signal
import socket
import subprocess
import threading

import pytest

from harness import PATIENCE, PROGRAMS, Agent, die_with_tests, family, gone, join_parts, reset, until


class Proxy:
    """Stands between agent and server and counts what passes.  At the given piece it calls `at` once and passes nothing more; with cut 0
    it passes everything."""

    def __init__(self, port):
        self.upstream, self.passed, self.cut, self.at = port, 0, 0, None
        self.reached = threading.Event()
        self.lock, self.pairs = threading.Lock(), []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def arm(self, cut, at):
        self.passed, self.cut, self.at = 0, cut, at
        self.reached.clear()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self.upstream))
            self.pairs.append((near, far))
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self.carry, args=(source, target), daemon=True).start()

    def carry(self, source, target):
        try:
            while data := source.recv(65536):
                with self.lock:
                    self.passed += 1
                    stop = self.cut and self.passed >= self.cut
                    first = stop and not self.reached.is_set()
                if first:
                    self.at(source, target)
                    self.reached.set()
                if stop:
                    return
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
        for pair in self.pairs:
            for connection in pair:
                connection.close()


def through(proxy, line):
    _, secret, root = join_parts(line)
    return f"127.0.0.1:{proxy.port}#MM1-{secret}-{root}"


@pytest.fixture(scope="module")
def proxied(mesh):
    with Proxy(mesh.port) as proxy:
        yield proxy


def finish(proxy, line, directory, name):
    """The same line again, in the same folder."""
    proxy.arm(0, None)
    agent = Agent(line, directory, name).online()
    assert not (directory / "join.pending").exists() and (directory / "exec" / "manager.crt").exists()
    agent.stop()


def cut_everywhere(mesh, proxy, tmp_path, how):
    """Cuts at the first piece, the second, ... until an enrolment gets through before the cut; the names of the machines."""
    line, names = through(proxy, mesh.key("--uses", "200")), []
    for cut in range(1, 200):
        names.append(f"{how.__name__.replace('_', '-')}-{'x' * (cut % 2)}{cut:02}")
        directory, agent = tmp_path / str(cut), Agent.__new__(Agent)
        proxy.arm(cut, lambda source, target: how(agent, source, target))
        agent.__init__(line, directory, names[-1])
        until(lambda: proxy.reached.is_set() or agent.process.poll() is not None or "online as" in agent.log(), f"cut {cut}, or the end")
        got_through = not proxy.reached.is_set() and "online as" in agent.log()
        agent.stop(signal.SIGTERM)
        if got_through:
            return names
        assert "E1011" not in agent.log(), agent.log()
        finish(proxy, line, directory, names[-1])
    pytest.fail("it never gets through")


def connection_lost(agent, source, target):
    """By a reset and by an end, in turns."""
    for end in (source, target):
        if len(agent.name) % 2:
            reset(end)
        else:
            end.shutdown(socket.SHUT_RDWR)


def agent_killed(agent, source, target):
    until(lambda: hasattr(agent, "pid"), "it has a process id")
    os.kill(agent.pid, signal.SIGKILL)


@pytest.mark.parametrize("how", [connection_lost, agent_killed], ids=lambda how: how.__name__)
def test_cut_at_every_piece(mesh, proxied, tmp_path, how):
    names = cut_everywhere(mesh, proxied, tmp_path, how)
    assert len(names) > 10
    listed = [device["name"] for device in mesh.json("ls")]
    assert [listed.count(name) for name in names] == [1] * len(names)


STEPS = ["join.pending", "net/token", "net/node.key", "net/node.csr", "net/parent", "net/policy", "net/node.crt", "exec/manager.key", "exec/manager.crt"]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("victim", ["monitor", "net", "exec"])
def test_killed_when_a_file_is_there(mesh, tmp_path, step, victim):
    """At the moment when a step has left its file; a role alone is started again by itself and goes on."""
    name = f"{victim}-{STEPS.index(step)}"
    line = mesh.key()
    agent = Agent(line, tmp_path / "d", name)
    until(lambda: (tmp_path / "d" / step).exists() or agent.process.poll() is not None, f"{step} is there", 10)
    processes = family(agent.pid)
    pid = agent.pid if victim == "monitor" else agent.monitor.roles().get(victim)
    if pid:
        os.kill(pid, signal.SIGKILL)
    if victim == "monitor":
        gone(processes, 5)
    else:
        until(lambda: "online as" in agent.log() or agent.process.poll() is not None, "it goes on, or gives up")
    agent.stop()
    half = [path for path in (tmp_path / "d").rglob("*.key") if b"-----END PRIVATE KEY-----" not in path.read_bytes()]
    assert not half
    agent = Agent(line, tmp_path / "d", name).online()
    devices = mesh.json("ls", name)
    assert len(devices) == 1 and devices[0]["online"]
    agent.stop()


@pytest.mark.parametrize("role", ["link", "core", "ca"])
def test_server_role_killed_meanwhile(new_mesh, tmp_path, role):
    """While the requests are on their way."""
    one = new_mesh()
    with Proxy(one.port) as proxy:
        for cut in (4, 6, 8):
            name, line = f"{role}-{cut}", through(proxy, one.key())

            def kill(source, target):
                if pid := one.server.roles().get(role):  # else it is being started again already
                    os.kill(pid, signal.SIGKILL)

            agent = Agent.__new__(Agent)
            proxy.arm(cut, kill)
            agent.__init__(line, tmp_path / name, name)
            until(lambda: proxy.reached.is_set(), "the cut")
            for pair in proxy.pairs:
                for end in pair:
                    if end.fileno() >= 0:
                        end.close()
            agent.stop()
            until(lambda: one.cli("ls").returncode == 0, "the server is back")
            finish(proxy, line, tmp_path / name, name)
            assert len(one.json("ls", name)) == 1


def test_two_machines_with_one_key_at_once(mesh, tmp_path):
    """One use: one of them gets it."""
    line = mesh.key()
    agents = [Agent(line, tmp_path / f"race{i}", f"race{i}") for i in range(3)]
    until(lambda: all("online as" in agent.log() or agent.process.poll() is not None for agent in agents), "all know")
    winners = [agent for agent in agents if agent.process.poll() is None]
    assert len(winners) == 1
    assert all("E1211" in agent.log() for agent in agents if agent not in winners)
    assert len([device for device in mesh.json("ls") if device["name"].startswith("race")]) == 1
    for agent in agents:
        agent.stop()


NET_FILES = ["net/node.key", "net/node.crt", "net/policy", "net/parent"]
EXEC_FILES = ["exec/manager.key", "exec/manager.crt", "exec/agent.db"]


@pytest.mark.parametrize("broken", NET_FILES + EXEC_FILES)
def test_damaged_file(mesh, tmp_path, broken):
    """A machine does not go online with half of its files; without its management part it is there and carries out nothing."""
    agent = mesh.join("damaged-" + broken.translate(str.maketrans("/.", "--")))
    agent.stop()
    until(lambda: not mesh.device(agent.name)["online"], "offline")
    (agent.directory / broken).write_bytes(b"\0damaged\xff" * 100)
    log = tmp_path / "log"
    with open(log, "wb") as file:
        program = subprocess.Popen([PROGRAMS / "murmesh-agent", "--dir", agent.directory], stdin=subprocess.DEVNULL, stderr=file, preexec_fn=die_with_tests)
    try:
        if broken in NET_FILES:
            assert program.wait(10 * PATIENCE) != 0
            assert log.read_text().splitlines()[-3].startswith("error:") and "online as" not in log.read_text()
        else:
            until(lambda: "error" in log.read_text(), "it says so")
            until(lambda: mesh.device(agent.name)["online"], "online")
            assert mesh.run(agent.name, "--", "true").returncode != 0
    finally:
        program.terminate()
        program.wait(10 * PATIENCE)
