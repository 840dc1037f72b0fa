"""What a device's management part signs, and what somebody says who has the machine's network part alone."""
import hashlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import time

import pytest

from console import browser_of
from harness import murmesh, until
from wire import Device, Ends, Key, Link, User, carry_out, certificate_make, enrol, fleet, openssl, order, pem, router, run, terminal


def sha256(data):
    return hashlib.sha256(data).digest()


def shown(mesh, name):
    return mesh.json("show", name)


def audited(mesh, text):
    return [row for row in mesh.json("audit", "ls", "--text", text) if row["action"] == "inventory refused"]


class Manager(Device):
    """A device that has its manager's key at hand: both parts in one."""

    def enrol(self):
        token = self.token()
        self.token = lambda: token
        super().enrol()
        self.own = Key(self.key.path.parent, f"{self.name}-manager")
        self.manager = self.certify(self.request(token, kind=enrol.MANAGER, csr=self.own.request()))
        return self

    def statement(self, welcome, **fields):
        mesh = bytes.fromhex((self.mesh.directory / "ca" / "mesh").read_text().strip())
        return router.InventoryStatement(mesh=mesh, device=bytes.fromhex(self.id), challenge=welcome.challenge, time=int(time.time()), **fields)

    def signed(self, statement, key=None):
        key, text = key or self.own, statement.SerializeToString()
        return router.SignedInventory(statement=text, signature=key.sign("murmesh inventory 1", text), key=self.own.public())

    def result(self, start, key=None, **fields):
        """How a run ended, as exec would say it."""
        document = fleet.Order.FromString(start.order.document)
        result = run.Result(mesh=document.mesh, device=bytes.fromhex(self.id), nonce=document.nonce, **fields).SerializeToString()
        return run.SignedResult(result=result, signature=(key or self.own).sign("murmesh result 1", result), leaf=self.manager.leaf,
                                intermediate=self.manager.intermediate)


def kept(mesh, name, text):
    return until(lambda: (shown(mesh, name)["inventory"] or {}).get("os") == text, f"{text} is kept")


# ---- inventory ----

def test_an_agent_signs_its_inventory(mesh):
    until(lambda: shown(mesh, "web02")["inventory"], "the inventory is there")
    web02 = shown(mesh, "web02")
    assert web02["signs"] and web02["inventory_refused"] is None
    assert mesh.device("web02")["signs"]


def test_unsigned_after_signed(mesh, tmp_path):
    """Who has the link, but not the manager's key, cannot go back to how it was before devices signed."""
    device = Manager(mesh, tmp_path, "signer1").enrol()
    plain = router.Frame(inventory=router.Inventory(os="plain"))
    with Link(device) as link:
        welcome = link.welcome
        link.say(plain)
        kept(mesh, "signer1", "plain")
        assert not shown(mesh, "signer1")["signs"]
        link.say(router.Frame(signed_inventory=device.signed(device.statement(welcome, moment=1, inventory=router.Inventory(os="signed")))))
        kept(mesh, "signer1", "signed")
        link.say(plain)
        until(lambda: shown(mesh, "signer1")["inventory_refused"], "it was refused")
        assert shown(mesh, "signer1")["inventory"]["os"] == "signed" and shown(mesh, "signer1")["signs"]
    assert [row["detail"] for row in audited(mesh, "signer1")] == ["it is not signed"]
    assert "inventory_refused\t" in mesh.cli("show", "signer1").stdout
    assert browser_of(mesh).get(f"/api/devices/{device.id}").json["inventory_refused"]


def replayed(device, older, welcome):
    return older


def forged(device, older, welcome):
    """By net's own key."""
    return said(device, welcome, 7, "forged", key=device.key)


def turned_back(device, older, welcome):
    return said(device, welcome, 2, "older on this link")


def said(device, welcome, moment, text, **options):
    return router.Frame(signed_inventory=device.signed(device.statement(welcome, moment=moment, inventory=router.Inventory(os=text)), **options))


