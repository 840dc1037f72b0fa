"""Messages to devices: kept by the server until the device has them, and laid into its net/inbox, once."""
import os
import random
import signal
from concurrent.futures import ThreadPoolExecutor

from harness import PROGRAMS, Monitor, Program, refused, until


class Machine(Program):
    """An agent that was enrolled before."""

    def __init__(self, directory):
        self.directory = directory
        super().__init__([PROGRAMS / "murmesh-agent", "--dir", directory], f"{directory}.log")

    def online(self):
        until(lambda: "online as " in self.log(), "online")
        return self


def read(path):
    head, body = path.read_bytes().split(b"\n\n", 1)
    return {**dict(line.split(": ", 1) for line in head.decode().splitlines()), "body": body}


def inbox(directory):
    return [read(path) for path in sorted((directory / "net" / "inbox").glob("*")) if not path.name.endswith(".new")]


def arrived(agent):
    """What is in its inbox, once there is something: a device says that it has a message when its spool is synced, and lays it there then."""
    return until(lambda: inbox(agent.directory), "it is in the inbox")


def bodies(directory):
    return sorted(message["body"].decode() for message in inbox(directory))


def queue(mesh, name):
    rows = mesh.json("queue", name)
    return rows[0] if rows else None


def send(mesh, name, body, *words):
    result = mesh.cli("send", name, "test", "--body", "-", *words, input=body)
    assert result.returncode == 0, result.stderr


def test_arrives(mesh):
    agent = mesh.join("post01")
    send(mesh, "post01", "hello\n", "--wait", "--ttl", "90s", "--priority", "high", "--key", "greeting")
    [message] = arrived(agent)
    assert message["body"] == b"hello\n"
    assert (message["Type"], message["From"], message["Priority"], message["Key"]) == ("test", "server", "high", "greeting")
    assert message["Length"] == "6" and len(message["Id"]) == 32
    assert message["Created"] < message["Expires"]
    assert queue(mesh, "post01") is None


def test_large_and_many(mesh, tmp_path):
    agent = mesh.join("post02")
    whole = os.urandom(256 * 1024)
    (tmp_path / "large").write_bytes(whole)
    told = mesh.json("send", "post02", "large", "--body", tmp_path / "large", "--wait")
    assert (told["devices"], told["kept"], told["delivered"], told["dead"]) == (1, 1, 1, 0)
    [message] = arrived(agent)
    assert message["body"] == whole and message["Id"] == told["id"]
    (tmp_path / "large").write_bytes(whole + b"x")
    refused(mesh.cli("send", "post02", "large", "--body", tmp_path / "large"), 1, "256 KiB")
    for number in range(100):
        send(mesh, "post02", f"{number:03}")
    until(lambda: len(inbox(agent.directory)) == 101, "all are there")
    assert [message["body"].decode() for message in inbox(agent.directory)[1:]] == [f"{number:03}" for number in range(100)]


def test_waits_for_a_device(mesh):
    agent = mesh.join("post03")
    agent.stop()
    until(lambda: not mesh.device("post03")["online"], "offline")
    send(mesh, "post03", "one", "--priority", "low")
    send(mesh, "post03", "two", "--priority", "high")
    with ThreadPoolExecutor() as pool:
        old = pool.submit(mesh.cli, "send", "post03", "test", "--body", "-", "--key", "k", "--wait", input="old")
        until(lambda: queue(mesh, "post03")["waiting"] == 3, "it waits")
        send(mesh, "post03", "new", "--key", "k")
        told = old.result(20)
        assert told.returncode == 1 and "a newer message with the same key" in told.stderr, told.stderr
    row = queue(mesh, "post03")
    assert (row["waiting"], row["dead"], row["online"]) == (3, 0, False)
    assert row["bytes"] > 100 and row["oldest"]
    with Machine(agent.directory) as again:
        until(lambda: len(bodies(agent.directory)) == 3, "they arrive")
        assert bodies(agent.directory) == ["new", "one", "two"]
        again.online()
        until(lambda: queue(mesh, "post03") is None, "nothing waits")


def test_to_a_query(mesh):
    agents = [mesh.join(f"post1{number}") for number in range(3)]
    assert mesh.cli("tag", "post10", "+postal").returncode == mesh.cli("tag", "post12", "+postal").returncode == 0
    told = mesh.json("send", "tag:postal", "test", "--wait")
    assert (told["devices"], told["delivered"]) == (2, 2)
    assert [len(arrived(agent)) for agent in (agents[0], agents[2])] == [1, 1] and not inbox(agents[1].directory)


