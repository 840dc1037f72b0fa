#!/usr/bin/python3
"""Runs the tests of a build folder, most of which wait more than they work: unit tests and fuzz corpora by Meson, then pytest.

The last line is "N passed, M failed"."""
import json
import os
import signal
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

TOGETHER = ["tests/unit_tools", "tests/integration", "tests/interop", "tests/faults"]
ALONE = ["tests/integration/test_probe.py", "tests/integration/test_live.py", "tests/browser"]  # these see all that the machine does


def meson(build):
    log = os.path.join(build, "meson-logs", "testlog.json")
    if os.path.exists(log):
        os.unlink(log)
    subprocess.run(["meson", "test", "-C", build, "--no-rebuild", "--print-errorlogs", "--num-processes", str(2 * (os.cpu_count() or 1))], check=False)
    passed = failed = 0
    with open(log) as f:
        for line in f:
            result = json.loads(line)["result"]
            passed += result == "OK"
            failed += result not in ("OK", "SKIP")
    return passed, failed


def pytest(build, *words):
    with tempfile.NamedTemporaryFile(suffix=".xml") as report:
        environment = dict(os.environ, MURMESH_BUILD=os.path.abspath(build), PYTHONDONTWRITEBYTECODE="1")
        code = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--durations=5",
                               f"--junitxml={report.name}", *words], env=environment, check=False).returncode
        passed = failed = 0
        if os.path.getsize(report.name):
            for suite in xml.etree.ElementTree.parse(report.name).getroot().iter("testsuite"):
                counts = {k: int(suite.get(k, 0)) for k in ("tests", "failures", "errors", "skipped")}
                failed += counts["failures"] + counts["errors"]
                passed += counts["tests"] - counts["failures"] - counts["errors"] - counts["skipped"]
    return passed, failed + (code not in (0, 1))


def main():
    build = sys.argv[1]
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):  # tests die of these, which `nohup` and `&` have all below ignore
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    passed, failed = meson(build)
    if len(sys.argv) < 3:
        ignored = [f"--ignore={path}" for path in ALONE]
        for words in (["-n", str((os.cpu_count() or 1) + 1), "--dist", "loadfile", *ignored, *TOGETHER], ALONE):
            more = pytest(build, *words)
            passed, failed = passed + more[0], failed + more[1]
    layers = subprocess.run([sys.executable, "tools/check_layers.py"], check=False).returncode
    passed, failed = passed + (layers == 0), failed + (layers != 0)
    print(f"{passed} passed, {failed} failed")
    return failed != 0


sys.exit(main())
