"""Machines that run roles of the server elsewhere, and networks that are apart."""
import ctypes
import os
import subprocess
import threading

from harness import PROGRAMS, Mesh, Monitor, Program, die_with_tests

CLONE_NEWNET = 0x40000000


class Network:
    """A network of its own, which only root makes: what is inside sees no other, but through cables."""

    def __init__(self):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.fd = self.call(self.make, entered=False)
        self.run("ip", "link", "set", "lo", "up")

    def check(self, result):
        if result:
            raise OSError(ctypes.get_errno(), "a network of its own")

    def make(self):
        self.check(self.libc.unshare(CLONE_NEWNET))
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY)

    def enter(self):
        self.check(self.libc.setns(self.fd, CLONE_NEWNET))

    def before(self):
        """Of a process that is to run inside."""
        die_with_tests()
        self.enter()

    def call(self, function, *words, entered=True, **options):
        """In a thread of its own, inside: sockets that it makes stay there."""
        result = {}

        def work():
            try:
                if entered:
                    self.enter()
                result["value"] = function(*words, **options)
            except BaseException as error:  # noqa: BLE001 - it is raised again below
                result["error"] = error
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        if "error" in result:
            raise result["error"]
        return result["value"]

    def run(self, *words):
        subprocess.run(words, check=True, preexec_fn=self.enter)

    def connect(self, other, here, there):
        """A cable between both; here, there: addresses with their prefix's length."""
        name = f"m{self.fd}x{other.fd}"
        self.run("ip", "link", "add", name, "type", "veth", "peer", "name", name, "netns", f"/proc/{os.getpid()}/fd/{other.fd}")
        for network, address in ((self, here), (other, there)):
            network.run("ip", "address", "add", address, "dev", name)
            network.run("ip", "link", "set", name, "up")

    def close(self):
        os.close(self.fd)


class InsideMesh(Mesh):
    """A mesh whose server, and command line, are in a network of their own."""

    def __init__(self, network, directory, *words, **options):
        self.network = network
        super().__init__(directory, *words, before=network.before, **options)

    def cli(self, *words, **options):
        return super().cli(*words, preexec_fn=self.network.before, **options)


class Component(Program):
    """`murmesh-server --role ... --core ...` in the background."""

    def __init__(self, directory, core, *roles, line=None, name=None, address="127.0.0.1", port=0, **options):
        self.directory = directory
        command = [PROGRAMS / "murmesh-server", *(word for role in roles for word in ("--role", role)), "--core", core, "--dir", directory, "--port", port,
                   "--address", address, "--status-fd", "1", *(["--join", "-"] if line else []), *(["--name", name] if name else [])]
        super().__init__(command, f"{directory}.log", stdin=line + "\n" if line else None, **options)
        self.monitor = Monitor(self.pid, "murmesh-server")

    def status(self):
        """The next line of its status: "ready", port, address; "waiting", name; "refused", error."""
        line = self.process.stdout.readline().decode()
        assert line, self.log()
        return line.split()

    def ready(self):
        words = self.status()
        assert words[0] == "ready", (words, self.log())
        self.port, self.address = int(words[1]), words[2]
        return self
