"""Scenarios in a real browser: pytest starts the mesh, a Node script of scenarios/ plays one user (lib.mjs)."""
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from console import browser_of
from harness import PATIENCE, PROGRAMS, ROOT, Mesh, die_with_tests

HERE = Path(__file__).parent
CHROMIUM = shutil.which("chromium")
SECONDS = 240
NAME, PASSWORD = "ada", "a flock at dusk"


@pytest.fixture(scope="session", autouse=True)
def parts():
    """playwright-core and axe-core are among the console's packages; they are there when the console was built."""
    assert shutil.which("node") and CHROMIUM, "install what packaging/packages-test.txt names (make deps-test)"
    if not (ROOT / "web/node_modules/playwright-core").is_dir():
        subprocess.run(["npm", "ci", "--no-fund", "--no-audit"], cwd=ROOT / "web", check=True, timeout=600)


@pytest.fixture
def scenario(tmp_path):
    """Plays a scenario; it fails as the script does.  Pictures of a failure lie in the test's folder."""
    def play(name, mesh, **given):
        given = {
            "url": mesh.info["url"], "directory": str(mesh.directory), "murmesh": str(PROGRAMS / "murmesh"), "chromium": CHROMIUM,
            "pictures": str(tmp_path),
            "patience": PATIENCE, "seconds": SECONDS * PATIENCE, "name": NAME, "password": PASSWORD, **given}
        given.setdefault("login", mesh.json("login-link")["login"])
        done = subprocess.run(["node", HERE / "scenarios" / f"{name}.mjs"], input=json.dumps(given), capture_output=True, text=True,
                              timeout=(SECONDS + 30) * PATIENCE, preexec_fn=die_with_tests)
        assert done.returncode == 0, f"{name}: {done.stdout[-4000:]}\n{done.stderr[-4000:]}\npictures: {tmp_path}"
        return done.stdout
    return play


def set_up(mesh):
    """ada is its administrator."""
    answer = browser_of(mesh).post("/api/me/setup", {"name": NAME, "password": PASSWORD})
    assert answer.status == 200, answer
    return mesh


@pytest.fixture(scope="session")
def console(tmp_path_factory):
    """A mesh with a second machine, web02, whose console scenarios share."""
    with Mesh(tmp_path_factory.mktemp("console") / "server") as mesh:
        mesh.web02 = mesh.join("web02")
        yield set_up(mesh)


@pytest.fixture
def lone_console(new_mesh):
    """A mesh of the test's own."""
    return lambda: set_up(new_mesh(name="server"))