def test_expires(mesh):
    agent = mesh.join("post04")
    agent.stop()
    until(lambda: not mesh.device("post04")["online"], "offline")
    send(mesh, "post04", "never read", "--ttl", "1s")
    until(lambda: (queue(mesh, "post04") or {}).get("expired"), "it is a dead letter")
    row = queue(mesh, "post04")
    assert (row["waiting"], row["expired"], row["dead"], row["why"]) == (0, 1, 1, "1 expired")
    assert row["last_dead"]
    assert "1 expired" in mesh.cli("queue").stdout
    with Machine(agent.directory):
        until(lambda: inbox(agent.directory), "it is told that something is missing")
        [message] = inbox(agent.directory)
        assert message["Type"] == "murmesh.gap"
        assert message["body"] == b'{"expired":1,"limit":0,"damaged":0}'


def test_refused(mesh):
    mesh.join("post05")
    refused(mesh.cli("send", "nobody-here", "test"), 3)
    refused(mesh.cli("send", "name:", "test"), what="column")
    refused(mesh.cli("send", "post05", "murmesh.gap"), 4)
    refused(mesh.cli("send", "post05", "x" * 65), 2)
    refused(mesh.cli("send", "post05", "test", "--ttl", "15d"), 2)
    refused(mesh.cli("send", "post05", "test", "--priority", "urgent"), 2)
    refused(mesh.cli("send", "post05", "test", "--body", "/missing"), 3)
    assert mesh.cli("queue", "post05").stderr == "nothing waits, and nothing was dropped\n"


def test_without_a_spool(new_mesh):
    """All but messages goes on where the spool's disk does not work."""
    mesh = new_mesh()
    mesh.stop()
    spool = mesh.directory / "db" / "spool"
    for path in spool.iterdir():
        path.unlink()
    spool.rmdir()
    spool.write_text("not a directory")
    mesh = new_mesh(name=mesh.directory.name)
    name = until(lambda: [device["name"] for device in mesh.json("ls") if device["online"]], "online")[0]
    refused(mesh.cli("send", name, "test"), 1, "the spool cannot be used")
    refused(mesh.cli("queue"), 1, "the spool cannot be used")
    assert "messages cannot be kept" in mesh.log()


def test_a_deleted_device(mesh):
    agent = mesh.join("post06")
    agent.stop()
    until(lambda: not mesh.device("post06")["online"], "offline")
    send(mesh, "post06", "for nobody")
    with mesh.background("send", "post06", "test", "--wait", "--json") as waiting:
        until(lambda: queue(mesh, "post06")["waiting"] == 2, "two wait")
        assert mesh.cli("delete", "post06", "--yes").returncode == 0
        assert waiting.wait() == 1  # at once, not after three days
    refused(mesh.cli("send", "post06", "test"), 3)


def kill_role(monitor, name):
    role = monitor.roles().get(name)
    if role:
        os.kill(role, signal.SIGKILL)


def test_once_over_kills(new_mesh):
    """Server and agent are killed at random steps, by the role and as a whole: each message that was kept arrives, once."""
    mesh = new_mesh()
    agent = mesh.join("post07")
    kept, number = set(), 0
    for victim in random.sample(["core", "core", "net", "link", "device"], 5):
        senders = [mesh.background("send", "post07", "test", "--json", "--key", f"m{number + i}")
                   for i in range(4)]
        until(lambda: any(sender.process.poll() is not None for sender in senders), "the first is sent")
        if victim == "device":
            if isinstance(agent, Machine):
                agent.stop(signal.SIGKILL)
            else:
                agent.stop()
            agent = Machine(mesh.directory.parent / f"{mesh.directory.name}-post07")
        else:
            kill_role(mesh.server if victim != "net" else monitor_of(agent), victim)
        for i, sender in enumerate(senders):
            if sender.wait(60) == 0:  # a server that was killed often is started again after growing pauses
                kept.add(f"m{number + i}")
            sender.stop()
        number += 4
        until(lambda: mesh.cli("ls").returncode == 0, "the server answers")
    directory = mesh.directory.parent / f"{mesh.directory.name}-post07"
    assert kept
    until(lambda: kept <= {message["Key"] for message in inbox(directory)}, "all that was kept is there", seconds=40)
    until(lambda: queue(mesh, "post07") is None, "nothing waits", seconds=40)
    keys = [message["Key"] for message in inbox(directory)]
    assert len(keys) == len(set(keys))
    agent.stop()


def monitor_of(agent):
    from harness import Monitor, children, title
    if not isinstance(agent, Machine):
        return agent.monitor
    return Monitor(agent.pid, "murmesh-agent")
