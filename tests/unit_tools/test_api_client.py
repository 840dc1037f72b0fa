"""The console's client and the server's table of routes are the same thing."""
import json
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = (ROOT / os.environ.get("MURMESH_BUILD", "build")).resolve()


def run(*words):
    return subprocess.run(list(map(str, words)), check=True, capture_output=True, text=True).stdout


def test_current(tmp_path):
    description = tmp_path / "openapi.json"
    description.write_text(run(BUILD / "bin/openapi"))
    made = run("/usr/bin/python3", ROOT / "tools/api_client.py", description)
    assert (ROOT / "web/src/api.generated.ts").read_text() == made, "make it again: tools/api_client.py, as its first lines say"


def test_description():
    """What a reader of OpenAPI relies on."""
    document = json.loads(run(BUILD / "bin/openapi"))
    assert document["openapi"].startswith("3.1")
    known = set(document["components"]["schemas"])
    names = []

    def check(value):
        if isinstance(value, dict):
            if "$ref" in value:
                assert value["$ref"].removeprefix("#/components/schemas/") in known
            list(map(check, value.values()))
        elif isinstance(value, list):
            list(map(check, value))
    check(document)
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            names.append(operation["operationId"])
            assert ("{id}" in path) == any(one["in"] == "path" for one in operation["parameters"])
            assert operation["x-right"] in (None, "viewer", "operator", "administrator")
            assert operation["x-audited"], (method, path)
            assert (method == "get") == operation["x-audited"].startswith("no: nothing"), (method, path)
            assert "requestBody" not in operation or method != "get"
    assert names and len(set(names)) == len(names)
