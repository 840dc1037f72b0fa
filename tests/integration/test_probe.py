"""What a machine does is in the console's live feed: from the kernel through probe, net, link, collect, viz and web."""
import os
import signal
import socket
import subprocess
import threading

import pytest
from console import browser_of
from harness import Mesh, alive, until

FORKS = 5000


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with Mesh(tmp_path_factory.mktemp("live") / "server") as mesh:
        yield mesh


@pytest.fixture
def live(home):
    """The feed of the server's own machine, behind its snapshot; .snapshot: what that held."""
    browser = browser_of(home)
    (device,) = [row["id"] for row in home.devices().values()]
    with browser.socket() as feed:
        feed.snapshot = feed.snapshot("live", device=device)
        yield feed
    browser.close()


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


def test_connection_is_seen_with_its_owner(live):
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
    assert next(r for r in of("row", ended) if r["event"] == "delconn" and r["object"].endswith(f":{port}"))["bytes"] >= 100_000


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
