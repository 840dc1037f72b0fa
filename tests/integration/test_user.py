"""Everything once more as an ordinary user.  When root runs the tests: as nobody, with a copy of the programs and a home of its own."""
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest

from harness import AGENT_ROLES, IS_ROOT, PATIENCE, PROGRAMS, SANITIZED, SERVER_ROLES, Agent, Echo, Mesh, Program, die_with_tests, family, gone, until

NOBODY = 65534


def become_nobody():
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    die_with_tests()


@pytest.fixture(scope="module")
def user():
    """(folder, options for processes): a place and the rights of an ordinary user."""
    with tempfile.TemporaryDirectory(prefix="murmesh-user-") as folder:
        folder = Path(folder)
        shutil.copytree(PROGRAMS, folder / "bin", ignore=shutil.ignore_patterns("*.p"))
        (folder / "home").mkdir()
        if IS_ROOT:
            folder.chmod(0o755)
            for path in [folder / "bin", *(folder / "bin").iterdir()]:
                path.chmod(0o755)
            os.chown(folder / "home", NOBODY, NOBODY)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")} | {"HOME": str(folder / "home")}
        yield folder, {"programs": folder / "bin", "before": become_nobody if IS_ROOT else die_with_tests, "env": environment, "cwd": folder / "home"}


@pytest.fixture
def own(user):
    folder, options = user
    home = folder / "home"
    with Mesh(home / "mesh", **options) as mesh:
        def command(*words):
            return subprocess.run([folder / "bin" / "murmesh", "--dir", home / "mesh", *words], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                                  timeout=30 * PATIENCE, preexec_fn=options["before"], env=options["env"], cwd=home)
        mesh.command = command
        yield mesh


def test_all_of_it(user, own):
    _, options = user
    assert {os.stat(f"/proc/{pid}").st_uid for pid in family(own.pid)} <= {NOBODY if IS_ROOT else os.geteuid(), 0}  # /proc shows undumpable processes as root's
    agent = Agent(own.command("key", "new").stdout.strip(), own.directory.parent / "second", "web02", **options).online()
    own.agents.append(agent)
    listed = own.command("ls", "--json")
    assert listed.returncode == 0 and '"web02"' in listed.stdout
    result = own.command("run", "web02", "--", "id", "-u")
    assert (result.returncode, result.stdout) == (0, f"{NOBODY if IS_ROOT else os.geteuid()}\n")
    with Echo() as echo, own.map(f"TCP:0:web02:HTTP:localhost:{echo.port}", before=options["before"], env=options["env"]) as mapped, mapped.connect() as connection:
        data = os.urandom(1 << 20)
        threading.Thread(target=connection.sendall, args=(data,), daemon=True).start()
        received = b""
        while len(received) < len(data):
            received += connection.recv(1 << 16)
        assert received == data
    processes = family(own.pid) + family(agent.pid)
    assert own.stop(signal.SIGINT) == 0
    gone(processes, 5)


@pytest.mark.skipif(SANITIZED, reason="sanitizers need what the sandbox forbids")
def test_roles_are_confined(own):
    assert set(own.server.roles()) == SERVER_ROLES and set(own.agent.roles()) == AGENT_ROLES
    for name, pid in [*own.server.roles().items(), *own.agent.roles().items()]:
        if name == "exec":
            continue
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
        assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2" and int(status["CapEff"], 16) == 0, name


def test_role_and_monitor_killed(own):
    before, machine = own.server.roles(), own.command("ls").stdout.splitlines()[1].split("\t")[0]
    for role in sorted(SERVER_ROLES):
        os.kill(own.server.roles()[role], signal.SIGKILL)
        until(lambda: own.server.roles().get(role, before[role]) != before[role], f"{role} is started again")
        until(lambda: own.command("run", machine, "--", "true").returncode == 0, "it works")
    processes = family(own.pid)
    os.kill(own.server.pid, signal.SIGKILL)
    gone(processes, 5)


def test_folder_of_its_own(user):
    """Without --dir: below the user's home."""
    folder, options = user
    command = [folder / "bin" / "murmesh", "up", "--port", "0", "--address", "127.0.0.1", "--json"]
    with Program(command, folder / "log", before=options["before"], env=options["env"], cwd=folder / "home") as up:
        assert str(folder / "home" / ".local/share/murmesh") in up.process.stdout.readline().decode()
        listed = subprocess.run([folder / "bin" / "murmesh", "ls", "--json"], capture_output=True, text=True, preexec_fn=options["before"], env=options["env"])
        assert listed.returncode == 0 and '"online":true' in listed.stdout
        assert up.stop() == 0


@pytest.mark.skipif(not IS_ROOT, reason="needs two users")
def test_another_user_is_kept_out(mesh, own):
    """Root's mesh does not open to an ordinary user who can see the folder."""
    for parent in [mesh.directory, *mesh.directory.parents][:-2]:
        parent.chmod(parent.stat().st_mode | 0o011)
    result = own.command("--dir", mesh.directory, "ls")
    assert result.returncode != 0
