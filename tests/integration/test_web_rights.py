"""Who may do what: each row of the API's table, for each role, with ids that are nobody's business."""
import itertools

import pytest
from console import Browser, browser_of
from harness import Mesh

PASSWORD = "correct horse battery"
ROLES = ("viewer", "operator", "administrator")
UNKNOWN = "0123456789abcdef" * 2

# Where the smallest that the description allows is not asked for by anybody.  Which join keys he may make goes by group.
BODIES = {"newKey": {"group": "red"}, "startTask": {"query": "name:nobody", "count": 1, "argv": ["true"]}}


def login(mesh, name, password=PASSWORD):
    browser = Browser(mesh.port)
    answer = browser.post("/api/login", {"name": name, "password": password})
    assert answer.status == 200, answer
    return browser


class People:
    """A mesh with two machines in two groups, and users of every role: everywhere, and in the group `red` alone."""

    def __init__(self, mesh):
        self.mesh = mesh
        first = browser_of(mesh)
        assert first.post("/api/me/setup", {"name": "root", "password": PASSWORD}).status == 200
        self.root = login(mesh, "root")
        assert self.root.post("/api/me/step-up", {"password": PASSWORD}).status == 200
        for role, red in itertools.product(ROLES, (False, True)):
            name = f"{role}-{'red' if red else 'all'}"
            answer = self.root.post("/api/users", {"name": name, "role": role, "all_groups": not red, "groups": ["red"] if red else []})
            assert answer.status == 200, answer
            browser = Browser(mesh.port, token=answer.json["login"].split("#token=")[1])
            answer = browser.post("/api/me/setup", {"name": name, "password": PASSWORD})
            assert answer.status == 200, answer
        mesh.join("blue1")
        self.devices = {"red": next(one for one in mesh.devices().values() if one["name"] != "blue1"), "blue": mesh.device("blue1")}
        for group, device in self.devices.items():
            assert self.root.request("PATCH", f"/api/devices/{device['id']}", {"group": group}).status == 204
        self.operations = [(method.upper(), path, operation)
                           for path, methods in self.root.get("/api/openapi.json").json["paths"].items()
                           for method, operation in methods.items()]


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    with Mesh(tmp_path_factory.mktemp("rights") / "server") as mesh:
        yield People(mesh)


def value_of(schema):
    """The smallest thing of that type."""
    if "enum" in schema:
        return schema["enum"][0]
    return {"string": UNKNOWN if "pattern" in schema else "x", "integer": max(schema.get("minimum", 0), 1), "boolean": False,
            "array": [], "number": 0}[schema["type"]]


def ask(browser, method, path, operation, body=None, id=UNKNOWN):
    body = body or BODIES.get(operation["operationId"])
    if "requestBody" in operation and body is None:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        body = {name: value_of(schema["properties"][name]) for name in schema["required"]}
    return browser.request(method, path.replace("{id}", id), body)


def test_no_session(people):
    """Neither without a cookie nor with one of nobody's."""
    browser = Browser(people.mesh.port)
    for method, path, operation in people.operations:
        if operation["x-right"] is None:
            assert operation["operationId"] in ("loginByLink", "login")
            continue
        for cookie in (None, "A" * 43):
            browser.cookie = cookie
            answer = ask(browser, method, path, operation)
            assert (answer.status, answer.error()) == (401, "E1220"), (method, path, answer)


