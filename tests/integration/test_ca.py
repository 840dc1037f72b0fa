"""The certification manager's keys: a root that no server has, other intermediates, and after all was lost."""
import json
import subprocess

import pytest

from harness import PROGRAMS, Agent, Mesh, murmesh, refused, until


def failed(result, what, code=None):
    """As refused(), where it has shown what it is about."""
    assert result.returncode not in (0, None) and what in result.stderr and (code is None or result.returncode == code), (result.returncode, result.stderr)


def done(result):
    assert result.returncode == 0, result.stderr
    return result


def rows(mesh):
    return {row["what"]: row for row in mesh.json("ca", "show")}


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
    """A new server under the old root is that root's mesh: what was made before counts on."""
    server, root, request, answer = tmp_path / "server", tmp_path / "root", tmp_path / "request.json", tmp_path / "answer.json"

    def ask():
        done(murmesh("ca", "init", "--offline-root", "--out", request, directory=server))
        done(murmesh("ca", "sign-intermediate", request, "--root", root, "--out", answer, "--yes"))
        done(murmesh("ca", "install", answer, directory=server))
    ask()
    mesh_id = (server / "ca" / "mesh").read_text()
    subprocess.run(["rm", "-r", str(server / "ca")], check=True)
    ask()
    assert (server / "ca" / "mesh").read_text() == mesh_id
    shown = json.loads(done(murmesh("policy", "show", "--json", directory=server)).stdout)
    assert shown["version"] == 2 and shown["mesh"] == mesh_id
