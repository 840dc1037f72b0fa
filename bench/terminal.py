"""terminal: one key typed in `murmesh ssh` until its echo has come back, beside OpenSSH's: straight to its server, and through a map, which takes the
same path as ours (front, relay, the device's net role)."""
import fcntl
import os
import select
import struct
import subprocess
import termios
import time

from lab import BIN, Cpu, Lab, median, report
from sshd import Sshd, here

ROUNDS, KEYS, PAUSE_S, BULK = 4, 150, 0.015, 20_000_000


class Terminal:
    """A program in a terminal, and in it a shell, and in that `cat`: the kernel there echoes."""

    def __init__(self, words):
        self.ours, theirs = os.openpty()
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))

        def lead():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        self.process = subprocess.Popen(list(map(str, words)), stdin=theirs, stdout=theirs, stderr=theirs, preexec_fn=lead)
        os.close(theirs)
        self.until(b"# ", b"$ ")
        os.write(self.ours, b"exec sh\r")
        self.until(b"# ", b"$ ")

    def until(self, *texts):
        said = b""
        while not any(text in said for text in texts):
            if not select.select([self.ours], [], [], 30)[0]:
                raise TimeoutError(said)
            said = said[-100:] + os.read(self.ours, 1 << 16)

    def echo_us(self):
        os.write(self.ours, b"cat >/dev/null\r")
        self.until(b"null\r\n")
        times = []
        for _ in range(KEYS):
            time.sleep(PAUSE_S)
            begin = time.perf_counter()
            os.write(self.ours, b"x")
            self.until(b"x")
            times.append((time.perf_counter() - begin) * 1e6)
        os.write(self.ours, b"\x03")
        self.until(b"# ", b"$ ")
        return median(times), sorted(times)[KEYS * 99 // 100]

    def bulk_s(self):
        """Output of a program that writes as fast as it can."""
        os.write(self.ours, f"head -c {BULK} /dev/zero | tr '\\0' y; echo '>''>'\r".encode())
        begin = time.perf_counter()
        self.until(b">>\r\n")
        return time.perf_counter() - begin

    def close(self):
        self.process.terminate()
        self.process.wait()
        os.close(self.ours)


def terminals(lab):
    mesh = lab.mesh()
    device = mesh.command("ls", "--json")[0]["name"]
    roles = mesh.roles()
    found = {"murmesh": (Terminal([f"{BIN}/murmesh", "--dir", mesh.directory, "ssh", device]), roles)}
    if here():
        sshd = Sshd(lab)
        _, port = mesh.map(sshd.port)
        found["ssh"] = (Terminal(sshd.client(sshd.port, "-t")), {"sshd": sshd.pid})
        found["ssh through a map"] = (Terminal(sshd.client(port, "-t")), roles | {"sshd": sshd.pid})
    return found


def main():
    with Lab() as lab:
        found = terminals(lab)
        rounds = {name: [] for name in found}
        for _ in range(ROUNDS):
            for name, (terminal, pids) in found.items():
                cpu = Cpu({"client": terminal.process.pid, **pids})
                echo, late = terminal.echo_us()
                spent = cpu.spent()
                rounds[name].append({"echo_us": echo, "echo_p99_us": late, "client_cpu_us": spent["client"] * 1e6 / KEYS,
                                     "bulk_mb_s": BULK / terminal.bulk_s() / 1e6})
        for terminal, _ in found.values():
            terminal.close()
    middle = {name: {figure: median([one[figure] for one in measured]) for figure in measured[0]} for name, measured in rounds.items()}
    for name, figures in middle.items():
        report("terminal", path=name, rounds=ROUNDS, **figures)
    report("terminal_ratios", **{f"to_{name.replace(' ', '_')}": middle["murmesh"]["echo_us"] / figures["echo_us"]
                                 for name, figures in middle.items() if name != "murmesh"})


main()
