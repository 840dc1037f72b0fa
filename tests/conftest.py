"""Fixtures for tests of whole programs."""
import itertools
from pathlib import Path

import pytest

from harness import Mesh, check_report


def check_logs(folder, seen):
    """Looks through the logs below the folder, each from where the last look ended."""
    reports = []
    for path in filter(Path.is_file, folder.rglob("*log")):
        start = seen.get(path, 0)
        text = path.read_bytes()[start:]
        seen[path] = start + text.rfind(b"\n") + 1
        try:
            check_report(text.decode(errors="replace"), path.name)
        except AssertionError as report:
            reports.append(str(report))
    assert not reports, "\n".join(reports)


@pytest.fixture(scope="session", autouse=True)
def seen_logs(tmp_path_factory):
    """Before all others, so that it ends behind them: also what a mesh of the whole session says at its end is looked at."""
    seen = {}
    yield seen
    check_logs(tmp_path_factory.getbasetemp(), seen)


@pytest.fixture(autouse=True)
def no_reports(seen_logs, tmp_path_factory):
    """A role that a sanitizer ends is started again: a test could pass all the same."""
    yield
    check_logs(tmp_path_factory.getbasetemp(), seen_logs)


@pytest.fixture(scope="session")
def mesh(tmp_path_factory):
    """One mesh with a second machine, web02, for all tests that break nothing."""
    with Mesh(tmp_path_factory.mktemp("mesh") / "server") as shared:
        shared.web02 = shared.join("web02")
        yield shared


@pytest.fixture
def new_mesh(tmp_path):
    """Makes meshes of the test's own."""
    made, numbers = [], itertools.count(1)

    def make(*words, name=None, **options):
        made.append(Mesh(tmp_path / (name or f"server{next(numbers)}"), *words, **options))
        return made[-1]
    yield make
    for one in made:
        one.stop()
