"""`murmesh grant`: curl, a stock client, uses a real agent as its HTTPS proxy (RFC 9110 section 9.3.6), with a client certificate."""
import http.server
import json
import os
import subprocess
import threading
from pathlib import Path

import pytest

from harness import PATIENCE, refused


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"a page of " + self.headers["Host"].encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def page():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def curl(config, *words):
    return subprocess.run(["curl", "-sS", "--config", config, *words], capture_output=True, text=True, timeout=60 * PATIENCE)


def test_curl(mesh, page):
    with mesh.background("grant", "web02", page, "--json") as program:
        info = json.loads(program.process.stdout.readline())
        config = Path(info["config"])
        assert config.parent.stat().st_mode & 0o777 == 0o700 and all(path.stat().st_mode & 0o777 == 0o600 for path in config.parent.iterdir())
        for host in ("localhost", "127.0.0.1"):
            result = curl(config, f"http://{host}:{page}/")
            assert (result.returncode, result.stdout) == (0, f"a page of {host}:{page}"), result.stderr
        # another target: the agent refuses
        refusal = curl(config, "-v", f"http://127.0.0.1:{page + 1}/")
        assert refusal.returncode == 56 and "403" in refusal.stderr and "E1215" in refusal.stderr
        # without the certificate the agent does not even speak
        text = config.read_text()
        config.write_text("\n".join(line for line in text.splitlines() if "proxy-cert " not in line and "proxy-key" not in line))
        assert curl(config, f"http://localhost:{page}/").returncode != 0
        # without the grant
        config.write_text("\n".join(line for line in text.splitlines() if "proxy-header" not in line))
        assert "E1215" in curl(config, "-v", f"http://localhost:{page}/").stderr
        # it is the device that answers, and nobody else
        config.write_text(text.replace(mesh.device("web02")["id"], "localhost"))
        assert curl(config, f"http://localhost:{page}/").returncode == 60
    assert not config.parent.exists()


def test_line_for_people(mesh, page):
    with mesh.background("grant", "WEB02", f"127.0.0.1:{page}") as program:
        words = program.process.stdout.readline().decode().split()
        assert words[:2] == ["curl", "--config"] and words[3] == f"http://127.0.0.1:{page}/"
        result = subprocess.run([*words[:1], "-sS", *words[1:]], capture_output=True, text=True, timeout=60 * PATIENCE)
        assert result.stdout == f"a page of 127.0.0.1:{page}", result.stderr
        assert "good until" in program.log()
        assert program.stop() == 0
    assert not os.path.exists(os.path.dirname(words[2]))


def test_refusals(mesh):
    refused(mesh.cli("grant", "nobody", 80), 3, "E1017")
    refused(mesh.cli("grant", "web02", "x"), 2, "column 1")
