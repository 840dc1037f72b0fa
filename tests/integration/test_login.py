"""`murmesh login`: from another machine, with password and code; what is kept, and what is refused."""
import hashlib
import json
import os
import re
import shutil
import socket
import stat
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness import IS_ROOT, PROGRAMS, Echo, Program, Target, die_with_tests, join_parts, refused
from people import PASSWORD, Elsewhere, base32_of, code, database, password_give
from wire import certificate_make

pytestmark = pytest.mark.skipif(Path("/var/lib/murmesh/run/core.sock").exists(), reason="a server of this machine's own would be asked")


@pytest.fixture(scope="module", autouse=True)
def secret(mesh):
    """anna has a password, otto an authenticator too: its secret."""
    for name in ("anna", "otto"):
        assert mesh.cli("user", "add", name, "--role", "administrator").returncode == 0
    password_give(mesh, "anna")
    return password_give(mesh, "otto", totp=True)


@pytest.fixture
def away(tmp_path):
    return Elsewhere(tmp_path / "home")


def good(result):
    assert result.returncode == 0, result.stderr
    return result


def kept(away):
    """All files below the folder of servers."""
    return {str(path.relative_to(away.servers)) for path in away.servers.rglob("*") if path.is_file()} if away.servers.exists() else set()


# ---- the good way ----

def test_first_login(mesh, away):
    refused(away.cli("ls"), 5, "E1030")
    result = good(away.login(mesh, "anna"))
    assert re.search(r"logged in to 127\.0\.0\.1:\d+ as anna until 20\d\d-", result.stderr) and PASSWORD not in result.stderr + result.stdout
    assert {device["name"] for device in json.loads(away.cli("ls", "--json").stdout)} == {device["name"] for device in mesh.json("ls")}
    assert away.cli("run", "web02", "--", "echo", "hello").stdout == "hello\n"


def test_a_map_through_it(mesh, away):
    good(away.login(mesh, "anna"))
    with Echo() as echo, Program([PROGRAMS / "murmesh", "map", f"TCP:0:web02:HTTP:{echo.port}", "--json"], away.home / "map.log", env=away.env, cwd=away.home) as program:
        port = json.loads(program.process.stdout.readline())["local_port"]
        with socket.create_connection(("127.0.0.1", port), 20) as connection:
            connection.sendall(b"there and back")
            assert connection.recv(100) == b"there and back"


def test_audit_names_the_user(mesh, away):
    good(away.login(mesh, "anna"))
    good(away.cli("key", "new"))
    rows = json.loads(good(away.cli("audit", "ls", "--text", "anna", "--json")).stdout)
    assert any(row["actor"] == "anna" and "127.0.0.1" in row["detail"] for row in rows), rows
    assert any(row["actor"] == "anna" and row["action"] == "join key made" for row in rows)


def test_second_login_knows_the_server(mesh, away):
    good(away.login(mesh, "anna"))
    good(away.login(mesh, "anna", pinned=False))
    good(away.cli("login", "--user", "anna", "--password-file", "-", input=PASSWORD))  # the only one that is known
    good(away.cli("logout"))
    good(away.login(mesh, "anna", pinned=False))  # also after a logout


def test_fingerprint_as_a_join_line_ends(mesh, away):
    _, _, root = join_parts(mesh.info["join"])
    assert root == base32_of(mesh.info["fingerprint"])
    good(away.cli("login", f"127.0.0.1:{mesh.port}#{root}", "-u", "anna", "--password-file", "-", input=PASSWORD))


def test_by_name(mesh, away):
    good(away.login(mesh, "anna", host="LocalHost"))
    assert kept(away) == {f"localhost:{mesh.port}/{name}" for name in ("root.crt", "login.pem")}
    good(away.cli("ls"))


def test_json(mesh, away):
    answer = json.loads(good(away.login(mesh, "Anna", PASSWORD, "--json")).stdout)
    assert answer["server"] == f"127.0.0.1:{mesh.port}" and answer["user"] == "anna" and answer["fingerprint"] == mesh.info["fingerprint"]
    ends = time.mktime(time.strptime(answer["until"], "%Y-%m-%dT%H:%M:%SZ")) - time.mktime(time.gmtime())
    assert 11.5 * 3600 < ends <= 12 * 3600


