"""Agents that are none of ours: truly enrolled, and hostile in every field that a device fills in."""
import os
import queue
import struct
import threading
import time

import grpc

from harness import until
from hostile import BROKEN, cut, texts
import wire
from wire import Device, Peer, SECONDS, live, router, run, terminal

PER_DEVICE = 20
NETWORK, PROCESS, CONTROL = 0, 1, 0xFF  # modules of proto/glouglou.md
EXEC, EXIT, NEWCONN, NAME, NOTICE = 2, 3, 1, 4, 0x20


def varint(value):
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def string(data):
    return varint(len(data)) + data


class Probe:
    """Events in which every text is hostile, after proto/glouglou.md and proto/modules/."""

    def __init__(self):
        self.session, self.sequence = int.from_bytes(os.urandom(4), "big") | 1, 0

    def datagram(self, module, *records):
        payload = b"".join(struct.pack(">BBH", kind, flags, len(body) + 1) + b"\0" + body for kind, flags, body in records)
        self.sequence += 1
        head = struct.pack(">BBBBIIQQHH", 3, module, 0, 8, 0, self.session, self.sequence, time.time_ns(), len(records), len(payload))
        return struct.pack(">H", len(head + payload)) + head + payload

    def notice(self, module, text):
        return self.datagram(CONTROL, (NOTICE, 0, bytes([module, 0]) + string(text[:200])))

    def lives(self, pid, text):
        """A process and a connection of it."""
        started = 1700000000000
        process = varint(pid) + varint(started)
        exe = process + varint(0) + string(text[:255]) + string(text[:400]) + varint(1) + varint(started) + string(text[:64])
        flow = bytes([6, 10, 0, 0, 1]) + struct.pack(">H", pid) + bytes([198, 51, 100, pid % 250]) + struct.pack(">H", 80)
        return (self.datagram(PROCESS, (EXEC, 0, exe)) + self.datagram(NETWORK, (NEWCONN, 2, flow + process + string(text[:64])))
                + self.datagram(NETWORK, (NAME, 0, bytes([198, 51, 100, pid % 250, 0]) + string(text[:255]))))

    def dies(self, pid, text):
        return self.datagram(PROCESS, (EXIT, 0, varint(pid) + varint(1700000000000) + bytes([1, 255, 0]) + string(text[:64])))


def bad_field(number, data):
    """A length-delimited field as protobuf has it, with bytes that are no string."""
    return bytes([number << 3 | 2, len(data)]) + data


class Rogue(Device):
    """`strings`: what it says of itself."""

    def __init__(self, mesh, folder, name, strings):
        super().__init__(mesh, folder, name)
        self.strings, self.frames, self.welcomed, self.stopped = strings, queue.Queue(), threading.Event(), threading.Event()

    def pick(self, n, size):
        return cut(self.strings[n % len(self.strings)], size)

    def enrol(self):
        message = self.request(self.token(), os=self.pick(0, 128), arch=self.pick(1, 32), version=self.pick(2, 32))
        self.certificates = self.certify(message)
        self.id = self.certificates.device_id.hex()
        self.peer = Peer(f"localhost:{self.mesh.port}", self.key, self.certificates)
        return self

    def hello(self):
        return router.Frame(hello=router.Hello(version=self.pick(3, 32), os=self.pick(4, 128), arch=self.pick(5, 32), host_name=self.pick(6, 256)))

    def inventory(self):
        inventory = router.Inventory(kernel=self.pick(7, 128), os=self.pick(8, 128), processor=self.pick(9, 128), processors=(1 << 32) - 1,
                                     memory=(1 << 64) - 1, memory_available=1 << 63, boot_time=-(1 << 63))
        for n in range(16):
            inventory.file_systems.add(path=self.pick(n, 128), type=self.pick(n + 5, 32), size=1, available=(1 << 64) - 1)
            inventory.interfaces.add(name=self.pick(n + 4, 16), hardware=os.urandom(6),
                                     addresses=[self.pick(n + k, 48) for k in range(8)])
        return router.Frame(inventory=inventory)

    def online(self):
        """Says all of it, and stays."""
        self.ends = Ends(self)
        self.frames.put(self.hello())
        call = self.peer.channel.stream_stream("/murmesh.MessageRouter/Link", lambda m: m if isinstance(m, bytes) else m.SerializeToString(),
                                               router.Frame.FromString)
        self.link = call(iter(self.frames.get, None))
        threading.Thread(target=self.listen, daemon=True).start()
        assert self.welcomed.wait(SECONDS)
        self.frames.put(self.inventory())
        self.report()
        return self

    def report(self):
        """Every string as events, again and again: who opens the page later sees them too."""
        probe, stopped = Probe(), self.stopped
        texts_of = [cut(text, 512).encode() for text in self.strings] + BROKEN

        def reports():
            for module in (NETWORK, PROCESS):
                yield live.Report(datagrams=probe.notice(module, texts_of[module]))
            while True:
                for n, text in enumerate(texts_of):
                    yield live.Report(datagrams=probe.lives(1000 + n, text))
                    if stopped.wait(0.05):
                        return
                yield live.Report(datagrams=probe.dies(1000, texts_of[0]))
        call = self.peer.channel.stream_stream("/murmesh.Reports/Send", live.Report.SerializeToString, live.Report.FromString)
        self.reports = call(reports())

    def listen(self):
        try:
            for frame in self.link:
                if frame.HasField("welcome"):
                    self.welcomed.set()
                elif frame.HasField("offer"):
                    self.ends.leg(frame.offer.ticket)
        except grpc.RpcError:
            pass

    def stop(self):
        self.stopped.set()
        self.reports.cancel()
        self.link.cancel()
        self.ends.stop()


