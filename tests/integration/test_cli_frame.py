"""The frame of the command line program: help, errors, exit codes, completion, doctor. Runs the real program."""
import json
import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = str((ROOT / os.environ.get("MURMESH_BUILD", "build") / "bin" / "murmesh").resolve())


def murmesh(*words, **options):
    return subprocess.run([PROGRAM, *words], capture_output=True, text=True, timeout=60, **options)


def on_terminal(*words, environment=()):
    """Output of the program when standard output and error are a terminal."""
    master, slave = pty.openpty()
    variables = {"PATH": os.environ["PATH"], "TERM": "xterm", **dict(environment)}
    child = subprocess.Popen([PROGRAM, *words], stdin=slave, stdout=slave, stderr=slave, env=variables)
    os.close(slave)
    output = b""
    while True:
        try:
            chunk = os.read(master, 65536)
        except OSError:  # the terminal's other side is closed
            chunk = b""
        if not chunk:
            break
        output += chunk
    os.close(master)
    return child.wait(timeout=60), output.decode().replace("\r\n", "\n")


def error_lines(result):
    lines = result.stderr.splitlines()
    assert [line.split()[0] for line in lines] == ["error:", "why:", "try:"], result.stderr
    assert result.stdout == ""
    return lines


def commands():
    listed = murmesh("help").stdout.split("Commands:\n")[1].split("\n\n")[0]
    return [line.split()[0] for line in listed.splitlines()]


def test_help_of_every_command():
    assert {"help", "version", "explain", "doctor", "completion"} <= set(commands())
    for command in commands():
        asked = murmesh("help", command)
        assert asked.returncode == 0 and asked.stderr == ""
        assert asked.stdout.startswith(f"murmesh {command}: ")
        assert f"Usage: murmesh {command} " in asked.stdout and "Examples:" in asked.stdout
        assert murmesh(command, "--help").stdout == asked.stdout
        assert murmesh("-h", command).stdout == asked.stdout
    assert murmesh("--help").stdout == murmesh("help").stdout


def test_without_a_command():
    result = murmesh()
    assert result.returncode == 2 and result.stdout == "" and "Commands:" in result.stderr


def test_version():
    number = re.fullmatch(r"murmesh (\d+\.\d+\.\d+)\n", murmesh("version").stdout).group(1)
    assert murmesh("--version").stdout == murmesh("-V").stdout == f"murmesh {number}\n"
    assert json.loads(murmesh("version", "--json").stdout) == {"version": number}


@pytest.mark.parametrize("words, what, remedy", [
    (["doctor", "--jsno"], "unknown option --jsno", "did you mean --json?"),
    (["dcotor"], 'unknown command "dcotor"', "did you mean `murmesh doctor`?"),
    (["doctor", "extra"], '"extra" is too much', "murmesh help doctor"),
    (["completion"], "something is missing", "bash|zsh|fish"),
    (["completion", "csh"], "csh", "bash, zsh or fish"),
    (["doctor", "--dir"], "--dir needs a value (DIR)", "murmesh help"),
    (["doctor", "--dir="], "path is empty", "folder"),
    (["doctor", "--json=1"], "takes no value", "leave out"),
    (["doctor", "--json", "--jsonl"], "exclude each other", "choose"),
])
def test_usage_errors(words, what, remedy):
    result = murmesh(*words)
    lines = error_lines(result)
    assert result.returncode == 2
    assert what in lines[0] and "E1012" in lines[1] and remedy in lines[2]


def test_not_found():
    for words in (["explain", "E9999"], ["help", "nonsense"]):
        result = murmesh(*words)
        assert result.returncode == 3
        error_lines(result)


def test_errors_carry_no_escapes_from_their_arguments():
    result = murmesh("help", "\x1b[2Jx\u202e\n")
    assert "\x1b" not in result.stderr and "\u202e" not in result.stderr
    error_lines(result)


def test_colours_only_on_a_terminal_that_wants_them():
    assert "\x1b" not in murmesh("nonsense").stderr
    code, shown = on_terminal("nonsense")
    assert code == 2 and "\x1b[1;31merror:\x1b[0m" in shown
    assert "\x1b" not in on_terminal("nonsense", environment={"NO_COLOR": "1"})[1]
    assert "\x1b" not in on_terminal("nonsense", environment={"TERM": "dumb"})[1]


