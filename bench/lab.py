"""What the benchmarks share: processes with their CPU time and memory, a mesh of this build, results as JSON lines."""
import contextlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

BUILD = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "build")
BENCH, LIMITS, BIN = (os.path.join(BUILD, folder) for folder in ("bench", "bench/limits", "bin"))
WAIT_S = 30
A_SECOND = os.sysconf("SC_CLK_TCK")


def read(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        return f.read()


def ticks():
    """Of all processors since the machine started, and those of them that its host gave to others (steal).  proc(5), /proc/stat."""
    counts = [int(word) for word in read("/proc/stat").split("\n", 1)[0].split()[1:9]]
    return sum(counts), counts[7]


SINCE = {"ticks": ticks(), "taken": 0.0}


def report(result, **figures):
    """One JSON line.  load: runnable processes during the last minute on this many processors; more than those means noise, and so does
    taken_percent: what the host took of them during this measurement."""
    now = ticks()
    if now[0] - SINCE["ticks"][0] > A_SECOND * os.cpu_count():  # lines of one measurement say the same
        SINCE["taken"] = 100 * (now[1] - SINCE["ticks"][1]) / (now[0] - SINCE["ticks"][0])
        SINCE["ticks"] = now
    rounded = {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in figures.items()}
    line = {"result": result, **rounded, "load": os.getloadavg()[0], "taken_percent": round(SINCE["taken"], 1), "processors": os.cpu_count()}
    print(json.dumps(line), flush=True)


def median(values):
    return statistics.median(values)


# ---- processes ----

def cpu_s(pid):
    """CPU seconds of a process with all its threads: the first number of schedstat is nanoseconds on a processor."""
    tasks = f"/proc/{pid}/task"
    return sum(int(read(f"{tasks}/{task}/schedstat").split()[0]) for task in os.listdir(tasks)) * 1e-9


def memory_kb(pid, field):
    """A line of smaps_rollup, such as Pss or Private_Dirty.  Roles are closed to others than root."""
    return int(re.search(rf"^{field}: +(\d+) kB", read(f"/proc/{pid}/smaps_rollup"), re.MULTILINE).group(1))


def slab_kb():
    return int(re.search(r"^Slab: +(\d+) kB", read("/proc/meminfo"), re.MULTILINE).group(1))


def children(pid):
    found = [int(child) for child in read(f"/proc/{pid}/task/{pid}/children").split()]
    return found + [below for child in found for below in children(child)]


class Cpu:
    """CPU time since it was made, by name."""

    def __init__(self, pids):
        self.pids = pids
        self.start = {name: cpu_s(pid) for name, pid in pids.items()}

    def spent(self):
        return {name: cpu_s(pid) - self.start[name] for name, pid in self.pids.items()}


class Lab(contextlib.ExitStack):
    """A folder of its own, and processes that end with it."""

    def __enter__(self):
        super().__enter__()
        self.folder = tempfile.mkdtemp(prefix="murmesh-bench-")
        self.callback(shutil.rmtree, self.folder, ignore_errors=True)
        return self

    def start(self, *words, **options):
        process = subprocess.Popen([str(word) for word in words], text=True, **options)
        self.callback(stop, process)
        return process

    def start_printing(self, *words, **options):
        """Waits for its first line."""
        process = self.start(*words, stdout=subprocess.PIPE, **options)
        line = process.stdout.readline()
        if not line:
            sys.exit(f"{words[0]}: ended with {process.wait()}")
        return process, line

    def hop(self, target, *words):
        process, port = self.start_printing(f"{LIMITS}/hop", "-c", target, *words)
        return process.pid, int(port)

    def hops(self, target, *each):
        """A chain of hops, the outermost first: their process ids and the port of the first."""
        pids = []
        for words in reversed(each):
            pid, target = self.hop(target, *words)
            pids.insert(0, pid)
        return pids, target

    def sink(self):
        return int(self.start_printing(f"{LIMITS}/ends", "sink")[1])

    def pem(self):
        """A key and a self-signed certificate in one file."""
        path = f"{self.folder}/tls.pem"
        if not os.path.exists(path):
            made = subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                                   "-keyout", "-", "-subj", "/CN=localhost"], capture_output=True, check=True)
            with open(path, "wb") as f:
                f.write(made.stdout)
        return path

    def mesh(self, directory="mesh"):
        return Mesh(self, f"{self.folder}/{directory}")


def stop(process):
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(WAIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def ends(*words):
    """Runs one end of a measured path; the numbers that it prints."""
    done = subprocess.run([f"{LIMITS}/ends", *map(str, words)], stdout=subprocess.PIPE, text=True, check=True)
    return [float(number) for number in done.stdout.split()]


class Mesh:
    """`murmesh up` with its server and this machine's agent."""

    def __init__(self, lab, directory):
        self.lab, self.directory = lab, directory
        begin = time.monotonic()
        with open(f"{lab.folder}/log", "a", encoding="utf-8") as log:
            self.process, line = lab.start_printing(f"{BIN}/murmesh", "--dir", directory, "up", "--port", 0, "--address", "127.0.0.1",
                                                    "--json", stderr=log)
        self.start_s = time.monotonic() - begin
        info = json.loads(line)
        self.port, self.fingerprint = info["ports"]["front"], info["fingerprint"]

    def stop(self):
        stop(self.process)

    def command(self, *words):
        done = subprocess.run([f"{BIN}/murmesh", "--dir", self.directory, *map(str, words)], stdout=subprocess.PIPE, check=True)
        return json.loads(done.stdout)

    def map(self, port, spec="TCP:0:{device}:BENCH:{port}"):
        """Maps a port of this machine's agent: the process id of the command line and the local port."""
        device = self.command("ls", "--json")[0]["name"]
        process, line = self.lab.start_printing(f"{BIN}/murmesh", "--dir", self.directory, "map", spec.format(device=device, port=port), "--json")
        return process.pid, json.loads(line)["local_port"]

    def roles(self):
        """Process ids by name: "server link", "agent net" and so on."""
        roles = {}
        for pid in children(self.process.pid):
            title = read(f"/proc/{pid}/cmdline").split("\0")[0]
            program, _, role = title.rpartition("murmesh-")[2].partition(": ")
            roles[f"{program} {role or 'monitor'}"] = pid
        return roles
