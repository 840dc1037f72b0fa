"""The documents name what the tables of both programs hold: options with their types and defaults, roles."""
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TYPES = {"CONF_STRING": "text", "CONF_BOOLEAN": "yes or no", "CONF_UNSIGNED": "number", "CONF_PORT": "port", "CONF_DURATION": "duration",
         "CONF_ADDRESS": "address", "CONF_LIST": "list"}


def options_of(source):
    table = re.search(r"struct conf_option conf_options\[\] = \{\n(.*?)\n\};", source, re.DOTALL).group(1)
    rows = re.findall(r'\{\s*"(\w+)",\s*"(\w+)",\s*(CONF_\w+),\s*(?:NULL|"([^"]*)")', table)
    assert len(rows) == table.count("CONF_"), "a row of the table is written in a way that this test does not read"
    return [(section, key, TYPES[kind], default) for section, key, kind, default in rows]


def options_on(page, program):
    part = page.split(f"\n## {program}.ini\n")[1].split("\n## ")[0]
    return re.findall(r"^\| (\w+) \| (\w+) \| ([\w ]+) \| (?:`([^`]*)`)? ?\|", part, re.MULTILINE)


@pytest.mark.parametrize("program", ["server", "agent"])
def test_options(program):
    options = options_of((ROOT / "src" / program / "main.c").read_text())
    assert options
    header = ("section", "key", "type", "default")
    assert [row for row in options_on((ROOT / "docs/configuration.md").read_text(), f"murmesh-{program}")
            if row[:2] != header[:2]] == options


@pytest.mark.parametrize("program", ["server", "agent"])
def test_roles(program):
    table = re.search(r"struct priv_role roles\[\] = \{\n(.*?)\n\};", (ROOT / "src" / program / "main.c").read_text(), re.DOTALL).group(1)
    roles = re.findall(r'^\t\{ "(\w+)"', table, re.MULTILINE)
    assert roles
    page = (ROOT / "ARCHITECTURE.md").read_text().split(f"\n| {program} role |")[1].split("\n\n")[0]
    assert re.findall(r"^\| (\w+) \|", page, re.MULTILINE) == roles
    security = (ROOT / "SECURITY.md").read_text().split("\n## What each role may do\n")[1].split("\n## ")[0]
    assert [role for role in roles if not re.search(rf"^\|.*\b{program} {role}\b.*?\|", security, re.MULTILINE)] == []