class Ends(wire.Ends):
    """What tunnels to the device reach: somebody who says all strings."""

    def said(self):
        """All strings as a terminal gets them, in pieces."""
        for text in [*(text.encode() for text in texts()), *BROKEN]:
            for start in range(0, len(text), 16384):
                yield text[start:start + 16384]
            yield b"\r\n"

    def terminal(self, requests, _):
        first = next(requests)
        yield terminal.TerminalOutput(opened=first.start.terminal or os.urandom(16))
        for data in self.said():
            yield terminal.TerminalOutput(data=data)
        yield terminal.TerminalOutput(data=b"\x1bc\x1b[?1049l\r\nall was said\r\n")
        for request in requests:
            if request.end:
                break
            yield terminal.TerminalOutput(data=request.data)
        yield terminal.TerminalOutput(exit=run.RunExit(code=0))

    def run(self, requests, _):
        next(requests)
        yield run.RunOutput(started=True)
        for text in self.device.strings:
            yield run.RunOutput(stdout=text.encode()[:200])
            yield run.RunOutput(stderr=text.encode()[:200])
        yield run.RunOutput(exit=run.RunExit(code=(1 << 32) - 1, signal=(1 << 32) - 1))


def rogues(mesh, folder):
    """As many as it takes to say every string."""
    strings = texts()
    made = []
    for n, start in enumerate(range(0, len(strings), PER_DEVICE)):
        made.append(Rogue(mesh, folder, f"rogue{n}", strings[start:start + PER_DEVICE]).enrol().online())
    until(lambda: sum(device["online"] for device in mesh.json("ls") if device["name"].startswith("rogue")) == len(made), "all rogues are online")
    return made


def refused_names(mesh, folder):
    """Names that a machine may not have; returns those that the server took all the same, of others it says why."""
    taken = []
    device = Device(mesh, folder, "namer")
    for text in texts():
        try:
            taken.append(device.token(cut(text, 64)).full_name)
        except grpc.RpcError as refusal:
            assert dict(refusal.trailing_metadata() or ()).get("murmesh-error") in ("E1002", "E1009"), text
    return taken


def say_broken(device):
    """Frames whose strings are no UTF-8: the link may be closed for it, nothing else may happen."""
    for data in BROKEN:
        inventory = bad_field(1, data) + bad_field(2, data) + bad_field(3, data)
        frames = [device.hello().SerializeToString(), bad_field(5, inventory)]
        call = device.peer.channel.stream_stream("/murmesh.MessageRouter/Link", lambda m: m, router.Frame.FromString)
        link = call(iter(frames), timeout=SECONDS)
        try:
            for _ in link:
                pass
        except grpc.RpcError:
            pass
