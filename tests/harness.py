"""What the tests of whole programs share: a mesh that `murmesh up` starts, agents that join it, and waiting for what has to happen."""
import ctypes
import json
import os
import re
import select
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = (ROOT / os.environ.get("MURMESH_BUILD", "build")).resolve()
PROGRAMS = BUILD / "bin"


def build_option(name):
    options = json.loads((BUILD / "meson-info" / "intro-buildoptions.json").read_text())
    return next(option["value"] for option in options if option["name"] == name)


# Sanitizers need the calls that the sandbox forbids, and time.
SANITIZED = build_option("b_sanitize") != "none"
PATIENCE = 4 if SANITIZED else 1
IS_ROOT = os.geteuid() == 0


REPORT = re.compile("^.*(AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:)", re.MULTILINE)


def check_report(text, where):
    """Fails when a sanitizer wrote into what a process, or a role below it, wrote to standard error."""
    found = REPORT.search(text)
    assert not found, f"a sanitizer's report in {where}:\n{text[found.start():][:10000]}"


def until(condition, what, seconds=10):
    """Waits until condition() is true and returns its value."""
    deadline = time.monotonic() + seconds * PATIENCE
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.01)


def die_with_tests():
    """No process outlives the tests, however they end (PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


# ---- processes ----

def stat_of(pid):
    """The fields of /proc/PID/stat behind the name: state, parent, ...; None when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def alive(pid):
    """Also not while it waits to be reaped."""
    stat = stat_of(pid)
    return stat is not None and stat[0] not in "ZX"


