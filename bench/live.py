"""live: an event from the kernel to a browser: how late it is there, at some number of events a second, and what collect and viz take for it."""
import os
import socket
import sys
import threading
import time

from lab import Cpu, Lab, memory_kb, report

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests"))
os.environ.setdefault("MURMESH_BUILD", os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "build"))

from console import Browser  # noqa: E402  (needs the path above)

RATES = [100, 1000]
SECONDS = 15


def storm(per_second, done):
    """Connections to this machine that begin and end: two events each."""
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as server:
        begin, n = time.monotonic(), 0
        while not done.is_set():
            with socket.create_connection(server.getsockname()), server.accept()[0]:
                n += 1
            wait = begin + n * 2 / per_second - time.monotonic()
            if wait > 0:
                time.sleep(wait)


def quantile(values, q):
    return sorted(values)[min(len(values) - 1, int(len(values) * q))]


def measure(mesh, browser, device, per_second):
    done, late, events, not_shown, missing = threading.Event(), {"newconn": [], "delconn": []}, 0, 0, 0
    roles = {name: mesh.roles()[f"server {name}"] for name in ("link", "collect", "viz", "web")}
    with browser.socket() as page:
        page.snapshot("live", device=device)
        worker = threading.Thread(target=storm, args=(per_second, done))
        worker.start()
        settled = time.monotonic() + 2
        while time.monotonic() < settled:
            page.message()
        cpu, end = Cpu(roles), time.monotonic() + SECONDS
        while time.monotonic() < end:
            message = page.message()
            now = time.time()
            for event in message["events"]:
                events += 1
                row = event.get("row")
                if row and row["event"] in late:
                    late[row["event"]].append(now - row["time_us"] / 1e6)
                note = event.get("missing")
                if note and note.get("not_shown"):
                    not_shown = note["events"]
                elif note:
                    missing = note["events"]
        spent = cpu.spent()
        done.set()
        worker.join()
    shown = late["newconn"]
    report("live_late", events_per_s=per_second, rows=len(shown), p50_ms=quantile(shown, 0.5) * 1000, p99_ms=quantile(shown, 0.99) * 1000,
           not_shown=not_shown, missing=missing, messages_per_s=events / SECONDS,
           **{f"{name}_cpu_percent": spent[name] / SECONDS * 100 for name in roles},
           **{f"{name}_pss_kb": memory_kb(pid, "Pss") for name, pid in roles.items()})


def main():
    with Lab() as lab:
        mesh = lab.mesh()
        time.sleep(5)
        report("live_idle", **{f"{role}_pss_kb": memory_kb(mesh.roles()[f"server {role}"], "Pss") for role in ("collect", "viz")})
        device = mesh.command("ls", "--json")[0]["id"]
        browser = Browser(mesh.port, token=mesh.command("login-link", "--json")["login"].split("#token=")[1])
        for per_second in RATES:
            measure(mesh, browser, device, per_second)


main()
