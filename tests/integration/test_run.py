"""`murmesh run`: output, input, exit codes, interruption, orders."""
import hashlib
import os
import signal
import sqlite3
import subprocess
from pathlib import Path

import pytest

from harness import PATIENCE, alive, gone, refused, until

PATTERN = bytes(range(256)) * 4096  # 1 MiB of every byte


def shell(mesh, script, *words, **options):
    return mesh.run("web02", *words, "--", "sh", "-c", script, **options)


def command_running(mesh, script):
    """Starts a command whose first line of output is its process id on the device; returns the program and that id."""
    program = mesh.background("run", "web02", "--", "sh", "-c", f"echo $$; {script}")
    pid = int(program.process.stdout.readline())
    assert alive(pid)
    return program, pid


# ---- output and input ----

def test_output(mesh):
    result = mesh.run("web02", "--", "uname", "-a")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == subprocess.run(["uname", "-a"], capture_output=True, text=True).stdout


def test_output_and_errors_stay_apart(mesh):
    result = shell(mesh, "echo out; echo err >&2; exit 3")
    assert (result.stdout, result.stderr, result.returncode) == ("out\n", "err\n", 3)


def test_output_is_streamed(mesh, tmp_path):
    """The first line is there while the command runs on; what it waits for is made only then."""
    program = mesh.background("run", "web02", "--", "sh", "-c", f"echo first; while [ ! -e {tmp_path}/go ]; do sleep 0.02; done; echo second")
    assert program.process.stdout.readline() == b"first\n"
    (tmp_path / "go").touch()
    assert program.process.stdout.readline() == b"second\n"
    assert program.wait() == 0
    program.stop()


def test_input(mesh):
    assert mesh.run("web02", "--", "tr", "a-z", "A-Z", input="through\n").stdout == "THROUGH\n"
    assert mesh.run("web02", "--", "cat").stdout == ""  # the end of an empty input reaches the command


def test_input_that_is_closed(mesh):
    result = mesh.run("web02", "--", "sh", "-c", "cat; echo end", stdin=None, preexec_fn=lambda: os.close(0))
    assert (result.stdout, result.returncode) == ("end\n", 0)


def test_input_from_a_file(mesh, tmp_path):
    (tmp_path / "in").write_bytes(PATTERN * 3)
    with open(tmp_path / "in", "rb") as file:
        result = mesh.run("web02", "--", "sha256sum", stdin=file)
    assert result.stdout.split()[0] == hashlib.sha256(PATTERN * 3).hexdigest()


def test_input_is_interactive(mesh):
    program = mesh.background("run", "web02", "--", "cat", stdin_file=subprocess.PIPE)
    for word in (b"one\n", b"two\n"):
        program.process.stdin.write(word)
        program.process.stdin.flush()
        assert program.process.stdout.readline() == word
    program.process.stdin.close()
    assert program.wait() == 0
    program.stop()


def test_input_that_nobody_reads(mesh):
    """The command ends; what is still to be sent does not keep it."""
    assert mesh.run("web02", "--", "head", "-c", "3", input=PATTERN * 8, text=False).stdout == b"\0\1\2"


def test_five_megabytes_both_ways(mesh):
    data = PATTERN * 5
    result = mesh.run("web02", "--", "cat", input=data, text=False)
    assert result.returncode == 0 and hashlib.sha256(result.stdout).digest() == hashlib.sha256(data).digest()


def test_slow_reader_loses_nothing(mesh):
    """Back-pressure reaches the command: it does not run to its end before anybody reads."""
    program = mesh.background("run", "web02", "--", "sh", "-c", "echo $$; head -c 30000000 /dev/zero")
    pid = int(program.process.stdout.readline())
    until(lambda: blocked_in_write(pid), "the command waits for its reader")
    rest = program.process.stdout.read()
    assert len(rest) == 30000000 and not rest.strip(b"\0") and program.wait() == 0
    program.stop()


def blocked_in_write(shell_pid):
    for child in Path(f"/proc/{shell_pid}/task/{shell_pid}/children").read_text().split():
        try:
            return "pipe" in Path(f"/proc/{child}/wchan").read_text() or Path(f"/proc/{child}/syscall").read_text().startswith("1 ")
        except OSError:
            pass
    return False


def test_reader_that_goes_away(mesh):
    """As in `run ... | head -1`: the command ends, too."""
    program, pid = command_running(mesh, "while :; do echo more; done")
    program.process.stdout.close()
    gone([pid], 15)
    assert program.process.wait(10 * PATIENCE) != 0
    program.log_file.close()


# ---- exit codes ----

@pytest.mark.parametrize("code", [0, 1, 5, 127, 255])
def test_exit_code(mesh, code):
    result = shell(mesh, f"exit {code}")
    assert (result.returncode, result.stdout, result.stderr) == (code, "", "")


def test_end_by_a_signal(mesh):
    assert shell(mesh, "kill -9 $$").returncode == 128 + 9
    assert shell(mesh, "kill -15 $$").returncode == 128 + 15


def test_command_that_is_not_there(mesh):
    for command in ("nonexistent", "/nonexistent", "/etc"):
        result = mesh.run("web02", "--", command)
        refused(result, 1, "E1400")
        assert command in result.stderr