@pytest.mark.parametrize("form", ["file", "pipe"])
def test_password_file(mesh, away, form):
    path = away.home / "password"
    if form == "file":
        path.write_text(PASSWORD + "\r\n")
    else:
        os.mkfifo(path)
        threading.Thread(target=path.write_text, args=(PASSWORD,), daemon=True).start()
    good(away.cli("login", f"127.0.0.1:{mesh.port}#{mesh.info['fingerprint']}", "--user", "anna", "--password-file", path))
    refused(away.cli("login", "--user", "anna", "--password-file", away.home / "missing"), 3)


# ---- which server it is ----

def test_unknown_server_without_terminal(mesh, away):
    result = away.login(mesh, "anna", pinned=False)
    refused(result, 2, "#FINGERPRINT")
    assert not kept(away)


def test_wrong_fingerprint(mesh, away):
    wrong = ("0" if mesh.info["fingerprint"][0] != "0" else "1") + mesh.info["fingerprint"][1:]
    refused(away.cli("login", f"127.0.0.1:{mesh.port}#{wrong}", "--user", "anna", "--password-file", "-", input=PASSWORD), 4, "E1209")
    assert not kept(away)


def test_malformed(mesh, away):
    for address in ("", "a b", "x:0", "x#12", f"127.0.0.1:{mesh.port}#{mesh.info['fingerprint']}0", "::1", "../x"):
        refused(away.cli("login", address, "--user", "anna", "--password-file", "-", input=PASSWORD), 2)
    refused(away.cli("login", "--user", "anna"), 2, "no server is known yet")
    refused(away.cli("login", f"127.0.0.1:{mesh.port}#{mesh.info['fingerprint']}"), 2, "--user")
    refused(away.cli("login", f"127.0.0.1:{mesh.port}#{mesh.info['fingerprint']}", "--user", "anna"), 2, "--password-file")
    assert not kept(away)


def test_nobody_there(away, mesh):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        for host in ("127.0.0.1", "localhost"):
            refused(away.cli("login", f"{host}:{port}#{mesh.info['fingerprint']}", "--user", "a", "--password-file", "-", input="x"), 5, "E1029")
    refused(away.cli("login", f"no-such-host.invalid#{mesh.info['fingerprint']}", "--user", "a", "--password-file", "-", input="x"), 5, "no-such-host.invalid")


def test_somebody_else_there(mesh, away):
    """Who is not the server hears no password, nor anything else but a TLS hello."""
    heard = []

    def serve(connection):
        while data := connection.recv(65536):
            heard.append(data)
            connection.sendall(b"HTTP/1.1 400 No\r\n\r\n")

    with Target(serve) as other:
        refused(away.cli("login", f"127.0.0.1:{other.port}#{mesh.info['fingerprint']}", "--user", "anna", "--password-file", "-", input=PASSWORD))
        code, _ = away.terminal("login", f"127.0.0.1:{other.port}")
        assert code != 0
    assert heard and PASSWORD.encode() not in b"".join(heard) and b"anna" not in b"".join(heard)
    assert not kept(away)


def test_server_that_was_made_anew(mesh, new_mesh, away, tmp_path):
    """Another mesh at an address that is known: refused, until its own fingerprint is given."""
    first = new_mesh()
    assert first.cli("user", "add", "anna", "--role", "viewer").returncode == 0
    password_give(first, "anna")
    good(away.login(first, "anna"))
    port = first.port
    first.stop()
    second = new_mesh(port=port)
    assert second.cli("user", "add", "anna", "--role", "viewer").returncode == 0
    password_give(second, "anna")
    refused(away.cli("ls"))
    refused(away.login(second, "anna", pinned=False), 4, "E1209")
    refused(away.cli("ls"))
    good(away.login(second, "anna"))
    good(away.cli("ls"))


# ---- at a terminal ----