@pytest.mark.parametrize("name", [f"{role}-{where}" for role in ROLES for where in ("all", "red")])
def test_matrix(people, name):
    """Less than the right that the table names: 403, whatever the id.  The right: anything else, and a fresh proof where the table says so.
    What core really asks for is what counts here: a table that says more or less than that fails."""
    role, where = name.split("-")
    browser = login(people.mesh, name)
    for method, path, operation in people.operations:
        if operation["operationId"] in ("loginByLink", "login", "logout", "setup"):  # setup: by a link's session only
            continue
        answer = ask(browser, method, path, operation)
        what = (method, path, answer)
        enough = ROLES.index(role) >= ROLES.index(operation["x-right"])
        if not enough or (operation["x-everywhere"] and where != "all"):
            assert (answer.status, answer.error()) == (403, "E1019"), what
            continue
        assert answer.status != 500 and answer.status != 501, what
        if operation["x-step-up"]:
            assert (answer.status, answer.error()) == (403, "E1226"), what
        elif answer.status >= 400:
            assert answer.error() not in ("E1019", "E1220", "E1226"), what
            if "{id}" in path:
                assert (answer.status, answer.error()) == (404, "E1017"), what


@pytest.mark.parametrize("role", ROLES)
def test_foreign_ids(people, role):
    """What is in other groups is not there."""
    browser, blue, red = login(people.mesh, f"{role}-red"), people.devices["blue"]["id"], people.devices["red"]["id"]
    assert browser.post("/api/me/step-up", {"password": PASSWORD}).status == 200
    assert browser.get(f"/api/devices/{red}").status == 200
    for method, path, operation in people.operations:
        if not path.startswith("/api/devices/{id}") or ROLES.index(operation["x-right"]) > ROLES.index(role):
            continue
        answer = ask(browser, method, path, operation, id=blue)
        assert (answer.status, answer.error()) == (404, "E1017"), (method, path, answer)
    with browser.socket() as watching:
        seen = [event["device"]["id"] for event in watching.snapshot() if "device" in event]
        assert seen == [red]
        assert people.root.request("PATCH", f"/api/devices/{blue}", {"group": "red"}).status == 204
        assert watching.until(lambda event: event.get("device", {}).get("id") == blue)
        assert people.root.request("PATCH", f"/api/devices/{blue}", {"group": "blue"}).status == 204
        assert watching.until(lambda event: event == {"removed": blue})


@pytest.mark.parametrize("name, body", [
    ("changeDevices", {"query": "name:nobody", "count": 1, "retire": True}), ("newKey", {"uses": 101}), ("newKey", {"lifetime_s": 30 * 86400 + 1})])
def test_sometimes_a_proof(people, name, body):
    """What only some bodies need: said in the summary."""
    browser = login(people.mesh, "administrator-all")
    method, path, operation = next(one for one in people.operations if one[2]["operationId"] == name)
    assert "fresh proof" in operation["summary"] and not operation["x-step-up"]
    answer = ask(browser, method, path, operation, body)
    assert (answer.status, answer.error()) == (403, "E1226"), answer
    assert browser.post("/api/me/step-up", {"password": PASSWORD}).status == 200
    assert ask(browser, method, path, operation, body).status in (200, 404)


def test_step_up(people):
    """With it, what needs it is done."""
    browser = login(people.mesh, "root")
    refusal = browser.post("/api/users", {"name": "later", "role": "viewer"})
    assert (refusal.status, refusal.error()) == (403, "E1226")
    assert browser.post("/api/me/step-up", {"password": PASSWORD}).status == 200
    made = browser.post("/api/users", {"name": "later", "role": "viewer", "all_groups": True})
    assert made.status == 200 and "/login#token=" in made.json["login"]
    user = made.json["user"]
    changed = browser.request("PATCH", f"/api/users/{user['id']}", {"role": "operator", "disabled": True})
    assert changed.json["role"] == "operator" and changed.json["disabled"] and changed.json["all_groups"]
    assert not browser.request("PATCH", f"/api/users/{user['id']}", {"disabled": False}).json["disabled"]
    assert browser.post(f"/api/users/{user['id']}/login-link").json["login"] != made.json["login"]
    assert browser.request("PATCH", f"/api/users/{UNKNOWN}", {"role": "viewer"}).status == 404
    assert {one["name"] for one in browser.get("/api/users").json} >= {"root", "later", "viewer-red"}
