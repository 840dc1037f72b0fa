"""The console's own tests, types and budget."""
import json
import re
import subprocess
from pathlib import Path

import brotli
import pytest

WEB = Path(__file__).resolve().parents[2] / "web"
FILES = sorted(str(path.relative_to(WEB)) for path in WEB.glob("src/**/*.test.ts"))
MINUTES = 60


def npm(*words):
    return subprocess.run(["npm", "--silent", *words], cwd=WEB, capture_output=True, text=True, timeout=10 * MINUTES, check=False)


@pytest.fixture(scope="module")
def packages():
    if not (WEB / "node_modules/.package-lock.json").exists():
        said = npm("ci", "--no-fund", "--no-audit")
        assert said.returncode == 0, said.stderr[-300:]


@pytest.fixture(scope="module")
def results(packages, tmp_path_factory):
    report = tmp_path_factory.mktemp("vitest") / "report.json"
    npm("exec", "--", "vitest", "run", "--reporter=json", f"--outputFile={report}")
    return {str(Path(each["name"]).relative_to(WEB)): each for each in json.loads(report.read_text())["testResults"]}


@pytest.mark.parametrize("file", FILES)
def test_file(results, file):
    result = results[file]
    failed = [each["fullName"] + "\n" + "\n".join(each["failureMessages"]) for each in result["assertionResults"] if each["status"] == "failed"]
    assert result["status"] == "passed" and not failed, (result.get("message"), failed)


def test_types(packages):
    said = npm("run", "check")
    assert said.returncode == 0, said.stdout[-3000:]


def test_lock_names_no_host():
    assert '"resolved"' not in (WEB / "package-lock.json").read_text()


def test_nothing_inline():
    """What the policy script-src 'self'; style-src 'self' would stop."""
    for path in [WEB / "index.html", *WEB.glob("src/**/*.svelte")]:
        text = path.read_text()
        markup = re.sub(r"<(script|style)\b.*?</\1>", "", text, flags=re.DOTALL)
        assert not re.search(r"\sstyle=|\son\w+=\"|javascript:", markup), path
        assert "{@html" not in text, path
    assert not re.search(r"<style|<script(?![^>]*\ssrc=)", (WEB / "index.html").read_text())


def test_first_view():
    """Of what `make` has built: at most 60 kB by brotli, at most four files beside the page."""
    page = (WEB / "dist/index.html").read_text()
    files = re.findall(r'(?:src|href)="/([^"]+)"', page)
    assert 1 <= len(files) <= 4
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert len(scripts) == 1 and "globalThis.early" in scripts[0] and not re.search(r"\b(import|export)\b", scripts[0])
    assert sum(len(brotli.compress((WEB / "dist" / each).read_bytes())) for each in ["index.html", *files]) <= 60_000


def test_short_files():
    for path in [*WEB.glob("src/**/*.ts"), *WEB.glob("src/**/*.svelte")]:
        if "generated" not in path.name:
            assert len(path.read_text().splitlines()) <= 400, path