def test_terminal(mesh, away):
    code, shown = away.terminal("login", f"127.0.0.1:{mesh.port}", answers=[("[yes/no] ", "yes\n"), ("Name: ", "anna\n"), ("Password of anna: ", PASSWORD + "\n")])
    assert code == 0, shown
    assert f"SHA-256 {mesh.info['fingerprint']}\n" in shown and PASSWORD not in shown and "logged in to" in shown
    good(away.cli("ls"))


@pytest.mark.parametrize("answer", ["no\n", "\n", "y\n", "\x04", "\x03"])
def test_terminal_not_confirmed(mesh, away, answer):
    code, shown = away.terminal("login", f"127.0.0.1:{mesh.port}", answers=[("[yes/no] ", answer)])
    assert code == 130 and "Name" not in shown and not kept(away), shown


def test_terminal_interrupted_at_the_password(mesh, away):
    code, shown = away.terminal("login", f"127.0.0.1:{mesh.port}#{mesh.info['fingerprint']}", "--user", "anna", answers=[("Password of anna: ", "half\x03")])
    assert code == 130 and "half" not in shown and not kept(away), shown


def test_terminal_code(mesh, away, secret):
    """The code is asked for only where it is wanted."""
    code_forget(mesh)
    exit_code, shown = away.terminal("login", f"127.0.0.1:{mesh.port}#{mesh.info['fingerprint']}", "--user", "otto",
                                     answers=[("Password of otto: ", PASSWORD + "\n"), ("Code of your authenticator: ", code(secret) + "\n")])
    assert exit_code == 0, shown


# ---- who it is ----

def code_forget(mesh):
    """No code was used yet."""
    with database(mesh) as db:
        db.execute("UPDATE proofs SET totp_counter = 0")


def test_wrong_password(mesh, away):
    for name, password in (("anna", PASSWORD + "x"), ("anna", ""), ("nobody", PASSWORD), ("local", PASSWORD), ("a" * 63, "x")):
        refused(away.login(mesh, name, password), 4, "E1221")
    refused(away.login(mesh, "a" * 64, "x"), None, "E1002")
    refused(away.login(mesh, "anna", "x" * 2000), None, "E1002")
    assert not kept(away)
    with database(mesh) as db:
        db.execute("DELETE FROM login_failures")


def test_code(mesh, away, secret):
    code_forget(mesh)
    refused(away.login(mesh, "otto"), 4, "E1224")
    refused(away.login(mesh, "otto", f"{PASSWORD}\n{'0' * 6 if code(secret) != '0' * 6 else '1' * 6}"), 4, "E1221")
    refused(away.login(mesh, "otto", f"wrong {PASSWORD}\n{code(secret)}"), 4, "E1221")
    assert not kept(away)
    now = code(secret)
    good(away.login(mesh, "otto", f"{PASSWORD}\n{now}"))
    refused(away.login(mesh, "otto", f"{PASSWORD}\n{now}"), 4, "E1221")  # no code twice
    with database(mesh) as db:
        db.execute("DELETE FROM login_failures")


def test_delay(mesh, away):
    """After many failures: how long to wait, and not even the right password is looked at."""
    now = int(time.time())
    with database(mesh) as db:
        db.execute("INSERT INTO login_failures (name, known, failures, until, last) VALUES (?, 1, 15, ?, ?)", (hashlib.sha256(b"anna").digest(), now + 50, now))
    result = away.login(mesh, "anna")
    refused(result, 4, "E1222")
    assert 1 <= int(re.search(r"in (\d+) s", result.stderr).group(1)) <= 50
    with database(mesh) as db:
        db.execute("DELETE FROM login_failures")
    good(away.login(mesh, "anna"))


def test_failures_are_counted(mesh, away):
    """Ten wrong ones are free, then it takes longer and longer."""
    with ThreadPoolExecutor(4) as pool:
        def attempt(_):
            return away.login(mesh, "anna", "wrong").stderr
        answers = list(pool.map(attempt, range(16)))
    assert sum("E1221" in answer for answer in answers) >= 10 and any("E1222" in answer for answer in answers), answers
    with database(mesh) as db:
        db.execute("DELETE FROM login_failures")


