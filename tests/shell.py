"""A shell in a terminal: lines typed into it, and what it says."""
import re
import time

from harness import PATIENCE


class Shell:
    """Whoever has one says how to type(text), and in more() waits a while for what comes next in .said."""

    def __init__(self):
        self.said = bytearray()

    def says(self, pattern, seconds=20):
        """Waits for it; returns the match, and forgets all before its end."""
        deadline = time.monotonic() + seconds * PATIENCE
        pattern = re.compile(pattern if isinstance(pattern, bytes) else pattern.encode(), re.DOTALL)
        while not (match := pattern.search(bytes(self.said))):
            assert time.monotonic() < deadline, (pattern.pattern, bytes(self.said[-3000:]))
            self.more()
        del self.said[:match.end()]
        return match

    def all_until(self, end, seconds=60):
        """All that it says before that text."""
        deadline = time.monotonic() + seconds * PATIENCE
        seen = 0
        while (at := self.said.find(end, seen)) < 0:
            assert time.monotonic() < deadline, bytes(self.said[-3000:])
            seen = max(0, len(self.said) - len(end))
            self.more()
        text = bytes(self.said[:at])
        del self.said[:at + len(end)]
        return text

    def run(self, command):
        """One line; returns what it says.  The marks are not in the line's own echo."""
        self.type(f"echo '<''<'; {command}; echo '>''>'\r")
        return self.says("<<\r\n(.*)>>\r\n").group(1).decode().replace("\r\n", "\n").strip()

    def ready(self):
        """Once the shell is through with its profile."""
        self.type("PS1='$ '; bind 'set enable-bracketed-paste off' 2>/dev/null\r")
        assert self.run("echo ready") == "ready"
        return self