@pytest.mark.parametrize("bad", [replayed, forged, turned_back])
def test_refused(mesh, tmp_path, bad):
    name = f"signer-{bad.__name__.replace('_', '-')}"
    device = Manager(mesh, tmp_path, name).enrol()
    with Link(device) as link:
        older = said(device, link.welcome, 5, "of the link before")
        link.say(older)
        kept(mesh, name, "of the link before")
    with Link(device) as link:
        link.say(said(device, link.welcome, 3, "good"))
        kept(mesh, name, "good")
        for _ in range(2):
            link.say(bad(device, older, link.welcome))
        until(lambda: shown(mesh, name)["inventory_refused"], "it was refused")
        assert shown(mesh, name)["inventory"]["os"] == "good"
        link.say(said(device, link.welcome, 8, "last"))  # what came before it was looked at before it
        kept(mesh, name, "last")
    assert len(audited(mesh, name)) == 1  # once, not each time


# ---- run ----

class Exec(Ends):
    """A device that answers as exec would; `answer` says what for a run."""

    def terminal(self, requests, _):
        yield from ()

    def run(self, requests, _):
        start = next(requests).start
        yield run.RunOutput(started=True)
        yield from self.answer(start)


@pytest.fixture
def executor(mesh, tmp_path):
    """Makes a device under that name which signs its inventory, and answers runs as the test says."""
    made = []

    def make(name, answer, signs=True, ends=Exec):
        device = Manager(mesh, tmp_path, name).enrol()
        ends = device.ends = ends(device)
        ends.answer = lambda start: answer(device, start)
        link = Link(device)
        made.append((link, ends))
        if signs:
            link.say(router.Frame(signed_inventory=device.signed(device.statement(link.welcome, moment=1, inventory=router.Inventory(os="x")))))
            until(lambda: mesh.device(name)["signs"], "it has signed")
        link.serve(ends)
        return device
    yield make
    for link, ends in made:
        link.__exit__()
        ends.stop()


def good(device, start):
    yield run.RunOutput(stdout=b"out\n")
    yield run.RunOutput(stderr=b"err\n")
    yield run.RunOutput(exit=run.RunExit(code=4, proof=device.result(start, code=4, stdout_hash=sha256(b"out\n"), stderr_hash=sha256(b"err\n"))))


def test_the_result_of_a_run_is_signed(mesh):
    result = mesh.run("web02", "--json", "--", "sh", "-c", "echo out; echo err >&2; exit 3")
    row, = json.loads(result.stdout)
    assert (row["device"], row["code"], row["signed"], row["error"]) == ("web02", 3, True, None)
    assert result.returncode == 3 and sorted(result.stderr.split()) == ["err", "out"]
    assert row["id"] == mesh.device("web02")["id"]


def test_a_stock_client_verifies_it_too(mesh, tmp_path):
    """As docs/protocol.md says, without any code of ours."""
    user = User(mesh, tmp_path)
    device = user.device("web02")
    signed = order(user, device, "sh", "-c", "echo out; exit 9")
    exit_ = carry_out(mesh, user, device, signed)[-1].exit
    result = run.Result.FromString(exit_.proof.result)
    (tmp_path / "leaf.crt").write_text(pem(exit_.proof.leaf))
    (tmp_path / "intermediate.crt").write_text(pem(exit_.proof.intermediate))
    (tmp_path / "root.crt").write_text(pem(user.certificates.root))
    openssl("verify", "-CAfile", tmp_path / "root.crt", "-untrusted", tmp_path / "intermediate.crt", tmp_path / "leaf.crt")
    uri = re.search(r"URI:(\S+)", openssl("x509", "-in", tmp_path / "leaf.crt", "-noout", "-ext", "subjectAltName").decode()).group(1)
    assert uri == f"murmesh://{result.mesh.hex()}/manager/{device.id.hex()}"
    (tmp_path / "key").write_bytes(openssl("x509", "-in", tmp_path / "leaf.crt", "-noout", "-pubkey"))
    (tmp_path / "signature").write_bytes(exit_.proof.signature)
    (tmp_path / "text").write_bytes(b"murmesh result 1\0" + exit_.proof.result)
    openssl("dgst", "-sha256", "-verify", tmp_path / "key", "-signature", tmp_path / "signature", tmp_path / "text")
    assert (result.code, result.device, result.nonce) == (9, device.id, fleet.Order.FromString(signed.document).nonce)
    assert (result.stdout_hash, result.stderr_hash) == (sha256(b"out\n"), sha256(b""))


def test_a_device_that_signs_as_it_should(mesh, executor):
    executor("runner1", good)
    result = mesh.run("runner1", "--", "x")
    assert (result.returncode, result.stdout, result.stderr) == (4, "out\n", "err\n")


