"""web: the console's server: what a first view costs, requests a second, logins under a flood of bad ones.  web.py BUILD [RATE]"""
import gzip
import json
import multiprocessing
import re
import socket
import ssl
import subprocess
import sys
import threading
import time

from lab import BIN, Cpu, Lab, memory_kb, report

RATE = int(sys.argv[2]) if len(sys.argv) > 2 else 2000
SECONDS = 10
FLOOD_THREADS = 40
CONNECTIONS = 100


class Client:
    """One keep-alive connection."""

    def __init__(self, port):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        raw = socket.create_connection(("127.0.0.1", port), 30)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.tls = context.wrap_socket(raw)
        self.host, self.rest = f"127.0.0.1:{port}", b""

    def request(self, method, path, body=None, *more):
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.host}", *more]
        if method != "GET":
            lines += ["x-murmesh: 1", f"Origin: https://{self.host}", f"Content-Length: {len(body or b'')}"]
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + (body or b"")

    def answer(self):
        """Status, head and body."""
        data = self.rest
        while b"\r\n\r\n" not in data:
            data += self.more()
        head, _, data = data.partition(b"\r\n\r\n")
        size = re.search(rb"\r\nContent-Length: (\d+)", head)
        size = int(size.group(1)) if size else 0
        while len(data) < size:
            data += self.more()
        self.rest = data[size:]
        return int(head[9:12]), head, data[:size]

    def more(self):
        data = self.tls.recv(65536)
        if not data:
            raise ConnectionError("closed")
        return data

    def ask(self, *words):
        self.tls.sendall(self.request(*words))
        return self.answer()


def login(mesh):
    """The session's cookie of the administrator `local`."""
    words = mesh.lab.start_printing(f"{BIN}/murmesh", "--dir", mesh.directory, "login-link",
                                    stderr=subprocess.DEVNULL)[1]
    token = words.split("#token=")[1].split()[0]
    status, head, _ = Client(mesh.port).ask("POST", "/api/login/link", json.dumps({"token": token}).encode())
    assert status == 200
    return "Cookie: " + re.search(rb"Set-Cookie: ([^;]+)", head).group(1).decode()


# ---- what the first view costs ----

def first_view(mesh):
    client = Client(mesh.port)
    began = time.monotonic()
    _, head, page = client.ask("GET", "/", None, "Accept-Encoding: gzip")
    plain = gzip.decompress(page) if b"Content-Encoding: gzip" in head else page
    paths = ["/"] + re.findall(r'(?:src|href)="(/[^"]+)"', plain.decode())
    size = sum(len(client.ask("GET", path, None, "Accept-Encoding: br")[2]) for path in paths)
    report("web_first_view", requests=len(paths), brotli_kb=size / 1024, all_ms=(time.monotonic() - began) * 1e3)


# ---- requests a second ----

def hammer(port, lines, seconds, queue):
    client, n = Client(port), 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        client.ask(*lines)
        n += 1
    queue.put(n)


def rate_of(mesh, name, *lines):
    queue, cpu = multiprocessing.Queue(), Cpu(mesh.roles())
    workers = [multiprocessing.Process(target=hammer, args=(mesh.port, lines, SECONDS, queue)) for _ in range(4)]
    for worker in workers:
        worker.start()
    n = sum(queue.get() for _ in workers)
    spent = cpu.spent()
    report(name, per_s=n / SECONDS, web_us=spent["server web"] / n * 1e6, core_us=spent["server core"] / n * 1e6)


# ---- bad logins ----

def flood(port, seconds, queue):
    """Each thread asks at its share of the rate, whatever the answer is."""
    counts = {"sent": 0}
    lock = threading.Lock()

    def work(number):
        client, mine = Client(port), {}
        began, sent = time.monotonic(), 0
        while time.monotonic() < began + seconds:
            due = began + sent * FLOOD_THREADS / RATE
            time.sleep(max(0, due - time.monotonic()))
            body = json.dumps({"name": f"user{number}-{sent % 50}", "password": "guess"}).encode()
            status, _, _ = client.ask("POST", "/api/login", body)
            mine[status] = mine.get(status, 0) + 1
            sent += 1
        with lock:
            counts["sent"] += sent
            for status, n in mine.items():
                counts[status] = counts.get(status, 0) + n
    threads = [threading.Thread(target=work, args=(number,)) for number in range(FLOOD_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    queue.put(counts)


def latencies(mesh, cookie, seconds):
    client, times, end = Client(mesh.port), [], time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        status, _, _ = client.ask("GET", "/api/me", None, cookie)
        times.append((time.monotonic() - began) * 1e3)
        assert status == 200
        time.sleep(0.005)
    times.sort()
    return {"n": len(times), "p50_ms": times[len(times) // 2], "p99_ms": times[len(times) * 99 // 100], "max_ms": times[-1]}


def login_flood(mesh, cookie):
    report("web_quiet", **latencies(mesh, cookie, SECONDS))
    queue, cpu = multiprocessing.Queue(), Cpu(mesh.roles())
    attacker = multiprocessing.Process(target=flood, args=(mesh.port, SECONDS + 4, queue))
    attacker.start()
    time.sleep(2)
    figures = latencies(mesh, cookie, SECONDS)
    counts = queue.get()
    spent = cpu.spent()
    report("web_login_flood", attempts_per_s=counts.pop("sent") / (SECONDS + 4), **figures,
           **{f"status_{status}": n for status, n in counts.items()},
           **{f"{role}_cpu": spent[f"server {role}"] / (SECONDS + 4) for role in ("web", "core", "hash")})


# ---- memory ----

def memory(mesh, cookie):
    web = mesh.roles()["server web"]

    def kb(field="Pss"):
        return memory_kb(web, field)
    idle = kb()
    clients = []
    for _ in range(CONNECTIONS):
        clients.append(Client(mesh.port))
        clients[-1].ask("GET", "/api/me", None, cookie)
    time.sleep(1)
    kept = kb()
    for client in clients:
        client.tls.close()
    report("web_memory", idle_kb=idle, idle_dirty_kb=memory_kb(web, "Private_Dirty"), connection_kb=(kept - idle) / CONNECTIONS)


def main():
    with Lab() as lab:
        mesh = lab.mesh()
        time.sleep(12)
        cookie = login(mesh)
        memory(mesh, cookie)
        first_view(mesh)
        rate_of(mesh, "web_asset", "GET", "/", None, "Accept-Encoding: br")
        rate_of(mesh, "web_me", "GET", "/api/me", None, cookie)
        login_flood(mesh, cookie)


main()
