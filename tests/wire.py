"""Our protocols as somebody else would speak them: stock gRPC, and bytes that no program of ours would send."""
import base64
import contextlib
import datetime
import hashlib
import hmac
import importlib
import os
import queue
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from concurrent import futures

import grpc
from harness import PATIENCE, ROOT, join_parts

SECONDS = 20 * PATIENCE
_folder = tempfile.TemporaryDirectory()
subprocess.run(["protoc", f"-I{ROOT}/proto", f"--python_out={_folder.name}", *(str(path) for path in (ROOT / "proto").glob("*.proto"))], check=True)
sys.path.insert(0, _folder.name)
console, enrol, fleet, internal, live, local, router, run, terminal = (
    importlib.import_module(f"{name}_pb2") for name in ("console", "enrol", "fleet", "internal", "live", "local", "router", "run", "terminal"))
sys.path.remove(_folder.name)


def openssl(*words, **options):
    return subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, **options).stdout


def pem(der):
    return ssl.DER_cert_to_PEM_cert(der)


class Key:
    """An EC key of a client's own, in a file."""

    def __init__(self, folder, name):
        self.path = folder / f"{name}.key"
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", self.path)

    def public(self):
        return openssl("pkey", "-in", self.path, "-pubout", "-outform", "DER")

    def request(self, name="x"):
        """A PKCS #10 request, DER."""
        return openssl("req", "-new", "-key", self.path, "-subj", f"/CN={name}", "-outform", "DER")

    def sign(self, context, text):
        """As crypto/key.h has it."""
        return openssl("dgst", "-sha256", "-sign", self.path, input=context.encode() + b"\0" + text)


class Peer:
    """A gRPC client; `certificates`: an enrol.CertificateReply with the chain to show; alone: only its leaf."""

    def __init__(self, target, key=None, certificates=None, root=None, name=None, plain=False, alone=False):
        if plain:
            self.channel = grpc.insecure_channel(target)
            return
        chain = (pem(certificates.leaf) + ("" if alone else pem(certificates.intermediate))).encode() if certificates else None
        creds = grpc.ssl_channel_credentials(pem(root or certificates.root).encode(), key.path.read_bytes() if key else None, chain)
        self.channel = grpc.secure_channel(target, creds, [("grpc.ssl_target_name_override", name)] if name else None)

    def unary(self, path, request, reply):
        """request: a message, or raw bytes."""
        call = self.channel.unary_unary(f"/murmesh.{path}", lambda m: m if isinstance(m, bytes) else m.SerializeToString(), reply.FromString)
        return call(request, timeout=SECONDS)

    def stream(self, path, requests, reply):
        call = self.channel.stream_stream(f"/murmesh.{path}", lambda m: m if isinstance(m, bytes) else m.SerializeToString(), reply.FromString)
        return call(requests, timeout=SECONDS)

    def each(self, path, request, reply):
        call = self.channel.unary_stream(f"/murmesh.{path}", lambda m: m if isinstance(m, bytes) else m.SerializeToString(), reply.FromString)
        return list(call(request, timeout=SECONDS))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.channel.close()


def refusal(call):
    """Makes the call, which has to fail: (gRPC's status code, our error's name)."""
    try:
        answer = call()
    except grpc.RpcError as error:
        return error.code(), dict(error.trailing_metadata() or ()).get("murmesh-error", "")
    raise AssertionError(f"it was not refused: {answer}")


def unpadded32(text):
    return base64.b32decode(text.upper() + "=" * (-len(text) % 8))


def server_root(mesh):
    """The mesh root's certificate as the server shows it, DER; whoever joins compares its key's hash."""
    shown = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{mesh.port}", "-alpn", "h2", "-showcerts"], stdin=subprocess.DEVNULL,
                           capture_output=True, text=True, timeout=SECONDS).stdout
    last = shown.split("-----BEGIN CERTIFICATE-----")[-1].split("-----END CERTIFICATE-----")[0]
    return base64.b64decode(last)


GOOD_CERTIFICATE = {"kind": "node", "usage": "clientAuth,serverAuth", "from_day": -1, "to_day": 5, "names": "URI:{uri}", "subject": "x", "key": None}


