"""agents: memory and CPU of a connected agent in the server.  N real links from one process (agents.c); agents.py BUILD [N]"""
import subprocess
import sys
import time

from lab import BENCH, Cpu, Lab, memory_kb, report, slab_kb

N = int(sys.argv[2]) if len(sys.argv) > 2 else 2000
SETTLE_S = 25  # the server has put its memory in order by then


def private_kb(pids):
    return {name: memory_kb(pid, "Private_Dirty") for name, pid in pids.items()}


def stage(generator):
    line = generator.stdout.readline()
    if not line:
        sys.exit(f"agents: ended with {generator.wait()}")
    return float(line.split()[1])


def main():
    with Lab() as lab:
        mesh = lab.mesh()
        key = mesh.command("key", "new", "--uses", N, "--json")["join"]
        cpu = Cpu(mesh.roles())
        generator = lab.start(f"{BENCH}/agents", key, N, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        seconds = stage(generator)
        report("enrolment", agents=N, seconds=seconds, cpu_ms=sum(cpu.spent().values()) * 1e3 / N)
        mesh.stop()

        mesh = lab.mesh()  # a new heap, that enrolments have not left holes in
        roles = {name: pid for name, pid in mesh.roles().items() if name.startswith("server ")}
        time.sleep(SETTLE_S)
        memory, slab, cpu = private_kb(roles), slab_kb(), Cpu(roles)
        generator.stdin.write(f"{mesh.port}\n")
        generator.stdin.flush()
        seconds = stage(generator)
        spent = cpu.spent()
        at_once = private_kb(roles)
        time.sleep(SETTLE_S)
        grown = {name: (kb - memory[name]) / N for name, kb in private_kb(roles).items()}
        kernel = (slab_kb() - slab) / 2 / N  # both ends of each connection are on this machine
        idle = Cpu(roles)
        time.sleep(SETTLE_S)
        online = sum(device["online"] for device in mesh.command("ls", "--json"))
        user = sum(grown.values())
        report("agents", agents=N, online=online - 1, user_kb=user, link_kb=grown["server link"], core_kb=grown["server core"],
               user_at_once_kb=(sum(at_once.values()) - sum(memory.values())) / N, kernel_kb=kernel, total_kb=user + kernel,
               connect_cpu_ms=sum(spent.values()) * 1e3 / N, link_cpu_ms=spent["server link"] * 1e3 / N,
               core_cpu_ms=spent["server core"] * 1e3 / N, connect_s=seconds,
               idle_cpu_us_per_s=sum(idle.spent().values()) * 1e6 / N / SETTLE_S)
        generator.stdin.close()
        generator.wait(60)
        time.sleep(SETTLE_S)
        report("agents_gone", kb_not_given_back=sum(private_kb(roles).values()) - sum(memory.values()))


main()
