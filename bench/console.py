"""console: what people wait for in a real browser, with 100 and with 100,000 devices.  console.py BUILD [DEVICES...]"""
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from lab import BENCH, BIN, BUILD, Cpu, Lab, median, memory_kb, report

os.environ["MURMESH_BUILD"] = BUILD
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../tests"))
from console import Browser  # pylint: disable=wrong-import-position

SIZES = list(map(int, sys.argv[2:])) or [100, 100_000]
ROUNDS = 7
QUERIES = ["web", "tag:web and not os:alpine", "name:web-fra-8-1"]
STEPS = {"wheel": 120, "bar": 11_000}  # pixels in a frame: a wheel that is turned fast; the bar pulled from end to end in 5 s
DEAF = 10
ROLES = ("web", "core")


def login_link(mesh):
    return mesh.lab.start_printing(f"{BIN}/murmesh", "--dir", mesh.directory, "login-link", stderr=subprocess.DEVNULL)[1].split()[-1]


def logged_in(mesh):
    return Browser(mesh.port, token=login_link(mesh).split("#token=")[1])


def set_up(mesh):
    """There is an administrator, so that links lead to the fleet."""
    assert logged_in(mesh).post("/api/me/setup", {"name": "ada", "password": "a flock at dusk"}).status == 200


def play(mesh, what, devices, **given):
    """The results of console.mjs."""
    given |= {"what": what, "devices": devices + 1, "url": f"https://127.0.0.1:{mesh.port}/", "cookie": logged_in(mesh).cookie,
              "chromium": shutil.which("chromium"), "folder": tempfile.mkdtemp(dir=mesh.lab.folder), "rounds": ROUNDS}
    done = subprocess.run(["node", f"{HERE}/console.mjs"], input=json.dumps(given), stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


class Beside(threading.Thread):
    """Until stopped: how long `work` takes, in ms, again and again."""

    def __init__(self, work, pause_s):
        super().__init__(daemon=True)
        self.work, self.pause_s, self.over, self.results = work, pause_s, threading.Event(), []

    def run(self):
        while not self.over.wait(self.pause_s):
            self.results.append(self.work())

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()


def ls_ms(mesh):
    """Another who asks for one device."""
    began = time.monotonic()
    subprocess.run([f"{BIN}/murmesh", "--dir", mesh.directory, "ls", "-q", "web-fra-8"], stdout=subprocess.DEVNULL, check=True)
    return (time.monotonic() - began) * 1e3


def pss_kb(pids):
    return [memory_kb(pid, "Pss") for pid in pids]


def server(mesh):
    roles = mesh.roles()
    return {role: roles[f"server {role}"] for role in ROLES}


def view(mesh, n):
    pids = server(mesh)
    before, quiet = pss_kb(pids.values()), [ls_ms(mesh) for _ in range(20)]
    cpu = Cpu(pids)
    rounds = play(mesh, "load", n)
    spent = cpu.spent()
    figures = {name: median([each[name] for each in rounds]) for name in rounds[0]}
    report("console_view", devices=n, **figures, slowest_first_row_ms=max(each["first_row_ms"] for each in rounds),
           **{f"{role}_cpu_ms": spent[role] * 1e3 / ROUNDS for role in ROLES})
    with Beside(lambda: pss_kb(pids.values()), 0.05) as memory, Beside(lambda: ls_ms(mesh), 0.05) as others:
        play(mesh, "load", n)
    time.sleep(1)
    after = pss_kb(pids.values())
    report("console_view_memory", devices=n, **{f"{role}_{name}_kb": kb for name, row in (
        ("before", before), ("most", [max(column) for column in zip(*memory.results)]), ("after", after)) for role, kb in zip(ROLES, row)})
    report("console_view_others", devices=n, quiet_p50_ms=median(quiet), quiet_max_ms=max(quiet), p50_ms=median(others.results),
           max_ms=max(others.results))


def key_figures(results, prefix=""):
    keys = [key for each in results for key in each["keys"]]
    figures = {"p50_ms": median(keys), "p95_ms": statistics.quantiles(keys, n=20)[-1], "max_ms": max(keys)}
    return {f"{prefix}{name}": value for name, value in figures.items()}


def scroll_figures(results, prefix=""):
    return {f"{prefix}{name}": median([each[name] for each in results]) for name in ("frames_per_s", "p95_ms", "longest_ms")}


def use(mesh, n):
    results = play(mesh, "use", n, queries=QUERIES, steps=list(STEPS.values()))

    def of(page, name, value):
        return [each for each in results if each["page"] == page and each.get(name) == value]

    for query in QUERIES:
        mine = of("fleet", "query", query)
        report("console_filter", devices=n, query=query, rows=mine[0]["rows"], **key_figures(mine),
               last_key_ms=median([each["keys"][-1] for each in mine]), **key_figures(of("empty", "query", query), "empty_"))
    for name, pixels in STEPS.items():
        report("console_scroll", devices=n, how=name, **scroll_figures(of("fleet", "pixels", pixels)),
               **scroll_figures(of("empty", "pixels", pixels), "empty_"))


def deaf(mesh, n):
    """Browsers that ask for the fleet and read nothing."""
    pids = server(mesh)
    browser = logged_in(mesh)
    time.sleep(1)
    before = pss_kb(pids.values())
    sockets = [browser.socket().subscribe("fleet") for _ in range(DEAF)]
    time.sleep(5)
    after = pss_kb(pids.values())
    for socket in sockets:
        socket.close()
    report("console_deaf", devices=n, **{f"{role}_kb": (b - a) / DEAF for role, a, b in zip(ROLES, before, after)})


def main():
    for n in SIZES:
        with Lab() as lab:
            mesh = lab.mesh()
            mesh.stop()
            began = time.monotonic()
            subprocess.run([f"{BENCH}/devices", f"{mesh.directory}/db/murmesh.db", str(n)], check=True)
            filled_s = time.monotonic() - began
            mesh = lab.mesh()
            report("console_fixture", devices=n, fill_s=filled_s, start_s=mesh.start_s)
            set_up(mesh)
            time.sleep(12)
            view(mesh, n)
            use(mesh, n)
            deaf(mesh, n)


main()
