"""connect: a new connection through a map until its first byte has come back, at the pace of a person clicking."""
from lab import Cpu, Lab, ends, median, report
from sshd import Sshd, free_port, here, wait_for

ROUNDS, CONNECTIONS, PAUSE_US = 3, 80, 15000


def ssh(lab, sink):
    """`ssh -L`: process ids and port."""
    sshd, forward = Sshd(lab), free_port()
    client = lab.start(*sshd.client(sshd.port, "-N", "-L", f"127.0.0.1:{forward}:127.0.0.1:{sink}"))
    wait_for(forward)
    return [sshd.pid, client.pid], forward


def scenarios(lab):
    sink = lab.sink()
    mesh = lab.mesh()
    client, port = mesh.map(sink)
    paths = {"murmesh": ([client, *mesh.roles().values()], port),
             "e2e-splice-opt": lab.hops(sink, ("-C", lab.pem()), ("-e", "splice"), ("-L", lab.pem())),
             "splice": lab.hops(sink, *[("-e", "splice")] * 3)}
    if here():
        paths["ssh -L"] = ssh(lab, sink)
    return paths


def connect(pids, port):
    cpu = Cpu({pid: pid for pid in pids})
    middle_us = ends("connect", port, CONNECTIONS, PAUSE_US)[0]
    return {"connect_echo_us": middle_us, "cpu_us": sum(cpu.spent().values()) * 1e6 / CONNECTIONS}


def main():
    with Lab() as lab:
        paths = scenarios(lab)
        rounds = {name: [] for name in paths}
        for _ in range(ROUNDS):
            for name, path in paths.items():
                rounds[name].append(connect(*path))
    middle = {name: {figure: median([one[figure] for one in measured]) for figure in measured[0]} for name, measured in rounds.items()}
    for name, figures in middle.items():
        report("connect", path=name, rounds=ROUNDS, **figures)
    report("connect_ratios", **{f"to_{name.replace(' ', '')}": middle["murmesh"]["connect_echo_us"] / figures["connect_echo_us"]
                                for name, figures in middle.items() if name != "murmesh"})


main()
