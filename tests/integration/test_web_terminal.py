"""A terminal in the browser: /ws/terminal, as the page speaks it."""
import hashlib
import os
import re
import signal

import pytest

from console import SECONDS, browser_of
from harness import alive, gone, until
from shell import Shell


class Screen(Shell):
    """One terminal's socket, with what came over it."""

    def __init__(self, browser, device, terminal=None, columns=100, rows=30, acks=True):
        super().__init__()
        self.browser, self.device, self.acks = browser, device, acks
        body = {"columns": columns, "rows": rows} | ({"terminal": terminal} if terminal else {})
        browser.close()  # the server ends connections that rest
        answer = browser.post(f"/api/devices/{device}/terminals", body)
        assert answer.status == 200, answer
        self.socket = browser.socket(f"/ws/terminal?ticket={answer.json['ticket']}")
        self.total, self.exit = 0, None
        self.over = False

    def next(self):
        """One message; the output is kept (and acknowledged)."""
        message = self.socket.message()
        if isinstance(message, bytes):
            self.said += message
            self.total += len(message)
            if self.acks:
                self.socket.send({"ack": self.total})
        return message

    def more(self):
        self.next()

    def opened(self):
        message = self.next()
        assert isinstance(message, dict) and re.fullmatch("[0-9a-f]{32}", message["opened"]), message
        self.id = message["opened"]
        return self

    def error(self):
        while isinstance(message := self.next(), bytes):
            pass
        return message["error"]["error"]

    def type(self, text):
        self.socket.send_frame(2, text if isinstance(text, bytes) else text.encode())

    def ended(self):
        """Its exit, and how the socket was closed."""
        try:
            while True:
                message = self.next()
                if isinstance(message, dict) and "exit" in message:
                    self.exit = message["exit"]
        except EOFError as end:
            self.over = True
            return self.exit, end.args[0]

    def close(self):
        self.socket.tls.close()


@pytest.fixture(scope="module")
def browser(mesh):
    return browser_of(mesh)


@pytest.fixture(scope="module")
def web02(mesh):
    return mesh.device("web02")["id"]


@pytest.fixture
def screen(browser, web02):
    """One that is hung up at the end: eight are what a user may have."""
    made = []

    def make(*words, device=web02, by=browser, **options):
        made.append(Screen(by, device, *words, **options))
        return made[-1]
    yield make
    for one in made:
        try:
            if not one.over:
                one.socket.send({"end": True})
                one.ended()
        except OSError:
            pass
        one.close()


def test_echo_size_and_exit(screen):
    one = screen(columns=91, rows=17).opened().ready()
    assert one.run("echo $((40+2)) $TERM") == "42 xterm-256color"
    assert one.run("stty size") == "17 91"
    one.socket.send({"size": {"columns": 133, "rows": 44}})
    until(lambda: one.run("stty size") == "44 133", "the new size")
    one.type("sh -c 'echo sle\"\"eps; exec sleep 1000'\r")
    one.says("sleeps\r\n")
    one.type("\x03")
    one.type("echo ended $?-\r")
    one.says("ended 130-")
    one.type("exit 7\r")
    assert one.ended() == ({"code": 7, "signal": 0}, 1000)


def test_killed(screen):
    one = screen().opened().ready()
    one.type("kill -9 $$\r")
    assert one.ended() == ({"code": 137, "signal": 9}, 1000)


def test_hung_up(screen):
    one = screen().opened().ready()
    shell = int(one.run("echo $$"))
    one.socket.send({"end": True})
    exit, code = one.ended()
    assert exit and code == 1000
    gone([shell], 5)


def test_what_is_pasted(screen):
    one = screen().opened().ready()
    one.type("stty raw -echo; echo rea''dy; head -c 400000 | sha256sum; stty sane\r")
    one.says("ready")
    data = os.urandom(200_000).hex().encode()
    for start in range(0, len(data), 16384):
        one.type(data[start:start + 16384])
    one.says(hashlib.sha256(data).hexdigest())


def test_reload(screen):
    """The page goes, the terminal stays, with what it said meanwhile."""
    one = screen().opened().ready()
    shell = int(one.run("X=here; echo $$").split()[-1])
    one.type("sleep 0.3; echo mean''while\r")
    one.close()
    two = screen(one.id).opened()
    assert two.id == one.id
    two.says("X=here")  # what was said before
    two.says("meanwhile\r\n")
    assert two.run("echo =$X $$") == f"=here {shell}"
    three = screen(one.id).opened()  # from another tab
    assert two.error() == "E1421"
    assert two.ended() == (None, 1000)
    assert alive(shell)
    three.type("exit 3\r")
    assert three.ended() == ({"code": 3, "signal": 0}, 1000)
    assert screen(one.id).error() == "E1420"


