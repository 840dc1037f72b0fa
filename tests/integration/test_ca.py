"""The certification manager's keys: a root that no server has, other intermediates, and after all was lost."""
import hashlib
import json
import shutil
import subprocess

from console import browser_of
from harness import PROGRAMS, Agent, Echo, Mesh, Program, murmesh, refused, until
from people import Elsewhere, password_give
from wire import Device, Peer, enrol, pem, refusal


def failed(result, what, code=None):
    """As refused(), where it has shown what it is about."""
    assert result.returncode not in (0, None) and what in result.stderr and (code is None or result.returncode == code), (result.returncode, result.stderr)


def done(result):
    assert result.returncode == 0, result.stderr
    return result


def rows(mesh):
    return {row["what"]: row for row in mesh.json("ca", "show")}


def intermediate(mesh):
    return rows(mesh)["intermediate"]["fingerprint"]


def issuer(agent, role="net", name="node"):
    """SHA-256 of the key of the intermediate that signed what the agent has."""
    second = (agent.directory / role / f"{name}.crt").read_text().split("-----END CERTIFICATE-----\n")[1] + "-----END CERTIFICATE-----\n"
    return key_hash(second)


def key_hash(certificate):
    public = subprocess.run(["openssl", "x509", "-noout", "-pubkey"], input=certificate, check=True, capture_output=True, text=True).stdout
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=public.encode(), check=True, capture_output=True).stdout
    return hashlib.sha256(der).hexdigest()


class Again(Program):
    """An agent that was there before, started once more."""

    def __init__(self, agent):
        self.directory, self.name = agent.directory, agent.name
        super().__init__([PROGRAMS / "murmesh-agent", "--dir", agent.directory], f"{agent.directory}-again.log")
        until(lambda: "online as " in self.log(), f"{agent.name} is back", 20)


def everywhere(run, *names):
    for name in names:
        result = run("run", name, "--", "echo", "here")
        assert result.stdout == "here\n", (name, result.stderr)


# ---- the root elsewhere ----

def test_offline_root(tmp_path):
    server, root, request, answer = tmp_path / "server", tmp_path / "usb", tmp_path / "request.json", tmp_path / "answer.json"
    refused(murmesh("ca", "init", directory=server), 2)
    asked = done(murmesh("ca", "init", "--offline-root", "--out", request, directory=server))
    assert "sign-intermediate" in asked.stderr
    refused(murmesh("up", "--port", "0", directory=server), what="E1242")
    refused(murmesh("ca", "show", directory=server), what="E1242")
    refused(murmesh("ca", "install", request, directory=server), what="E1243")
    failed(murmesh("ca", "sign-intermediate", request, "--root", root), "E1012", 2)  # nobody to ask
    assert not root.exists()
    signed = done(murmesh("ca", "sign-intermediate", request, "--root", root, "--out", answer, "--yes"))
    assert "a new mesh root is made" in signed.stderr and "new root" in signed.stderr and (root / "root.key").stat().st_mode & 0o777 == 0o600
    done(murmesh("ca", "install", answer, directory=server))
    refused(murmesh("ca", "install", answer, directory=server), what="E1244")
    refused(murmesh("ca", "init", "--offline-root", directory=server), what="E1018")
    with Mesh(server) as mesh:
        assert not list(server.rglob("root.key"))
        assert mesh.info["fingerprint"] in signed.stderr
        mesh.join("plain")
        assert mesh.works("plain")
        shown = rows(mesh)
        assert shown["root"]["fingerprint"] == mesh.info["fingerprint"] and shown["root"]["note"] == "its key is not here"
        assert shown["intermediate"]["fingerprint"] in signed.stderr
        refused(mesh.cli("policy", "set", "--mode", "server"), what="E1234")


