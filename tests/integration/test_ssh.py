"""`murmesh ssh`: a terminal on a device, driven through a pseudo terminal as a person's would be."""
import fcntl
import hashlib
import os
import re
import select
import signal
import sqlite3
import struct
import subprocess
import termios
import time
from pathlib import Path

import pytest

from harness import PATIENCE, alive, children, die_with_tests, gone, refused, stat_of, title, until
from shell import Shell


class Terminal(Shell):
    """`murmesh ssh`, or another command, in a terminal."""

    def __init__(self, mesh, *words, command="ssh", columns=100, rows=30, term="xterm-256color"):
        super().__init__()
        self.ours, self.theirs = os.openpty()
        self.resize(columns, rows)
        self.before = termios.tcgetattr(self.theirs)
        line = [mesh.programs / "murmesh", "--dir", mesh.directory, command, *words]

        def become_leader():
            die_with_tests()
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        self.process = subprocess.Popen(list(map(str, line)), stdin=self.theirs, stdout=self.theirs, stderr=self.theirs,
                                        preexec_fn=become_leader, env={**os.environ, "TERM": term})
        self.pid = self.process.pid

    def resize(self, columns, rows):
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text):
        data = text if isinstance(text, bytes) else text.encode()
        while data:
            data = data[os.write(self.ours, data):]

    def read(self, seconds):
        if select.select([self.ours], [], [], seconds)[0]:
            self.said += os.read(self.ours, 1 << 16)

    def more(self):
        self.read(0.2)

    def id(self):
        return int(self.run("echo $$"))

    def wait(self, seconds=20):
        deadline = time.monotonic() + seconds * PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < deadline, bytes(self.said[-3000:])
            self.read(0.05)
        while select.select([self.ours], [], [], 0)[0]:
            self.read(0)
        return self.process.returncode

    def raw(self):
        return not termios.tcgetattr(self.theirs)[3] & termios.ICANON

    def restored(self):
        blocking = not fcntl.fcntl(self.theirs, fcntl.F_GETFL) & os.O_NONBLOCK
        return blocking and termios.tcgetattr(self.theirs) == self.before

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()  # the shell goes, too
            self.wait()
        os.close(self.ours)
        os.close(self.theirs)


def exec_role(agent):
    return until(lambda: agent.monitor.roles().get("exec"), "the role exec")


def test_echo_and_environment(mesh):
    with Terminal(mesh, "web02", term="vt220") as terminal:
        terminal.ready()
        assert terminal.run("echo $((40+2))") == "42"
        assert terminal.run("tty").startswith("/dev/pts/")
        assert terminal.run("echo $TERM") == "vt220"
        assert terminal.run("echo ${HOME:-none}") == os.path.expanduser("~")
        assert terminal.run("pwd") == os.path.expanduser("~")
        terminal.type("exit\r")
        assert terminal.wait() == 0 and terminal.restored()