def test_disabled_user(mesh, away):
    assert mesh.cli("user", "add", "gone", "--role", "viewer").returncode == 0
    password_give(mesh, "gone")
    good(away.login(mesh, "gone"))
    good(away.cli("ls"))
    assert mesh.cli("user", "disable", "gone").returncode == 0
    refused(away.cli("ls"), 4, "E1206")
    refused(away.login(mesh, "gone"), 4, "E1221")
    assert mesh.cli("user", "enable", "gone").returncode == 0
    refused(away.cli("ls"), 4, "E1206")  # what he had stays revoked
    good(away.login(mesh, "gone"))


# ---- what is kept ----

def test_files_are_private(mesh, away):
    os.umask(os.umask(0))
    good(away.cli("login", f"127.0.0.1:{mesh.port}#{mesh.info['fingerprint']}", "--user", "anna", "--password-file", "-", input=PASSWORD))
    assert stat.S_IMODE(away.servers.stat().st_mode) == 0o700
    for path in (away.file(mesh), away.file(mesh, "root.crt")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert PASSWORD not in away.file(mesh).read_text()


@pytest.mark.parametrize("what", ["login.pem", "root.crt", "", ".."])
def test_readable_by_others(mesh, away, what):
    good(away.login(mesh, "anna"))
    path = away.file(mesh, what).resolve()
    path.chmod(0o755 if path.is_dir() else 0o644)
    refused(away.cli("ls"), 4, "E1040")
    assert str(path) in away.cli("ls").stderr
    path.chmod(0o700 if path.is_dir() else 0o600)
    good(away.cli("ls"))


@pytest.mark.skipif(not IS_ROOT, reason="gives files away")
def test_of_somebody_else(mesh, away):
    good(away.login(mesh, "anna"))
    os.chown(away.file(mesh), 65534, 65534)
    refused(away.cli("ls"), 4, "E1040")


def login_as(mesh, away, folder, **changes):
    """Keeps a login whose certificate the mesh's intermediate signed."""
    certificate_make(mesh, folder, **{"kind": "user", "usage": "clientAuth", **changes})
    chain = (folder / "leaf.crt").read_text() + (mesh.directory / "ca" / "intermediate.crt").read_text()
    away.file(mesh).write_text(chain + (folder / "leaf.key").read_text())


def test_expired(mesh, away, tmp_path):
    good(away.login(mesh, "anna"))
    login_as(mesh, away, tmp_path / "c", from_day=-2, to_day=-1)
    result = away.cli("ls")
    refused(result, 4, "E1220")
    assert f"murmesh login 127.0.0.1:{mesh.port}" in result.stderr and "12 hours" in result.stderr
    good(away.login(mesh, "anna", pinned=False))
    good(away.cli("ls"))


def test_other_certificates(mesh, away, tmp_path):
    good(away.login(mesh, "anna"))
    login_as(mesh, away, tmp_path / "a")
    refused(away.cli("ls"), 4, "E1019")  # good, but of a user that the server does not know
    login_as(mesh, away, tmp_path / "b", kind="node", usage="clientAuth,serverAuth")
    refused(away.cli("ls"), None, "E1205")
    login_as(mesh, away, tmp_path / "c", mesh_id="0" * 32)
    refused(away.cli("ls"))


def test_of_another_mesh(mesh, new_mesh, away):
    other = new_mesh()
    other.cli("user", "add", "anna", "--role", "viewer")
    password_give(other, "anna")
    good(away.login(other, "anna"))
    good(away.login(mesh, "anna"))
    shutil.copy(away.file(other), away.file(mesh))
    refused(away.cli("ls", "--server", f"127.0.0.1:{mesh.port}"), None, "E12")


@pytest.mark.parametrize("content", [b"", b"x", b"\0" * 70000, None])
def test_damaged(mesh, away, content):
    good(away.login(mesh, "anna"))
    whole = away.file(mesh).read_bytes()
    away.file(mesh).write_bytes(whole[:len(whole) // 2] if content is None else content)
    refused(away.cli("ls"))
    good(away.login(mesh, "anna", pinned=False))
    good(away.cli("ls"))


def test_killed_at_any_moment(mesh, away):
    """Logged in or not: never something in between."""
    for milliseconds in range(0, 120, 6):
        away.file(mesh).unlink(missing_ok=True)
        with subprocess.Popen([PROGRAMS / "murmesh", "login", f"127.0.0.1:{mesh.port}#{mesh.info['fingerprint']}", "--user", "anna", "--password-file", "-"],
                              stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, env=away.env, preexec_fn=die_with_tests) as program:
            program.stdin.write(PASSWORD.encode())
            program.stdin.close()
            try:
                program.wait(milliseconds / 1000)
            except subprocess.TimeoutExpired:
                program.kill()
        result = away.cli("ls")
        if away.file(mesh).exists():
            good(result)
        else:
            refused(result, 5, "E1030")
    good(away.login(mesh, "anna"))


# ---- out again, and several servers ----

def test_logout(mesh, away):
    assert "not logged in anywhere" in good(away.cli("logout")).stderr
    good(away.login(mesh, "anna"))
    good(away.cli("logout"))
    assert kept(away) == {f"127.0.0.1:{mesh.port}/root.crt"}
    refused(away.cli("ls"), 5, "E1030")
    refused(away.cli("ls", "--server", f"127.0.0.1:{mesh.port}"), 4, "nobody is logged in there")
    refused(away.cli("logout", f"127.0.0.1:{mesh.port}"), 3)


def test_two_servers(mesh, new_mesh, away):
    other = new_mesh()
    other.cli("user", "add", "anna", "--role", "viewer")
    password_give(other, "anna")
    good(away.login(mesh, "anna"))
    good(away.login(other, "anna"))
    result = away.cli("ls")
    refused(result, 2, "--server")
    assert f"127.0.0.1:{mesh.port}" in result.stderr and f"127.0.0.1:{other.port}" in result.stderr
    for one in (mesh, other):
        names = {device["id"] for device in json.loads(away.cli("ls", "--json", "--server", f"127.0.0.1:{one.port}").stdout)}
        assert names == {device["id"] for device in one.json("ls")}
    refused(away.cli("login", "--user", "anna"), 2, "several")
    refused(away.cli("ls", "--server", "127.0.0.1"), 4, "nobody is logged in there")  # it means the usual port, since two would do
    good(away.cli("logout", f"127.0.0.1:{other.port}"))
    good(away.cli("ls"))
    good(away.cli("ls", "--server", "127.0.0.1"))


def test_folder_before_login(mesh, new_mesh, away):
    """--dir and $MURMESH_DIR name the server of a folder, whoever is logged in where."""
    other = new_mesh()
    good(away.login(mesh, "anna"))
    ids = {device["id"] for device in other.json("ls")}
    assert {device["id"] for device in json.loads(away.cli("ls", "--json", directory=other.directory).stdout)} == ids
    assert {device["id"] for device in json.loads(away.cli("ls", "--json", env={"MURMESH_DIR": str(other.directory)}).stdout)} == ids
    refused(away.cli("ls", "--server", "127.0.0.1", directory=other.directory), 2, "exclude")
    refused(away.cli("ls", directory=away.home / "nothing"), 5, "E1030")


@pytest.mark.skipif(not IS_ROOT, reason="becomes somebody else")
def test_another_user(mesh):
    def nobody():
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        die_with_tests()
    with tempfile.TemporaryDirectory(prefix="murmesh-login-") as folder:
        folder = Path(folder)
        folder.chmod(0o755)
        (folder / "bin").mkdir()
        shutil.copy(PROGRAMS / "murmesh", folder / "bin")
        user = Elsewhere(folder / "home", folder / "bin", nobody)
        os.chown(user.home, 65534, 65534)
        good(user.login(mesh, "anna"))
        assert user.file(mesh).stat().st_uid == 65534
        assert user.cli("run", "web02", "--", "echo", "hello").stdout == "hello\n"
        root = Elsewhere(user.home)
        refused(root.cli("ls"), 4, "E1040")  # also for root: it is not root's
