"""Fixtures for tests of whole programs."""
import itertools

import pytest

from harness import Mesh


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
