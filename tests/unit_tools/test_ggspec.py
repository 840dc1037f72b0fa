"""tools/ggspec.py: what it made and is kept in the tree is current; wrong specifications are refused with their line."""
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools" / "ggspec.py"
GOOD = """module test 0x42
title "Test"
record SEEN 1 "something was seen"
	flag owner 2 "known"
	field count varint "how many"
	field process process if owner "whose"
	field name string:10 "which"
	node "x/{device}/{count}" kind=thing label="{name.base}" pid={process.pid} if owner
	row subject="{name}" bytes={count} if name unless owner
"""


def run(*arguments):
    return subprocess.run([sys.executable, str(TOOL), *map(str, arguments)], capture_output=True, text=True, timeout=60)


def made(tmp_path, spec):
    path = tmp_path / "test.ggspec"
    path.write_text(spec)
    return run("--c", tmp_path / "out.h", tmp_path / "out.c", path)


def test_files_in_the_tree_are_current():
    result = run("--check")
    assert result.returncode == 0, result.stdout


def test_vectors_are_what_the_specification_says():
    if not importlib.util.find_spec("cryptography"):
        pytest.skip("no python3-cryptography")
    assert subprocess.run([sys.executable, str(ROOT / "tests/vectors/make_glouglou.py"), "--check"], timeout=120).returncode == 0


def test_tables(tmp_path):
    result = made(tmp_path, GOOD)
    assert result.returncode == 0, result.stderr
    header, source = (tmp_path / "out.h").read_text(), (tmp_path / "out.c").read_text()
    assert "#define GG_MODULE_TEST 0x42" in header
    assert "struct gg_process process; /* whose (with owner) */" in header
    assert '{ "process", GG_TYPE_PROCESS, offsetof(struct gg_test_seen, process), 0, 2 }' in source
    assert '{ NULL, 3, GG_PART_BASE }' in source
    assert ".when = 0x8,\n\t  .unless = 0x1" in source


@pytest.mark.parametrize("old, new, line", [
    ("module test 0x42", "record A 1 x", 1),
    ("record SEEN 1", "record SEEN 240", 3),
    ("field count varint", "field count double", 5),
    ("if owner \"whose\"", "if count \"whose\"", 6),
    ("string:10", "string", 7),
    ("{count}\" kind", "{missing}\" kind", 8),
    ("{name.base}", "{name.pid}", 8),
    ("kind=thing", "colour=thing", 8),
    ("unless owner", "unless nobody", 9),
    ("row subject", "line subject", 9),
    ('"{name}" bytes', '"{name bytes', 9),
])
def test_wrong_lines_are_named(tmp_path, old, new, line):
    assert old in GOOD
    result = made(tmp_path, GOOD.replace(old, new, 1))
    assert result.returncode != 0
    assert f"test.ggspec:{line}: " in result.stderr


def test_numbers_are_used_once(tmp_path):
    (tmp_path / "a.ggspec").write_text(GOOD)
    (tmp_path / "b.ggspec").write_text(GOOD.replace("module test", "module other"))
    result = run("--c", tmp_path / "out.h", tmp_path / "out.c", tmp_path / "a.ggspec", tmp_path / "b.ggspec")
    assert result.returncode != 0 and "same number" in result.stderr
