"""`murmesh up`: start, several side by side, end, start again."""
import os
import re
import signal
import socket
import sqlite3

import pytest

from harness import AGENT_ROLES, IS_ROOT, SERVER_ROLES, alive, family, gone, murmesh, refused, title, until


def test_json_line(mesh):
    info = mesh.info
    assert set(info) == {"url", "login", "fingerprint", "join", "dir", "ports"}
    assert info["url"] == f"https://127.0.0.1:{mesh.port}/"
    assert re.fullmatch("[0-9a-f]{64}", info["fingerprint"])
    assert re.fullmatch(rf"127\.0\.0\.1:{mesh.port}#MM1-[a-z2-7]+-[a-z2-7]+", info["join"])
    assert info["dir"] == str(mesh.directory)
    assert 0 < mesh.port < 65536 and all(isinstance(port, int) for port in info["ports"].values())


def test_the_printed_line_joins(new_mesh):
    with new_mesh() as one:
        one.join("web02", one.info["join"])
        assert one.device("web02")["online"]


def test_this_machine_is_a_device_from_the_start(new_mesh):
    with new_mesh() as one:
        devices = one.json("ls")
        assert len(devices) == 1 and devices[0]["online"]
        assert one.run(devices[0]["name"], "--", "echo", "here").stdout == "here\n"


def test_text_for_people(new_mesh):
    with new_mesh(as_json=False) as one:
        text = b"".join(iter(one.process.stdout.readline, b"Ctrl-C ends the server and this machine's agent.\n")).decode()
    assert re.search(r"address +https://127\.0\.0\.1:\d+/\n", text)
    assert re.search(r"SHA-256 [0-9a-f]{64}\n", text)
    assert re.search(r"murmesh join 127\.0\.0\.1:\d+#MM1-", text)


def test_several_side_by_side(new_mesh):
    meshes = [new_mesh() for _ in range(3)]
    assert len({one.port for one in meshes}) == len({one.info["fingerprint"] for one in meshes}) == 3
    for one in meshes:
        assert len(one.json("ls")) == 1
    meshes[1].stop()
    assert meshes[0].cli("ls").returncode == meshes[2].cli("ls").returncode == 0


def listens(port):
    with socket.socket(socket.AF_INET6) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does: connections of before may linger
        try:
            probe.bind(("::", port))
            probe.listen()
        except OSError:
            return True
    return False


def traces(directory):
    """Processes with the directory in their command line."""
    return [title(pid) for pid in os.listdir("/proc") if pid.isdigit() and int(pid) != os.getpid() and str(directory) in title(pid)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_all(new_mesh, number):
    one = new_mesh()
    one.cli("ls")
    processes = family(one.pid)
    assert len(processes) == 1 + 1 + len(SERVER_ROLES) + 1 + len(AGENT_ROLES)
    assert one.stop(number) == 0, one.log()
    gone(processes, 1)
    assert not listens(one.port) and not traces(one.directory)
    assert "error" not in one.log() and "warning" not in one.log().replace("Landlock", ""), one.log()


def test_kill_of_up_takes_all_with_it(new_mesh):
    one = new_mesh()
    processes = family(one.pid)
    one.process.kill()
    gone(processes, 5)
    assert not listens(one.port)


def test_second_up_in_the_same_folder(new_mesh, mesh):
    log = mesh.log()
    result = murmesh("up", "--json", "--port", "0", directory=mesh.directory)
    refused(result, what="E1025")
    assert result.stdout == "" and mesh.log() == log
    assert mesh.cli("ls").returncode == 0


def test_port_is_taken(mesh, tmp_path):
    result = murmesh("up", "--json", "--port", mesh.port, directory=tmp_path / "other")
    assert str(mesh.port) in refused(result, what="E1026")[0]


def test_folder_that_cannot_be_used(tmp_path):
    (tmp_path / "file").write_text("")
    refused(murmesh("up", "--json", "--port", "0", directory=tmp_path / "file"))


def test_start_again_keeps_the_mesh(new_mesh):
    one = new_mesh()
    agent = one.join("web02")
    before = one.devices()
    one.stop()
    assert agent.process.poll() is not None or agent.stop() == 0
    again = new_mesh(name=one.directory.name)
    assert again.port != one.port and again.info["fingerprint"] == one.info["fingerprint"]
    assert {name: device["id"] for name, device in again.devices().items()} == {name: device["id"] for name, device in before.items()}
    assert not again.device("web02")["online"] and len([d for d in again.json("ls") if d["online"]]) == 1
    database = sqlite3.connect(f"file:{again.directory}/db/murmesh.db?mode=ro", uri=True)
    assert database.execute("SELECT count(*) FROM certificates WHERE kind = 'node'").fetchone() == (2,)
    database.close()


def test_start_again_after_a_kill(new_mesh):
    one = new_mesh()
    agent = one.join("web02")
    processes = family(one.pid)
    one.process.kill()
    gone(processes, 5)
    again = new_mesh(name=one.directory.name, port=one.port)
    assert again.info["fingerprint"] == one.info["fingerprint"]
    until(lambda: again.device("web02")["online"], "the other machine comes back by itself", 20)
    assert alive(agent.pid) and len(again.json("ls")) == 2
    assert again.works("web02")


@pytest.mark.skipif(not IS_ROOT, reason="only root may look into a process that cannot be traced")
def test_no_descriptor_is_inherited(new_mesh, tmp_path):
    """What whoever starts it has open does not reach the roles."""
    with open(tmp_path / "secret", "w") as secret:
        os.set_inheritable(secret.fileno(), True)
        one = new_mesh(close_fds=False)
    for monitor, names in ((one.server, SERVER_ROLES), (one.agent, AGENT_ROLES)):
        roles = until(lambda: set(found := monitor.roles()) == names and found, "all roles")  # pylint: disable=cell-var-from-loop
        for pid in roles.values():
            files = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
            assert files and not any("secret" in name for name in files), (title(pid), files)