def test_what_a_root_does_not_sign(tmp_path):
    root, other, request = tmp_path / "root", tmp_path / "other", tmp_path / "request.json"
    for server, folder in (("one", root), ("two", other)):
        done(murmesh("ca", "init", "--offline-root", "--out", tmp_path / f"{server}.json", directory=tmp_path / server))
        done(murmesh("ca", "sign-intermediate", tmp_path / f"{server}.json", "--root", folder, "--out", tmp_path / f"{server}-answer.json", "--yes"))
    refused(murmesh("ca", "install", tmp_path / "two-answer.json", directory=tmp_path / "one"), what="E1244")
    done(murmesh("ca", "install", tmp_path / "one-answer.json", directory=tmp_path / "one"))
    failed(murmesh("ca", "sign-intermediate", tmp_path / "one.json", "--root", root, "--yes"), "E1233")  # an older policy, or the same
    for text in ("", "{}", '{"murmesh": "policy"}', '{"murmesh": "ca request", "ca request": "AAAA"}', (tmp_path / "one.json").read_text()[:-30]):
        request.write_text(text)
        failed(murmesh("ca", "sign-intermediate", request, "--root", root, "--yes"), "E12")


def test_lost_with_an_offline_root(tmp_path):
    """A new certification manager under the old root is that root's mesh: the root remembers what it signed, and devices come back."""
    server, root, request, answer = tmp_path / "server", tmp_path / "root", tmp_path / "request.json", tmp_path / "answer.json"

    def ask():
        done(murmesh("ca", "init", "--offline-root", "--out", request, directory=server))
        done(murmesh("ca", "sign-intermediate", request, "--root", root, "--out", answer, "--yes"))
        done(murmesh("ca", "install", answer, directory=server))
    ask()
    with Mesh(server) as mesh:
        agent = Agent(mesh.key(), tmp_path / "kept", "kept").online()
        mesh_id = (server / "ca" / "mesh").read_text()
        assert mesh.stop() == 0
    shutil.rmtree(server / "ca")
    (server / "db" / "intermediates.crt").unlink()
    ask()
    assert (server / "ca" / "mesh").read_text() == mesh_id
    with Mesh(server, port=mesh.port) as mesh:
        until(lambda: (mesh.device("kept") or {}).get("online"), "it is back", 20)
        assert mesh.json("policy", "show")["version"] == 2
        until(lambda: "the policy of the mesh is now version 2" in agent.log(), "it has the new grant key")
        everywhere(mesh.cli, "kept")
        agent.stop()


# ---- another intermediate ----

