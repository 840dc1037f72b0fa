"""Roles: what holds them, what happens when one dies, and when their monitor does."""
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest

from harness import AGENT_ROLES, IS_ROOT, PATIENCE, PROGRAMS, SANITIZED, SERVER_ROLES, Mesh, alive, family, gone, murmesh, refused, title, until


@pytest.fixture(scope="module")
def victim(tmp_path_factory):
    """A mesh whose roles may be killed."""
    with Mesh(tmp_path_factory.mktemp("victim") / "server") as one:
        one.web02 = one.join("web02")
        yield one


def status_of(pid):
    return dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)


# ---- what holds them ----

def all_roles(mesh):
    found = {f"server {name}": pid for name, pid in mesh.server.roles().items()} | \
            {f"agent {name}": pid for name, pid in mesh.web02.monitor.roles().items()}
    assert len(found) == len(SERVER_ROLES) + len(AGENT_ROLES)
    return found


def test_titles(mesh):
    assert set(mesh.server.roles()) == SERVER_ROLES
    assert set(mesh.agent.roles()) == set(mesh.web02.monitor.roles()) == AGENT_ROLES
    assert title(mesh.server.roles()["link"]) == "murmesh-server: link"
    assert title(mesh.web02.monitor.roles()["net"]) == "murmesh-agent: net"


@pytest.mark.skipif(SANITIZED, reason="sanitizers need what the sandbox forbids")
def test_every_role_is_confined(mesh):
    for name, pid in all_roles(mesh).items():
        status = status_of(pid)
        if name == "agent exec":
            continue  # the root helper: what it starts needs its rights
        assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2", name
        for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb") if IS_ROOT else ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert int(status[kind], 16) == 0, (name, kind)
        for thread in os.listdir(f"/proc/{pid}/task"):
            of_thread = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/task/{thread}/status").read_text().splitlines() if ":\t" in line)
            assert of_thread["Seccomp"] == "2" and of_thread["Uid"] == status["Uid"], (name, thread)


@pytest.mark.skipif(not IS_ROOT, reason="as an ordinary user all have one user id and no empty root directory")
def test_every_role_has_a_user_and_a_root_directory_of_its_own(mesh):
    uids = {}
    for name, pid in all_roles(mesh).items():
        uid, gid = ({*status_of(pid)[kind].split()} for kind in ("Uid", "Gid"))
        if name == "agent exec":
            assert uid == {"0"}
            continue
        assert len(uid) == 1 and uid == gid and int(min(uid)) >= 61100, name
        assert status_of(pid)["Groups"].strip() == "", name
        assert min(uid) not in uids.values(), name
        uids[name] = min(uid)
        base = mesh.directory if name.startswith("server") else mesh.web02.directory
        directories = {"server core": base / "db", "server ca": base / "ca", "agent net": base / "net"}
        if "resolve" in name:  # reads /etc
            assert os.readlink(f"/proc/{pid}/root") == "/"
        else:
            assert os.readlink(f"/proc/{pid}/root") == str(directories.get(name, base / "run/empty")), name
        if "run/empty" in os.readlink(f"/proc/{pid}/root"):
            assert os.listdir(f"/proc/{pid}/root/") == []


def test_no_role_dumps_core(mesh):
    for name, pid in all_roles(mesh).items():
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert name == "agent exec" or re.search(r"Max core file size +0 +0 ", limits), name


@pytest.mark.skipif(SANITIZED, reason="sanitizers need what the sandbox forbids")
@pytest.mark.parametrize("role", sorted(SERVER_ROLES | (AGENT_ROLES - {"exec"})))
def test_forbidden_system_call(new_mesh, role):
    """Each role makes one at its first start: it dies, the monitor says which call of which role, and starts it again."""
    one = new_mesh(env={**os.environ, "MURMESH_TEST_FORBIDDEN_CALL": role})
    assert f"role {role}: system call ptrace is not allowed" in one.log()
    assert one.works()


# ---- one dies ----

def killed_and_back(monitor, role):
    """Kills the role; returns how long its successor took.  All others stay."""
    before = monitor.roles()
    started = time.monotonic()
    os.kill(before[role], signal.SIGKILL)
    until(lambda: monitor.roles().get(role, before[role]) != before[role], f"{role} is started again")
    seconds = time.monotonic() - started
    now = monitor.roles()
    assert now.pop(role) != before.pop(role) and now == before
    return seconds


@pytest.mark.parametrize("role", sorted(SERVER_ROLES))
def test_server_role_killed(victim, role):
    others = victim.web02.monitor.roles()
    assert killed_and_back(victim.server, role) < 1 * PATIENCE  # 200 ms on an idle machine
    assert f"role {role}: ended by signal 9" in victim.log()
    until(lambda: victim.device("web02") and victim.device("web02")["online"] if victim.cli("ls").returncode == 0 else None, "the agent is online")
    until(lambda: victim.works("web02"), "ls, run and map work")
    assert victim.web02.monitor.roles() == others and victim.process.poll() is None


