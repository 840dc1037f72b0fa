"""idle: memory of all roles of a server and of an agent that have nothing to do (PSS: what is shared counts once)."""
import time

from lab import Lab, memory_kb, report

SETTLE_S = 12


def main():
    with Lab() as lab:
        mesh = lab.mesh()
        time.sleep(SETTLE_S)
        for program in ("server", "agent"):
            roles = {name: memory_kb(pid, "Pss") for name, pid in mesh.roles().items() if name.split()[0] == program}
            report("idle", program=program, pss_mb=sum(roles.values()) / 1024, roles=len(roles),
                   **{f"{name.split()[1]}_kb": kb for name, kb in roles.items()})


main()
