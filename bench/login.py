"""login: how long a good request takes while somebody tries passwords: 2,000 bad attempts a second.  login.py BUILD [RATE]"""
import statistics
import subprocess
import sys
import time

from lab import BENCH, BIN, Cpu, Lab, report

RATE = int(sys.argv[2]) if len(sys.argv) > 2 else 2000
SECONDS = 15


def measure(lab, mesh, name, mode):
    """p50, p99 and the longest, in milliseconds, of requests that go on for SECONDS."""
    done = subprocess.run([f"{BENCH}/logins", mode, mesh.directory, str(SECONDS)], stdout=subprocess.PIPE, text=True, check=True)
    n, p50, p99, longest = map(float, done.stdout.split())
    return {f"{name}_n": int(n), f"{name}_p50_ms": p50, f"{name}_p99_ms": p99, f"{name}_max_ms": longest}


def command_ms(mesh):
    """The whole command, process and all: median of 20."""
    times = []
    for _ in range(20):
        begin = time.monotonic()
        subprocess.run([f"{BIN}/murmesh", "--dir", mesh.directory, "ls"], stdout=subprocess.DEVNULL, check=True)
        times.append((time.monotonic() - begin) * 1e3)
    return statistics.median(times)


def round_of(lab, mesh, rate):
    flood = None
    cpu = Cpu(mesh.roles())
    begin = time.monotonic()
    if rate:
        flood, _ = lab.start_printing(f"{BENCH}/logins", "flood", mesh.port, mesh.fingerprint, rate, 3 * SECONDS)
    figures = measure(lab, mesh, "request", "ask") | measure(lab, mesh, "connection", "ask-new") | {"command_ms": command_ms(mesh)}
    if flood:
        sent, answered, counted, busy = map(int, flood.stdout.readline().split())
        figures |= {"sent_per_s": sent / 3 / SECONDS, "counted_per_s": counted / 3 / SECONDS, "busy_per_s": busy / 3 / SECONDS, "answered": answered / sent}
        flood.wait()
    seconds = time.monotonic() - begin
    spent = cpu.spent()
    figures |= {f"{name.split()[1]}_cpu": spent[name] / seconds for name in ("server link", "server core", "server hash")}
    report("login_flood" if rate else "login_quiet", attempts_per_s=rate, **figures)


with Lab() as lab:
    mesh = lab.mesh()
    for rate in (0, RATE):
        round_of(lab, mesh, rate)
