"""The command line of MeshCentral Router (seed 003), its .mcrouter files, and the applications that maps are opened with."""
import json
import os
import re
import socket

import pytest

from harness import PROGRAMS, Echo, Program, refused, until
from people import PASSWORD, Elsewhere, password_give


@pytest.fixture(scope="module", autouse=True)
def users(mesh):
    for name in ("rita", "rolf"):
        result = mesh.cli("user", "add", name, "--role", "administrator")
        assert result.returncode == 0, result.stderr
        password_give(mesh, name)


@pytest.fixture
def away(tmp_path):
    return Elsewhere(tmp_path / "home")


class Router(Program):
    """`murmesh map` elsewhere, with lines as it prints them for programs."""

    def __init__(self, away, *words, lines=1, before=()):
        super().__init__([PROGRAMS / "murmesh", *before, "map", *words, "--jsonl"], away.home / "map.log", env=away.env, cwd=away.home)
        self.info = []
        for _ in range(lines):
            line = self.process.stdout.readline()
            assert line, self.log()
            self.info.append(json.loads(line))

    def talks(self, number=0, host="127.0.0.1"):
        with socket.create_connection((host, self.info[number]["local_port"]), 20) as connection:
            connection.sendall(b"hello")
            return connection.recv(10) == b"hello"


def address(mesh):
    return f"127.0.0.1:{mesh.port}"


# ---- arguments ----

def test_all_of_them(mesh, away):
    """As in the seed, where nobody is logged in yet: the root is known from an earlier login."""
    assert away.login(mesh, "rita").returncode == 0
    assert away.cli("logout").returncode == 0
    with Echo() as echo, Router(away, "-debug", f"-host:{address(mesh)}", "-user:rita", f"-pass:{PASSWORD}", "-ignorecert", f'-map:TCP:0:"WEB02":HTTP:{echo.port}',
                                f"-relaymap:TCP:0:web02:HTTP:127.0.0.1:{echo.port}", "-all", "-tray", "-search:web", "-native", "-noupdate", "-oldstyle",
                                "-tlsdump", "-l:de", lines=2) as router:
        assert router.talks(0) and router.talks(1, "::1")
        log = router.log()
        assert "warning: -pass:" in log and "warning: -ignorecert" in log and PASSWORD not in log
        assert log.count("without a meaning here") == 1
        assert "without a meaning here: -ignorecert -tray -search -native -noupdate -oldstyle -tlsdump -l\n" in log
        assert "whoever reaches this machine" in log
        with open(f"/proc/{router.pid}/cmdline", "rb") as words:
            assert PASSWORD.encode() not in words.read()
        debug = (away.home / "debug.log").read_text()
        assert "debug" in debug and PASSWORD not in debug
        assert (away.home / "debug.log").stat().st_mode & 0o777 == 0o600


def test_debug_log_is_no_link(mesh, away, tmp_path):
    (tmp_path / "precious").write_text("kept")
    (away.home / "debug.log").symlink_to(tmp_path / "precious")
    refused(away.cli("map", "-debug", "TCP:0:web02::80"), 1, "debug.log")
    assert (tmp_path / "precious").read_text() == "kept"


def test_names_in_any_case(mesh, away):
    assert away.login(mesh, "rita").returncode == 0
    with Echo() as echo, Router(away, f"-HOST:{address(mesh)}", f"-Map:tcp:0:web02:http:{echo.port}", "-InAddrAny") as router:
        assert router.talks() and "whoever reaches" in router.log()


def test_another_user(mesh, away):
    """-user: and -pass: of somebody else than who is logged in: a new login."""
    assert away.login(mesh, "rita").returncode == 0
    with Echo() as echo, Router(away, f"-host:{address(mesh)}", "-user:rolf", f"-pass:{PASSWORD}", f"-map:TCP:0:web02::{echo.port}") as router:
        assert router.talks()
    refused(away.cli("map", "-user:rita", f"-map:TCP:0:web02::{echo.port}"), 2, "rita is not logged in")
    lines = away.cli("map", f"-host:{address(mesh)}", "-user:rita", "-pass:wrong", "-map:TCP:0:web02::80")
    assert lines.returncode == 4 and "E1" in lines.stderr


def test_unknown_server(mesh, away):
    result = away.cli("map", f"-host:{address(mesh)}", "-user:rita", f"-pass:{PASSWORD}", "-ignorecert", "-map:TCP:0:web02::80")
    assert result.returncode == 2 and "not known yet" in result.stderr  # whatever -ignorecert says


