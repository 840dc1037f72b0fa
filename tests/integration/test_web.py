"""The console's server as browsers meet it, and as those who are none do."""
import base64
import ctypes
import gzip
import hashlib
import json
import os
import re
import signal
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import brotli
import pytest
from console import Browser, Refused, Socket, browser_of, tls
from harness import PATIENCE, Mesh, until

POLICY = re.compile("default-src 'none'; script-src 'self'(| 'sha256-[A-Za-z0-9+/]{43}='); style-src 'self'; img-src 'self' data:; connect-src 'self'; "
                    "font-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'")
SECURITY = {
    "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin"}
PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A mesh of this file's own, whose first administrator is `root`."""
    with Mesh(tmp_path_factory.mktemp("web") / "server") as mesh:
        first = browser_of(mesh)
        assert first.post("/api/me/setup", {"name": "root", "password": PASSWORD}).status == 200
        yield mesh


@pytest.fixture
def root(home):
    browser = Browser(home.port)
    answer = browser.post("/api/login", {"name": "root", "password": PASSWORD})
    assert answer.status == 200, answer
    yield browser
    browser.close()


def checked(answer):
    """Every answer has these."""
    for name, value in SECURITY.items():
        assert answer.headers.get_all(name) == [value], (name, answer.headers)
    assert len(answer.headers.get_all("Content-Security-Policy")) == 1 and POLICY.fullmatch(answer.headers["Content-Security-Policy"])
    assert "camera=()" in answer.headers["Permissions-Policy"]
    assert "Strict-Transport-Security" not in answer.headers
    return answer


def refused(answer, status, error, mesh=None):
    """An error as the console shows it, whose id is in the log."""
    assert answer.status == status, answer
    assert answer.json["error"] == error, answer
    assert set(answer.json) == {"error", "what", "why", "try", "id"} and answer.json["what"] and answer.json["try"]
    assert re.fullmatch("[0-9a-f]{16}", answer.json["id"])
    if mesh:
        until(lambda: answer.json["id"] in mesh.log(), "the error's id in the log")
    return checked(answer)


# ---- TLS ----

def root_certificate(mesh, tmp_path):
    path = tmp_path / "root.pem"
    path.write_bytes((mesh.directory / "ca" / "root.crt").read_bytes())
    return path


def test_certificate(home, tmp_path):
    """Whoever trusts the mesh's root sees a server of its names, which asks nobody for a certificate."""
    context = ssl.create_default_context(cafile=str(root_certificate(home, tmp_path)))
    context.set_alpn_protocols(["http/1.1"])
    for name in ("127.0.0.1", "localhost"):
        with socket.create_connection(("127.0.0.1", home.port)) as raw, context.wrap_socket(raw, server_hostname=name) as connection:
            assert connection.version() == "TLSv1.3" and connection.selected_alpn_protocol() == "http/1.1"
    with socket.create_connection(("127.0.0.1", home.port)) as raw, pytest.raises(ssl.SSLCertVerificationError):
        context.wrap_socket(raw, server_hostname="evil.example")


