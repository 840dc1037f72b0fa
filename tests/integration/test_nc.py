"""`murmesh nc` and `murmesh ssh-config`: standard input and output through a tunnel, and stock ssh, scp, rsync and ansible over it."""
import getpass
import hashlib
import os
import pty
import random
import re
import shutil
import signal
import socket
import subprocess
import threading

import pytest

from harness import PATIENCE, IS_ROOT, Agent, Echo, Program, Target, refused, until

MEGABYTES = random.Random(2).randbytes(5 << 20)


def sha(data):
    return hashlib.sha256(data).hexdigest().encode()


def digest(connection):
    """Answers after the client's end: it has seen all, and that it is all."""
    connection.sendall(sha(b"".join(iter(lambda: connection.recv(65536), b""))))


# ---- nc ----

def nc(mesh, *words, **options):
    return mesh.cli("nc", *words, text=False, **options)


def test_bytes_both_ways(mesh):
    with Target(digest) as target:
        result = nc(mesh, "web02", target.port, input=MEGABYTES)
        assert (result.returncode, result.stdout, result.stderr) == (0, sha(MEGABYTES), b"")
        assert nc(mesh, "WEB02-1", f"127.0.0.1:{target.port}", input=b"").stdout == sha(b"")
    with Echo("::1") as echo:
        result = nc(mesh, "web02", f"[::1]:{echo.port}", input=MEGABYTES)
        assert (result.returncode, result.stdout == MEGABYTES) == (0, True)


def test_files_as_input_and_output(mesh, tmp_path):
    (tmp_path / "in").write_bytes(MEGABYTES)
    with Echo() as echo, open(tmp_path / "in", "rb") as source, open(tmp_path / "out", "wb") as sink:
        command = [mesh.programs / "murmesh", "--dir", mesh.directory, "nc", "web02", str(echo.port)]
        assert subprocess.run(command, stdin=source, stdout=sink, timeout=30 * PATIENCE).returncode == 0
    assert (tmp_path / "out").read_bytes() == MEGABYTES


def test_half_close_of_the_target(mesh):
    """Standard output ends, and what is written afterwards still arrives."""
    got = []

    def serve(connection):
        connection.sendall(b"all that I say")
        connection.shutdown(socket.SHUT_WR)
        got.append(b"".join(iter(lambda: connection.recv(65536), b"")))

    with Target(serve) as target:
        ours, theirs = socket.socketpair()
        with ours, mesh.background("nc", "web02", target.port, stdin_file=theirs, stdout_file=theirs) as program:
            theirs.close()
            assert b"".join(iter(lambda: ours.recv(100), b"")) == b"all that I say"
            ours.sendall(MEGABYTES)
            ours.shutdown(socket.SHUT_WR)
            assert program.wait() == 0 and program.log() == ""
        until(lambda: got, "the target got it")
        assert got == [MEGABYTES]


def test_slow_reader_holds_the_sender_back(mesh):
    sent = [0]

    def serve(connection):
        while sent[0] < 200:
            connection.sendall(b"x" * (1 << 20))
            sent[0] += 1

    with Target(serve) as target, mesh.background("nc", "web02", target.port) as program:
        assert program.process.stdout.read(1) == b"x"
        before = -1
        while before != sent[0]:
            before = sent[0]
            try:
                program.wait(0.4 / PATIENCE)
            except subprocess.TimeoutExpired:
                pass
        assert sent[0] < 60


def broken(connection, notes):
    try:
        while connection.recv(100):
            pass
        notes.append("ended")
    except ConnectionResetError:
        notes.append("broken")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_killed_is_no_clean_end(mesh, number):
    notes = []
    with Target(lambda connection: broken(connection, notes)) as target, \
            mesh.background("nc", "web02", target.port, stdin_file=subprocess.PIPE) as program:
        program.process.stdin.write(b"not all")
        program.process.stdin.flush()
        until(lambda: target.connections, "the connection")
        program.process.send_signal(number)
        program.wait()
        assert until(lambda: notes, "the target saw it") == ["broken"]
        program.process.stdin.close()


