"""Tasks from the browser: a command on many devices, carried out by the web role."""
import os
import signal

import pytest

from console import browser_of
from harness import alive, gone, until


@pytest.fixture(scope="module")
def fleet(new_module_mesh):
    """Three machines beside the server's own."""
    for name in ("one", "two", "three"):
        new_module_mesh.join(name)
    return new_module_mesh


@pytest.fixture(scope="module")
def new_module_mesh(tmp_path_factory):
    from harness import Mesh
    with Mesh(tmp_path_factory.mktemp("tasks") / "server") as mesh:
        yield mesh


@pytest.fixture
def browser(fleet):
    return browser_of(fleet)


def start(browser, query, count, *argv):
    answer = browser.post("/api/tasks", {"query": query, "count": count, "argv": list(argv)})
    assert answer.status == 200, answer
    return answer.json


def rows(browser, task):
    browser.close()
    answer = browser.get(f"/api/tasks/{task['id']}/devices")
    assert answer.status == 200, answer
    return {row["name"].rsplit("-", 1)[0]: row for row in answer.json}


FINAL = {"done", "failed", "cancelled", "interrupted"}


def through(browser, task, seconds=20):
    """Its rows once all are final."""
    return until(lambda: (found := rows(browser, task)) and all(row["state"] in FINAL for row in found.values()) and found, "all are through", seconds)


def tasks(browser):
    return {event["task"]["id"]: event["task"] for event in browser.socket().snapshot("tasks") if "task" in event}


def test_all_do_it(fleet, browser):
    task = start(browser, "name:one or name:two", 2, "sh", "-c", "echo out; echo error >&2; hostname")
    assert (task["state"], task["total"], task["title"]) == ("running", 2, "sh -c echo out; echo error >&2; hostname")
    found = through(browser, task)
    assert set(found) == {"one", "two"}
    for row in found.values():
        assert (row["state"], row["code"], row["error"]) == ("done", 0, 0)
        lines = row["output"].splitlines()
        assert sorted(lines) == sorted(["out", "error", os.uname().nodename]), row
    ended = tasks(browser)[task["id"]]
    assert (ended["state"], ended["done"], ended["failed"]) == ("done", 2, 0) and ended["ended"] >= ended["started"]


def test_progress_is_told(fleet, browser):
    socket = browser.socket()
    socket.snapshot("tasks")
    task = start(browser, "name:one or name:two or name:three", 3, "true")
    events = socket.until(lambda event: event.get("task", {}).get("id") == task["id"] and event["task"]["state"] == "done", "tasks")
    assert events[-1]["task"]["done"] == 3


def test_exit_codes_and_output(fleet, browser):
    task = start(browser, "name:one", 1, "sh", "-c", r"printf '\033[1mbold\033[0m\r\ngr\303\274n\001\n'; seq 1 5000; exit 7")
    row = through(browser, task)["one"]
    assert (row["state"], row["code"], row["error"]) == ("failed", 7, 0)
    assert row["output"].endswith("\n4999\n5000\n") and 3500 < len(row["output"]) < 4096
    row = through(browser, start(browser, "name:one", 1, "sh", "-c", r"printf '\033[1mbold\033[0m\r\ngr\303\274n\001\n'"))["one"]
    assert row["output"] == "bold\ngrün\ufffd\n"
    row = through(browser, start(browser, "name:one", 1, "sh", "-c", "kill -9 $$"))["one"]
    assert (row["state"], row["code"]) == ("failed", 137)
    row = through(browser, start(browser, "name:one", 1, "no-such-program"))["one"]
    assert (row["state"], row["error"]) == ("failed", 1400)
    row = through(browser, start(browser, "name:one", 1, "cat"))["one"]  # no input to wait for
    assert row["state"] == "done"


def test_offline_and_retry(fleet, browser):
    agent = fleet.join("shy")
    agent.stop()
    until(lambda: not fleet.device("shy")["online"], "offline")
    task = start(browser, "name:one or name:shy", 2, "echo", "here")
    found = through(browser, task)
    assert found["one"]["state"] == "done"
    assert (found["shy"]["state"], found["shy"]["error"]) == ("failed", 1028)
    again = fleet.join("shy")  # the same directory: the same device
    again.online()
    until(lambda: fleet.device("shy")["online"], "online")
    answer = browser.post("/api/tasks", {"retry": task["id"]})
    assert answer.status == 200, answer
    found = through(browser, answer.json)
    assert set(found) == {"shy"} and (found["shy"]["state"], found["shy"]["output"]) == ("done", "here\n")


def test_cancel(fleet, browser, tmp_path):
    task = start(browser, "name:one or name:two", 2, "sh", "-c", f"echo $$ >> {tmp_path}/pids; exec sleep 1000")
    pids = until(lambda: (tmp_path / "pids").exists() and len(text := (tmp_path / "pids").read_text().split()) == 2 and text, "both run")
    assert {name: row["state"] for name, row in rows(browser, task).items()} == {"one": "running", "two": "running"}
    answer = browser.post(f"/api/tasks/{task['id']}/cancel")
    assert answer.status == 200 and answer.json["state"] == "cancelled"
    gone(map(int, pids), 10)
    assert {name: row["state"] for name, row in through(browser, task).items()} == {"one": "cancelled", "two": "cancelled"}


def test_agent_dies_meanwhile(fleet, browser, tmp_path):
    agent = fleet.join("dies")
    task = start(browser, "name:dies", 1, "sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 1000")
    until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), "it runs")
    agent.process.kill()
    row = through(browser, task)["dies"]
    assert (row["state"], row["error"]) == ("failed", 1402)


def test_logout_ends_it(fleet, browser, tmp_path):
    task = start(browser, "name:one", 1, "sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 1000")
    pid = int(until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), "it runs"))
    assert browser.post("/api/logout").status == 204
    gone([pid], 10)
    other = browser_of(fleet)
    row = through(other, task)["one"]
    assert row["state"] == "failed" and row["error"] in (1220, 1402)


def test_web_role_dies(fleet, browser, tmp_path):
    """What it was carrying out is over, and said to be so."""
    task = start(browser, "name:two", 1, "sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 1000")
    pid = int(until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), "it runs"))
    os.kill(fleet.server.roles()["web"], signal.SIGKILL)
    gone([pid], 10)
    until(lambda: "web" in fleet.server.roles(), "the role is back")

    def state():
        try:
            return rows(browser, task)["two"]["state"]
        except OSError:
            return None
    until(lambda: state() == "interrupted", "it is known")
    assert through(browser, start(browser, "name:two", 1, "true"))["two"]["state"] == "done"


def test_long_argument(fleet, browser):
    answer = browser.post("/api/tasks", {"query": "name:one", "count": 1, "argv": ["echo", "x" * 1024]})
    assert (answer.status, answer.error()) == (400, "E1002") or answer.error() == "E1002", answer
    task = start(browser, "name:one", 1, "sh", "-c", "printf %s \"$1\" | wc -c", "sh", "x" * 1023)
    assert through(browser, task)["one"]["output"] == "1023\n"
