#!/usr/bin/python3
"""Makes glouglou.json from proto/glouglou.md alone, without the C code: make_glouglou.py [--check]"""
import ctypes
import hashlib
import hmac
import json
import struct
import sys
from ipaddress import ip_address
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

PATH = Path(__file__).with_name("glouglou.json")
NOW = 1700000000000000000
SESSION = 0xABAD1DEA
NETWORK, PROCESS, CONTROL = 0, 1, 0xFF
IPV6, OWNER, COMPRESSED, INDEX, INCOMING = 1, 2, 4, 8, 16


def varint(value):
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def string(text):
    return varint(len(text.encode())) + text.encode()


def process(pid, start):
    return varint(pid) + varint(start)


def key(protocol, source, source_port, destination, destination_port):
    a, b = (ip_address(x).packed for x in (source, destination))
    return bytes([protocol]) + a + struct.pack(">H", source_port) + b + struct.pack(">H", destination_port)


def record(kind, flags, offset_us, body):
    content = varint(offset_us) + body
    return struct.pack(">BBH", kind, flags, len(content)) + content


def datagram(module, records, flags=0, sequence=1, time_ns=NOW - 10**9, probe=0, session=SESSION, further=b"", count=None):
    payload = b"".join(records)
    return struct.pack(">BBBBIIQQHH", 3, module, flags, 8 + len(further) // 4, probe, session, sequence, time_ns,
                       len(records) if count is None else count, len(payload)) + further + payload


def exec_body():
    return (process(4711, 1700000000123) + varint(1000) + string("/usr/bin/curl") + string("curl -s https://example.org/")
            + process(42, 1690000000000) + string("curl"))


EXEC = ("exec process=4711-1700000000123 uid=1000 exe=/usr/bin/curl argv=curl -s https://example.org/ parent=42-1690000000000 command=curl")
EXIT = "exit process=4711-1700000000123 known=1 code=6 signal=0 command=curl"
EXIT_BODY = process(4711, 1700000000123) + bytes([1, 6, 0]) + string("curl")


def datagrams():
    v4, v6 = key(6, "10.0.0.1", 1234, "10.0.0.2", 80), key(17, "2001:db8::1", 5353, "ff02::fb", 5353)
    exits = record(3, 0, 1250000, EXIT_BODY)
    yield "exec and exit; as our writer makes it, with sequence 0", datagram(PROCESS, [record(2, 0, 1000000, exec_body()), exits], sequence=0), None
    yield "exec and exit", datagram(PROCESS, [record(2, 0, 1000000, exec_body()), exits]), f"{EXEC}; {EXIT}"
    yield "fork", datagram(PROCESS, [record(1, 0, 0, process(1, 5) + process(300, 6) + string("init"))]), \
        "fork parent=1-5 process=300-6 command=init"
    yield "connection with its owner", datagram(NETWORK, [record(1, OWNER, 0, v4 + process(4711, 9) + string("curl"))]), \
        "newconn owner=1 flow=10.0.0.1-1234-10.0.0.2-80 process=4711-9 command=curl"
    yield "IPv6, opened by the other side, no owner", datagram(NETWORK, [record(1, IPV6 | INCOMING, 0, v6)]), \
        "newconn owner=0 flow=2001:db8::1-5353-ff02::fb-5353-udp process=0-0 command="
    yield "IPv4 in a record of IPv6", datagram(NETWORK, [record(2, IPV6, 0, key(6, "::ffff:10.0.0.1", 1, "::ffff:10.0.0.2", 2) + varint(300))]), \
        "delconn owner=0 flow=10.0.0.1-1-10.0.0.2-2 process=0-0 command= bytes=300"
    yield "data, back", datagram(NETWORK, [record(3, 0, 0, v4 + varint(1 << 40) + varint(127) + b"\x01")]), \
        f"data flow=10.0.0.1-1234-10.0.0.2-80 bytes={1 << 40} packets=127 direction=1"
    yield "name", datagram(NETWORK, [record(4, 0, 0, ip_address("10.0.0.2").packed + b"\x00" + string("wéb"))]), "name address=10.0.0.2 source=0 name=wéb"
    yield "trace", datagram(NETWORK, [record(5, 0, 0, bytes([10, 0, 0, 9, 1, 10, 0, 0, 1]) + varint(700))]), "trace target=10.0.0.9"
    yield "further header words, a longer body, an unknown type", \
        datagram(PROCESS, [record(3, 0, 0, EXIT_BODY + b"new"), record(0x42, 0, 0, b"")], further=bytes(8)), f"{EXIT}; type"
    yield "keyframe of one part", datagram(PROCESS, [record(0xF0, 0, 0, varint(1) + varint(0) + b"\x01"), record(2, 0, 0, exec_body())], flags=8), EXEC
    yield "a body too short, and a good one", datagram(PROCESS, [record(3, 0, 0, EXIT_BODY[:10]), exits]), f"exit body; {EXIT}"
    yield "bad text", datagram(PROCESS, [record(1, 0, 0, process(1, 5) + process(300, 6) + varint(2) + b"\xc3\x28")]), "fork text"
    yield "string beyond its maximum", datagram(PROCESS, [record(1, 0, 0, process(1, 5) + process(300, 6) + string("x" * 65))]), "fork limit"
    yield "varint not in its shortest form", datagram(PROCESS, [record(1, 0, 0, b"\x81\x00" + b"\x05" + process(300, 6) + string("x"))]), "fork varint"
    yield "varint of 11 bytes", datagram(PROCESS, [record(3, 0, 0, b"\x80" * 10 + b"\x01" + EXIT_BODY)]), "exit varint"
    yield "flow index", datagram(NETWORK, [record(3, INDEX, 0, varint(1) + varint(5) + varint(1) + b"\x00")]), "data index"
    yield "compressed", datagram(NETWORK, [record(3, COMPRESSED, 0, varint(5))]), "data compressed"
    yield "later than an hour", datagram(PROCESS, [record(3, 0, 3600000001, EXIT_BODY)]), "limit"
    yield "seed 004's version 2", b"\x02" + datagram(PROCESS, [exits])[1:], "version"
    yield "unknown module", datagram(0x77, [exits]), "module"
    yield "unknown record flag", datagram(PROCESS, [record(3, 0x40, 0, EXIT_BODY)]), "flags"
    yield "tag on a link", datagram(PROCESS, [exits], flags=1) + bytes(16), "flags"
    yield "no session", datagram(PROCESS, [exits], session=0), "session"
    yield "no records", datagram(PROCESS, []), "records"
    yield "one record, two announced", datagram(PROCESS, [exits], count=2), "records"
    yield "cut", datagram(PROCESS, [exits])[:-1], "length"
    yield "a byte behind", datagram(PROCESS, [exits]) + b"\0", "trailing"