def test_reader_goes_away(mesh):
    """As in `murmesh nc ... | head`."""
    def serve(connection):
        while True:
            connection.sendall(b"line\n" * 1000)

    with Target(serve) as target, mesh.background("nc", "web02", target.port) as program:
        assert program.process.stdout.readline() == b"line\n"
        program.process.stdout.close()
        assert program.wait() == -signal.SIGPIPE


def test_target_breaks(mesh):
    def serve(connection):
        connection.sendall(b"x")
        connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    with Target(serve) as target, mesh.background("nc", "web02", target.port, stdin_file=subprocess.PIPE) as program:
        assert program.process.stdout.read(1) == b"x"
        program.process.stdin.write(b"y")
        program.process.stdin.flush()
        assert program.wait() == 1 and "broke" in program.log()
        program.process.stdin.close()


def test_at_a_terminal(mesh):
    """The end of the other side is enough; a typed line arrives."""
    def serve(connection):
        line = connection.recv(100)
        connection.sendall(b"got " + line)

    master, slave = pty.openpty()
    with Target(serve) as target, mesh.background("nc", "web02", target.port, stdin_file=slave, stdout_file=slave) as program:
        os.write(master, b"hello\n")
        assert program.wait() == 0
        assert b"got hello" in os.read(master, 1000)
    os.close(master)
    os.close(slave)


def test_refusals(mesh):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    refused(mesh.cli("nc", "web02", port), 1, "E1300")
    refused(mesh.cli("nc", "nobody", 22), 3, "E1017")
    refused(mesh.cli("nc", "a b", 22), None, "a b")
    for target in ("", "ssh", "0", "host:", "1-2", "fe80::1:22", "[fe80::1"):
        refused(mesh.cli("nc", "web02", target), 2, "column")
    mesh.join("off-nc").stop()
    until(lambda: not mesh.device("off-nc")["online"], "offline")
    refused(mesh.cli("nc", "off-nc", 22), 1, "E1028")
    refused(mesh.cli("nc", "--strict", "off-nc", 22), 3, "E1028")


# ---- ssh-config ----

class Sshd(Program):
    """A stock sshd for this user only, and the client's side of it: a key, a configuration."""

    def __init__(self, folder, mesh, config):
        self.folder = folder
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
        shutil.copy(folder / "user.pub", folder / "authorized_keys")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        (folder / "sshd.conf").write_text(f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\nStrictModes no\n"
                                          f"AuthorizedKeysFile {folder}/authorized_keys\nPermitRootLogin yes\nUsePAM no\nSubsystem sftp internal-sftp\n")
        (folder / "ssh.conf").write_text(config + f"Host *\n\tPort {self.port}\n\tIdentityFile {folder}/user\n\tIdentitiesOnly yes\n\tBatchMode yes\n"
                                         f"\tUserKnownHostsFile {folder}/known\n\tGlobalKnownHostsFile /dev/null\n\tStrictHostKeyChecking accept-new\n")
        super().__init__(["/usr/sbin/sshd", "-D", "-e", "-f", folder / "sshd.conf"], folder / "sshd.log")
        until(lambda: "listening" in self.log() or self.process.poll() is not None, "sshd listens")
        assert self.process.poll() is None, self.log()

    def run(self, *command, **options):
        result = subprocess.run([str(word) for word in command], capture_output=True, timeout=60 * PATIENCE, **{"stdin": subprocess.DEVNULL, **options})
        assert result.returncode == 0, (result.stderr, self.log())
        return result.stdout

    def ssh(self, *words, **options):
        return self.run("ssh", "-F", self.folder / "ssh.conf", *words, **options)


@pytest.fixture
def sshd(mesh, tmp_path):
    if IS_ROOT:
        os.makedirs("/run/sshd", exist_ok=True)
    result = mesh.cli("ssh-config", "--user", getpass.getuser())
    assert result.returncode == 0, result.stderr
    with Sshd(tmp_path, mesh, result.stdout) as running:
        yield running


needs_sshd = pytest.mark.skipif(not shutil.which("/usr/sbin/sshd"), reason="there is no sshd")