@pytest.mark.parametrize("role", sorted(AGENT_ROLES))
def test_agent_role_killed(victim, role):
    others = victim.server.roles()
    assert killed_and_back(victim.web02.monitor, role) < 1 * PATIENCE
    assert f"role {role}: ended by signal 9" in victim.web02.log()
    until(lambda: victim.device("web02")["online"], "the agent is online")
    until(lambda: victim.works("web02"), "ls, run and map work")
    assert victim.server.roles() == others and len(victim.json("ls", "web02")) == 1


def test_agent_role_killed_while_the_server_is_away(new_mesh):
    """It is no reason to give up: the agent comes back with its server."""
    one = new_mesh()
    agent = one.join("web02")
    processes = family(one.pid)
    one.process.kill()
    gone(processes)
    killed_and_back(agent.monitor, "net")
    again = new_mesh(name=one.directory.name, port=one.port)
    until(lambda: again.device("web02")["online"], "the agent is back", 20)
    assert agent.process.poll() is None


def test_all_roles_killed_at_once(victim):
    for monitor in (victim.server, victim.web02.monitor):
        for pid in monitor.roles().values():
            os.kill(pid, signal.SIGKILL)
    until(lambda: set(victim.server.roles()) == SERVER_ROLES and set(victim.web02.monitor.roles()) == AGENT_ROLES, "all are back")
    until(lambda: victim.cli("ls").returncode == 0 and victim.device("web02")["online"] and victim.works("web02"), "all works again", 20)


def test_role_that_keeps_dying(new_mesh):
    """More than five times in a minute: the pauses grow, the monitor and all others stay."""
    one = new_mesh()
    before = one.server.roles()
    for _ in range(6):
        killed_and_back(one.server, "relay")
    pid = one.server.roles()["relay"]
    os.kill(pid, signal.SIGKILL)
    until(lambda: "starts again in" in one.log(), "a pause")
    assert one.cli("ls").returncode == 0
    until(lambda: one.server.roles().get("relay", pid) != pid, "it is started again")
    until(one.works, "it works")
    now = one.server.roles()
    del before["relay"], now["relay"]
    assert now == before and alive(one.server.pid)


def test_nothing_is_lost_by_kills(victim):
    """Keys, devices and their states after all that: what was acknowledged is there."""
    line = victim.key()
    killed_and_back(victim.server, "core")
    until(lambda: victim.cli("ls").returncode == 0, "the server answers")
    victim.join("after", line)
    assert {"web02", "after"} <= {device["name"] for device in victim.json("ls")}


# ---- the monitor dies ----

def test_server_monitor_killed(new_mesh):
    one = new_mesh()
    processes = family(one.pid)
    os.kill(one.server.pid, signal.SIGKILL)
    gone(processes, 5)
    assert one.process.wait() != 0 and "E1500" in one.log()
    again = new_mesh(name=one.directory.name, port=one.port)
    assert again.works()


def test_agent_monitor_killed(mesh):
    agent = mesh.join("orphans")
    processes = family(agent.pid)
    agent.process.kill()
    gone(processes, 5)
    until(lambda: not mesh.device("orphans")["online"], "it is known to be gone", 2)


def test_monitor_of_a_stopped_role(mesh):
    """A role that hangs does not outlive its monitor either."""
    agent = mesh.join("hung")
    processes = family(agent.pid)
    os.kill(agent.monitor.roles()["net"], signal.SIGSTOP)
    agent.process.kill()
    gone(processes, 5)


def test_roles_are_started_by_the_monitor_only(mesh):
    for program, role in (("murmesh-server", "core"), ("murmesh-agent", "exec"), ("murmesh-agent", "nonsense")):
        result = subprocess.run([PROGRAMS / program, "--role", role], capture_output=True, text=True, timeout=10 * PATIENCE, stdin=subprocess.DEVNULL)
        assert result.returncode == 64, result


def test_others_cannot_use_the_server(new_mesh):
    """core.sock answers root, the folder's owner and the group murmesh only."""
    one = new_mesh()
    path = one.directory / "run" / "core.sock"
    assert path.stat().st_mode & 0o007 == 0
    if IS_ROOT:
        for parent in [one.directory, *one.directory.parents][:-2]:
            parent.chmod(parent.stat().st_mode | 0o055)
        result = murmesh("ls", directory=one.directory, preexec_fn=lambda: (os.setgroups([]), os.setgid(65534), os.setuid(65534)))
        assert result.returncode in (4, 5) and "error:" in result.stderr, result


def test_core_is_gone_before_it_has_answered(tmp_path):
    """A command that has connected to core.sock does not wait for what cannot come."""
    with tempfile.TemporaryDirectory() as folder:  # a socket's path is short
        os.mkdir(f"{folder}/run")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"{folder}/run/core.sock")
            listener.listen()

            def leave():
                for _ in range(2):
                    connection, _ = listener.accept()
                    connection.recv(1)
                    connection.close()
            threading.Thread(target=leave, daemon=True).start()
            refused(murmesh("ls", directory=folder, seconds=20), what="E1021")
