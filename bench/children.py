"""children: what agents below a relay cost it and the server.  N real links from one process (agents.c); children.py BUILD [N]"""
import os
import subprocess
import sys
import time

from lab import BENCH, BIN, Cpu, Lab, children, memory_kb, read, report

N = int(sys.argv[2]) if len(sys.argv) > 2 else 1000
SETTLE_S = 25


def connections_to(pid, port):
    """Established ones of a process to that port."""
    inodes = {text[8:-1] for text in (os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")) if text.startswith("socket:")}
    rows = [line.split() for path in ("/proc/net/tcp", "/proc/net/tcp6") for line in open(path).read().splitlines()[1:]]
    return sum(row[9] in inodes and row[3] == "01" and int(row[2].rsplit(":")[1], 16) == port for row in rows)


def until(condition):
    end = time.monotonic() + 30
    while not condition():
        if time.monotonic() > end:
            sys.exit("children: the relay does not come")
        time.sleep(0.1)


def main():
    with Lab() as lab:
        mesh = lab.mesh()
        folder = f"{lab.folder}/relay"
        os.mkdir(folder)
        with open(f"{folder}/murmesh-agent.ini", "w") as f:
            f.write("[Relay]\nPort = 0\nAddress = 127.0.0.1\n[Probe]\nEnabled = no\n")
        relay = lab.start(f"{BIN}/murmesh", "join", mesh.command("key", "new", "--json")["join"], "--dir", folder, "--name", "relay", stderr=subprocess.DEVNULL)
        until(lambda: any(device["name"] == "relay" and device["online"] for device in mesh.command("ls", "--json")))
        mesh.command("relay", "enable", "relay", "--json")
        until(lambda: any(row["address"] for row in mesh.command("relay", "--json")))
        key = mesh.command("key", "new", "--uses", N, "--relay", "relay", "--json")["join"]
        roles = {read(f"/proc/{pid}/cmdline").split("\0")[0].split(": ")[-1]: pid for pid in children(relay.pid)}
        ours = {f"relay {name}": roles[name] for name in ("link", "net")}
        ours.update({name: pid for name, pid in mesh.roles().items() if name in ("server link", "server core")})
        memory, cpu = {name: memory_kb(pid, "Private_Dirty") for name, pid in ours.items()}, Cpu(ours)
        generator = lab.start(f"{BENCH}/agents", key, N, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        enrolled = float(generator.stdout.readline().split()[1])
        enrol = cpu.spent()
        generator.stdin.write(key.split("#")[0].rsplit(":", 1)[1] + "\n")
        generator.stdin.flush()
        linked = float(generator.stdout.readline().split()[1])
        spent = cpu.spent()
        time.sleep(SETTLE_S)
        rows = mesh.command("relay", "--json")
        figures = {name.replace(" ", "_") + "_kb": (memory_kb(pid, "Private_Dirty") - memory[name]) / N for name, pid in ours.items()}
        figures.update({name.replace(" ", "_") + "_connect_ms": (spent[name] - enrol[name]) * 1e3 / N for name in ours})
        report("children", children=N, online=rows[0]["devices_online"], upward=connections_to(roles["net"], mesh.port), enrolled_s=enrolled, linked_s=linked, **figures)
        generator.stdin.close()
        generator.wait(60)


main()