@pytest.mark.parametrize("command, code", [("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("kill -9 $$", 137)])
def test_exit_code(mesh, command, code):
    with Terminal(mesh, "web02") as terminal:
        terminal.ready().type(f"{command}\r")
        assert terminal.wait() == code
        assert terminal.restored()


def test_resize(mesh):
    with Terminal(mesh, "web02", columns=91, rows=17) as terminal:
        terminal.ready()
        assert terminal.run("stty size") == "17 91"
        terminal.resize(133, 44)
        until(lambda: terminal.run("stty size") == "44 133", "the new size")
        terminal.type("bash -c 'trap \"stty size; exit\" WINCH; echo wai\"\"ting; while :; do sleep 0.01; done'\r")
        terminal.says("waiting\r\n")
        terminal.resize(66, 55)
        terminal.says("55 66\r\n")


def test_keys_reach_the_program(mesh):
    """Ctrl-C, Ctrl-Z, Ctrl-\\ act on the device, not here."""
    with Terminal(mesh, "web02") as terminal:
        terminal.ready()
        for key, code in (("\x03", 130), ("\x1c", 131)):
            terminal.type("sh -c 'echo sle\"\"eps; exec sleep 1000'\r")
            terminal.says("sleeps\r\n")
            terminal.type(key)
            terminal.type("echo ended $?-\r")
            terminal.says(f"ended {code}-")
        terminal.type("sh -c 'echo sle\"\"eps; exec sleep 1000'\r")
        terminal.says("sleeps\r\n")
        terminal.type("\x1a")
        terminal.says("[Ss]topped")
        assert terminal.process.poll() is None and terminal.raw()


def test_big_output(mesh):
    data = os.urandom(3_000_000).hex().encode()
    path = mesh.directory / "big"
    path.write_bytes(data)
    with Terminal(mesh, "web02") as terminal:
        terminal.ready().type(f"stty -opost; echo '<''<'; cat {path}; echo '>''>'; exit\r")
        terminal.says("<<\n")
        text = terminal.all_until(b">>\n")
        assert hashlib.sha256(text).digest() == hashlib.sha256(data).digest()
        assert terminal.wait() == 0


def test_last_words(mesh):
    """All is shown, however late, before it ends."""
    with Terminal(mesh, "web02") as terminal:
        shell = terminal.ready().id()
        terminal.type("head -c 300000 /dev/zero | tr '\\0' y; exit 5\r")
        gone([shell], 10)
        assert terminal.process.poll() is None
        assert terminal.all_until(b"y" * 300000) is not None
        assert terminal.wait() == 5


def test_run_in_a_terminal(mesh):
    with Terminal(mesh, "web02", "--", "sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' y", command="run") as terminal:
        until(lambda: select.select([terminal.ours], [], [], 0)[0], "output")
        assert terminal.all_until(b"y" * 3000000) == b""
        assert terminal.wait() == 0 and terminal.restored()


def test_big_output_can_be_interrupted(mesh):
    with Terminal(mesh, "web02") as terminal:
        terminal.ready().type("yes\r")
        terminal.all_until(b"y\r\n" * 1000)
        terminal.type("\x03")
        terminal.type("echo ended $?-\r")
        terminal.all_until(b"ended 130-")


def test_big_input(mesh):
    with Terminal(mesh, "web02") as terminal:
        terminal.ready().type("stty raw -echo; echo rea''dy; head -c 300000 | sha256sum; stty sane\r")
        terminal.says("ready")
        data = os.urandom(150_000).hex().encode()
        terminal.type(data)
        terminal.says(hashlib.sha256(data).hexdigest())


def test_slow_screen_stops_the_program(mesh):
    with Terminal(mesh, "web02") as terminal:
        shell = terminal.ready().id()
        terminal.type("head -c 20000000 /dev/zero | tr '\\0' x; echo '>''>'\r")

        def written():
            for pid in children(shell):
                if title(pid).startswith("tr"):
                    fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
                    return int(fields["wchar"])
            return 0

        def stands_still():
            before = written()
            time.sleep(0.3)
            return before > 0 and written() == before
        until(stands_still, "it waits for its reader")
        assert written() < 10_000_000
        text = terminal.all_until(b">>\r\n")
        assert len(text) - len(text.rstrip(b"x")) == 20_000_000


# ---- leaving ----

def test_escape(mesh):
    with Terminal(mesh, "web02") as terminal:
        shell = terminal.ready().id()
        assert terminal.run("echo 1~.2") == "1~.2"  # not at the start of a line
        terminal.type("~~\x15")  # one tilde, and the line is taken back
        assert terminal.run("echo still") == "still"
        terminal.type("\r~.")
        assert terminal.wait() == 130 and terminal.restored()
        gone([shell], 5)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_hang_up(mesh, number):
    with Terminal(mesh, "web02") as terminal:
        shell = terminal.ready().id()
        assert terminal.raw()
        terminal.process.send_signal(number)
        assert terminal.wait() == 130 and terminal.restored()
        gone([shell], 5)


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGUSR1, signal.SIGALRM])
def test_deadly_signals_restore_the_terminal(mesh, number):
    with Terminal(mesh, "web02") as terminal:
        shell = terminal.ready().id()
        terminal.process.send_signal(number)
        assert terminal.wait() == -number and terminal.restored()
        os.kill(shell, signal.SIGKILL)


def test_stopped_and_continued(mesh):
    with Terminal(mesh, "web02") as terminal:
        terminal.ready()
        terminal.process.send_signal(signal.SIGTSTP)
        until(lambda: stat_of(terminal.pid)[0] == "T", "it is stopped")
        assert terminal.restored()
        terminal.resize(70, 20)
        terminal.process.send_signal(signal.SIGCONT)
        until(terminal.raw, "it goes on")
        until(lambda: terminal.run("stty size") == "20 70", "the size of now")


def test_the_terminal_here_goes_away(mesh):
    terminal = Terminal(mesh, "web02")
    shell = terminal.ready().id()
    os.close(terminal.ours)
    os.close(terminal.theirs)
    assert terminal.process.wait(10 * PATIENCE) == 130
    gone([shell], 5)


# ---- being cut off, and coming back ----

def test_relay_dies(new_mesh):
    mesh = new_mesh()
    mesh.join("far")
    with Terminal(mesh, "far") as terminal:
        shell = terminal.ready().id()
        terminal.run("X=here")
        os.kill(mesh.server.roles()["relay"], signal.SIGKILL)
        assert terminal.wait() == 1 and terminal.restored()
        identity = re.search(rb"murmesh ssh --terminal ([0-9a-f]{32}) far", terminal.said).group(1).decode()
    assert alive(shell)
    with Terminal(mesh, "--terminal", identity, "far") as terminal:
        terminal.says("echo '>''>'\r\n<<\r\n>>\r\n")  # what was said before, to its end
        assert terminal.run("echo =$X $$") == f"=here {shell}"
        with Terminal(mesh, "--terminal", identity, "far") as second:
            assert terminal.wait() == 1 and b"E1421" in terminal.said
            second.says("\n=here [0-9]+\r\n>>\r\n")
            assert second.run("echo =$X") == "=here"
            second.type("exit 4\r")
            assert second.wait() == 4
    with Terminal(mesh, "--terminal", identity, "far") as terminal:
        assert terminal.wait() == 1 and b"E1420" in terminal.said


def test_agent_ends(mesh):
    """With it everything in its terminals."""
    agent = mesh.join("ends")
    with Terminal(mesh, "ends") as terminal:
        shell = terminal.ready().id()
        kept = int(terminal.run("nohup sleep 1000 >/dev/null 2>&1 & echo $!").split()[-1])
        agent.stop()
        gone([shell, kept], 1)
        assert terminal.wait() == 1 and terminal.restored()


def test_exec_killed(mesh):
    agent = mesh.join("killed")
    with Terminal(mesh, "killed") as terminal:
        shell = terminal.ready().id()
        terminal.type("sh -c 'echo '='$$=; exec sleep 1000'\r")
        below = int(terminal.says("\n=([0-9]+)=").group(1))
        os.kill(exec_role(agent), signal.SIGKILL)
        gone([shell, below], 5)
        assert terminal.wait() == 1 and terminal.restored()
    until(lambda: mesh.run("killed", "--", "true").returncode == 0, "the role is back")


# ---- refusals ----

def test_no_terminal_here(mesh):
    refused(mesh.cli("ssh", "web02"), 2, "E1012")


def test_refused(mesh):
    for words, code, what in ((["nobody"], 3, "E1017"), (["--terminal", "x", "web02"], 1, "E1008"), ([], 2, "E1012")):
        with Terminal(mesh, *words) as terminal:
            assert terminal.wait() == code and what.encode() in terminal.said
    agent = mesh.join("off")
    agent.stop()
    until(lambda: not mesh.device("off")["online"], "offline")
    with Terminal(mesh, "off") as terminal:
        assert terminal.wait() == 1 and b"E1028" in terminal.said


def test_at_most_eight(mesh):
    agent = mesh.join("eight")
    terminals = [Terminal(mesh, "eight") for _ in range(8)]
    try:
        for terminal in terminals:
            terminal.ready()
        with Terminal(mesh, "eight") as ninth:
            assert ninth.wait() == 1 and b"E1422" in ninth.said
        terminals[0].type("exit\r")
        assert terminals[0].wait() == 0
        with Terminal(mesh, "eight") as ninth:
            ninth.ready()
    finally:
        for terminal in terminals:
            terminal.__exit__()
        agent.stop()


def test_noted_on_both_sides(mesh):
    agent = mesh.join("noted")
    with Terminal(mesh, "noted") as terminal:
        terminal.ready().type("exit 3\r")
        assert terminal.wait() == 3
    agent.stop()
    database = sqlite3.connect(f"file:{agent.directory}/exec/agent.db?mode=ro", uri=True)
    assert database.execute("SELECT command, state, exit_code FROM orders").fetchall() == [("(terminal)", "finished", 3)]
    database.close()
    server = sqlite3.connect(f"file:{Path(mesh.directory)}/db/murmesh.db?mode=ro", uri=True)
    assert ("terminal ordered",) in server.execute("SELECT action FROM audit").fetchall()
    server.close()