def certificate_make(mesh, folder, **changes):
    """leaf.key (unless a key is given), leaf.crt and chain.crt, of the mesh's intermediate (its key is in the server's folder), good but for the
    changes."""
    wanted = {**GOOD_CERTIFICATE, **changes}
    ca = mesh.directory / "ca"
    uri = f"murmesh://{wanted.get('mesh_id', (ca / 'mesh').read_text().strip())}/{wanted['kind']}/{wanted.get('id', '5' * 32)}"
    folder.mkdir(exist_ok=True)
    (folder / "index").write_text("")
    (folder / "serial").write_text("1234567890ABCDEF")
    (folder / "ca.cnf").write_text(f"""
[ca]
default_ca = own
[own]
database = {folder}/index
serial = {folder}/serial
new_certs_dir = {folder}
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
[extensions]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = {wanted['usage']}
authorityKeyIdentifier = keyid
{'subjectAltName = ' + wanted['names'].format(uri=uri) if wanted['names'] else ''}
""")
    key = ["-key", wanted["key"]] if wanted["key"] else ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", folder / "leaf.key"]
    openssl("req", "-new", *key, "-out", folder / "leaf.csr", "-subj", f"/CN={wanted['subject']}")
    now = datetime.datetime.now(datetime.timezone.utc)
    start, end = ((now + datetime.timedelta(days=wanted[day])).strftime("%Y%m%d%H%M%SZ") for day in ("from_day", "to_day"))
    openssl("ca", "-batch", "-notext", "-config", folder / "ca.cnf", "-extensions", "extensions", "-startdate", start, "-enddate", end, "-in", folder / "leaf.csr",
            "-cert", ca / "intermediate.crt", "-keyfile", ca / "intermediate.key", "-out", folder / "leaf.crt")
    (folder / "chain.crt").write_text((folder / "leaf.crt").read_text() + (ca / "intermediate.crt").read_text())


def relay_request(key, node):
    """For a relay's certificate: the device's own key vouches for that one."""
    public = key.public()
    return enrol.RenewRequest(csr=key.request(), kind=enrol.RELAY, node_key=node.public(), node_signature=node.sign("murmesh relay key 1", public))


class Device:
    """An agent that is none of ours: enrols with a join line, says what it likes."""

    def __init__(self, mesh, folder, name, line=None):
        self.mesh, self.name, self.key, self.root = mesh, name, Key(folder, name), server_root(mesh)
        self.line = line or mesh.key()
        _, secret, root_hash = join_parts(self.line)
        self.secret = unpadded32(secret)
        public = openssl("pkey", "-pubin", "-inform", "PEM", "-outform", "DER", input=openssl("x509", "-inform", "DER", "-noout", "-pubkey", input=self.root))
        assert hashlib.sha256(public).digest() == unpadded32(root_hash)
        self.stranger = Peer(f"localhost:{mesh.port}", root=self.root)

    def token(self, name=None):
        request = enrol.TokenRequest(key_id=self.secret[:16], name=self.name if name is None else name)
        return self.stranger.unary("CertificationManager/RequestToken", request, enrol.Token)

    def proof(self, token, csr):
        """HMAC-SHA256(HKDF(secret), SHA-256(csr) || full name); HKDF without salt, info "murmesh join 1"."""
        extracted = hmac.digest(bytes(32), self.secret[16:], "sha256")
        key = hmac.digest(extracted, b"murmesh join 1\1", "sha256")
        return hmac.digest(key, hashlib.sha256(csr).digest() + token.full_name.encode(), "sha256")

    def request(self, token, **fields):
        csr = fields.pop("csr", None) or self.key.request()
        message = enrol.CertificateRequest(enrolment=token.enrolment, csr=csr, proof=self.proof(token, csr), os="Other OS", arch="pdp11", version="0")
        for field, value in fields.items():
            setattr(message, field, value)
        return message

    def certify(self, message):
        return self.stranger.unary("CertificationManager/RequestCertificate", message, enrol.CertificateReply)

    def enrol(self):
        self.certificates = self.certify(self.request(self.token()))
        self.id = self.certificates.device_id.hex()
        self.peer = Peer(f"localhost:{self.mesh.port}", self.key, self.certificates)
        return self


    @contextlib.contextmanager
    def linked(self, continuation=0):
        """An open control link: the frames that come, the welcome first."""
        ended = threading.Event()

        def frames():
            yield router.Frame(hello=router.Hello(version="0", continuation=continuation))
            ended.wait()  # a half-closed link would end
        call = self.peer.stream("MessageRouter/Link", frames(), router.Frame)
        try:
            yield iter(call)
        finally:
            ended.set()
            call.cancel()

    def link(self, continuation=0):
        """Opens and ends one; returns the welcome, whose number counts as kept when the next hello shows it."""
        with self.linked(continuation) as frames:
            return next(frames).welcome


