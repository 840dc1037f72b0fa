"""Configuration files: what is wrong in one is said with file and line, and nothing starts; a running daemon keeps the old one."""
import os
import signal
import subprocess
from pathlib import Path

import pytest

from harness import check_report

BIN = Path(os.environ.get("MURMESH_BUILD", "build")).resolve() / "bin"
SERVER = str(BIN / "murmesh-server")
INI = "murmesh-server.ini"


def refuse(tmp_path, content, reason):
    tmp_path.chmod(0o755)
    (tmp_path / INI).write_bytes(content)
    done = subprocess.run([SERVER, "--dir", str(tmp_path), "--port", "0"], capture_output=True, text=True, timeout=30)
    lines = done.stderr.splitlines()
    assert done.returncode == 78
    assert [line.split(":")[0] for line in lines] == ["error", "why", "try"]
    assert reason in lines[1]
    return lines[1]


@pytest.mark.parametrize("content, reason", [
    (b"Prt = 1\n", ':1: unknown key "Prt" in [Server] (did you mean "Port"?)'),
    (b"\n[Servr]\nPort = 1\n", ':2: unknown section "Servr" (did you mean "Server"?)'),
    (b"Port = 1\nPort = 2\n", ":2:"),
    (b"Port = 70000\n", ":1:"),
    (b"Port = http\n", ":1:"),
    (b"RoleUid = 0\n", ":1:"),
    (b"Address = not an address\n", ":1:"),
    (b"LogLevel = loud\n", "LogLevel is error, warning, info or debug"),
    (b"Port = 1\0\n", ":1:"),
    (b"Port\n", ":1:"),
    (b"Port = \xff\xfe\n", ":1:"),
])
def test_wrong_file(tmp_path, content, reason):
    refuse(tmp_path, content, reason)


def test_endless_file(tmp_path):
    refuse(tmp_path, b"# x\n" * (1 << 19), INI)


def test_directory_instead_of_a_file(tmp_path):
    (tmp_path / INI).mkdir()
    done = subprocess.run([SERVER, "--dir", str(tmp_path), "--port", "0"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 78 and INI in done.stderr


def test_world_writable_file(tmp_path):
    (tmp_path / INI).write_text("Port = 0\n")
    (tmp_path / INI).chmod(0o666)
    done = subprocess.run([SERVER, "--dir", str(tmp_path), "--port", "0"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 78 and INI in done.stderr


def start(directory, *options):
    """A server that is ready; its address as it says it."""
    process = subprocess.Popen([SERVER, "--dir", str(directory), "--status-fd", "1", *options], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    word, port, address, *_ = process.stdout.readline().split()
    assert word == "ready"
    return process, int(port), address


def stop(process):
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=30)
    assert process.returncode == 0
    check_report(log, "the server")
    return log


def read_until(stream, text):
    for line in stream:
        if text in line:
            return line
    raise AssertionError(f"the log ended without {text!r}")


@pytest.mark.parametrize("content", [
    b"\xef\xbb\xbf[Server]\r\nPort = 0\r\nAddress = mesh.example:4711\r\n",
    b"Port = 0\n; a comment\nAddress = mesh.example:4711\n",
    b"[Server]\nPort=0\nLogLevel =\nAddress=mesh.example:4711",
])
def test_values_hold(tmp_path, content):
    (tmp_path / INI).write_bytes(content)
    process, port, address = start(tmp_path)
    stop(process)
    assert port != 8443 and address == "mesh.example:4711"


def test_command_line_beats_the_file(tmp_path):
    (tmp_path / INI).write_text("Port = 1\nAddress = mesh.example\n")
    process, port, address = start(tmp_path, "--port", "0", "--address", "127.0.0.1")
    stop(process)
    assert port != 1 and address == f"127.0.0.1:{port}"


def test_missing_file_means_defaults(tmp_path):
    process, port, address = start(tmp_path, "--port", "0", "--address", "[::1]")
    stop(process)
    assert address == f"[::1]:{port}"


def test_reload(tmp_path):
    """SIGHUP: a wrong file is named and changes nothing, a right one is taken."""
    (tmp_path / INI).write_text("LogLevel = info\n")
    process, _, _ = start(tmp_path, "--port", "0", "--address", "127.0.0.1")
    (tmp_path / INI).write_text("LogLevl = debug\n")
    process.send_signal(signal.SIGHUP)
    line = read_until(process.stderr, "the configuration was not read again")
    assert 'did you mean "LogLevel"?' in line
    assert process.poll() is None
    (tmp_path / INI).write_text("LogLevel = info\nPort = 5\n")
    process.send_signal(signal.SIGHUP)
    read_until(process.stderr, "the configuration was read again")
    stop(process)


def test_agent_file(tmp_path):
    (tmp_path / "murmesh-agent.ini").write_text("Nam = x\n")
    done = subprocess.run([str(BIN / "murmesh-agent"), "--dir", str(tmp_path)], capture_output=True, text=True, timeout=30)
    assert done.returncode == 78 and '(did you mean "Name"?)' in done.stderr
