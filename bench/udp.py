"""udp: round trips of datagrams through `murmesh map UDP:...`, beside three processes that only pass them on, in alternating rounds; then many flows."""
import subprocess

from lab import BENCH, Cpu, Lab, median, memory_kb, report

ROUNDS, ASKS, BYTES, FLOWS = 5, 1000, (64, 1200), 10000
HOP = f"{BENCH}/udp_hop"


def port_of(lab, *words):
    process, line = lab.start_printing(HOP, *words)
    return process.pid, int(line)


def ask(pids, port, size):
    cpu = Cpu({pid: pid for pid in pids})
    done = subprocess.run([HOP, "ask", str(port), str(ASKS), str(size)], stdout=subprocess.PIPE, text=True, check=True)
    p50, p99 = map(float, done.stdout.split())
    return {"p50_us": p50, "p99_us": p99, "cpu_us": sum(cpu.spent().values()) * 1e6 / ASKS}


def many(lab, client, agent, port):
    """Memory of a flow at either end, once there are so many."""
    before = {name: memory_kb(pid, "Private_Dirty") for name, pid in (("client", client), ("agent", agent))}
    process, line = lab.start_printing(HOP, "flows", port, FLOWS, stdin=subprocess.PIPE)
    first, again = map(int, line.split())
    after = {name: memory_kb(pid, "Private_Dirty") for name, pid in (("client", client), ("agent", agent))}
    process.stdin.close()
    report("udp_flows", flows=FLOWS, answered=first, answered_again=again,
           **{f"{name}_kb_per_flow": (after[name] - before[name]) / FLOWS for name in before})


def main():
    with Lab() as lab:
        target = port_of(lab, "echo")[1]
        mesh = lab.mesh()
        client, port = mesh.map(target, "UDP:0:{device}::{port}")
        roles = mesh.roles()
        hops, inner = [], target
        for _ in range(3):
            pid, inner = port_of(lab, "forward", inner)
            hops.append(pid)
        paths = {"murmesh": ([client, roles["server relay"], roles["agent net"]], port), "forwarders": (hops, inner)}
        for size in BYTES:
            rounds = {name: [] for name in paths}
            for i in range(ROUNDS + 1):
                for name, path in paths.items():
                    measured = ask(*path, size)
                    if i:  # the first warms up
                        rounds[name].append(measured)
            middle = {name: {figure: median([one[figure] for one in each]) for figure in each[0]} for name, each in rounds.items()}
            for name, figures in middle.items():
                report("udp", path=name, bytes=size, rounds=ROUNDS, **figures)
            report("udp_ratio", bytes=size, p50=middle["murmesh"]["p50_us"] / middle["forwarders"]["p50_us"])
        many(lab, client, roles["agent net"], port)


main()