def title(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def children(pid):
    found = []
    for entry in os.listdir("/proc"):
        stat = stat_of(entry) if entry.isdigit() else None
        if stat and int(stat[1]) == pid and stat[0] not in "ZX":
            found.append(int(entry))
    return found


def family(pid):
    """The process and all below it."""
    return [pid] + [below for child in children(pid) for below in family(child)]


def gone(pids, seconds=5):
    until(lambda: not any(map(alive, pids)), f"the end of {[(p, title(p)) for p in pids if alive(p)]}", seconds)


def cpu_seconds(pid, waiting=False):
    """That it used; also those that it waited for a processor, which it does not get for itself on a busy machine."""
    used, waited, _ = Path(f"/proc/{pid}/schedstat").read_text().split()
    return (int(used) + waiting * int(waited)) / 1e9


class Monitor:
    """A daemon's monitor, and its roles by their names."""

    def __init__(self, pid, program):
        self.pid, self.program = pid, program

    def roles(self):
        titles = {pid: title(pid) for pid in children(self.pid)}
        prefix = f"{self.program}: "
        return {text[len(prefix):]: pid for pid, text in titles.items() if text.startswith(prefix)}


SERVER_ROLES = {"front", "link", "core", "ca", "relay", "resolve", "hash", "web", "collect", "viz", "orb"}
AGENT_ROLES = {"net", "resolve", "exec", "probe"}


# ---- the command line ----

def murmesh(*words, directory=None, seconds=30, programs=PROGRAMS, **options):
    command = [str(programs / "murmesh"), *(["--dir", str(directory)] if directory else []), *map(str, words)]
    options = {"stdin": None if "input" in options else subprocess.DEVNULL, "text": True, **options}
    result = subprocess.run(command, capture_output=True, timeout=seconds * PATIENCE, **options)
    check_report(result.stderr if options["text"] else result.stderr.decode(errors="replace"), f"murmesh {words[0]}")
    return result


def refused(result, code=None, what=""):
    """Checks that it failed with the three lines that every error has, and nothing else; returns them."""
    lines = result.stderr.splitlines()
    assert [line.split()[0] for line in lines] == ["error:", "why:", "try:"], result.stderr
    assert all(line.split(":", 1)[1].strip() for line in lines), result.stderr
    assert result.returncode != 0 and (code is None or result.returncode == code), (result.returncode, result.stderr)
    assert what in result.stderr, result.stderr
    return lines


class Program:
    """A program that runs in the background, with its output in files."""

    def __init__(self, command, log, stdin=None, before=die_with_tests, **options):
        self.log_path = Path(log)
        self.log_file = open(log, "ab")
        self.log_start = self.log_file.tell()
        feed = subprocess.PIPE if stdin is not None else options.pop("stdin_file", subprocess.DEVNULL)
        sink = options.pop("stdout_file", subprocess.PIPE)
        self.process = subprocess.Popen(list(map(str, command)), stdin=feed, stdout=sink, stderr=self.log_file,
                                        preexec_fn=before, **options)
        self.pid = self.process.pid
        if stdin is not None:
            self.process.stdin.write(stdin.encode())
            self.process.stdin.close()

    def log(self):
        """What it wrote to standard error."""
        return self.log_path.read_bytes()[self.log_start:].decode(errors="replace")

    def wait(self, seconds=10):
        return self.process.wait(seconds * PATIENCE)

    def stop(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(10 * PATIENCE)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            if self.process.stdout:
                self.process.stdout.close()
            self.log_file.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Agent(Program):
    """`murmesh join` in the background."""

    def __init__(self, line, directory, name=None, programs=PROGRAMS, **options):
        self.directory, self.name = Path(directory), name
        command = [programs / "murmesh", "join", "-", "--dir", directory, *(["--name", name] if name else [])]
        super().__init__(command, f"{directory}.log", stdin=line + "\n", **options)
        self.monitor = Monitor(self.pid, "murmesh-agent")

    def online(self):
        """Waits for it."""
        until(lambda: "online as " in self.log() or self.process.poll() is not None, f"{self.name} is online")
        assert self.process.poll() is None, self.log()
        return self


class Mesh(Program):
    """`murmesh up` in the background."""

    def __init__(self, directory, *words, programs=PROGRAMS, address="127.0.0.1", port=0, as_json=True, wrap=(), **options):
        self.directory, self.programs, self.agents = Path(directory), programs, []
        command = [*wrap, programs / "murmesh", "up", "--dir", directory, "--port", port, "--address", address, *words]
        super().__init__(command + ["--json"] * as_json, f"{directory}.log", **options)
        if not as_json:
            return
        try:
            self.ready()
        except BaseException:
            self.stop()
            raise

    def ready(self):
        text = self.process.stdout.readline()
        assert text, self.log()
        self.info = json.loads(text)
        self.port = self.info["ports"]["front"]
        up = next(pid for pid in family(self.pid) if title(pid).split()[0].endswith("/murmesh"))
        below = {title(pid).split()[0]: pid for pid in children(up)}
        self.server = Monitor(below["murmesh-server"], "murmesh-server")
        self.agent = Monitor(below["murmesh-agent"], "murmesh-agent")
        return self

    def cli(self, *words, **options):
        return murmesh(*words, directory=self.directory, programs=self.programs, **options)

    def json(self, *words, **options):
        result = self.cli(*words, "--json", **options)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    def key(self, *words):
        return self.json("key", "new", *words)["join"]

    def devices(self):
        return {device["full_name"]: device for device in self.json("ls")}

    def device(self, name):
        """By its plain name, when there is one of it."""
        found = [device for device in self.json("ls") if device["name"] == name]
        return found[0] if len(found) == 1 else None

    def join(self, name, line=None, **options):
        agent = Agent(line or self.key(), self.directory.parent / f"{self.directory.name}-{name}", name, programs=self.programs,
                      **options)
        self.agents.append(agent)
        return agent.online()

    def run(self, *words, **options):
        return self.cli("run", *words, **options)

    def map(self, *specs, options=(), **program):
        return Map(self, specs, options, **program)

    def background(self, *words, **options):
        log = self.directory.parent / f"background-{time.monotonic_ns()}.log"
        return Program([self.programs / "murmesh", "--dir", self.directory, *words], log, **options)

    def works(self, device=None):
        """Whether ls, run and a map do."""
        name = device or next(iter(self.devices().values()))["full_name"]
        if self.cli("ls").returncode or self.run(name, "--", "true").returncode:
            return False
        with Echo() as echo, self.map(f"TCP:0:{name}:HTTP:{echo.port}") as mapped:
            try:
                with mapped.connect() as connection:
                    connection.sendall(b"hello")
                    return connection.recv(100) == b"hello"
            except ConnectionError:
                return False

    def stop(self, number=signal.SIGTERM):
        for agent in self.agents:
            agent.stop()
        return super().stop(number)


class Map(Program):
    """`murmesh map` in the background."""

    def __init__(self, mesh, specs, options=(), **program):
        log = mesh.directory.parent / f"map-{time.monotonic_ns()}.log"
        super().__init__([mesh.programs / "murmesh", "--dir", mesh.directory, "map", *specs, *options, "--json"], log, **program)
        lines = [self.process.stdout.readline() for _ in specs]
        assert all(lines), self.log()
        self.info = [json.loads(line) for line in lines]
        self.port = self.info[0]["local_port"]

    def connect(self, host="127.0.0.1", seconds=20):
        return socket.create_connection((host, self.port), seconds * PATIENCE)


def legs(program, front):
    """How many connections to the front a program has beside the one on which it asks the server."""
    own = set()
    for name in os.listdir(f"/proc/{program.process.pid}/fd"):
        try:
            own.add(os.readlink(f"/proc/{program.process.pid}/fd/{name}").removeprefix("socket:[").rstrip("]"))
        except FileNotFoundError:
            pass
    rows = [line.split() for line in open("/proc/net/tcp").read().splitlines()[1:]]
    return sum(row[2].endswith(f":{front:04X}") and row[3] == "01" and row[9] in own for row in rows) - 1


# ---- targets ----

class Target:
    """A TCP server on a port of its own; each connection is served by a thread with serve(connection)."""

    def __init__(self, serve, host="127.0.0.1"):
        self.listener = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=1024)
        self.port = self.listener.getsockname()[1]
        self.serve, self.connections = serve, []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self.work, args=(connection,), daemon=True).start()

    def work(self, connection):
        try:
            self.serve(connection)
        except OSError:
            pass
        finally:
            connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
        for connection in self.connections:
            connection.close()


