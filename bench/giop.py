"""giop: echo by a stock omniORB client over TLS, of murmesh and of omniORB's own server in turns.  giop.py BUILD [ROUNDS]"""
import os
import subprocess
import sys
import time
import types
from pathlib import Path

from lab import Lab, cpu_s, median, report

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
import wire  # noqa: E402

ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 5
SECONDS, SIZE = 3, 256
RULES = {**os.environ, "ORBclientTransportRule": "* ssl,tcp", "ORBserverTransportRule": "* ssl,tcp"}


def client_make(folder):
    subprocess.run(["omniidl", "-bcxx", ROOT / "proto/router.idl"], cwd=folder, check=True)
    subprocess.run(["g++", "-O2", "-I.", "-o", "orb_client", ROOT / "tests/interop/orb_client.cc", "routerSK.cc", "-lomnisslTP4", "-lomniDynamic4", "-lomniORB4",
                    "-lomnithread", "-lssl", "-lcrypto"], cwd=folder, check=True)
    return folder / "orb_client"


def certificate_make(directory, folder):
    """A node's, by the mesh's intermediate."""
    wire.certificate_make(types.SimpleNamespace(directory=Path(directory)), folder)
    pem = folder / "node.pem"
    pem.write_text((folder / "leaf.key").read_text() + (folder / "chain.crt").read_text())
    return pem


def echoes(program, reference, root, pem, pids):
    """Calls a second, and microseconds of the server for each."""
    before = sum(map(cpu_s, pids))
    begin = time.monotonic()
    done = subprocess.run([program, reference, root, pem, "bench", str(SECONDS), str(SIZE)], env=RULES, stdout=subprocess.PIPE, text=True, check=True)
    rate = float(done.stdout)
    spent = sum(map(cpu_s, pids)) - before
    return rate, spent / (rate * min(SECONDS, time.monotonic() - begin)) * 1e6


def main():
    with Lab() as lab:
        mesh = lab.mesh()
        folder = Path(lab.folder) / "giop"
        folder.mkdir()
        program = client_make(folder)
        pem, root = certificate_make(mesh.directory, folder), Path(mesh.directory) / "ca/root.crt"
        ours = mesh.command("ior", "--json")["ior"]
        stock, theirs = lab.start_printing(program, "", root, pem, "serve", "-ORBendPoint", "giop:ssl:127.0.0.1:0", env=RULES)
        servers = {"murmesh": (ours, [mesh.roles()["server orb"]]), "omniorb": (theirs.strip(), [stock.pid])}
        figures = {name: [] for name in servers}
        for _ in range(ROUNDS):
            for name, (reference, pids) in servers.items():
                figures[name].append(echoes(program, reference, root, pem, pids))
        rates = {name: median([rate for rate, _ in rounds]) for name, rounds in figures.items()}
        spent = {name: median([cpu for _, cpu in rounds]) for name, rounds in figures.items()}
        report("giop_echo", **{f"{name}_per_s": rates[name] for name in rates}, **{f"{name}_cpu_us": spent[name] for name in spent},
               ratio=rates["murmesh"] / rates["omniorb"])


main()
