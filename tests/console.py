"""The console's server as a browser speaks to it: HTTP/1.1 with a session, and WebSockets; also as no browser would."""
import base64
import http.client
import json
import os
import socket
import ssl
import struct
import time

from harness import PATIENCE, closed

SECONDS = 20 * PATIENCE


def tls(alpn=("http/1.1",)):
    """The mesh's own certificates are checked by test_certificate; here they are only used."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


class Answer:
    def __init__(self, response):
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    @property
    def json(self):
        return json.loads(self.body) if self.body else None

    def error(self):
        return self.json["error"]

    def __repr__(self):
        return f"<{self.status} {self.body[:300]!r}>"


class Browser:
    """One browser: keeps its cookie, sends what the console's page would send."""

    def __init__(self, port, host="127.0.0.1", token=None, source=None):
        """source: the address it comes from."""
        self.port, self.host, self.cookie, self.connection, self.source = port, f"{host}:{port}", None, None, source
        if token:
            self.login(token)

    def request(self, method, path, body=None, headers=None, mark=True, raw=None):
        """headers: replace what is sent by itself; a value None leaves it out.  raw: the body as bytes."""
        sent = {"Host": self.host}
        if self.cookie:
            sent["Cookie"] = f"__Host-session={self.cookie}"
        if method not in ("GET", "HEAD") and mark:
            sent |= {"x-murmesh": "1", "Origin": f"https://{self.host}"}
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        if data is not None:
            sent["Content-Type"] = "application/json"
        sent |= headers or {}
        if data is not None or method not in ("GET", "HEAD"):
            sent["Content-Length"] = str(len(data or b""))
        if self.connection and closed(self.connection.sock):  # it was idle for too long
            self.close()
        try:
            answer = self.exchange(method, path, sent, data)
        except Exception:
            self.close()
            raise
        if answer.headers.get("Connection") == "close":
            self.close()
        cookie = answer.headers.get("Set-Cookie")
        if cookie:
            self.cookie = cookie.split(";")[0].split("=", 1)[1] or None
        return answer

    def exchange(self, method, path, sent, data):
        if self.connection is None:
            self.connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=SECONDS, context=tls(),
                                                          source_address=(self.source, 0) if self.source else None)
        self.connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in sent.items():
            if value is not None:
                self.connection.putheader(name, value)
        self.connection.endheaders(data)
        return Answer(self.connection.getresponse())

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def post(self, path, body=None, **options):
        return self.request("POST", path, body, **options)

    def login(self, token):
        answer = self.post("/api/login/link", {"token": token})
        assert answer.status == 200, answer
        return answer.json

    def ticket(self):
        answer = self.post("/api/ws-ticket")
        assert answer.status == 200, answer
        return answer.json["ticket"]

    def socket(self, path=None, **headers):
        return Socket(self, path or f"/ws?ticket={self.ticket()}", **headers)

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None


def browser_of(mesh):
    """Logged in as `local`, by a fresh link."""
    return Browser(mesh.port, token=mesh.cli("login-link").stdout.split("#token=")[1].split()[0])


class Refused(Exception):
    """No 101 came; .answer is what did."""

    def __init__(self, answer):
        super().__init__(repr(answer))
        self.answer = answer


class Socket:
    """A WebSocket client (RFC 6455) that can also be wrong."""

    def __init__(self, browser, path, **headers):
        raw = socket.create_connection(("127.0.0.1", browser.port), SECONDS)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.tls = tls().wrap_socket(raw)
        self.reader = self.tls.makefile("rb")
        self.events = []
        sent = {"Host": browser.host, "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(), "Origin": f"https://{browser.host}",
                "Cookie": f"__Host-session={browser.cookie}"} | {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"GET {path} HTTP/1.1"] + [f"{name}: {value}" for name, value in sent.items() if value is not None]
        self.tls.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        self.response = response = http.client.HTTPResponse(self.tls, method="GET")
        response.fp = self.reader
        response.begin()
        if response.status != 101:
            raise Refused(Answer(response))

    def send_frame(self, opcode, payload=b"", fin=True, mask=True, reserved=0):
        head = bytes([fin << 7 | reserved << 4 | opcode])
        size = len(payload)
        bit = mask << 7
        head += bytes([bit | size]) if size < 126 else bytes([bit | 126]) + struct.pack(">H", size) if size < 65536 else bytes([bit | 127]) + struct.pack(">Q", size)
        if mask:
            key = os.urandom(4)
            payload = key + bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))
        self.tls.sendall(head + payload)

    def send(self, message):
        self.send_frame(1, json.dumps(message).encode())

    def frame(self):
        """Opcode and payload of the next frame; (None, b"") at the end."""
        head = self.reader.read(2)
        if len(head) < 2:
            return None, b""
        size = head[1] & 127
        if size == 126:
            size = struct.unpack(">H", self.reader.read(2))[0]
        elif size == 127:
            size = struct.unpack(">Q", self.reader.read(8))[0]
        return head[0] & 15, self.reader.read(size)

    def message(self):
        """The next message as JSON (or bytes), past pings."""
        while True:
            opcode, payload = self.frame()
            if opcode == 9:
                self.send_frame(10, payload)
            elif opcode == 1:
                return json.loads(payload)
            elif opcode == 2:
                return payload
            elif opcode in (8, None):
                raise EOFError(struct.unpack(">H", payload[:2])[0] if len(payload) >= 2 else 0)

    def subscribe(self, channel, **more):
        self.send({"op": "subscribe", "channel": channel, **more})
        return self

    def until(self, wanted, channel="fleet"):
        """Events of the channel up to the first of which wanted(event) is true."""
        seen, end = [], time.monotonic() + 3 * SECONDS
        while True:
            assert time.monotonic() < end, f"it did not come; last of {channel}: {seen[-5:]}"
            message = self.message()
            if message["channel"] != channel:
                continue
            assert "error" not in message, message
            self.epoch, self.seq = message["epoch"], message["seq"]
            seen += message["events"]
            if any(map(wanted, message["events"])):
                return seen

    def snapshot(self, channel="fleet", **more):
        return self.subscribe(channel, **more).until(lambda event: "complete" in event, channel)

    def closed(self):
        """Reads to the end; the code of the close frame, None without one."""
        try:
            while True:
                self.message()
        except EOFError as end:
            return end.args[0] or None
        except OSError:
            return None

    def close(self):
        self.reader.close()
        self.tls.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