def test_explain():
    rows = json.loads(murmesh("explain", "--json").stdout)
    assert len(rows) > 50 and all(row["text"] and row["remedy"] for row in rows)
    lines = [json.loads(line) for line in murmesh("explain", "--jsonl").stdout.splitlines()]
    assert lines == rows
    table = [line.split("\t") for line in murmesh("explain").stdout.splitlines()]
    assert table[0] == ["code", "text", "remedy"]
    assert table[1:] == [[row["code"], row["text"], row["remedy"]] for row in rows]
    for code in ("E1029", "e1029", "1029"):
        assert json.loads(murmesh("explain", code, "--json").stdout) == [row for row in rows if row["code"] == "E1029"]
    assert on_terminal("explain", "E1029")[1].startswith("E1029: the server cannot be reached\ntry:   ")


def test_output_that_cannot_be_written_is_an_error():
    with open("/dev/full", "w") as full:
        result = subprocess.run([PROGRAM, "help"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert result.returncode == 1 and "ENOSPC" in result.stderr


def complete_in_bash(script, *words):
    """What bash offers for the last word."""
    line = " ".join(f"'{word}'" for word in words)
    program = f"source '{script}'; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _murmesh; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    return subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True).stdout.split()


def test_completion_of_bash(tmp_path):
    script = tmp_path / "murmesh.bash"
    script.write_text(murmesh("completion", "bash").stdout)
    subprocess.run(["bash", "-n", str(script)], check=True)
    assert set(commands()) <= set(complete_in_bash(script, "murmesh", ""))
    assert complete_in_bash(script, "murmesh", "doc") == ["doctor"]
    assert complete_in_bash(script, "murmesh", "help", "expl") == ["explain"]
    assert complete_in_bash(script, "murmesh", "help", "--ma") == ["--man"]
    assert complete_in_bash(script, "murmesh", "doctor", "--ma") == []
    assert complete_in_bash(script, "murmesh", "completion", "z") == ["zsh"]
    assert complete_in_bash(script, "murmesh", "--dir", "help", "completion", "f") == ["fish"]
    assert complete_in_bash(script, "murmesh", "doctor", "--dir", "") == []  # bash then offers files


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_completion_of_other_shells(shell, tmp_path):
    script = tmp_path / "murmesh"
    script.write_text(murmesh("completion", shell).stdout)
    assert all(command in script.read_text() for command in commands())
    subprocess.run([shell, "-n", str(script)], check=True)


def test_reference_and_manual_page(tmp_path):
    reference, page = murmesh("help", "--reference").stdout, murmesh("help", "--man").stdout
    for command in commands():
        escaped = command.replace("-", "\\-")
        assert f"## murmesh {command}\n" in reference and f".SS murmesh {escaped} " in page
    made = subprocess.run(["groff", "-man", "-Tascii", "-ww"], input=page, capture_output=True, text=True, check=True)
    assert made.stderr == ""


def test_doctor(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    result = murmesh("--dir", str(folder), "doctor", "--json")
    checks = {row["check"]: row for row in json.loads(result.stdout)}
    assert {"kernel", "landlock", "seccomp", "descriptors", "clock", "machine-id", "disk", "directory"} <= set(checks)
    for row in checks.values():
        assert set(row) == {"check", "result", "text", "remedy"}
        assert row["result"] in ("ok", "warning", "failure") and row["text"]
        assert (row["remedy"] is None) == (row["result"] == "ok")
    failures = [row for row in checks.values() if row["result"] == "failure"]
    assert result.returncode == (1 if failures else 0)
    assert checks["directory"]["result"] == "ok"


def test_doctor_finds_an_open_folder(tmp_path):
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    result = murmesh("doctor", "--dir", str(folder), "--quiet")
    assert result.returncode == 1 and result.stderr == ""
    row = next(line.split("\t") for line in result.stdout.splitlines() if line.startswith("directory\t"))
    assert row[1] == "failure" and "mode 777" in row[2] and "chmod" in row[3]


def test_doctor_on_a_terminal_is_aligned(tmp_path):
    _, shown = on_terminal("doctor", "--dir", str(tmp_path))
    lines = shown.splitlines()
    assert lines[0].startswith("CHECK ") and "\t" not in shown
    column = lines[0].index("RESULT")
    rows = [line for line in lines[1:] if not line.endswith("failures")]
    assert rows and all(re.match("ok|warning|failure", row[column:]) for row in rows)
