"""A fleet of 2,000 machines, which bench/devices puts into the database of a stopped server: it comes whole, in order, in pieces."""
import subprocess

from console import browser_of
from harness import BUILD

N = 2000


def order(device):
    name, token = device["full_name"].rsplit("-", 1)
    return name.lower(), int(token)


def devices_of(events):
    return [event["device"] for event in events if "device" in event]


def test_many_devices(new_mesh):
    mesh = new_mesh(name="server")
    mesh.stop()
    subprocess.run([BUILD / "bench/devices", mesh.directory / "db/murmesh.db", str(N)], check=True, timeout=120)
    mesh = new_mesh(name="server")
    listed = mesh.json("ls")
    browser = browser_of(mesh)
    with browser.socket() as deaf, browser.socket() as socket:
        deaf.subscribe("fleet")  # reads when all is over
        events = socket.snapshot()
        assert events[-1] == {"complete": True}
        devices = devices_of(events)
        assert len(devices) == N + 1 and len({device["id"] for device in devices}) == N + 1
        assert [order(device) for device in devices] == sorted(map(order, devices))
        assert [device["id"] for device in devices] == [device["id"] for device in listed]

        wanted = [device["id"] for device in devices if "web" in device["tags"] and "alpine" not in device["os"].lower()]
        assert 0 < len(wanted) < N / 4
        assert [device["id"] for device in mesh.json("ls", "tag:web and not os:alpine")] == wanted
        assert [device["name"] for device in mesh.json("ls", devices[7]["full_name"])] == [devices[7]["name"]]

        first, last = devices[0]["id"], devices[-1]["id"]
        for device, name in ((first, "zzz"), (last, "aaa")):
            assert browser.request("PATCH", f"/api/devices/{device}", {"name": name}).status == 204
            socket.until(lambda event, name=name: event.get("device", {}).get("name") == name)
        late = {device["id"]: device["name"] for device in devices_of(deaf.until(lambda event: event.get("device", {}).get("name") == "aaa"))}
        assert len(late) == N + 1 and late[first] == "zzz" and late[last] == "aaa"
