"""What a machine does is in the console's live feed: from the kernel through probe, net, link, collect, viz and web."""
import contextlib
import ctypes
import os
import platform
import signal
import socket
import struct
import subprocess
import threading

import pytest
from console import browser_of
from harness import Mesh, alive, die_with_tests, until

FORKS = 5000


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with Mesh(tmp_path_factory.mktemp("live") / "server") as mesh:
        yield mesh


@contextlib.contextmanager
def feed_of(home, device):
    """What happens on a machine, behind its snapshot; .snapshot: what that held."""
    browser = browser_of(home)
    with browser.socket() as feed:
        feed.snapshot = feed.snapshot("live", device=device["id"])
        yield feed
    browser.close()


@pytest.fixture
def live(home):
    """Of the server's own machine."""
    (device,) = [row for row in home.devices().values() if row["name"] != "plain"]
    with feed_of(home, device) as feed:
        yield feed


def row(event, pid):
    return lambda change: change.get("row", {}).get("event") == event and change["row"]["pid"] == pid


def of(kind, events):
    return [event[kind] for event in events if kind in event]


def sources(home):
    return [line.split("source of ")[1] for line in home.log().splitlines() if "source of " in line]


def test_program_is_seen_and_its_end(live):
    with subprocess.Popen(["sh", "-c", "read line; exit 3", "me", "--token=abcdef"], stdin=subprocess.PIPE) as program:
        begun = live.until(row("exec", program.pid), "live")
        program.stdin.close()
        ended = live.until(row("exit", program.pid), "live")
    exec_row = next(r for r in of("row", begun) if r["pid"] == program.pid and r["event"] == "exec")
    assert exec_row["subject"] == f"sh ({program.pid})"
    assert exec_row["detail"] == "sh -c read line; exit 3 me --token=***"
    exit_row = next(r for r in of("row", ended) if r["pid"] == program.pid and r["event"] == "exit")
    assert exit_row["object"] in ("code 3", "")  # "" where /proc is polled


def connection_is_seen(live, least):
    """With its owner, and the bytes that the source can count."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        port = listener.getsockname()[1]
        server, _ = listener.accept()
        with server:
            client.sendall(bytes(100_000))
            begun = live.until(lambda e: e.get("row", {}).get("event") == "newconn" and e["row"]["object"].endswith(f":{port}"), "live")
    row_begun = next(r for r in of("row", begun) if r["event"] == "newconn" and r["object"].endswith(f":{port}"))
    assert row_begun["object"] == f"to 127.0.0.1:{port}" and row_begun["detail"] == "tcp"
    assert row_begun["pid"] == os.getpid()
    ended = live.until(lambda e: e.get("row", {}).get("event") == "delconn" and e["row"]["object"].endswith(f":{port}"), "live")
    row_ended = next(r for r in of("row", ended) if r["event"] == "delconn" and r["object"].endswith(f":{port}"))
    assert row_ended["bytes"] >= least


def test_connection_is_seen_with_its_owner(live):
    connection_is_seen(live, 100_000)


def without_sock_diag():
    """For Popen: socket(AF_NETLINK, ..., NETLINK_SOCK_DIAG) is refused to the program and to all that it starts, as in a service's sandbox."""
    call = {"x86_64": 41, "aarch64": 198}[platform.machine()]
    load, equal, give, errno, allow = 0x20, 0x15, 0x06, 0x50000, 0x7FFF0000
    code = [(load, 0, 0, 0), (equal, 0, 5, call),
            (load, 0, 0, 16), (equal, 0, 3, 16),  # AF_NETLINK
            (load, 0, 0, 32), (equal, 0, 1, 4),  # NETLINK_SOCK_DIAG
            (give, 0, 0, errno | 93), (give, 0, 0, allow)]  # EPROTONOSUPPORT
    lines = b"".join(struct.pack("HBBI", *line) for line in code)
    memory = ctypes.create_string_buffer(lines, len(lines) + 16)
    struct.pack_into("HxxxxxxP", memory, len(lines), len(code), ctypes.addressof(memory))
    libc = ctypes.CDLL(None)

    def before():
        die_with_tests()
        program = ctypes.byref(memory, len(lines))
        if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, program):  # PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP
            raise OSError("seccomp")
    return before


def test_connection_is_seen_by_proc_net(home):
    """Where sock_diag is refused, and packets are not wanted."""
    directory = home.directory.parent / f"{home.directory.name}-plain"
    directory.mkdir(mode=0o700)
    (directory / "murmesh-agent.ini").write_text("[Probe]\nPackets = no\n")
    agent = home.join("plain", before=without_sock_diag())
    until(lambda: "source of network: " in agent.log(), "its source")
    assert "source of network: /proc/net, 1 s\n" in agent.log()
    with feed_of(home, home.device("plain")) as feed:
        assert {"module": "network", "text": "/proc/net, 1 s"}.items() <= next(
            source for source in of("source", feed.snapshot) if source["module"] == "network").items()
        connection_is_seen(feed, 0)
    agent.stop()


def test_sources_are_said(home, live):
    said = {source["module"]: source["text"] for source in of("source", live.snapshot)}
    assert said.keys() == {"process", "network"}
    assert {f"{module}: {text}" for module, text in said.items()} <= set(sources(home))


def test_burst_is_whole_or_said_to_be_missing(live):
    """Forks of one shell: what is not in the feed is told as missing or as left out."""
    stop = threading.Event()

    def mark():
        while not stop.wait(0.5):
            subprocess.run(["sh", "-c", ":", "behind-the-burst"], check=True)

    burst = subprocess.run(["sh", "-c", f"i=0; while [ $i -lt {FORKS} ]; do (:); i=$((i+1)); done; echo $$"], capture_output=True,
                           text=True, check=True)
    marks = threading.Thread(target=mark)
    marks.start()
    try:
        seen = live.until(lambda e: e.get("row", {}).get("detail", "").endswith("behind-the-burst"), "live")
    finally:
        stop.set()
        marks.join()
    forks = sum(r["event"] == "fork" and r["object"] == burst.stdout.strip() for r in of("row", seen))
    missing = max((m["events"] for m in of("missing", seen)), default=0)
    hidden = max((m.get("not_shown", 0) for m in of("missing", seen)), default=0)
    assert forks + missing + hidden >= FORKS, (forks, missing, hidden)


def test_probe_comes_back(home, live):
    """The role is killed: another one goes on, with a keyframe."""
    probe = home.agent.roles()["probe"]
    os.kill(probe, signal.SIGKILL)
    until(lambda: not alive(probe) and home.agent.roles().get("probe"), "another probe")
    live.until(lambda e: "source" in e, "live")
    with subprocess.Popen(["sleep", "60"]) as program:
        live.until(row("exec", program.pid), "live")
        program.kill()