@pytest.mark.parametrize("words, what", [(["-map:TCP:0:web02:HTTP:10.0.0.1:80"], "column 18: only a relay map"), (["-relaymap:TCP:0:web02:HTTP:80"], "column 18: the remote host"),
                                         (["-map:TCP:x:web02:HTTP:80"], "column 5"), (["-map:"], "column 1"), (["-nonsense"], "-nonsense"), (["-all"], "no map is given"),
                                         (["-map:UDP:0:web02:HTTP:53"], "column 13: a UDP map has no app"), (["-pass:" + "x" * 300, "-map:TCP:0:web02::80"], "password")])
def test_wrong_arguments(mesh, words, what):
    result = mesh.cli("map", *words)
    assert result.returncode in (1, 2) and what in result.stderr, result.stderr


# ---- files ----

MADE_ELSEWHERE = {"hostname": "mesh.example.org", "username": "jane", "certhash": "0123", "mappings": [
    {"nodeName": "web02", "name": "the \"page\"", "meshId": "mesh//abc$", "nodeId": "node//def@", "appId": 1, "protocol": 1, "localPort": 0, "remotePort": 0},
    {"nodeName": "Web02", "meshId": "mesh//abc$", "nodeId": "node//def@", "appId": 0, "appIdStr": "gizmo", "protocol": 1, "localPort": 0, "remoteIP": "127.0.0.1", "remotePort": 0}]}


def file_make(folder, port, **changes):
    content = json.loads(json.dumps(MADE_ELSEWHERE)) | changes
    for mapping in content["mappings"]:
        mapping["remotePort"] = port
    path = folder / "made.mcrouter"
    path.write_text("\ufeff" + json.dumps(content).replace(", ", ",\r\n"))
    return path


def test_file_is_read_and_written(mesh, tmp_path, away):
    with Echo() as echo:
        path, again = file_make(tmp_path, echo.port), tmp_path / "again.mcrouter"
        with Router(away, path, "--write", again, lines=2, before=("--dir", mesh.directory)) as router:
            assert router.talks(0) and router.talks(1)
            ports = [line["local_port"] for line in router.info]
        written = json.loads(again.read_text())
        assert set(written) == {"hostname", "username", "mappings"} and written["username"]
        device = mesh.device("web02")
        first, second = written["mappings"]
        assert first == {"nodeName": "web02", "name": 'the "page"', "meshId": first["meshId"], "nodeId": device["id"], "appId": 1, "protocol": 1, "localPort": ports[0], "remotePort": echo.port}
        assert (second["appId"], second["appIdStr"], second["remoteIP"], second["localPort"]) == (0, "gizmo", "127.0.0.1", ports[1])
        assert again.stat().st_mode & 0o777 == 0o600
        first["nodeName"] = "renamed since"  # the id counts
        again.write_text(json.dumps(written))
        with Router(away, again, lines=2, before=("--dir", mesh.directory)) as router:
            assert [line["local_port"] for line in router.info] == ports and router.talks(0)


def test_labels_are_shown(mesh, tmp_path):
    path = file_make(tmp_path, 80)
    with Program([PROGRAMS / "murmesh", "--dir", mesh.directory, "map", path], tmp_path / "log") as program:
        assert re.match(rb'localhost:\d+ -> web02:80 \(the "page"\)\n', program.process.stdout.readline())
        assert program.process.stdout.readline().endswith(b" -> 127.0.0.1:80 through web02\n")


def test_file_says_which_server(mesh, tmp_path, away):
    assert away.login(mesh, "rita").returncode == 0
    with Echo() as echo:
        path = file_make(tmp_path, echo.port, hostname=address(mesh), username="rita")
        with Router(away, path, lines=2) as router:
            assert router.talks(0)
        path = file_make(tmp_path, echo.port, hostname="nowhere.invalid", username="rita")
        with Router(away, path, f"-host:{address(mesh)}", lines=2) as router:  # the command line counts more
            assert router.talks(0)


def test_texts_are_escaped(mesh, tmp_path):
    path = tmp_path / "odd.mcrouter"
    with Program([PROGRAMS / "murmesh", "--dir", mesh.directory, "map", r"TCP:0:web02:back\slash:80", "--write", path], tmp_path / "log") as program:
        assert program.process.stdout.readline()
        assert json.loads(path.read_text())["mappings"][0]["appIdStr"] == "back\\slash"


@pytest.mark.parametrize("change, what", [({"protocol": 3}, "map 1: protocol"), ({"localPort": 65536}, "map 1: localPort"), ({"localPort": "80"}, "map 1: localPort"),
                                          ({"remotePort": 0}, "map 1: remotePort"), ({"remoteIP": "a b"}, "map 1: remoteIP"), ({"nodeName": ""}, "map 1: nodeName"),
                                          ({"nodeName": 7}, "map 1: nodeName"), ({"nodeName": "x" * 1000}, "map 1: nodeName"), ({"appId": 6}, "map 1: appId"),
                                          ({"nodeName": "a\nb"}, "map 1: nodeName")])