# ---- sessions on UDP ----

def mark(mark_key, covered):
    return hmac.new(mark_key, covered, hashlib.sha256).digest()[:16]


def hkdf(salt, secret, info):
    prk = hmac.new(salt, secret, hashlib.sha256).digest()
    return hmac.new(prk, info + b"\x01", hashlib.sha256).digest()


def argon2id(password, salt):
    out = ctypes.create_string_buffer(32)
    result = ctypes.CDLL("libargon2.so.1").argon2id_hash_raw(3, 65536, 1, password, len(password), salt, len(salt), out, ctypes.c_size_t(32))
    assert result == 0
    return out.raw


def handshake(kind, flags, sequence, probe, body_before_mark, mark_key):
    record_header = struct.pack(">BBH", kind, 0, 1 + len(body_before_mark) + 16) + b"\x00"
    payload = record_header + body_before_mark
    header = struct.pack(">BBBBIIQQHH", 3, CONTROL, flags, 8, probe, SESSION, sequence, 0, 1, len(payload) + 16)
    return header + payload + mark(mark_key, header + payload)


def sealed(cipher, key_bytes, plain, encrypt):
    header, payload = plain[:32], plain[32:]
    header = header[:2] + bytes([header[2] | (3 if encrypt else 1)]) + header[3:]
    nonce = bytes(4) + header[12:20]
    if encrypt:
        return header + cipher(key_bytes).encrypt(nonce, payload, header)
    return header + payload + cipher(key_bytes).encrypt(nonce, b"", header + payload)


def session():
    mesh, probe = bytes(range(16)), 7
    probe_nonce, server_nonce = bytes(range(32)), bytes(range(32, 64))
    mark_key = hashlib.sha256(b"glouglou 3 mark" + mesh).digest()
    salt = hashlib.sha256(b"glouglou 3 salt" + mesh + struct.pack(">I", probe)).digest()[:16]
    probe_key = argon2id(b"correct horse", salt)
    names = struct.pack(">II", probe, SESSION)
    up, down = (hkdf(probe_nonce + server_nonce, probe_key, label + names) for label in (b"glouglou 3 probe", b"glouglou 3 server"))
    auth = handshake(2, 16, 1, probe, b"\x01\x01" + bytes(2) + probe_nonce + server_nonce, mark_key)
    plain = datagram(PROCESS, [record(3, 0, 1250000, EXIT_BODY)], sequence=2, probe=probe)
    return {
        "mesh": mesh.hex(), "probe": probe, "session": SESSION, "password": "correct horse", "salt": salt.hex(), "probe_key": probe_key.hex(),
        "mark_key": mark_key.hex(), "probe_nonce": probe_nonce.hex(), "server_nonce": server_nonce.hex(), "key_up": up.hex(), "key_down": down.hex(),
        "hello": handshake(0, 16, 0, probe, b"\x01\x03" + bytes(2) + probe_nonce, mark_key).hex(),
        "hello_res": handshake(1, 0, 0, probe, b"\x00\x01" + bytes(2) + server_nonce, mark_key).hex(),
        "auth_with_aes": sealed(AESGCM, up, auth, False).hex(),
        "plain": plain.hex(), "aes": sealed(AESGCM, up, plain, True).hex(), "aes_tag_only": sealed(AESGCM, up, plain, False).hex(),
        "chacha": sealed(ChaCha20Poly1305, up, plain, True).hex(),
    }


def main():
    rows = []
    for what, data, means in datagrams():
        if means is None:  # a number of 0 is what no reader takes
            means = "session"
        rows.append({"what": what, "hex": data.hex(), "is": means})
    text = json.dumps({"datagrams": rows, "session": session()}, indent=1, ensure_ascii=False) + "\n"
    if sys.argv[1:] == ["--check"]:
        return 0 if PATH.read_text() == text else 1
    PATH.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