def test_big_output(screen):
    one = screen().opened().ready()
    one.type("stty -opost; echo '<''<'; head -c 5000000 /dev/zero | tr '\\0' y; echo '>''>'; exit\r")
    one.says("<<\n")
    exit, code = one.ended()
    assert (exit["code"], code) == (0, 1000)
    assert bytes(one.said[:5000003]) == b"y" * 5000000 + b">>\n"


def test_waits_for_what_is_shown(screen):
    """Without acknowledgements it stops a little after 256 KiB; with them it goes on, and nothing is lost."""
    one = screen(acks=False).opened().ready()
    before = one.total
    one.type("head -c 3000000 /dev/zero | tr '\\0' y; echo '>''>'\r")
    one.socket.tls.settimeout(1.5)
    with pytest.raises(OSError):
        while True:
            one.next()
    assert 256 << 10 <= one.total - before < 1 << 20
    one.socket.tls.settimeout(SECONDS)


def test_acknowledged_late(screen):
    one = screen(acks=False).opened().ready()
    one.type("head -c 3000000 /dev/zero | tr '\\0' y; echo '>''>'\r")
    while one.total < 200_000:
        one.next()
    one.acks = True
    text = one.all_until(b">>\r\n")
    assert len(text) - len(text.rstrip(b"y")) == 3_000_000


def test_several_share_a_leg(mesh, screen):
    screens = [screen().opened() for _ in range(4)]
    for one in screens:
        one.ready()
    shells = {one.run("echo $$") for one in screens}
    assert len(shells) == 4
    net = mesh.web02.monitor.roles()["net"]
    sockets = [link for link in os.listdir(f"/proc/{net}/fd") if os.readlink(f"/proc/{net}/fd/{link}").startswith("socket:")]
    assert len(sockets) < 9


def test_wrong_words(screen):
    one = screen().opened()
    for wrong in ({"size": {"columns": 80}}, {"size": 5}, {"ack": -1}, {"nonsense": 1}, [], {"ack": "x"}):
        one.socket.send(wrong)
        assert one.error() == "E1109"
        assert one.ended()[1] == 1000
        one = screen(one.id).opened()
    one.socket.send({"size": {"columns": 0, "rows": 10}})
    assert one.error() == "E1005"
    screen(one.id).opened()


def test_acknowledging_too_much(screen):
    one = screen().opened()
    one.socket.send({"ack": 1 << 60})
    one.ready()


def test_offline(mesh, browser, screen):
    agent = mesh.join("shy")
    device = mesh.device("shy")["id"]
    agent.stop()
    until(lambda: not mesh.device("shy")["online"], "offline")
    answer = browser.post(f"/api/devices/{device}/terminals", {"columns": 80, "rows": 24})
    assert (answer.status, answer.error()) == (409, "E1028")


def test_goes_offline_behind_the_ticket(mesh, browser):
    agent = mesh.join("shyer")
    device = mesh.device("shyer")["id"]
    browser.close()
    ticket = browser.post(f"/api/devices/{device}/terminals", {"columns": 80, "rows": 24}).json["ticket"]
    agent.stop()
    until(lambda: not mesh.device("shyer")["online"], "offline")
    socket = browser.socket(f"/ws/terminal?ticket={ticket}")
    assert socket.message()["error"]["error"] == "E1028"
    with pytest.raises(EOFError, match="1000"):
        socket.message()


def test_logout_ends_it(mesh, screen):
    other = browser_of(mesh)
    one = screen(by=other).opened().ready()
    shell = int(one.run("echo $$"))
    assert other.post("/api/logout").status == 204
    assert one.ended() == (None, 1008)
    os.kill(shell, signal.SIGHUP)


def test_agent_goes_away(mesh, screen):
    """The page is told nothing final: it comes back by itself."""
    agent = mesh.join("goes")
    one = screen(device=mesh.device("goes")["id"]).opened().ready()
    agent.process.kill()
    assert one.ended() == (None, 1001)


def test_relay_dies(new_mesh):
    mesh = new_mesh()
    browser, device = browser_of(mesh), mesh.json("ls")[0]["id"]
    one = Screen(browser, device).opened().ready()
    one.run("X=here")
    os.kill(mesh.server.roles()["relay"], signal.SIGKILL)
    assert one.ended() == (None, 1001)
    two = Screen(browser, device, one.id).opened()
    two.says(">>\r\n.*>>\r\n")
    assert two.run("echo =$X") == "=here"
