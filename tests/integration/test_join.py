"""Join keys, enrolment and the list of devices."""
import datetime
import os
import platform
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from harness import IS_ROOT, PATIENCE, PROGRAMS, Agent, die_with_tests, family, join_parts, murmesh, refused, until


def join(line, directory, *words, **options):
    """`murmesh join` that is expected to end."""
    return murmesh("join", "-", *words, directory=directory, input=line + "\n", **options)


# ---- keys ----

def test_key(mesh):
    made = mesh.json("key", "new", "--uses", "1", "--ttl", "1h")
    assert re.fullmatch(rf"127\.0\.0\.1:{mesh.port}#MM1-[a-z2-7]{{52}}-[a-z2-7]{{52}}", made["join"])
    until_expiry = datetime.datetime.fromisoformat(made["expires"].replace("Z", "+00:00")).timestamp() - time.time()
    assert 3500 < until_expiry < 3700
    assert mesh.cli("key", "new").stdout.startswith("127.0.0.1:")
    assert join_parts(mesh.key())[1] != join_parts(mesh.key())[1]


def test_key_that_cannot_be(mesh):
    refused(mesh.cli("key", "old"), 2)
    refused(mesh.cli("key", "new", "--ttl", "soon"), 2)
    refused(mesh.cli("key", "new", "--uses", "many"), 2)


def test_no_server_in_the_folder(tmp_path):
    for words in (["ls"], ["key", "new"], ["run", "web02", "--", "true"], ["map", "TCP:0:web02:HTTP:80"]):
        refused(murmesh(*words, directory=tmp_path), 5, "E1030")


# ---- the list ----

def test_list_has_all_fields(mesh):
    device = mesh.device("web02")
    assert {"id", "name", "online", "os", "arch", "parent", "version", "last_seen"} <= set(device)
    assert re.fullmatch("[0-9a-f]{32}", device["id"]) and device["full_name"] == "web02-1"
    assert device["online"] is True and device["arch"] == platform.machine() and device["parent"] == "server"
    assert device["os"] and device["version"] == mesh.json("version")["version"]
    seen = datetime.datetime.fromisoformat(device["last_seen"].replace("Z", "+00:00")).timestamp()
    assert abs(time.time() - seen) < 60 * PATIENCE


def test_list_takes_names_and_ids(mesh):
    device = mesh.device("web02")
    for selector in ("web02", "web02-1", device["id"]):
        assert [found["id"] for found in mesh.json("ls", selector)] == [device["id"]]
    header, *rows = mesh.cli("ls").stdout.splitlines()
    assert {"name", "online", "os", "arch", "parent", "version", "last_seen"} <= set(header.split("\t"))
    assert any(row.split("\t")[header.split("\t").index("name")] == "web02" for row in rows)


def test_visible_at_once_and_offline_at_once(mesh):
    line = mesh.key()
    started = time.monotonic()
    agent = Agent(line, mesh.directory.parent / "visible", "visible")
    until(lambda: mesh.device("visible") and mesh.device("visible")["online"], "the machine is in the list")
    assert time.monotonic() - started < 3 * PATIENCE  # the second, on a busy machine
    assert agent.stop() == 0
    until(lambda: not mesh.device("visible")["online"], "it is known to be gone", 2)
    assert mesh.device("visible")["last_seen"]


def test_ends_at_signals_without_leftovers(mesh, tmp_path):
    for number in (signal.SIGINT, signal.SIGTERM):
        agent = Agent(mesh.key(), tmp_path / f"by{number}", f"by{int(number)}").online()
        processes = family(agent.pid)
        assert agent.stop(number) == 0 and not any(os.path.exists(f"/proc/{pid}") for pid in processes)


def test_comes_back_without_its_line(mesh, tmp_path):
    agent = Agent(mesh.key(), tmp_path / "back", "back").online()
    first = mesh.device("back")["id"]
    agent.stop()
    until(lambda: not mesh.device("back")["online"], "offline")
    with open(tmp_path / "log", "wb") as log:
        program = subprocess.Popen([PROGRAMS / "murmesh-agent", "--dir", tmp_path / "back"], stderr=log)
    try:
        until(lambda: mesh.device("back")["online"], "back")
        assert mesh.device("back")["id"] == first
    finally:
        program.terminate()
        assert program.wait(10 * PATIENCE) == 0


def test_joining_again_is_no_second_device(mesh, tmp_path):
    """With the same line, which is used up, and with a new one."""
    line = mesh.key()
    for each in (line, line, mesh.key()):
        agent = Agent(each, tmp_path / "thrice", "thrice").online()
        assert mesh.device("thrice")["online"]
        agent.stop()
    assert len(mesh.json("ls", "thrice")) == 1