@pytest.mark.parametrize("alpn", [(), ("http/1.1",), ("h2", "http/1.1")])
def test_alpn(home, alpn):
    with socket.create_connection(("127.0.0.1", home.port)) as raw, tls(alpn).wrap_socket(raw) as connection:
        assert connection.selected_alpn_protocol() == ("http/1.1" if alpn else None)
        connection.sendall(f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{home.port}\r\n\r\n".encode())
        assert connection.recv(15) == b"HTTP/1.1 200 OK"


def test_redirect(home):
    """Who forgets the s."""
    with socket.create_connection(("127.0.0.1", home.port), 10) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        head = connection.recv(4096)
        assert head.startswith(b"HTTP/1.1 301 ") and f"Location: https://127.0.0.1:{home.port}/".encode() in head


# ---- pages ----

def test_page(home):
    browser = Browser(home.port)
    plain = checked(browser.get("/"))
    assert plain.status == 200 and plain.headers["Content-Type"] == "text/html; charset=utf-8"
    assert plain.headers["Cache-Control"] == "no-cache" and b"<title>" in plain.body
    packed = browser.get("/", headers={"Accept-Encoding": "gzip, deflate"})
    assert packed.headers["Content-Encoding"] == "gzip" and gzip.decompress(packed.body) == plain.body
    packed = browser.get("/", headers={"Accept-Encoding": "gzip, br;q=1.0"})
    assert packed.headers["Content-Encoding"] == "br" and brotli.decompress(packed.body) == plain.body
    assert "Content-Encoding" not in browser.get("/", headers={"Accept-Encoding": "br;q=0, gzip;q=0"}).headers
    for etag in (plain.headers["ETag"], f"\"x\", W/{plain.headers['ETag']}"):
        same = checked(browser.get("/", headers={"If-None-Match": etag}))
        assert same.status == 304 and same.body == b"" and same.headers["ETag"] == plain.headers["ETag"]
    assert browser.get("/", headers={"If-None-Match": '"x"'}).status == 200
    head = checked(browser.request("HEAD", "/"))
    assert head.status == 200 and head.body == b"" and int(head.headers["Content-Length"]) == len(plain.body)
    for path in ("/login", "/devices/0123", "/a/b/c", "/?x=%2e%2e"):
        assert browser.get(path).body == plain.body, path
    for path in ("/robots.txt", "/assets/x.js", "/index.html.br", "/api", "/ws/x"):
        refused(browser.get(path), 404, "E1017", home)


def test_assets(home):
    """What the page names is there, whole, and kept for ever where its name changes with it."""
    browser = Browser(home.port)
    paths = re.findall(r'(?:src|href)="(/[^"]+)"', browser.get("/").body.decode())
    assert paths
    for path in paths:
        asset = checked(browser.get(path, headers={"Accept-Encoding": "br"}))
        assert asset.status == 200, path
        assert "immutable" in asset.headers["Cache-Control"]
        assert brotli.decompress(asset.body) if "Content-Encoding" in asset.headers else asset.body


def test_script_of_the_page(home):
    """The one script inside the page is allowed by its hash, and no other."""
    page = checked(Browser(home.port).get("/"))
    scripts = re.findall(rb"<script>(.*?)</script>", page.body, re.DOTALL)
    hashes = ["'sha256-" + base64.b64encode(hashlib.sha256(text).digest()).decode() + "'" for text in scripts]
    assert len(scripts) == 1 and POLICY.fullmatch(page.headers["Content-Security-Policy"])[1].split() == hashes


def test_page_of_a_session(home, root):
    """The page brings who is logged in, and a ticket that opens one socket."""
    page = checked(root.get("/devices/x", headers={"Accept-Encoding": "br", "If-None-Match": "*"}))
    assert page.headers["Cache-Control"] == "no-store" and "ETag" not in page.headers
    given = json.loads(re.search(r'<head><script type="application/json" id="session">(.*?)</script>', page.body.decode())[1])
    assert given["account"] == root.get("/api/me").json
    with root.socket(f"/ws?ticket={given['ticket']}") as first:
        assert first.subscribe("fleet").message()["reset"]
    with pytest.raises(Refused):
        root.socket(f"/ws?ticket={given['ticket']}")
    assert b'id="session"' not in root.get("/", headers={"Cookie": "__Host-session=" + "A" * 43}).body


# ---- strict HTTP ----

def exchange(port, data, read=True):
    """Sends bytes on a connection of its own; what came back until the end."""
    with socket.create_connection(("127.0.0.1", port), 20 * PATIENCE) as raw, tls().wrap_socket(raw) as connection:
        connection.sendall(data)
        answer = b""
        try:
            while read and (chunk := connection.recv(65536)):
                answer += chunk
        except (ConnectionError, ssl.SSLError):
            pass
        return answer


HOST = b"Host: 127.0.0.1:%d\r\n"
BAD = {
    "bare line feeds": (b"GET / HTTP/1.1\nHost: 127.0.0.1:%d\n\n", 400),
    "bare CR in a value": (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\rb\r\n\r\n", 400),
    "NUL": (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\0b\r\n\r\n", 400),
    "folded line": (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n", 400),
    "blank before the colon": (b"GET / HTTP/1.1\r\n" + HOST + b"X : a\r\n\r\n", 400),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
    "HTTP/1.0": (b"GET / HTTP/1.0\r\n" + HOST + b"\r\n", 505),
    "HTTP/2.7": (b"GET / HTTP/2.7\r\n" + HOST + b"\r\n", 505),
    "no version": (b"GET /\r\n" + HOST + b"\r\n", 400),
    "lower-case method": (b"get / HTTP/1.1\r\n" + HOST + b"\r\n", 405),
    "unknown method": (b"BREW / HTTP/1.1\r\n" + HOST + b"\r\n", 405),
    "CONNECT": (b"CONNECT a:1 HTTP/1.1\r\n" + HOST + b"\r\n", 405),
    "absolute target": (b"GET http://127.0.0.1/ HTTP/1.1\r\n" + HOST + b"\r\n", 405),
    "asterisk": (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "traversal": (b"GET /../etc/passwd HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "encoded traversal": (b"GET /%%2e%%2e/etc/passwd HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "encoded slash": (b"GET /api%%2fme HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "double slash": (b"GET //api/me HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "backslash": (b"GET /api\\me HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "chunked": (b"POST /api/login HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501),
    "both lengths": (b"POST /api/login HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "odd encoding": (b"POST /api/login HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: xchunked\r\n\r\n", 400),
    "two encodings": (b"POST /api/login HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "two lengths": (b"POST /api/login HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n123456", 400),
    "list of lengths": (b"POST /api/login HTTP/1.1\r\n" + HOST + b"Content-Length: 5, 5\r\n\r\n12345", 400),
    "signed length": (b"POST /api/login HTTP/1.1\r\n" + HOST + b"Content-Length: +5\r\n\r\n12345", 400),
    "hex length": (b"POST /api/login HTTP/1.1\r\n" + HOST + b"Content-Length: 0x5\r\n\r\n12345", 400),
    "negative length": (b"POST /api/login HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n", 400),
    "endless length": (b"POST /api/login HTTP/1.1\r\n" + HOST + b"Content-Length: 99999999999999999999\r\n\r\n", 400),
    "a GET with a body": (b"GET /api/me HTTP/1.1\r\n" + HOST + b"Cookie: __Host-session=" + b"A" * 43 + b"\r\nContent-Length: 5\r\n\r\nGET /", 413),
    "long head": (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 9000 + b"\r\n\r\n", 431),
    "many fields": (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n" * 70 + b"\r\n", 431),
    "empty line first": (b"\r\nGET / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_http(home, name):
    data, status = BAD[name]
    smuggled = b"GET /smuggled.txt HTTP/1.1\r\n" + HOST + b"\r\n"
    answer = exchange(home.port, (data + smuggled) % ((home.port,) * (data + smuggled).count(b"%d")))
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:200]
    assert answer.count(b"HTTP/1.1 ") == 1, "what came behind it was not read as a request"
    assert b"Connection: close\r\n" in answer
    assert b"Content-Security-Policy: default-src 'none';" in answer and b"nosniff" in answer
    assert b'"error":"E' in answer


def test_no_path_but_its_own(home):
    """Neither files nor anything else by name."""
    for path in (b"/etc/passwd", b"/.git/config", b"/murmesh-server.ini", b"/api/../ws", b"/assets/../index.html"):
        answer = exchange(home.port, b"GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n\r\n" % (path, home.port))
        assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 404 ")) or b"<title>" in answer, (path, answer)
        assert b"root:" not in answer


def test_pipeline(home):
    """What is sent ahead is answered in order, on one connection."""
    one = b"GET /a%d.txt HTTP/1.1\r\nHost: 127.0.0.1:" + str(home.port).encode() + b"\r\n\r\n"
    answer = exchange(home.port, b"".join(one % i for i in range(20)) + one.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") % 99)
    assert answer.count(b"HTTP/1.1 404 ") == 21 and answer.count(b"Connection: close") == 1


def test_byte_by_byte(home):
    request = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n\r\n" % home.port
    with socket.create_connection(("127.0.0.1", home.port), 20) as raw, tls().wrap_socket(raw) as connection:
        for byte in request:
            connection.sendall(bytes([byte]))
        assert connection.recv(15) == b"HTTP/1.1 200 OK"


def test_slow_clients(home):
    """10 s in all for a head, and for a body, however the bytes trickle; others are served meanwhile."""
    head = b"POST /api/login HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nOrigin: https://127.0.0.1:%d\r\nx-murmesh: 1\r\n" % (home.port, home.port)
    starts = {"nothing": b"", "head": head, "body": head + b"Content-Length: 1000\r\n\r\n"}

    def trickle(start):
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", home.port), 60) as raw, tls().wrap_socket(raw) as connection:
            connection.sendall(start)
            connection.settimeout(0.5)
            while True:
                try:
                    answer = connection.recv(4096)
                    return time.monotonic() - began, answer
                except TimeoutError:
                    if start:
                        connection.sendall(b"x")
                except OSError:
                    return time.monotonic() - began, b""
    with ThreadPoolExecutor(len(starts)) as pool:
        works = {name: pool.submit(trickle, start) for name, start in starts.items()}
        good = Browser(home.port)
        while not all(work.done() for work in works.values()):
            assert good.get("/").status == 200
            time.sleep(0.2)
    for name, work in works.items():
        seconds, answer = work.result()
        assert 9 < seconds < 15 * PATIENCE, (name, seconds)
        assert answer.startswith(b"HTTP/1.1 408 ") if name != "nothing" else answer == b"", (name, answer)


def test_large_body(home):
    """Refused before it is read, and the answer arrives nevertheless."""
    browser = Browser(home.port)
    refused(browser.post("/api/login", raw=b"x" * (1 << 20)), 413, "E1002", home)
    exact = b'{"name":"x","password":"' + b"y" * 60000 + b'"}'
    assert refused(browser.post("/api/login", raw=exact), 400, "E1109").json["why"] == "password is too long"


@pytest.mark.parametrize("body,why", [
    (b"{", "no JSON"), (b"[]", "no object"), (b"\xff", "no JSON"), (b'{"name":"\xff","password":"x"}', "no JSON"),
    (b'{"name":"a","name":"b","password":"x"}', "twice"), (b'{"name":"a"}', "password is missing"),
    (b'{"name":"a","password":1}', "has to be text"), (b'{"name":"a","password":"x","more":1}', "not known"),
    (b'{"name":"a","password":"\\u0000"}', "no JSON"), (b"[" * 60000, "nested"), (b'{"name":' + b"[" * 9 + b"]" * 9 + b"}", "nested"),
    (b'{"name":"' + b"a" * 64 + b'","password":"x"}', "too long"), (b"null", "no JSON"), (b'{"name":"a","password":"x"}x', "no JSON")])
def test_bad_json(home, body, why):
    answer = refused(Browser(home.port).post("/api/login", raw=body), 400, "E1109", home)
    assert why in answer.json["why"], answer


# ---- who may ask ----

def test_rebinding(home, root):
    """A name that is not the server's own gets nothing, not even a page; nor does its session help."""
    for host in (f"evil.example:{home.port}", "evil.example", f"127.0.0.1.evil.example:{home.port}", "127.0.0.1", f"127.0.0.1:{home.port + 1}",
                 f"0.0.0.0:{home.port}", f"[::1]:{home.port + 1}"):
        refused(root.get("/api/me", headers={"Host": host}), 421, "E1107")
        assert Browser(home.port).get("/", headers={"Host": host}).status == 421
    for host in (f"localhost:{home.port}", f"LOCALHOST:{home.port}", f"[::1]:{home.port}"):
        assert root.get("/api/me", headers={"Host": host}).status == 200, host


def test_forged_requests(home, root):
    """Another site's page cannot change anything, whatever it makes a browser send along."""
    origin = f"https://127.0.0.1:{home.port}"
    for headers in ({"x-murmesh": "1"}, {"Origin": origin}, {"x-murmesh": "1", "Origin": "https://evil.example"},
                    {"x-murmesh": "1", "Origin": "null"}, {"x-murmesh": "1", "Origin": origin.replace("https", "http")},
                    {"x-murmesh": "1", "Origin": f"https://127.0.0.1:{home.port + 1}"}, {"x-murmesh": "0", "Origin": origin},
                    {"x-murmesh": "1", "Origin": f"https://localhost:{home.port}"}):
        for method, path in (("POST", "/api/logout"), ("POST", "/api/keys"), ("DELETE", "/api/me/sessions/" + "0" * 32), ("PUT", "/api/me/password"),
                             ("POST", "/api/login"), ("POST", "/api/ws-ticket"), ("PATCH", "/api/devices/" + "0" * 32)):
            refused(root.request(method, path, {}, mark=False, headers=headers), 403, "E1108")
    assert root.get("/api/me").status == 200
    rows = until(lambda: root.get("/api/audit?text=request+refused").json, "the refusals in the audit log")
    assert rows[0]["actor"] == "somebody" and "from 127.0.0.1" in rows[0]["detail"]
    assert len(rows) <= 61, "a flood does not fill the log"


def test_attacks_are_in_the_audit_log(new_mesh):
    """Each kind is refused with 4xx, and can be read of later; a flood of them is counted."""
    mesh = new_mesh()
    root, lines = browser_of(mesh), b"Host: 127.0.0.1:%d\r\n" % mesh.port

    def raw(head):
        status, _, rest = exchange(mesh.port, head.replace(HOST, lines) + b"\r\n").partition(b"\r\n")
        return int(status.split()[1]), json.loads(rest.partition(b"\r\n\r\n")[2])

    def asked(answer):
        return answer.status, answer.json

    def upgraded(**headers):
        with pytest.raises(Refused) as failure:
            root.socket(**headers)
        return asked(failure.value.answer)
    attacks = [
        ("POST /api/keys", asked(root.post("/api/keys", {}, headers={"Origin": "https://evil.example"}))),
        ("GET /ws", upgraded(Origin="https://evil.example")),
        ("GET /api/me", asked(root.get("/api/me", headers={"Host": "evil.example"}))),
        ("POST /api/login", raw(b"POST /api/login HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n")),
        ("", raw(b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: +5\r\n")),
        ("", raw(b"GET /../etc/passwd HTTP/1.1\r\n" + HOST)),
        ("POST /api/login", asked(Browser(mesh.port).post("/api/login", raw=b"[" * 60000))),
        ("PUT /api/me/password", asked(root.request("PUT", "/api/me/password", raw=b'{"password":"\xff"}'))),
        ("PUT /api/me/totp", asked(root.request("PUT", "/api/me/totp", raw=b"x" * (1 << 20)))),
        ("GET /api/devices/{id}", asked(root.get("/api/devices/" + "0" * 32))),
    ]
    told = until(lambda: len(rows := root.get("/api/audit?text=request+refused").json) >= len(attacks) and rows, "all are in the log")
    for what, (status, answer) in attacks:
        assert 400 <= status < 500, (what, status, answer)
        rows = [row for row in told if row["object"].strip() == what and row["detail"] == f"{answer['what']}, from 127.0.0.1"]
        assert rows, (what, answer, told)
    for _ in range(60):
        assert root.get("/api/devices/" + "0" * 32).status == 404
    assert len(root.get("/api/audit?text=request+refused").json) <= 61


def test_login_and_cookie(home):
    line = home.cli("login-link").stdout
    browser, token = Browser(home.port), line.split("#token=")[1].split()[0]
    refused(browser.get("/api/me"), 401, "E1220", home)
    answer = browser.post("/api/login/link", {"token": token})
    cookie = answer.headers["Set-Cookie"]
    assert re.fullmatch(r"__Host-session=[\w-]{43}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=\d+", cookie), cookie
    assert answer.json["account"]["name"] == "local" and answer.json["expires"] > time.time()
    assert answer.headers["Cache-Control"] == "no-store"
    refused(Browser(home.port).post("/api/login/link", {"token": token}), 401, "E1223", home)
    refused(Browser(home.port).post("/api/login/link", {"token": "x" * 20}), 401, "E1223", home)
    assert browser.get("/api/me").json == answer.json["account"]
    gone = checked(browser.post("/api/logout"))
    assert gone.status == 204 and gone.body == b"" and "Max-Age=0" in gone.headers["Set-Cookie"] and browser.cookie is None
    browser.cookie = cookie.split("=", 1)[1].split(";")[0]
    refused(browser.get("/api/me"), 401, "E1220", home)
    for session in ("A" * 43, "x", "", browser.cookie + "A", "é"):
        browser.cookie = session
        refused(browser.get("/api/me", headers={"Cookie": f"__Host-session={session}".encode()}), 401, "E1220")
    assert token not in home.log() and cookie[15:40] not in home.log()


def test_fixation(home, root):
    """A login never takes up a session that was there before it."""
    victim = Browser(home.port)
    victim.cookie = root.cookie
    answer = victim.post("/api/login", {"name": "root", "password": PASSWORD})
    assert answer.status == 200 and victim.cookie != root.cookie


def test_wrong_passwords(home):
    """Said alike for names that there are and names that nobody has; then one has to wait, and is told how long."""
    browser = Browser(home.port)
    answers = [browser.post("/api/login", {"name": name, "password": "wrong"}) for name in ("root", "nobody")]
    for answer in answers:
        refused(answer, 401, "E1221")
    assert {key: answers[0].json[key] for key in ("what", "why", "try")} == {key: answers[1].json[key] for key in ("what", "why", "try")}
    for _ in range(30):
        answer = browser.post("/api/login", {"name": "somebody-else", "password": "wrong"})
        if answer.status == 429:
            break
    refused(answer, 429, "E1222")
    assert int(answer.headers["Retry-After"]) >= 1


def test_brute_force(new_mesh):
    """Ten wrong passwords of one account, wherever they come from, then a delay; it passes by itself, and all is in the audit log."""
    mesh = new_mesh()
    assert browser_of(mesh).post("/api/me/setup", {"name": "root", "password": PASSWORD}).status == 200

    def attempt(number, password):
        return Browser(mesh.port, source=f"127.0.3.{number + 1}").post("/api/login", {"name": "root", "password": password})
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda number: attempt(number, f"guess {number}"), range(10)))
        assert [answer.status for answer in answers] == [401] * 10
        answers = list(pool.map(lambda number: attempt(number, f"guess {number}"), range(10, 16)))
    waits = [int(refused(answer, 429, "E1222").headers["Retry-After"]) for answer in answers if answer.status == 429]
    assert waits and all(1 <= wait <= 60 for wait in waits)
    answer = until(lambda: (answer := attempt(20, PASSWORD)).status == 200 and answer, "the delay passes", 90)
    root = Browser(mesh.port)
    root.cookie = answer.headers["Set-Cookie"].split(";")[0].split("=", 1)[1]
    failures = root.get("/api/audit?text=login+failed").json
    assert len(failures) >= 10 and all(row["object"] == "root" and "from 127.0.3." in row["detail"] for row in failures)


@pytest.mark.parametrize("path", ["/<script>alert(1)</script>", "/api/<img src=x onerror=alert(1)>", "/?x=<script>alert(1)</script>", "/login?<script>alert(1)</script>",
                                  "/api/me?<script>alert(1)</script>=1", "/ws?ticket=<script>alert(1)</script>"])
def test_nothing_is_reflected(home, root, path):
    """What is asked for does not come back as a page, escaped or not."""
    head = f"GET {path} HTTP/1.1\r\nHost: {root.host}\r\nCookie: __Host-session={root.cookie}\r\nConnection: close\r\n\r\n"
    answer = exchange(home.port, head.encode())
    assert b"alert(1)" not in answer, answer
    answer = checked(root.request("PUT", "/api/me/totp", {"<script>alert(1)</script>": 1}))
    assert answer.status == 400 and answer.headers["Content-Type"] == "application/json"


def test_login_beside_a_flood(home):
    """Who tries passwords keeps nobody out who comes from elsewhere, nor slows down those who are in."""
    good, stop = browser_of(home), threading.Event()

    def attack(number):
        browser, answers = Browser(home.port), []
        while not stop.is_set():
            answers.append(browser.post("/api/login", {"name": f"victim{number}", "password": "guess"}).status)
        return answers
    with ThreadPoolExecutor(8) as pool:
        attackers = [pool.submit(attack, number) for number in range(8)]
        try:
            for _ in range(5):
                other = Browser(home.port, source="127.0.0.9")
                answer = other.post("/api/login", {"name": "root", "password": PASSWORD})
                assert answer.status == 200, answer
                other.close()
                assert good.get("/api/me").status == 200
        finally:
            stop.set()
        answers = [status for attacker in attackers for status in attacker.result()]
    assert set(answers) <= {401, 429, 503} and 503 in answers


def test_setup_totp_and_sessions(home, root):
    me = root.get("/api/me").json
    assert me["name"] == "root" and me["role"] == "administrator" and not me["setup_wanted"] and not me["totp"] and not me["proved_until"]
    secret = root.post("/api/me/totp").json
    assert secret["uri"].startswith("otpauth://totp/") and secret["secret"]
    refused(root.request("PUT", "/api/me/totp", {"code": "000000"}), 401, "E1221")
    refused(root.post("/api/me/step-up", {"password": "wrong"}), 401, "E1221")
    assert root.post("/api/me/step-up", {"password": PASSWORD}).json["proved_until"] > time.time()
    other = Browser(home.port)
    assert other.post("/api/login", {"name": "root", "password": PASSWORD}).status == 200
    sessions = root.get("/api/me/sessions").json
    assert [one["own"] for one in sessions].count(True) == 1 and all(one["address"] for one in sessions)
    theirs = next(one for one in other.get("/api/me/sessions").json if one["own"])
    assert root.request("DELETE", f"/api/me/sessions/{theirs['id']}").status == 204
    refused(other.get("/api/me"), 401, "E1220")
    refused(root.request("DELETE", "/api/me/sessions/" + "0" * 32), 404, "E1017")


def test_openapi(home):
    answer = checked(Browser(home.port).get("/api/openapi.json"))
    assert answer.status == 200 and "/api/me" in answer.json["paths"]


def test_methods(home, root):
    answer = refused(root.request("PATCH", "/api/me/totp", {}), 405, "E1102", home)
    assert answer.headers["Allow"] == "POST, PUT, DELETE"
    refused(root.get("/api/login"), 405, "E1102")
    refused(root.request("POST", "/", {}), 405, "E1102")
    refused(root.get("/api/nothing"), 404, "E1017")


# ---- the fleet ----

def test_device(home, root):
    device = home.devices().popitem()[1]
    answer = root.get(f"/api/devices/{device['id']}")
    assert answer.status == 200 and answer.json["device"]["full_name"] == device["full_name"] and answer.json["certificate_expires"] > time.time()
    for path in ("0" * 32, "f" * 31, "F" * 32, "x", "..%2f"):
        assert root.get(f"/api/devices/{path}").status in (404, 400)
    key = root.post("/api/keys", {"uses": 1, "lifetime_s": 60})
    assert key.status == 200 and "#MM1-" in key.json["join"] and key.json["expires"] <= time.time() + 61
    assert root.request("PATCH", f"/api/devices/{device['id']}", {"add_tags": ["web"]}).status == 204
    assert root.get(f"/api/devices/{device['id']}").json["device"]["tags"] == ["web"]
    refused(root.post("/api/devices/change", {"query": "tag:web", "count": 7, "add_tags": ["x"]}), 409, "E1033")
    assert root.post("/api/devices/change", {"query": "tag:web", "count": 1, "remove_tags": ["web"]}).json == {"count": 1}
    refused(root.post("/api/devices/change", {"query": "tag:(", "count": 1}), 400, "E1032")
    refused(root.request("DELETE", f"/api/devices/{device['id']}"), 403, "E1226")


def test_audit(home, root):
    rows = root.get("/api/audit?limit=2").json
    assert len(rows) == 2 and rows[0]["sequence"] > rows[1]["sequence"]
    assert root.get(f"/api/audit?limit=1&before={rows[0]['sequence']}").json == rows[1:]
    found = root.get("/api/audit?text=console+login").json
    assert found and all("console login" in row["action"] for row in found)
    assert root.get("/api/audit?text=%C3%A4%25").json == []
    assert root.get("/api/audit/verify").json["first_bad"] == 0
    for query in ("limit=x", "limit=-1", "limit=1&limit=2", "other=1", "text=%zz", "text=%", "text=" + "a" * 600):
        refused(root.get(f"/api/audit?{query}"), 400, "E1109")
    refused(root.get("/api/me?x=1"), 400, "E1109")


# ---- WebSockets ----

def test_fleet_live(home, root):
    """A snapshot, then what changes; two browsers see the same."""
    device = home.devices().popitem()[1]
    with root.socket() as one, root.socket() as two:
        for browser in (one, two):
            events = browser.snapshot()
            assert events[-1] == {"complete": True} and device["id"] in [event["device"]["id"] for event in events[:-1]]
        assert root.request("PATCH", f"/api/devices/{device['id']}", {"add_tags": ["seen"]}).status == 204
        for browser in (one, two):
            assert browser.until(lambda event: "seen" in event.get("device", {}).get("tags", []))
    assert root.request("PATCH", f"/api/devices/{device['id']}", {"remove_tags": ["seen"]}).status == 204


def test_resume(home, root):
    """A browser that comes back gets what it missed and nothing else; one that was away for too long begins again."""
    device = home.devices().popitem()[1]
    with root.socket() as first:
        first.snapshot()
        epoch, seq = first.epoch, first.seq
    assert root.request("PATCH", f"/api/devices/{device['id']}", {"add_tags": ["while-away"]}).status == 204
    with root.socket() as second:
        second.subscribe("fleet", since=seq, epoch=epoch)
        message = second.message()
        assert "reset" not in message and message["epoch"] == epoch and message["seq"] > seq
        assert [event["device"]["tags"] for event in message["events"]] == [["while-away"]]
    with root.socket() as third:
        third.subscribe("fleet", since=message["seq"] + 10, epoch=epoch)
        message = third.message()
        assert message["reset"] is True and message["epoch"] != epoch
    stranger = browser_of(home)
    with stranger.socket() as other:  # another session cannot take it over
        other.subscribe("fleet", since=seq, epoch=epoch)
        assert other.message()["reset"] is True
    assert root.request("PATCH", f"/api/devices/{device['id']}", {"remove_tags": ["while-away"]}).status == 204


def test_tickets(home, root):
    ticket = root.ticket()
    with root.socket(f"/ws?ticket={ticket}"):
        pass
    stranger = browser_of(home)
    theirs = stranger.ticket()
    for path in (f"/ws?ticket={ticket}", "/ws", "/ws?ticket=", "/ws?ticket=" + "A" * 43, f"/ws?ticket={theirs}", f"/ws?x={root.ticket()}",
                 f"/ws/terminal?ticket={root.ticket()}"):
        with pytest.raises(Refused) as failure:
            root.socket(path)
        refused(failure.value.answer, 403, "E1217", home)
    with pytest.raises(Refused):
        stranger.socket(f"/ws?ticket={theirs}")  # it was spent by the attempt
    assert ticket not in home.log()


@pytest.mark.parametrize("headers,status", [
    ({"Origin": "https://evil.example"}, 403), ({"Origin": None}, 403), ({"Origin": "null"}, 403), ({"Host": "evil.example"}, 421),
    ({"Sec_WebSocket_Version": "12"}, 426), ({"Sec_WebSocket_Version": None}, 426), ({"Sec_WebSocket_Key": "x"}, 426),
    ({"Sec_WebSocket_Key": None}, 426), ({"Upgrade": "h2c"}, 426), ({"Upgrade": None}, 426), ({"Connection": "keep-alive"}, 426),
    ({"Cookie": None}, 401), ({"Cookie": "__Host-session=" + "A" * 43}, 403)])
def test_cross_site_socket(home, root, headers, status):
    with pytest.raises(Refused) as failure:
        root.socket(f"/ws?ticket={root.ticket()}", **headers)
    assert failure.value.answer.status == status, failure.value.answer
    checked(failure.value.answer)


@pytest.mark.parametrize("name,frames,code", [
    ("unmasked", [(1, b"{}", {"mask": False})], 1002), ("reserved bit", [(1, b"{}", {"reserved": 4})], 1002),
    ("unknown opcode", [(3, b"", {})], 1002), ("bad UTF-8", [(1, b"\xff", {})], 1007), ("too long", [(1, b" " * 5000, {})], 1009),
    ("too long in parts", [(1, b" " * 3000, {"fin": False}), (0, b" " * 3000, {})], 1009), ("binary", [(2, b"x", {})], 1003),
    ("long ping", [(9, b"x" * 126, {})], None), ("part of a ping", [(9, b"x", {"fin": False})], None),
    ("a part of nothing", [(0, b"x", {})], 1002), ("goodbye", [(8, b"\x03\xe8", {})], 1000)])
def test_bad_frames(root, name, frames, code):
    with root.socket() as browser:
        for opcode, payload, options in frames:
            browser.send_frame(opcode, payload, **options)
        assert browser.closed() == code


def test_bad_orders(root):
    """What cannot be done is said, and the socket stays."""
    with root.socket() as browser:
        for text in (b"", b"x", b"{}", b'{"op":"subscribe","channel":"all"}', b"[" * 1000, b'{"op":"subscribe","channel":"fleet","since":-1}'):
            browser.send_frame(1, text)
            assert browser.message()["error"]["error"] == "E1109"
        assert browser.snapshot()
        browser.send({"op": "unsubscribe", "channel": "fleet"})
        assert browser.snapshot()[-1] == {"complete": True}


def test_socket_limits(home, root):
    sockets = [root.socket() for _ in range(16)]
    with pytest.raises(Refused) as failure:
        root.socket()
    refused(failure.value.answer, 429, "E1020", home)
    for one in sockets:
        one.close()
    until(lambda: able(root), "a socket again")


def able(browser):
    try:
        browser.socket().close()
        return True
    except Refused:
        return False


def test_socket_ends_with_its_session(home, root):
    """By a logout here, or by ending the session elsewhere."""
    other = Browser(home.port)
    assert other.post("/api/login", {"name": "root", "password": PASSWORD}).status == 200
    with root.socket() as idle, root.socket() as busy, other.socket() as theirs:
        busy.snapshot()
        theirs.snapshot()
        own = next(one for one in other.get("/api/me/sessions").json if one["own"])
        assert root.request("DELETE", f"/api/me/sessions/{own['id']}").status == 204
        assert theirs.closed() == 1008
        assert root.post("/api/logout").status == 204
        assert idle.closed() == 1008 and busy.closed() == 1008


def test_slow_browser(root):
    """One that does not read is no burden: the server drops nothing else, and ends it at last or coalesces."""
    with root.socket() as slow:
        slow.snapshot()
        for _ in range(200):
            slow.send({"op": "subscribe", "channel": "fleet"})  # each begins again
        assert root.get("/api/me").status == 200
        assert slow.until(lambda event: "complete" in event)


def test_pings(home, root):
    """A flood of pings is answered or left unread; others do not feel it."""
    with root.socket() as flood:
        flood.tls.settimeout(1)
        frame = b"\x89\xfd" + bytes(4) + b"p" * 125
        try:
            for _ in range(2000):
                flood.tls.sendall(frame * 10)
        except (TimeoutError, ssl.SSLError, OSError):
            pass
        began = time.monotonic()
        assert root.get("/api/me").status == 200
        assert time.monotonic() - began < 2 * PATIENCE


# ---- what is slow or full ----

class Stopped:
    """One thread stands still, the rest of its process goes on."""
    SEIZE, INTERRUPT, DETACH, ALL_THREADS = 0x4206, 0x4207, 17, 0x40000000

    def __init__(self, thread):
        self.thread = thread

    def trace(self, request):
        libc = ctypes.CDLL(None, use_errno=True)
        libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        if libc.ptrace(request, self.thread, None, None) < 0:
            raise OSError(ctypes.get_errno(), "ptrace")

    def __enter__(self):
        self.trace(self.SEIZE)
        self.trace(self.INTERRUPT)
        os.waitpid(self.thread, self.ALL_THREADS)
        return self

    def __exit__(self, *_):
        self.trace(self.DETACH)


def turned_away(answer):
    """503, which says when to come again."""
    assert int(refused(answer, 503, "E1022").headers["Retry-After"]) >= 1


def pages_load(mesh):
    page = Browser(mesh.port).get("/")
    assert page.status == 200
    paths = re.findall(rb'(?:src|href)="(/assets/[^"]+)"', page.body)
    assert paths
    for path in paths:
        assert Browser(mesh.port).get(path.decode()).status == 200


def test_database_slow(new_mesh):
    """What has not begun is refused and is not done later; whoever comes is refused, too; pages load; then all is well again."""
    mesh = new_mesh()
    browser, other = browser_of(mesh), browser_of(mesh)
    core = mesh.server.roles()["core"]
    device = f"/api/devices/{next(iter(mesh.devices().values()))['id']}"
    worker, = (int(thread) for thread in os.listdir(f"/proc/{core}/task") if int(thread) != core)
    with ThreadPoolExecutor(1) as pool:
        with Stopped(worker):
            waiting = pool.submit(browser.request, "PATCH", device, {"add_tags": ["never"]})
            turned_away(waiting.result())
            turned_away(other.get("/api/me"))
            turned_away(other.get("/api/users"))
            turned_away(other.request("PATCH", device, {"add_tags": ["never"]}))
            turned_away(other.post("/api/login", {"name": "local", "password": "guess"}))
            pages_load(mesh)
    until(lambda: other.get(device).status == 200, "the database is well again")
    assert other.get(device).json["device"]["tags"] == []


def test_password_pool_full(new_mesh):
    """Whoever comes while others are being checked is refused before they are answered; who is logged in notices nothing."""
    mesh = new_mesh()
    browser = browser_of(mesh)
    passwords = mesh.server.roles()["hash"]
    attempt = {"name": "somebody", "password": "guess"}
    with ThreadPoolExecutor(8) as pool:
        os.kill(passwords, signal.SIGSTOP)
        try:
            waiting = [pool.submit(Browser(mesh.port, source=f"127.0.1.{n}").post, "/api/login", attempt) for n in range(1, 9)]
            until(lambda: sum(one.done() for one in waiting) == 4, "four are being checked, the others were refused")
            assert all(one.result().status == 503 for one in waiting if one.done())
            late = Browser(mesh.port, source="127.0.2.1")
            turned_away(late.post("/api/login", attempt))
            assert sum(one.done() for one in waiting) == 4
            pages_load(mesh)
            assert browser.get("/api/me").status == 200
        finally:
            os.kill(passwords, signal.SIGCONT)
        assert sorted(one.result().status for one in waiting) == [401] * 4 + [503] * 4
    assert late.post("/api/login", attempt).status == 401


# ---- roles that die ----

def test_core_is_away(new_mesh):
    """503 at once, pages still load, and open pages go on by themselves when it is back."""
    mesh = new_mesh()
    browser = browser_of(mesh)
    with browser.socket() as watching:
        watching.snapshot()
        core = mesh.server.roles()["core"]
        os.kill(core, signal.SIGSTOP)  # nobody answers
        os.kill(core, signal.SIGKILL)
        answer = browser.get("/api/me")
        assert answer.status in (200, 503), answer
        assert browser.get("/").status == 200
        until(lambda: browser.get("/api/me").status == 200, "core answers again")
        message = watching.message()
        assert message["reset"] is True
        events = message["events"]
        while {"complete": True} not in events:
            events += watching.message()["events"]


def test_web_dies(new_mesh):
    """A browser connects again; its session is core's."""
    mesh = new_mesh()
    browser = browser_of(mesh)
    os.kill(mesh.server.roles()["web"], signal.SIGKILL)
    browser.close()
    until(lambda: mesh.server.roles().get("web"), "web again")
    assert browser.get("/api/me").status == 200
    with browser.socket() as watching:
        assert watching.snapshot()


def test_addresses(new_mesh, tmp_path):
    """[Web] AppDomain is a name of the console, in its certificate too."""
    folder = tmp_path / "named"
    folder.mkdir()
    (folder / "murmesh-server.ini").write_text("[Web]\nAppDomain = console.example.org\n")
    mesh = new_mesh(name="named")
    browser = Browser(mesh.port, host="console.example.org", token=mesh.cli("login-link").stdout.split("#token=")[1].split()[0])
    assert browser.get("/api/me").status == 200
    assert browser.get("/api/me", headers={"Host": "console.example.org"}).status == 200
    context = ssl.create_default_context(cafile=str(root_certificate(mesh, tmp_path)))
    with socket.create_connection(("127.0.0.1", mesh.port)) as raw, context.wrap_socket(raw, server_hostname="console.example.org"):
        pass