def test_wrong_files(mesh, tmp_path, change, what):
    path = file_make(tmp_path, 80)
    content = json.loads(path.read_text().lstrip("\ufeff"))
    content["mappings"][0] |= change
    path.write_text(json.dumps(content))
    refused(mesh.cli("map", path), None, what)


@pytest.mark.parametrize("text, what", [("", "no JSON"), ("{", "no JSON"), ("[]", "no mappings"), ("{}", "no mappings"), ('{"mappings": [1]}', "map 1: it is no object"),
                                        ('{"mappings": []}', "no map is given"), ('{"hostname": 1, "mappings": []}', "hostname"),
                                        (json.dumps({"mappings": [{}] * 257}), "more than 256")], ids=lambda text: ascii(text[:20]))
def test_files_that_are_none(mesh, tmp_path, text, what):
    (tmp_path / "a.MCROUTER").write_text(text)
    refused(mesh.cli("map", tmp_path / "a.MCROUTER"), None, what)


def test_missing_file(mesh, tmp_path):
    refused(mesh.cli("map", tmp_path / "none.mcrouter"), 3, "none.mcrouter")


# ---- applications ----

@pytest.fixture
def programs(away, tmp_path):
    """Stand-ins that write down how they were started."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("xdg-open", "xfreerdp", "putty", "own"):
        (folder / name).write_text(f'#!/bin/sh\nprintf "%s|" {name} "$@" > {folder}/$$.new\nmv {folder}/$$.new {folder}/{name}.$$.said\necho noise\n')
        (folder / name).chmod(0o755)
    away.env["PATH"] = f"{folder}:{away.env['PATH']}"
    return lambda: sorted(path.read_text() for path in folder.glob("*.said"))


def test_applications(mesh, away, programs):
    (away.home / "config" / "murmesh").mkdir(parents=True)
    (away.home / "config" / "murmesh" / "applications").write_text('# mine\n\nGizmo = own "two words" %N at %L:%P 100%%\nputty = own ssh %P\n')
    specs = ["TCP:0:web02:HTTP:80", "TCP:0:web02:https:443", "TCP:0:web02:RDP:3389", "TCP:0:web02:WinSCP:22", "TCP:0:web02:PuTTY:22", "TCP:0:web02:gizmo:7", "TCP:0:web02::9"]
    with Router(away, *specs, "--open", lines=7, before=("--dir", mesh.directory)) as router:
        ports = [line["local_port"] for line in router.info]
        said = until(lambda: len(programs()) == 6 and programs(), "all are started")
        assert said == sorted([f"xdg-open|http://127.0.0.1:{ports[0]}/|", f"xdg-open|https://127.0.0.1:{ports[1]}/|", f"xfreerdp|/v:127.0.0.1:{ports[2]}|/t:web02|",
                               f"xdg-open|sftp://127.0.0.1:{ports[3]}/|", f"own|ssh|{ports[4]}|", f"own|two words|web02|at|127.0.0.1:{ports[5]}|100%|"])
        assert "error:" not in router.log() and "noise" in router.log()


def test_at_an_address(mesh, away, programs):
    with Router(away, "TCP:0:web02:PuTTY:22", "--open", "--bind", "127.0.0.9", before=("--dir", mesh.directory)) as router:
        port = router.info[0]["local_port"]
        assert until(programs, "it is started") == [f"putty|-ssh|127.0.0.9|-P|{port}|"]


@pytest.mark.parametrize("line, what", [("", "none of HTTP"), ("gizmo = /no/such/program", "ENOENT"), ("gizmo = nosuchprogram", "ENOENT"), ('gizmo = own "open', "E10"), ("gizmo = own %X", "E10")])
def test_what_cannot_be_opened(mesh, away, programs, line, what):
    """It is said, and the map is there all the same."""
    (away.home / "config" / "murmesh").mkdir(parents=True)
    (away.home / "config" / "murmesh" / "applications").write_text(line + "\n")
    with Echo() as echo, Router(away, f"TCP:0:web02:gizmo:{echo.port}", "--open", before=("--dir", mesh.directory)) as router:
        log = until(lambda: router.log().count("\n") == 3 and router.log(), "the reason")
        assert "the application gizmo" in log and what in log and re.search("^try:", log, re.M)
        assert router.talks() and not programs()