def changed_code(device, start):
    yield run.RunOutput(exit=run.RunExit(code=0, proof=device.result(start, code=1, stdout_hash=sha256(b""), stderr_hash=sha256(b""))))


def changed_output(device, start):
    yield run.RunOutput(stdout=b"all is well\n")
    yield run.RunOutput(exit=run.RunExit(proof=device.result(start, stdout_hash=sha256(b"it burns\n"), stderr_hash=sha256(b""))))


def by_net(device, start):
    yield run.RunOutput(exit=run.RunExit(proof=device.result(start, key=device.key, stdout_hash=sha256(b""), stderr_hash=sha256(b""))))


def of_another_run(device, start):
    document = fleet.Order.FromString(start.order.document)
    document.nonce = os.urandom(16)
    start.order.document = document.SerializeToString()
    yield run.RunOutput(exit=run.RunExit(proof=device.result(start, stdout_hash=sha256(b""), stderr_hash=sha256(b""))))


def stripped(device, start):
    yield run.RunOutput(stdout=b"out\n")
    yield run.RunOutput(exit=run.RunExit())


def after_the_end(device, start):
    yield from good(device, start)
    yield run.RunOutput(stdout=b"more\n")
    yield run.RunOutput(exit=run.RunExit(code=0))


@pytest.mark.parametrize("answer", [changed_code, changed_output, by_net, of_another_run, stripped])
def test_a_tampered_result(mesh, executor, answer):
    name = f"runner-{answer.__name__.replace('_', '-')}"
    executor(name, answer)
    result = mesh.run(name, "--", "x")
    assert result.returncode == 1 and f"error: {name}: the result is unverified" in result.stderr and "E1403" in result.stderr
    result = mesh.run(name, "--json", "--", "x")
    row, = json.loads(result.stdout)
    assert (result.returncode, row["code"], row["signed"], row["error"]) == (1, None, False, "E1403")


def test_one_of_several_is_tampered_with(mesh, executor):
    executor("runner3", stripped)
    result = mesh.run("web02,runner3", "--jsonl", "--", "true")
    rows = {row["device"]: row for row in map(json.loads, result.stdout.splitlines())}
    assert result.returncode == 7 and rows["web02"]["signed"] and not rows["runner3"]["signed"]


def test_nothing_counts_after_the_end(mesh, executor):
    executor("runner4", after_the_end)
    result = mesh.run("runner4", "--", "x")
    assert (result.returncode, result.stdout) == (4, "out\n")


def test_an_older_agent_is_believed(mesh, executor):
    executor("runner5", stripped, signs=False)
    result = mesh.run("runner5", "--json", "--", "x")
    row, = json.loads(result.stdout)
    assert (result.returncode, result.stderr, row["code"], row["signed"], row["error"]) == (0, "out\n", 0, False, None)


def test_a_wrong_signature_counts_before_the_first_inventory(mesh, executor):
    executor("runner7", changed_output, signs=False)
    result = mesh.run("runner7", "--", "x")
    assert result.returncode == 1 and "E1403" in result.stderr


def test_another_devices_manager(mesh, executor, tmp_path):
    """A good chain and a good signature, but of somebody else."""
    def foreign(device, start):
        certificate_make(mesh, tmp_path / "foreign", kind="manager", usage="clientAuth", key=device.own.path)
        leaf = openssl("x509", "-in", tmp_path / "foreign" / "leaf.crt", "-outform", "DER")
        proof = device.result(start, stdout_hash=sha256(b""), stderr_hash=sha256(b""))
        proof.leaf = leaf
        yield run.RunOutput(exit=run.RunExit(proof=proof))
    executor("runner6", foreign)
    result = mesh.run("runner6", "--", "x")
    assert result.returncode == 1 and "unverified" in result.stderr


# ---- the console's task, and terminals ----

@pytest.mark.parametrize("answer, signs, state, error", [
    (good, True, "failed", 0), (changed_output, True, "failed", 1403), (by_net, True, "failed", 1403), (stripped, True, "failed", 1403),
    (changed_output, False, "failed", 1403), (stripped, False, "done", 0)])
def test_a_task_of_the_console(mesh, executor, answer, signs, state, error):
    name = f"tasker-{answer.__name__.replace('_', '-')}-{signs}"
    executor(name, answer, signs)
    browser = browser_of(mesh)
    task = browser.post("/api/tasks", {"query": f"name:{name}", "count": 1, "argv": ["x"]}).json

    def ended():
        browser.close()
        row, = browser.get(f"/api/tasks/{task['id']}/devices").json
        return row["state"] not in ("waiting", "running") and row
    row = until(ended, "it is through")
    assert (row["state"], row["error"]) == (state, error), row
    if answer is good:
        assert row["code"] == 4 and row["output"] == "out\nerr\n"