def test_rotation(tmp_path):
    """Links and maps stay; old and new certificates are good both ways; nobody is touched."""
    with Mesh(tmp_path / "server") as mesh, Echo() as echo:
        seasoned = Agent(mesh.key(), tmp_path / "seasoned", "seasoned").online()
        stranger = Device(mesh, tmp_path, "stranger").enrol()
        done(mesh.cli("user", "add", "erin", "--role", "operator"))
        password_give(mesh, "erin")
        erin = Elsewhere(tmp_path / "erin")
        done(erin.login(mesh, "erin"))
        browser = browser_of(mesh)
        first = intermediate(mesh)
        assert issuer(seasoned) == first
        with mesh.map(f"TCP:0:seasoned:HTTP:{echo.port}") as mapped, mapped.connect() as connection:
            connection.sendall(b"before")
            assert connection.recv(100) == b"before"
            done(mesh.cli("ca", "rotate"))
            second = intermediate(mesh)
            assert second != first and rows(mesh)["former"]["fingerprint"] == first
            connection.sendall(b"after")
            assert connection.recv(100) == b"after"
            with mapped.connect() as another:  # the map's own user certificate is of the former one
                another.sendall(b"new leg")
                assert another.recv(100) == b"new leg"
            fresh = Agent(mesh.key(), tmp_path / "fresh", "fresh").online()
            assert issuer(fresh) == second and issuer(fresh, "exec", "manager") == second and issuer(seasoned) == first
            for run in (mesh.cli, erin.cli):  # a new user certificate, and one of the former intermediate
                everywhere(run, "seasoned", "fresh")
            # a node that shows its leaf alone renews, and what it gets is the new one's
            with Peer(f"localhost:{mesh.port}", stranger.key, enrol.CertificateReply(leaf=stranger.certificates.leaf, root=stranger.root), alone=True) as peer:
                renewed = peer.unary("CertificationManager/RenewCertificate", enrol.RenewRequest(csr=stranger.key.request()), enrol.CertificateReply)
            assert key_hash(pem(renewed.intermediate)) == second and not renewed.former
            # with another grant key, at once on open links
            done(mesh.cli("ca", "rotate", "--grant-key"))
            for agent in (seasoned, fresh):
                until(lambda: "the policy of the mesh is now version 2" in agent.log(), f"{agent.name} has the new grant key")
            everywhere(mesh.cli, "seasoned", "fresh")
            connection.sendall(b"still")
            assert connection.recv(100) == b"still"
        assert "not reachable" not in seasoned.log() and "not reachable" not in fresh.log()
        query = "name:seasoned or name:fresh"
        task = browser.post("/api/tasks", {"query": query, "count": 2, "argv": ["true"]}).json
        until(lambda: {row["state"] for row in browser.get(f"/api/tasks/{task['id']}/devices").json} == {"done"}, "the console's legs", 20)
        # its link is new, its certificate the first one's
        seasoned.stop()
        with Again(seasoned) as back:
            assert issuer(back) == first
            everywhere(mesh.cli, "seasoned", "fresh")
        fresh.stop()


def test_rotation_with_an_offline_root(tmp_path):
    root, request, answer = tmp_path / "root", tmp_path / "request.json", tmp_path / "answer.json"
    with Mesh(tmp_path / "server") as mesh:
        agent = Agent(mesh.key(), tmp_path / "watched", "watched").online()
        first = intermediate(mesh)
        root.mkdir(mode=0o700)
        (mesh.directory / "ca" / "root.key").rename(root / "root.key")
        done(mesh.cli("ca", "rotate", "--grant-key", "--out", request))
        assert intermediate(mesh) == first and rows(mesh)["intermediate"]["note"]
        everywhere(mesh.cli, "watched")
        assert mesh.stop() == 0
    with Mesh(tmp_path / "server", port=mesh.port) as mesh:  # what waits keeps nobody from starting
        until(lambda: (mesh.device("watched") or {}).get("online"), "watched is back", 20)
        done(mesh.cli("ca", "sign-intermediate", request, "--root", root, "--out", answer, "--yes"))
        done(mesh.cli("ca", "install", answer))
        assert intermediate(mesh) != first
        until(lambda: "the policy of the mesh is now version 2" in agent.log(), "it has the new grant key")
        everywhere(mesh.cli, "watched")
        agent.stop()


# ---- when all is lost ----

