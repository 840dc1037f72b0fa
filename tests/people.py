"""Users with passwords, as the console would make them, and command lines on machines of their own."""
import base64
import fcntl
import hmac
import os
import pty
import sqlite3
import struct
import subprocess
import termios
import threading
import time
from pathlib import Path

from console import Browser
from harness import PATIENCE, PROGRAMS, check_report, murmesh

PASSWORD = "correct horse battery"


def database(mesh):
    return sqlite3.connect(mesh.directory / "db" / "murmesh.db", timeout=20, isolation_level=None)


def password_give(mesh, name, password=PASSWORD, totp=False):
    """To a user that is there already (`murmesh user add`), as he would take it: by his link, in the console.  Returns the secret of TOTP."""
    browser = Browser(mesh.port, token=mesh.json("user", "link", name)["login"].split("#token=")[1])
    answer = browser.post("/api/me/setup", {"name": "", "password": password})
    assert answer.status == 200, answer
    if not totp:
        return None
    secret = base64.b32decode(browser.post("/api/me/totp").json["secret"].upper())
    answer = browser.request("PUT", "/api/me/totp", {"code": code(secret)})
    assert answer.status == 200, answer
    return secret


def code(secret, step=0):
    """Of an authenticator (RFC 6238), `step` half minutes from now."""
    digest = hmac.digest(secret, struct.pack(">Q", int(time.time()) // 30 + step), "sha1")
    at = digest[19] & 15
    return f"{(int.from_bytes(digest[at:at + 4], 'big') & 0x7fffffff) % 1000000:06}"


def base32_of(hexadecimal):
    return base64.b32encode(bytes.fromhex(hexadecimal)).decode().rstrip("=").lower()


class Elsewhere:
    """Another machine, as far as the command line sees: another home, no server's folder."""

    def __init__(self, folder, programs=PROGRAMS, before=None):
        self.home, self.programs, self.before = Path(folder), programs, before
        self.home.mkdir(exist_ok=True)
        self.servers = self.home / "config" / "murmesh" / "servers"
        self.env = {"PATH": os.environ["PATH"], "HOME": str(self.home), "XDG_CONFIG_HOME": str(self.home / "config"), "XDG_DATA_HOME": str(self.home / "data")}
        self.env |= {name: value for name, value in os.environ.items() if name.endswith("SAN_OPTIONS")}

    def cli(self, *words, **options):
        return murmesh(*words, programs=self.programs, env=self.env | options.pop("env", {}), cwd=self.home, preexec_fn=self.before, **options)

    def login(self, mesh, user, password=PASSWORD, *words, pinned=True, host="127.0.0.1"):
        """code: a second line of the password."""
        address = f"{host}:{mesh.port}" + (f"#{mesh.info['fingerprint']}" if pinned else "")
        return self.cli("login", address, "--user", user, "--password-file", "-", *words, input=f"{password}\n")

    def file(self, mesh, name="login.pem", host="127.0.0.1"):
        return self.servers / f"{host}:{mesh.port}" / name

    def terminal(self, *words, answers=()):
        """At a terminal: answers are (what is waited for, what is typed).  Returns the exit code and all that was shown."""
        master, slave = pty.openpty()
        with subprocess.Popen([self.programs / "murmesh", *map(str, words)], stdin=slave, stdout=slave, stderr=slave, env=self.env | {"TERM": "dumb"},
                              cwd=self.home, start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)) as child:
            os.close(slave)
            guard = threading.Timer(30 * PATIENCE, child.kill)
            guard.start()
            shown, seen = b"", 0
            waiting = list(answers)
            while True:
                while waiting and waiting[0][0].encode() in shown[seen:]:
                    seen = shown.index(waiting[0][0].encode(), seen) + len(waiting[0][0])
                    os.write(master, waiting.pop(0)[1].encode())
                try:
                    chunk = os.read(master, 65536)
                except OSError:  # the other side is closed
                    chunk = b""
                if not chunk:
                    break
                shown += chunk
            result = child.wait()
            guard.cancel()
        os.close(master)
        text = shown.decode(errors="replace").replace("\r\n", "\n")
        check_report(text, f"murmesh {words[0]}")
        assert not waiting, (waiting, text)
        return result, text
