#!/usr/bin/python3
"""Takes the pictures of README.md: `make screenshots`, as root.  Its fleet lives in namespaces, so that no process of this machine is in a picture."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent))
os.environ.setdefault("MURMESH_BUILD", str(ROOT / "build"))
from console import browser_of  # noqa: E402  (needs the path above)
from harness import PROGRAMS, Mesh, until  # noqa: E402

SERVER, DEVICE = "10.90.0.1", "10.90.0.2"
OTHERS = [("db01", "data", "postgres"), ("db02", "data", "postgres"), ("lab-pi", "lab", "arm"), ("mail", "edge", "smtp"), ("web01", "edge", "web"),
          ("web02", "edge", "web"), ("web03", "edge", "web")]
LOAD = f"""
/usr/bin/python3 -m http.server 8080 --directory /usr/share/doc &
/usr/bin/python3 -m http.server 8081 --directory /usr/share/doc &
while :; do curl -s -o /dev/null http://{DEVICE}:8080/ http://{DEVICE}:8081/bash/; sleep 0.3; done &
while :; do curl -s -o /dev/null --limit-rate 20k http://{DEVICE}:8080/; sleep 0.1; done &
while :; do ps -e > /dev/null; sleep 1; done &
"""
AGENT = """
echo $$ > {pid}; until ip addr show eth0 2>/dev/null; do sleep 0.1; done >/dev/null
hostname atlas; mount -t tmpfs none /root; ip link set lo up; ip addr add {device}/24 dev eth0; ip link set eth0 up
{load}
exec {program} join - --dir {directory} --name atlas < {line}
"""


def device(mesh, folder):
    """One in namespaces of its own, which does something."""
    line, pid = folder / "line", folder / "pid"
    line.write_text(mesh.key())
    script = AGENT.format(pid=pid, device=DEVICE, load=LOAD, program=PROGRAMS / "murmesh", directory=folder / "atlas", line=line)
    agent = subprocess.Popen(["unshare", "--net", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c", script],
                             stdout=subprocess.DEVNULL, stderr=open(folder / "atlas.log", "wb"), env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"})
    until(lambda: pid.exists() and pid.read_text(), "the namespaces")
    inside = subprocess.run(["pgrep", "-P", str(agent.pid)], capture_output=True, text=True, check=True).stdout.split()[0]
    subprocess.run(["ip", "link", "set", "murmesh1", "netns", inside, "name", "eth0"], check=True)
    return agent


def main():
    if "--inside" not in sys.argv:
        return subprocess.run(["unshare", "--net", "--uts", sys.executable, __file__, "--inside", *sys.argv[1:]]).returncode
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["hostname", "console"], check=True)
    pictures = ROOT / "docs/screenshots"
    pictures.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp())
    with Mesh(folder / "server", address=SERVER) as mesh:
        subprocess.run(["ip", "link", "add", "murmesh0", "type", "veth", "peer", "name", "murmesh1"], check=True)
        subprocess.run(["ip", "addr", "add", f"{SERVER}/24", "dev", "murmesh0"], check=True)
        subprocess.run(["ip", "link", "set", "murmesh0", "up"], check=True)
        agent = device(mesh, folder)
        try:
            browser_of(mesh).post("/api/me/setup", {"name": "ada", "password": "a flock at dusk"})
            for name, group, tag in OTHERS:
                mesh.join(name)
                mesh.cli("group", name, group)
                mesh.cli("tag", name, f"+{tag}")
            until(lambda: mesh.device("atlas") and mesh.device("atlas")["online"], "atlas is online", 30)
            mesh.agents[0].stop()
            mesh.cli("run", "tag:web", "--", "uptime")
            until(lambda: not mesh.device("db01")["online"], "db01 is offline")
            given = {"url": mesh.info["url"], "chromium": shutil.which("chromium"), "pictures": str(pictures), "patience": 1, "seconds": 120,
                     "login": mesh.json("login-link")["login"], "device": mesh.device("atlas")["id"], "devices": len(OTHERS) + 2}
            return subprocess.run(["node", HERE / "scenarios/screenshots.mjs"], input=json.dumps(given), text=True).returncode
        finally:
            agent.kill()
            agent.wait()
            shutil.rmtree(folder, ignore_errors=True)


sys.exit(main())
