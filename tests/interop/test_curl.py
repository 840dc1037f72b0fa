"""curl, a stock client, uses the agent's end of a tunnel leg as its HTTPS proxy (RFC 9110 section 9.3.6)."""
import hashlib
import http.server
import json
import os
import socket
import subprocess
import threading

import pytest

from harness import BUILD

BODY = os.urandom(1 << 16) * 80  # 5 MiB


class Target(http.server.BaseHTTPRequestHandler):
    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(BODY)

    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(hashlib.sha256(body).hexdigest().encode())

    def log_message(self, *words):
        pass


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Agent:
    def __init__(self, directory):
        self.directory = directory
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Target)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.target = self.server.server_address[1]
        self.closed = closed_port()
        words = [f":{self.target}", f":{self.closed}", "nowhere.example:80"]
        self.process = subprocess.Popen([str(BUILD / "tests" / "interop" / "agent_end"), str(directory), *words],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.started = json.loads(self.process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.target}/"

    def stop(self):
        self.process.stdin.close()
        code = self.process.wait(timeout=30)
        self.server.shutdown()
        self.server.server_close()
        return code

    def curl(self, *words, grant="grant", certificate=True, tunnel=True):
        command = ["curl", "--silent", "--show-error", "--max-time", "60", "--noproxy", "",
                   "--proxy", f"https://127.0.0.1:{self.started['port']}", "--proxy-cacert", str(self.directory / "root.crt"),
                   "--write-out", "%{stderr}%{http_connect} %{http_code}\n"]
        if certificate:
            command += ["--proxy-cert", str(self.directory / "user.crt"), "--proxy-key", str(self.directory / "user.key")]
        if tunnel:
            command.append("-p")
        if grant:
            command += ["--proxy-header", f"murmesh-grant: {self.started[grant]}"]
        return subprocess.run([*command, *words], capture_output=True, timeout=90)


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    one = Agent(tmp_path_factory.mktemp("agent"))
    yield one
    assert one.stop() == 0


def statuses(result):
    """Of the CONNECT and of the request inside."""
    return result.stderr.decode().split()[-2:]


def head_of_refusal(agent, *words, **options):
    result = agent.curl("--verbose", *words, **options)
    assert result.returncode == 56 and result.stdout == b""  # CURLE_RECV_ERROR: the tunnel was refused
    lines = [line[2:].strip() for line in result.stderr.decode().splitlines() if line.startswith("< ")]
    return lines[0], "\n".join(lines)


def test_get(agent):
    result = agent.curl(agent.url)
    assert result.returncode == 0, result.stderr
    assert statuses(result) == ["200", "200"]
    assert result.stdout == BODY


def test_put(agent, tmp_path):
    (tmp_path / "body").write_bytes(BODY)
    result = agent.curl("--upload-file", str(tmp_path / "body"), agent.url)
    assert result.returncode == 0, result.stderr
    assert result.stdout.decode() == hashlib.sha256(BODY).hexdigest()


def test_spellings_of_the_device(agent):
    result = agent.curl("--head", f"http://localhost:{agent.target}/")
    assert statuses(result)[0] == "200"


def test_without_connect(agent):
    result = agent.curl(agent.url, tunnel=False)
    assert statuses(result) == ["000", "405"]
    assert result.stdout == b"only CONNECT is served here (curl: add -p)\n"
    assert b"\r\nallow: CONNECT\r\n" in agent.curl("--include", agent.url, tunnel=False).stdout


@pytest.mark.parametrize("grant, code", [(None, "E1215"), ("expired", "E1216")])
def test_without_a_good_grant(agent, grant, code):
    status, head = head_of_refusal(agent, agent.url, grant=grant)
    assert status == "HTTP/1.1 403 Forbidden"
    assert f"Proxy-Status: murmesh; error=http_request_denied; details=" in head and f"code={code}" in head


def test_other_target(agent):
    status, head = head_of_refusal(agent, "http://127.0.0.1:1/")
    assert status == "HTTP/1.1 403 Forbidden" and "code=E1215" in head


def test_closed_port(agent):
    status, head = head_of_refusal(agent, f"http://127.0.0.1:{agent.closed}/")
    assert status == "HTTP/1.1 502 Bad Gateway"
    assert "Proxy-Status: murmesh; error=connection_refused; " in head and "code=E1300" in head


def test_unknown_name(agent):
    status, head = head_of_refusal(agent, "http://nowhere.example/")
    assert status == "HTTP/1.1 502 Bad Gateway" and "error=dns_error" in head and "code=E1303" in head


def test_without_a_certificate(agent):
    result = agent.curl(agent.url, certificate=False)
    assert result.returncode != 0 and result.stdout == b"" and statuses(result) == ["000", "000"]
    assert b"certificate required" in result.stderr or b"alert" in result.stderr