def test_recovery(tmp_path):
    """With a file that is older than the last rotation, and without ca/: all come back untouched, by certificates of both intermediates."""
    file, server = tmp_path / "mesh.recovery", tmp_path / "server"
    with Mesh(server) as mesh:
        port = mesh.port
        made = json.loads(done(mesh.cli("ca", "recovery", "--out", file, "--json")).stdout)
        assert made["code"].startswith("MR1-") and file.stat().st_mode & 0o777 == 0o600
        first = Agent(mesh.key(), tmp_path / "first", "first").online()
        old = Device(mesh, tmp_path, "old").enrol()
        done(mesh.cli("ca", "rotate"))
        done(mesh.cli("policy", "set", "--parent", "mesh.example:8443"))
        second = Agent(mesh.key(), tmp_path / "second", "second").online()
        late = Device(mesh, tmp_path, "late").enrol()
        issuers, root = {issuer(first), issuer(second)}, mesh.info["fingerprint"]
        assert len(issuers) == 2
        failed(murmesh("ca", "recover", file, "--code-file", "-", directory=server, input=made["code"]), "E1018")
        assert mesh.stop() == 0
    assert made["code"] not in file.read_text()
    shutil.rmtree(server / "ca")
    failed(murmesh("up", "--port", "0", directory=server), "E1246")  # no other mesh in its place
    assert not (server / "ca").exists() or not list((server / "ca").iterdir())

    def recover(code, *words):
        return murmesh("ca", "recover", file, "--code-file", "-", *words, directory=server, input=f"{code}\n")
    code = made["code"]
    for wrong in ("", code[:-1], code[4:], code[:-1] + ("a" if code[-1] != "a" else "b"), code[:10] + ("a" if code[10] != "a" else "b") + code[11:]):
        refused(recover(wrong), what="E1247")
    whole = file.read_text()
    file.write_text(whole.replace('"sealed": "', '"sealed": "AAAA'))
    refused(recover(code), what="E1247")
    file.write_text("{}")
    refused(recover(code), what="E1243")
    file.write_text(whole)
    assert "is back" in done(recover(code, "--root", tmp_path / "usb")).stderr
    assert not (server / "ca" / "root.key").exists() and (tmp_path / "usb" / "root.key").stat().st_mode & 0o777 == 0o600
    with Mesh(server, port=port) as mesh:
        assert mesh.info["fingerprint"] == root and intermediate(mesh) not in issuers
        for agent in (first, second):
            until(lambda: (mesh.device(agent.name) or {}).get("online"), f"{agent.name} is back", 20)
            until(lambda: "is now version 1002" in agent.log(), f"{agent.name} has the new policy")
        assert {issuer(first), issuer(second)} == issuers  # with what they had
        shown = mesh.json("policy", "show")
        assert shown["version"] == 1002 and shown["parents"] == ["mesh.example:8443"]
        everywhere(mesh.cli, "first", "second")
        for device in (old, late):
            with Peer(f"localhost:{port}", device.key, enrol.CertificateReply(leaf=device.certificates.leaf, root=device.root), alone=True) as peer:
                renewed = peer.unary("CertificationManager/RenewCertificate", enrol.RenewRequest(csr=device.key.request()), enrol.CertificateReply)
            assert key_hash(pem(renewed.intermediate)) == intermediate(mesh)
        Agent(mesh.key(), tmp_path / "third", "third").online().stop()
        draft = tmp_path / "next.json"  # and the mesh has a root again
        done(mesh.cli("policy", "draft", "--parent", "none", "--out", draft))
        done(mesh.cli("policy", "sign", draft, "--root", tmp_path / "usb", "--yes"))
        done(mesh.cli("policy", "install", draft))
        first.stop()
        second.stop()


def test_recovery_without_the_database(tmp_path):
    """Only the file, on another machine: the mesh is the same, and machines that join again find its root."""
    file = tmp_path / "mesh.recovery"
    with Mesh(tmp_path / "server") as mesh:
        code = json.loads(done(mesh.cli("ca", "recovery", "--out", file, "--json")).stdout)["code"]
        old, root = Device(mesh, tmp_path, "old").enrol(), mesh.info["fingerprint"]
        (mesh.directory / "ca" / "root.key").unlink()
        refused(mesh.cli("ca", "recovery", "--out", file), what="E1234")
    done(murmesh("ca", "recover", file, "--code-file", "-", directory=tmp_path / "other", input=code))
    with Mesh(tmp_path / "other") as mesh:
        assert mesh.info["fingerprint"] == root
        with Peer(f"localhost:{mesh.port}", old.key, enrol.CertificateReply(leaf=old.certificates.leaf, root=old.root), alone=True) as peer:
            code, error = refusal(lambda: peer.unary("CertificationManager/RenewCertificate", enrol.RenewRequest(csr=old.key.request()), enrol.CertificateReply))
        assert error == "E1206"  # its chain is good, but there is no such device
