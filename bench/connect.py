"""connect: a new connection through a map until its first byte has come back, at the pace of a person clicking."""
import getpass
import os
import shutil
import socket
import subprocess
import time

from lab import Cpu, Lab, ends, median, report

ROUNDS, CONNECTIONS, PAUSE_US = 3, 80, 15000
SSHD = "/usr/sbin/sshd"


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def wait_for(port):
    for _ in range(200):
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"nobody listens on port {port}")


def ssh(lab, sink):
    """`ssh -L` to an sshd of our own: process ids and port."""
    folder, server, forward = lab.folder, free_port(), free_port()
    os.makedirs("/run/sshd", exist_ok=True)
    for key in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{folder}/{key}"], check=True)
    with open(f"{folder}/sshd_config", "w", encoding="utf-8") as f:
        f.write(f"ListenAddress 127.0.0.1:{server}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/user.pub\nPidFile none\n"
                "StrictModes no\nPermitRootLogin prohibit-password\nUsePAM no\n")
    daemon = lab.start(SSHD, "-D", "-e", "-f", f"{folder}/sshd_config", stderr=subprocess.DEVNULL)
    wait_for(server)
    client = lab.start("ssh", "-F", "none", "-N", "-p", server, "-i", f"{folder}/user", "-o", "Ciphers=aes128-gcm@openssh.com",
                       "-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={folder}/known", "-o", "LogLevel=ERROR",
                       "-L", f"127.0.0.1:{forward}:127.0.0.1:{sink}", f"{getpass.getuser()}@127.0.0.1")
    wait_for(forward)
    return [daemon.pid, client.pid], forward


def scenarios(lab):
    sink = lab.sink()
    mesh = lab.mesh()
    client, port = mesh.map(sink)
    paths = {"murmesh": ([client, *mesh.roles().values()], port),
             "e2e-splice-opt": lab.hops(sink, ("-C", lab.pem()), ("-e", "splice"), ("-L", lab.pem())),
             "splice": lab.hops(sink, *[("-e", "splice")] * 3)}
    if os.path.exists(SSHD) and shutil.which("ssh"):
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
