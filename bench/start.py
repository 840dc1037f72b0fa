"""start: from `murmesh up` to the line that says it is ready: the server, its first keys, and this machine's agent online."""
from lab import Lab, median, report

ROUNDS = 5


def main():
    with Lab() as lab:
        first, again = [], []
        for i in range(ROUNDS):
            for times in (first, again):
                mesh = lab.mesh(f"mesh{i}")
                times.append(mesh.start_s)
                mesh.stop()
    report("start", rounds=ROUNDS, first_s=median(first), again_s=median(again), worst_s=max(first + again))


main()
