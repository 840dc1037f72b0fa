"""tunnel: throughput and CPU of one stream through `murmesh map`, beside the limits of this machine in alternating rounds."""
from lab import BUILD, Cpu, Lab, ends, median, report

ROUNDS, SECONDS = 7, 1.0


def scenarios(lab):
    """Name: (process ids by part, port to connect to); the middle part is what a server pays."""
    sink, pem = lab.sink(), lab.pem()
    mesh = lab.mesh()
    client, port = mesh.map(sink)
    roles = mesh.roles()
    parts = ("client", "relay", "agent")
    tls, tls_port = lab.hops(sink, ("-C", pem), ("-e", "splice"), ("-L", pem))
    plain, plain_port = lab.hops(sink, *[("-e", "splice")] * 3)
    return {"murmesh": ({"client": client, "relay": roles["server relay"], "agent": roles["agent net"]}, port),
            "e2e-splice-opt": (dict(zip(parts, tls)), tls_port),
            "splice": (dict(zip(parts, plain)), plain_port)}


def blast(pids, port):
    cpu = Cpu(pids)
    count, seconds = ends("blast", port, SECONDS)
    gb = count * 1e-9
    spent = {part: value / gb for part, value in cpu.spent().items()}
    return {"gb_per_s": gb / seconds, **{f"{part}_cpu_s_per_gb": value for part, value in spent.items()},
            "cpu_s_per_gb": sum(spent.values())}


def main():
    with Lab() as lab:
        paths = scenarios(lab)
        rounds = {name: [] for name in paths}
        for i in range(ROUNDS + 1):
            for name, path in paths.items():
                measured = blast(*path)
                if i:  # the first warms up
                    rounds[name].append(measured)
    middle = {name: {figure: median([one[figure] for one in measured]) for figure in measured[0]} for name, measured in rounds.items()}
    for name, figures in middle.items():
        report("tunnel", path=name, rounds=ROUNDS, **figures)
    ours, tls, plain = (middle[name] for name in ("murmesh", "e2e-splice-opt", "splice"))
    report("tunnel_ratios", throughput_to_e2e=ours["gb_per_s"] / tls["gb_per_s"], cpu_to_e2e=ours["cpu_s_per_gb"] / tls["cpu_s_per_gb"],
           relay_cpu_to_e2e_hop=ours["relay_cpu_s_per_gb"] / tls["relay_cpu_s_per_gb"],
           relay_cpu_to_splice_hop=ours["relay_cpu_s_per_gb"] / plain["relay_cpu_s_per_gb"])


main()