class Link:
    """A device's control link, welcomed; says what it is told to."""

    def __init__(self, device):
        self.frames = queue.Queue()
        self.say(router.Frame(hello=router.Hello(version="0")))
        self.call = device.peer.stream("MessageRouter/Link", iter(self.frames.get, None), router.Frame)
        self.welcome = next(self.call).welcome

    def say(self, frame):
        self.frames.put(frame)

    def serve(self, ends):
        """Tunnels come to these ends from now on."""
        def listen():
            try:
                for frame in self.call:
                    if frame.HasField("offer"):
                        ends.leg(frame.offer.ticket)
            except grpc.RpcError:
                pass
        threading.Thread(target=listen, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.frames.put(None)
        self.call.cancel()


class Ends:
    """What tunnels to a device reach: a stock gRPC server with the device's certificate; terminal() and run() are to be defined."""

    def __init__(self, device):
        self.device = device
        self.server = grpc.server(futures.ThreadPoolExecutor(16))
        serve = grpc.stream_stream_rpc_method_handler
        self.server.add_generic_rpc_handlers((
            grpc.method_handlers_generic_handler("murmesh.Terminal", {"Open": serve(
                self.terminal, terminal.TerminalInput.FromString, terminal.TerminalOutput.SerializeToString)}),
            grpc.method_handlers_generic_handler("murmesh.Run", {"Start": serve(
                self.run, run.RunInput.FromString, run.RunOutput.SerializeToString)})))
        reply = device.certificates
        creds = grpc.ssl_server_credentials([(device.key.path.read_bytes(), (pem(reply.leaf) + pem(reply.intermediate)).encode())],
                                            (pem(reply.root) + pem(reply.intermediate)).encode(), require_client_auth=True)
        self.port = self.server.add_secure_port("127.0.0.1:0", creds)
        self.server.start()

    def leg(self, ticket):
        outer = socket.create_connection(("127.0.0.1", self.device.mesh.port), SECONDS)
        outer.sendall(preamble(ticket, 1))
        inner = socket.create_connection(("127.0.0.1", self.port), SECONDS)
        for one, other in ((outer, inner), (inner, outer)):
            threading.Thread(target=self.pump, args=(one, other), daemon=True).start()

    @staticmethod
    def pump(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            source.close()
            sink.close()

    def stop(self):
        self.server.stop(None)


class User:
    """A command line that is none of ours: the administrator `local`, by core.sock."""

    def __init__(self, mesh, folder):
        self.mesh, self.key = mesh, Key(folder, "user")
        path = mesh.directory / "run" / "core.sock"
        with tempfile.TemporaryDirectory() as short:  # a socket's path is short
            os.symlink(path, f"{short}/s")
            with Peer(f"unix:{short}/s", plain=True) as core:
                self.certificates = core.unary("Local/Login", local.LoginRequest(key=self.key.public()), enrol.CertificateReply)
        self.chain = folder / "user.crt"
        self.chain.write_text(pem(self.certificates.leaf) + pem(self.certificates.intermediate))
        self.peer = Peer(f"localhost:{mesh.port}", self.key, self.certificates)

    def device(self, name):
        return self.peer.each("Fleet/ListDevices", fleet.ListRequest(selector=name), fleet.Device)[0]

    def tunnel(self, device, *targets, rights=fleet.CONNECT):
        return self.peer.unary("Tunnels/Open", fleet.TunnelRequest(device=device.id, targets=targets, rights=rights), fleet.Tunnel)

    def leg(self, tunnel, alpn=("http/1.1",), side=0, certificate=True):
        """The inner TLS connection to the device."""
        connection = socket.create_connection(("127.0.0.1", self.mesh.port), SECONDS)
        connection.sendall(preamble(tunnel.ticket, side))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(cadata=pem(self.certificates.root))
        if alpn:
            context.set_alpn_protocols(list(alpn))
        if certificate:
            context.load_cert_chain(self.chain, self.key.path)
        return context.wrap_socket(connection)


def preamble(ticket, side=0):
    return b"MMR1" + bytes([1, side, 0, 0]) + ticket + bytes(8)


def connect(leg, target, grant=None, *more, method="CONNECT"):
    """One request head; returns the answer's head, and what came behind it."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {target}", *more]
    if grant is not None:
        lines.append("Murmesh-Grant: " + base64.urlsafe_b64encode(grant.SerializeToString()).decode().rstrip("="))
    leg.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        chunk = leg.recv(4096)
        if not chunk:
            break
        answer += chunk
    head, _, rest = answer.partition(b"\r\n\r\n")
    return head.decode(), rest


# ---- orders ----

class Forwarder:
    """A local port whose one connection becomes a leg: stock gRPC knows nothing of tickets."""

    def __init__(self, mesh, ticket):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.mesh, self.ticket = mesh, ticket
        threading.Thread(target=self.carry, daemon=True).start()

    def carry(self):
        near, _ = self.listener.accept()
        far = socket.create_connection(("127.0.0.1", self.mesh.port))
        far.sendall(preamble(self.ticket))

        def pump(source, target):
            try:
                while data := source.recv(65536):
                    target.sendall(data)
                target.shutdown(socket.SHUT_WR)
            except OSError:
                pass
        threading.Thread(target=pump, args=(far, near), daemon=True).start()
        pump(near, far)


def order(user, device, *argv):
    request = fleet.OrderRequest(argv=argv, digest=hashlib.sha256(device.id).digest(), count=1)
    return user.peer.unary("Tunnels/Order", request, enrol.SignedDocument)


def carry_out(mesh, user, device, signed, devices=None):
    """Runs the order over a stock client; the messages that come back."""
    forwarder = Forwarder(mesh, user.tunnel(device, rights=fleet.RUN).ticket)
    with Peer(f"127.0.0.1:{forwarder.port}", user.key, user.certificates, name=device.id.hex()) as peer:
        start = run.RunInput(start=run.RunStart(order=signed, devices=device.id if devices is None else devices))
        try:
            return list(peer.stream("Run/Start", iter([start, run.RunInput(stdin_end=True)]), run.RunOutput))
        finally:
            forwarder.listener.close()