def test_a_task_on_an_agent_of_ours(mesh):
    browser = browser_of(mesh)
    task = browser.post("/api/tasks", {"query": "name:web02", "count": 1, "argv": ["uname"]}).json

    def ended():
        browser.close()
        row, = browser.get(f"/api/tasks/{task['id']}/devices").json
        return row["state"] == "done" and row["output"] == "Linux\n"
    until(ended, "it is done")


class Shells(Exec):
    def terminal(self, requests, _):
        start = next(requests).start
        yield terminal.TerminalOutput(opened=os.urandom(16))
        yield terminal.TerminalOutput(data=b"hello\r\n")
        exit_ = run.RunExit(code=5)
        if self.signs:
            exit_.proof.CopyFrom(self.device.result(start, code=5, stdout_hash=sha256(b"hello\r\n"), stderr_hash=sha256(b"")))
        yield terminal.TerminalOutput(exit=exit_)


@pytest.mark.parametrize("signs", [True, False])
def test_the_end_of_a_terminal(mesh, executor, signs):
    name = f"shell-{signs}".lower()
    device = executor(name, good, ends=Shells)
    device.ends.signs = signs
    code, text = in_a_terminal(mesh, "ssh", name)
    assert "hello" in text and ("unverified" in text) != signs
    assert code == (5 if signs else 1)


def in_a_terminal(mesh, *words):
    """The exit code, and all that it says."""
    ours, theirs = os.openpty()
    with subprocess.Popen([mesh.programs / "murmesh", "--dir", mesh.directory, *words], stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        text = b""
        try:
            while chunk := os.read(ours, 65536):
                text += chunk
        except OSError:  # nobody holds the other side any more
            pass
        os.close(ours)
        return process.wait(), text.decode()


# ---- a device's own record ----

def verdict(mesh, directory):
    result = murmesh("audit", "verify", "--json", directory=directory, programs=mesh.programs)
    return result.returncode, json.loads(result.stdout)


def test_a_device_records_what_it_was_ordered_to_do(mesh, tmp_path):
    arguments = ["sh", "-c", "exit 23"]
    mesh.run("web02", "--", *arguments)
    folder = mesh.web02.directory

    def newest():
        rows = json.loads(murmesh("audit", "ls", "--limit", "2", "--json", directory=folder, programs=mesh.programs).stdout)
        return rows if [row["action"] for row in rows] == ["command ended", "command started"] else None
    ended, started = until(newest, "its end is noted")
    assert ended["detail"] == "exit 23" and ended["object"] == started["object"]
    assert started["detail"] == "arguments " + hashlib.sha256(b"".join(word.encode() + b"\0" for word in arguments)).hexdigest()
    user = re.fullmatch("user ([0-9a-f]{32})", started["actor"]).group(1)
    assert user in {row["id"] for row in mesh.json("user", "ls")}
    code, verified = verdict(mesh, folder)
    assert (code, verified["records"], verified["first_bad"]) == (0, ended["sequence"], None)
    assert re.search(r"^\d+ records, all as they were written and signed", murmesh("audit", "verify", directory=folder, programs=mesh.programs).stdout)

    (tmp_path / "exec").mkdir()
    with sqlite3.connect(folder / "exec" / "agent.db") as live, sqlite3.connect(tmp_path / "exec" / "agent.db") as copy:
        live.backup(copy)
        copy.execute("UPDATE audit SET detail = 'exit 0' WHERE seq = ?", (ended["sequence"],))
    shutil.copy(folder / "exec" / "manager.crt", tmp_path / "exec")
    code, verified = verdict(mesh, tmp_path)
    assert (code, verified["first_bad"], verified["head"]) == (1, ended["sequence"], None)
    result = murmesh("audit", "verify", directory=tmp_path, programs=mesh.programs)
    assert result.returncode == 1 and f"record {ended['sequence']} of this agent" in result.stderr


def test_a_server_has_its_own_log(mesh):
    assert mesh.json("audit", "verify")["first_bad"] is None
    assert "head" not in mesh.json("audit", "verify")
