"""What a device says of itself, beside what this machine says elsewhere."""
import fcntl
import os
import socket
import struct
from datetime import datetime
from pathlib import Path

from harness import until


def inventory(mesh, name="web02"):
    return until(lambda: mesh.json("show", name)["inventory"], "the inventory is there")


def meminfo():
    return {line.split(":")[0]: int(line.split()[1]) * 1024 for line in Path("/proc/meminfo").read_text().splitlines()}


def test_machine(mesh):
    told, names = inventory(mesh), os.uname()
    assert told["kernel"] == f"{names.sysname} {names.release}"
    assert told["processors"] == os.sysconf("SC_NPROCESSORS_ONLN")
    assert told["memory"] == meminfo()["MemTotal"]
    assert abs(told["memory_available"] - meminfo()["MemAvailable"]) < told["memory"] / 5
    booted = next(int(line.split()[1]) for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime"))
    assert abs(datetime.fromisoformat(told["boot_time"].replace("Z", "+00:00")).timestamp() - booted) <= 10
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    assert told["os"] == release["PRETTY_NAME"].strip('"')


def test_file_systems(mesh):
    rows = inventory(mesh)["file_systems"]
    assert rows and rows[0]["path"] == "/"
    for row in rows:
        space = os.statvfs(row["path"])
        assert row["size"] == space.f_blocks * space.f_frsize
        assert abs(row["available"] - space.f_bavail * space.f_frsize) < row["size"] / 20
    assert len({os.stat(row["path"]).st_dev for row in rows}) == len(rows)


def test_interfaces(mesh):
    rows = {row["name"]: row for row in inventory(mesh)["interfaces"]}
    assert "127.0.0.1/8" in rows["lo"]["addresses"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as query:
        for _, name in socket.if_nameindex():
            if name not in rows:
                continue
            hardware = Path(f"/sys/class/net/{name}/address").read_text().strip()
            if rows[name]["hardware"]:
                assert rows[name]["hardware"] == hardware
            try:
                answer = fcntl.ioctl(query, 0x8915, struct.pack("256s", name.encode()))  # SIOCGIFADDR
            except OSError:
                continue
            address = socket.inet_ntoa(answer[20:24])
            assert any(text.startswith(f"{address}/") for text in rows[name]["addresses"])


def test_again_after_a_new_link(mesh):
    """It is there for a machine that comes back as for one that comes first."""
    agent = mesh.join("again")
    first = inventory(mesh, "again")
    assert first["processors"] >= 1
    agent.stop()
    until(lambda: not mesh.device("again")["online"], "offline")
    assert inventory(mesh, "again")["kernel"] == first["kernel"]  # kept
