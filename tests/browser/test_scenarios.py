"""The console in a real browser against a real mesh; each test plays one scenario."""
import json
import socket
from concurrent import futures

import pytest

import rogue
from harness import until
from wire import Device, refusal

HOST = socket.gethostname()


def test_first_run(scenario, new_mesh):
    mesh = new_mesh()
    scenario("first_run", mesh, host=HOST, login=mesh.info["login"])


def test_enrolment(scenario, console):
    scenario("enrol", console)


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_pages_are_accessible(scenario, console, theme):
    scenario("pages", console, theme=theme)


def test_narrow(scenario, console):
    scenario("narrow", console)


def test_keyboard(scenario, console):
    scenario("keyboard", console)


def test_terminal(scenario, console):
    scenario("terminal", console)


def test_live(scenario, console):
    scenario("live", console, host=HOST)


def test_device_changes(scenario, console):
    console.join("changeling")
    scenario("device_changes", console, device=console.device("changeling")["id"])


def test_approvals(scenario, lone_console):
    scenario("approvals", lone_console())


def test_copies(scenario, console, tmp_path):
    for name in "dolly", "polly":
        device = Device(console, tmp_path, name).enrol()
        old = device.link().continuation
        device.link(device.link(old).continuation)
        assert refusal(lambda: device.link(old))[1] == "E1250"
    scenario("copies", console)


def test_relays(scenario, console):
    """Two machines that can be relays; one is, with a third behind it.  A message waits for a fourth."""
    for name in "north01", "north02":
        folder = console.directory.parent / f"{console.directory.name}-{name}"
        folder.mkdir()
        (folder / "murmesh-agent.ini").write_text("[Relay]\nPort = 0\nAddress = 127.0.0.1\n")
        console.join(name)
    assert console.cli("relay", "enable", "north01").returncode == 0
    until(lambda: next((row["address"] for row in console.json("relay")), None), "north01 is a relay")
    console.join("north03", line=console.key("--relay", "north01"))
    console.join("north04").stop()
    assert console.cli("send", "north04", "greeting", "--body", "-", input="hello").returncode == 0
    scenario("relays", console)


def test_maps(scenario, lone_console):
    scenario("maps", lone_console(), host=HOST)


def test_command_line(scenario, console):
    scenario("command_line", console)


def test_people(scenario, console):
    scenario("people", console)


def test_audit(scenario, console):
    scenario("audit", console)


def test_tasks(scenario, console):
    scenario("tasks", console, host=HOST)


def test_budget(scenario, console):
    scenario("budget", console)


def test_server_restart(scenario, lone_console, new_mesh, tmp_path):
    mesh = lone_console()
    signals = tmp_path / "signals"
    signals.touch()
    # Processes end with the thread that started them: the mesh belongs to this one.
    with futures.ThreadPoolExecutor(1) as pool:
        played = pool.submit(scenario, "reconnect", mesh, host=HOST, signals=str(signals))
        for word, act in (("stop", mesh.stop), ("start", lambda: new_mesh(name="server", port=mesh.port))):
            until(lambda: word in signals.read_text() or played.done(), word, 240)
            if not played.done():
                act()
        played.result()


def test_rogue_agents(scenario, lone_console, tmp_path):
    """Two hundred hostile strings in every field that a device fills in, and a browser that walks over every page."""
    mesh = lone_console()
    known = json.loads(scenario("rogue", mesh, walked=[mesh.device(HOST)["id"]], texts=[]))
    named = rogue.refused_names(mesh, tmp_path)
    assert all(name.removesuffix("-1").isalnum() for name in named), named
    devices = rogue.rogues(mesh, tmp_path)
    try:
        scenario("rogue", mesh, known=known, walked=[device.id for device in devices], texts=[text[:40] for text in rogue.texts()])
        rogue.say_broken(devices[0])
        assert mesh.works(HOST)
    finally:
        for device in devices:
            device.stop()