def test_arguments_stay_as_they_are(mesh):
    words = ["", "a b", "$HOME", "'\"", "--json", "-h", "*", "ä\n\t", "--"]
    result = mesh.run("web02", "--", "printf", "%s\\0", *words)
    assert result.stdout.split("\0")[:-1] == words


def test_too_many_arguments(mesh):
    refused(mesh.run("web02", "--", "echo", *["x"] * 200))
    refused(mesh.run("web02", "--", "echo", "x" * 20000))


def test_a_process_left_behind_keeps_nobody_waiting(mesh):
    result = shell(mesh, "sleep 60 & echo $!", seconds=20)
    os.kill(int(result.stdout), signal.SIGKILL)
    assert result.returncode == 0


# ---- devices ----

def test_several_devices(mesh):
    own = next(device for device in mesh.json("ls") if device["name"] != "web02" and device["online"])["full_name"]
    both = f"web02,{own}"
    result = mesh.run(both, "--", "echo", "hello")
    assert result.returncode == 0
    assert sorted(result.stdout.splitlines()) == sorted(["web02: hello", f"{own.rsplit('-', 1)[0]}: hello"])
    assert mesh.run(both, "--", "false").returncode == 7
    assert mesh.run(both, "--", "sh", "-c", f"test -e /proc/{mesh.web02.pid}/nothing || exit 9").returncode == 7
    assert mesh.run("web02, web02-1", "--", "echo", "once").stdout == "once\n"  # it is one device


def test_unknown_device(mesh):
    assert "nobody" in refused(mesh.run("nobody", "--", "true"), 3, "E1017")[0]
    refused(mesh.run("web02,nobody", "--", "true"), 3)
    refused(mesh.run("0" * 32, "--", "true"), 3)
    refused(mesh.run("web02"), 2)


def test_offline_device(mesh):
    agent = mesh.join("off")
    agent.stop()
    until(lambda: not mesh.device("off")["online"], "offline")
    refused(mesh.run("off", "--", "true"), 1, "E1028")
    result = mesh.run("web02,off", "--", "echo", "hello")
    assert result.returncode == 7 and result.stdout == "web02: hello\n" and "E1028" in result.stderr


# ---- interruption ----

@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interruption_stops_the_command(mesh, number):
    program, pid = command_running(mesh, "sleep 60; echo not reached")
    below = [int(p) for p in until(lambda: Path(f"/proc/{pid}/task/{pid}/children").read_text().split(), "sleep runs")]
    assert program.stop(number) == 130
    gone([pid, *below], 2)


def test_command_that_ignores_the_end(mesh):
    program, pid = command_running(mesh, "trap '' TERM; while :; do sleep 0.1; done")
    assert program.stop(signal.SIGINT) == 130
    gone([pid], 8)


def test_command_line_killed(mesh):
    program, pid = command_running(mesh, "sleep 60")
    program.stop(signal.SIGKILL)
    gone([pid], 2)


def test_interruption_of_several(mesh):
    own = next(device for device in mesh.json("ls") if device["name"] != "web02" and device["online"])["full_name"]
    program = mesh.background("run", f"web02,{own}", "--", "sh", "-c", "echo $$; exec sleep 60")
    pids = [int(program.process.stdout.readline().split()[-1]) for _ in range(2)]
    assert program.stop(signal.SIGINT) == 130
    gone(pids, 2)


# ---- what the device remembers ----

def orders(agent):
    database = sqlite3.connect(f"file:{agent.directory}/exec/agent.db?mode=ro", uri=True)
    try:
        return dict(database.execute("SELECT command, state FROM orders"))
    finally:
        database.close()


def test_orders_are_written_down(mesh, tmp_path):
    agent = mesh.join("writes")
    assert mesh.run("writes", "--", "sh", "-c", "exit 4").returncode == 4
    agent.stop()
    assert orders(agent) == {"sh -c exit 4": "finished"}


def test_command_cut_short_by_a_kill(mesh):
    """Of the exec role: it is reported at once, and written down when the role is back."""
    agent = mesh.join("cut")
    program = mesh.background("run", "cut", "--", "sh", "-c", "echo $$; exec sleep 60")
    pid = int(program.process.stdout.readline())
    os.kill(agent.monitor.roles()["exec"], signal.SIGKILL)
    assert program.wait() == 1
    assert "E1402" in program.log() and len(program.log().splitlines()) == 3
    gone([pid], 2)
    until(lambda: mesh.run("cut", "--", "true").returncode == 0, "the role is back")
    agent.stop()
    assert orders(agent) == {"sh -c echo $$; exec sleep 60": "interrupted", "true": "finished"}
    program.stop()


def test_agent_killed_in_the_middle(mesh):
    agent = mesh.join("dies")
    program = mesh.background("run", "dies", "--", "sh", "-c", "echo $$; exec sleep 60")
    pid = int(program.process.stdout.readline())
    agent.process.kill()
    assert program.wait() == 1
    assert "E1402" in program.log() and len(program.log().splitlines()) == 3
    gone([pid], 5)
    again = mesh.join("dies", mesh.key())
    assert mesh.run("dies", "--", "true").returncode == 0
    again.stop()
    assert orders(again)["sh -c echo $$; exec sleep 60"] == "interrupted"
    program.stop()