# ---- ways to give the line ----

def test_line_from_a_file(mesh, tmp_path):
    (tmp_path / "line.txt").write_text(mesh.key() + "\r\n")
    (tmp_path / "line.txt").chmod(0o600)
    with open(tmp_path / "log", "wb") as log:
        program = subprocess.Popen([PROGRAMS / "murmesh", "join", "--file", tmp_path / "line.txt", "--dir", tmp_path / "d", "--name", "from-file"],
                                   stdin=subprocess.DEVNULL, stderr=log)
    try:
        until(lambda: mesh.device("from-file") and mesh.device("from-file")["online"], "online")
    finally:
        program.terminate()
        program.wait(10 * PATIENCE)
    assert "could see" not in (tmp_path / "log").read_text()


def test_line_as_argument_is_warned_about(mesh, tmp_path):
    with open(tmp_path / "log", "wb") as log:
        program = subprocess.Popen([PROGRAMS / "murmesh", "join", mesh.key(), "--dir", tmp_path / "d", "--name", "from-argument"],
                                   stdin=subprocess.DEVNULL, stderr=log)
    try:
        until(lambda: mesh.device("from-argument") and mesh.device("from-argument")["online"], "online")
        assert "other users of this machine could see the join line" in (tmp_path / "log").read_text()
    finally:
        program.terminate()
        program.wait(10 * PATIENCE)


def test_several_uses(mesh, tmp_path):
    line = mesh.key("--uses", "2")
    agents = [Agent(line, tmp_path / f"use{i}", f"use{i}").online() for i in range(2)]
    refused(join(line, tmp_path / "use2", "--name", "use2"), 4, "E1211")
    for agent in agents:
        agent.stop()
    assert mesh.device("use2") is None


# ---- names ----

def test_same_name_twice(mesh, tmp_path):
    agents = [Agent(mesh.key(), tmp_path / f"twin{i}", "twin").online() for i in range(2)]
    twins = mesh.json("ls", "twin")
    assert sorted(device["full_name"] for device in twins) == ["twin-1", "twin-2"]
    refused(mesh.run("twin", "--", "true"), 3, "E1027")
    refused(mesh.cli("map", "--strict", "TCP:0:twin:HTTP:80"), 3, "E1027")
    for device in twins:
        assert mesh.run(device["full_name"], "--", "true").returncode == 0
        assert mesh.run(device["id"], "--", "true").returncode == 0
    for agent in agents:
        agent.stop()


@pytest.mark.parametrize("name", ["", "a b", "-x", "<b>x</b>", "\x1b[2Jx", "x" * 64, "x\ny", "ä", "../x", "\u202ex", "=1+1"], ids=ascii)
def test_names_that_cannot_be(mesh, tmp_path, name):
    result = join(mesh.info["join"], tmp_path / "d", "--name", name)
    refused(result)
    assert "\x1b" not in result.stderr and "\u202e" not in result.stderr


# ---- refusals ----

def test_wrong_pin(mesh, new_mesh, tmp_path):
    other = new_mesh()
    address, secret, _ = join_parts(mesh.key())
    root = join_parts(other.info["join"])[2]
    refused(join(f"{address}#MM1-{secret}-{root}", tmp_path / "d"), 1, "E1209")
    # The right server's pin, but another one answers: it learns nothing but that somebody asked.
    address = join_parts(other.info["join"])[0]
    refused(join(f"{address}#MM1-{secret}-{join_parts(mesh.info['join'])[2]}", tmp_path / "e"), 1, "E1209")


def test_key_of_another_mesh(mesh, new_mesh, tmp_path):
    address, _, root = join_parts(mesh.info["join"])
    secret = join_parts(new_mesh().info["join"])[1]
    refused(join(f"{address}#MM1-{secret}-{root}", tmp_path / "d"), 4, "E1210")


def test_machine_of_another_mesh(mesh, new_mesh, tmp_path):
    agent = Agent(mesh.key(), tmp_path / "d", "moves").online()
    agent.stop()
    refused(join(new_mesh().info["join"], tmp_path / "d"), 4, "E1214")


def test_used_key(mesh, tmp_path):
    line = mesh.key()
    Agent(line, tmp_path / "first", "first").online().stop()
    refused(join(line, tmp_path / "d"), 4, "E1211")
    assert not (tmp_path / "d" / "join.pending").exists()