class Echo(Target):
    def __init__(self, host="127.0.0.1"):
        super().__init__(self.echo, host)

    @staticmethod
    def echo(connection):
        while data := connection.recv(1 << 16):
            connection.sendall(data)


class UdpEcho:
    """Sends each datagram back, the answer to "who" being its sender's port; knows what came from where."""

    def __init__(self, host="127.0.0.1", port=0):
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.bind((host, port))
        self.port, self.senders, self.lengths, self.over = self.socket.getsockname()[1], set(), [], False
        threading.Thread(target=self.work, daemon=True).start()

    def work(self):
        try:
            while True:
                data, sender = self.socket.recvfrom(1 << 17)
                if self.over:
                    return
                self.senders.add(sender[1])
                self.lengths.append(len(data))
                self.socket.sendto(b"%d" % sender[1] if data == b"who" else data, sender)
        except OSError:
            return

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.over = True
        try:
            self.socket.shutdown(socket.SHUT_RDWR)  # wakes the thread
        except OSError:
            pass
        self.socket.close()


def closed(connection):
    """Whether its other side has ended or reset it."""
    if connection.fileno() < 0:
        return True
    poll = select.poll()
    poll.register(connection, select.POLLRDHUP)
    return bool(poll.poll(0))


def reset(connection):
    """Closes it as a process does that dies with unread data: the other side sees a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()


def join_parts(line):
    """host:port, the secret part, the root's part."""
    return re.fullmatch(r"(.+)#MM1-([a-z2-7]+)-([a-z2-7]+)", line).groups()