@needs_sshd
def test_ssh(mesh, sshd):
    assert sshd.ssh("web02", "echo through $((6 * 7))") == b"through 42\n"
    assert sshd.ssh("web02-1", "sha256sum | cut -c1-64", input=MEGABYTES, stdin=None).strip() == sha(MEGABYTES)
    failed = subprocess.run(["ssh", "-F", str(sshd.folder / "ssh.conf"), "web02", "exit 9"], timeout=30 * PATIENCE)
    assert failed.returncode == 9
    # the host key belongs to the device, whatever name it is called by
    assert (sshd.folder / "known").read_text().count("\n") == 1
    assert f"murmesh-{mesh.device('web02')['id']}" in (sshd.folder / "known").read_text()


@needs_sshd
def test_scp(mesh, sshd, tmp_path):
    (tmp_path / "a").write_bytes(MEGABYTES)
    sshd.run("scp", "-q", "-F", tmp_path / "ssh.conf", tmp_path / "a", f"web02:{tmp_path}/b")
    sshd.run("scp", "-q", "-F", tmp_path / "ssh.conf", f"web02:{tmp_path}/b", tmp_path / "c")
    assert (tmp_path / "c").read_bytes() == MEGABYTES


@needs_sshd
@pytest.mark.skipif(not shutil.which("rsync"), reason="there is no rsync")
def test_rsync(mesh, sshd, tmp_path):
    (tmp_path / "from" / "deep").mkdir(parents=True)
    for name, data in (("one", MEGABYTES), ("deep/two", b"2")):
        (tmp_path / "from" / name).write_bytes(data)
    sshd.run("rsync", "-a", "-e", f"ssh -F {tmp_path}/ssh.conf", f"{tmp_path}/from/", f"web02:{tmp_path}/to/")
    assert (tmp_path / "to" / "one").read_bytes() == MEGABYTES and (tmp_path / "to" / "deep" / "two").read_bytes() == b"2"


@needs_sshd
@pytest.mark.skipif(not shutil.which("ansible"), reason="there is no ansible")
def test_ansible(mesh, sshd, tmp_path):
    environment = {**os.environ, "ANSIBLE_SSH_ARGS": f"-F {tmp_path}/ssh.conf", "ANSIBLE_HOME": str(tmp_path / "ansible"),
                   "ANSIBLE_LOCAL_TEMP": str(tmp_path / "local"), "ANSIBLE_REMOTE_TEMP": str(tmp_path / "remote"), "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3"}
    assert b'"ping": "pong"' in sshd.run("ansible", "-i", "web02,", "web02", "-m", "ping", env=environment)


def test_blocks(mesh, tmp_path):
    """Names of several devices stand for none of them; every letter in any case that people use."""
    agents = [Agent(mesh.key(), tmp_path / f"confd{i}", name).online() for i, name in enumerate(("confDup", "confdup", "ConfOne"))]
    text = mesh.cli("ssh-config", "name:conf").stdout
    hosts = re.findall(r"^Host (.*)$", text, re.M)
    assert sorted(hosts) == ["ConfOne-1 confone-1 ConfOne confone", "confDup-1 confdup-1", "confdup-2"]
    ids = {device["id"] for device in mesh.json("ls", "name:conf")}
    assert set(re.findall(r"nc (\S+) %p$", text, re.M)) == ids and "User" not in text
    assert f"--dir {mesh.directory}" in text
    for agent in agents:
        agent.stop()


def test_odd_folder(new_mesh):
    """A folder whose name a shell and ssh would both misread."""
    odd = new_mesh(name="it's 100% odd")
    odd.join("web02")
    config = odd.directory.parent / "ssh.conf"
    config.write_text(odd.cli("ssh-config").stdout)
    with Target(lambda connection: (connection.recv(100), connection.sendall(b"SSH-1.0-nothing\r\n"))) as target:
        result = subprocess.run(["ssh", "-F", str(config), "-p", str(target.port), "-o", "BatchMode=yes", "web02"], capture_output=True, text=True,
                                timeout=30 * PATIENCE, stdin=subprocess.DEVNULL)
        assert "versions differ: 2 vs. 1" in result.stderr, result.stderr  # it spoke with the target


def test_wrong_words(mesh):
    refused(mesh.cli("ssh-config", "--user", "a b"), None, "a b")
    refused(mesh.cli("ssh-config", "nobody"), 3, "E1017")