def test_wrong_secret(mesh, tmp_path):
    """The key's id is right (its first half), the rest is not."""
    address, secret, root = join_parts(mesh.key())
    wrong = secret[:40] + ("a" if secret[40] != "a" else "b") + secret[41:]
    refused(join(f"{address}#MM1-{wrong}-{root}", tmp_path / "d"), 4, "E1213")


def test_expired_key(mesh, tmp_path):
    line = mesh.key("--ttl", "1s")
    made = time.monotonic()
    until(lambda: time.monotonic() > made + 2, "the key expires")
    refused(join(line, tmp_path / "d"), 4, "E1212")


GARBAGE = {"empty": "", "word": "garbage", "no key": "127.0.0.1:1", "short": "127.0.0.1:1#MM1-aa-bb", "bytes": "\0\xff", "long": "x" * 5000,
           "no host": "#MM1--", "many marks": "a#b#c"}


@pytest.mark.parametrize("line", GARBAGE.values(), ids=GARBAGE)
def test_garbage(line, tmp_path):
    refused(join(line, tmp_path / "d"), 2)
    if line and "\0" not in line:
        refused(murmesh("join", line, directory=tmp_path / "d"), 2, "E1208")


def test_no_such_file(tmp_path):
    refused(murmesh("join", "--file", tmp_path / "none", directory=tmp_path / "d"))


def test_unreachable_server(mesh, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    _, secret, root = join_parts(mesh.info["join"])
    refused(join(f"127.0.0.1:{port}#MM1-{secret}-{root}", tmp_path / "d"), 5, "E1029")
    refused(join(f"name.invalid:{port}#MM1-{secret}-{root}", tmp_path / "e"), 5)


def test_something_else_answers(mesh, tmp_path):
    _, secret, root = join_parts(mesh.info["join"])
    with socket.create_server(("127.0.0.1", 0)) as other:
        program = subprocess.Popen([PROGRAMS / "murmesh", "join", "-", "--dir", tmp_path / "d"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        program.stdin.write(f"127.0.0.1:{other.getsockname()[1]}#MM1-{secret}-{root}\n")
        program.stdin.close()
        connection, _ = other.accept()
        with connection:
            connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
            program.returncode = program.wait(10 * PATIENCE)
            refused(subprocess.CompletedProcess([], program.returncode, "", program.stderr.read()))
        program.stderr.close()


def test_two_agents_in_one_folder(mesh, tmp_path):
    agent = Agent(mesh.key(), tmp_path / "d", "alone").online()
    refused(join(mesh.info["join"], tmp_path / "d"), what="E1025")
    agent.stop()


# ---- secrets ----

def command_lines(pids):
    """What others see of a process; the environment of one that cannot be traced is root's to see alone."""
    for pid in pids:
        for part in ("cmdline", "environ") if IS_ROOT else ("cmdline",):
            yield Path(f"/proc/{pid}/{part}").read_bytes().decode(errors="replace")


def test_no_secret_in_arguments_environment_or_log(new_mesh, tmp_path):
    environment = {**os.environ, "MURMESH_LOG": "debug"}
    one = new_mesh(env=environment)
    lines = [one.info["join"], one.key()]
    one.join("web02", lines[0], env=environment)
    third = subprocess.Popen([PROGRAMS / "murmesh", "join", lines[1], "--dir", tmp_path / "third", "--name", "web03"],
                             stderr=open(tmp_path / "third.log", "wb"), env=environment, preexec_fn=die_with_tests)
    until(lambda: one.device("web03") and one.device("web03")["online"], "online")
    assert one.run("web02", "--", "true").returncode == 0
    everywhere = list(command_lines(family(one.pid) + family(one.agents[0].pid) + family(third.pid)))
    everywhere += [one.log(), one.agents[0].log(), (tmp_path / "third.log").read_text()]
    third.terminate()
    third.wait(10 * PATIENCE)
    for line in lines:
        secret = join_parts(line)[1]
        assert not [text for text in everywhere if secret in text or secret[30:] in text]
    assert not [text for text in everywhere if "PRIVATE KEY" in text]
    assert not list(tmp_path.rglob("join.pending"))


def test_files_are_private(mesh):
    """Keys are readable for their owner only, whatever the umask."""
    for directory in (mesh.directory, mesh.web02.directory):
        secrets = [path for path in directory.rglob("*") if path.suffix == ".key" or path.name == "token" or path.suffix == ".db"]
        assert secrets
        for path in secrets:
            assert path.stat().st_mode & 0o077 == 0 or path.parent.stat().st_mode & 0o077 == 0, path
