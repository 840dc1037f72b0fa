"""Our RPC against stock gRPC programs: a stock client calls rpc_echo, rpc_echo calls a stock server; TLS with client certificates."""
import importlib
import subprocess
import sys
import threading
import time
from concurrent import futures

import grpc
import pytest
from harness import BUILD, PATIENCE, ROOT, die_with_tests

ECHO = BUILD / "tests" / "interop" / "rpc_echo"
SECONDS = 20 * PATIENCE


@pytest.fixture(scope="session")
def note(tmp_path_factory):
    """The message class, compiled from echo.proto."""
    folder = tmp_path_factory.mktemp("proto")
    subprocess.run(["protoc", f"-I{ROOT}/tests/interop", f"--python_out={folder}", "echo.proto"], check=True)
    sys.path.insert(0, str(folder))
    yield importlib.import_module("echo_pb2").Note
    sys.path.remove(str(folder))


@pytest.fixture(scope="session")
def pem(tmp_path_factory):
    """The folder of a mesh's certificates."""
    folder = tmp_path_factory.mktemp("certificates")
    subprocess.run([ECHO, "certificates", folder], check=True)
    return folder


@pytest.fixture(scope="session")
def port(pem):
    """Where rpc_echo serves."""
    with subprocess.Popen([ECHO, "serve", pem], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=die_with_tests) as server:
        yield int(server.stdout.readline())
        server.stdin.close()
        assert server.wait(SECONDS) == 0


def credentials(pem, certificate="client"):
    key, chain = ((pem / f"{certificate}.{end}").read_bytes() for end in ("key", "pem")) if certificate else (None, None)
    return grpc.ssl_channel_credentials((pem / "root.pem").read_bytes(), key, chain)


class Caller:
    """A stock client with generic stubs."""

    def __init__(self, port, note, creds, options=()):
        self.channel = grpc.secure_channel(f"localhost:{port}", creds, options)
        self.note = note
        codecs = {"request_serializer": note.SerializeToString, "response_deserializer": note.FromString}
        self.unary = lambda method: self.channel.unary_unary(f"/echo.Echo/{method}", **codecs)
        self.stream = lambda method: self.channel.stream_stream(f"/echo.Echo/{method}", **codecs)

    def say(self, **fields):
        return self.unary("Say")(self.note(**fields), timeout=SECONDS)


@pytest.fixture
def caller(port, note, pem):
    made = Caller(port, note, credentials(pem))
    yield made
    made.channel.close()


def notes(note, n, size=100):
    return [note(number=i, payload=bytes((i * 7 + k) % 256 for k in range(size))) for i in range(n)]


# ---- stock client, our server ----

def test_unary(caller):
    answer = caller.say(number=41, payload=b"x" * 60000, text="hello")
    assert (answer.number, answer.payload, answer.text) == (42, b"x" * 60000, "hello")


def test_identity_of_the_caller(caller):
    assert caller.say(text="who").text == f"murmesh://01{'0' * 30}/component/03{'0' * 30}"


def test_bidirectional(caller, note):
    sent = notes(note, 5000)
    answers = list(caller.stream("Chat")(iter(sent), timeout=SECONDS))
    assert [a.number for a in answers] == list(range(1, 5001))
    assert [a.payload for a in answers] == [s.payload for s in sent]


def test_bidirectional_large(caller, note):
    sent = notes(note, 100, 60000)
    answers = list(caller.stream("Chat")(iter(sent), timeout=SECONDS))
    assert [a.payload for a in answers] == [s.payload for s in sent]


def test_half_close(caller, note):
    """Answers come while the client still talks; its half-close brings the status."""
    more = threading.Event()

    def talk():
        yield note(number=1)
        assert more.wait(SECONDS)
        yield note(number=2)
    call = caller.stream("Chat")(talk(), timeout=SECONDS)
    assert next(call).number == 2
    more.set()
    assert [a.number for a in call] == [3]
    assert call.code() == grpc.StatusCode.OK


@pytest.mark.parametrize("method, code, details", [
    ("Unknown", grpc.StatusCode.UNIMPLEMENTED, "the other side does not know this function"),
    ("Fail", grpc.StatusCode.NOT_FOUND, "nichts: 100 % \xe4\n")])
def test_errors(caller, note, method, code, details):
    with pytest.raises(grpc.RpcError) as error:
        caller.unary(method)(note(text="nichts: 100 % \xe4\n"), timeout=SECONDS)
    assert error.value.code() == code
    assert error.value.details() == details
    assert dict(error.value.trailing_metadata())["murmesh-error"] == {"Unknown": "E1016", "Fail": "E1017"}[method]
    assert caller.say(number=1).number == 2


def test_message_too_long(caller, note):
    with pytest.raises(grpc.RpcError) as error:
        caller.say(payload=b"x" * 70000)
    assert error.value.details() == "the value is too long"
    assert caller.say(number=1).number == 2


def test_deadline_and_cancel(caller, note):
    with pytest.raises(grpc.RpcError) as error:
        caller.unary("Wait")(note(), timeout=0.2)
    assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    call = caller.stream("Chat")(iter(lambda: time.sleep(0.01) or note(), None), timeout=SECONDS)
    assert next(call).number == 1
    call.cancel()
    assert caller.say(number=1).number == 2


def test_many_clients_at_once(port, note, pem):
    def one(i):
        caller = Caller(port, note, credentials(pem), [("grpc.use_local_subchannel_pool", 1)])
        try:
            return caller.say(number=i, text=str(i))
        finally:
            caller.channel.close()
    with futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(one, range(40)))
    assert [(a.number, a.text) for a in answers] == [(i + 1, str(i)) for i in range(40)]


def test_no_client_certificate(port, note, pem):
    caller = Caller(port, note, credentials(pem, None))
    with pytest.raises(grpc.RpcError) as error:
        caller.say()
    assert error.value.code() == grpc.StatusCode.UNAVAILABLE
    caller.channel.close()


def test_idle_with_pings(port, note, pem):
    """Three quiet seconds in which both sides ping; the connection stays the same."""
    caller = Caller(port, note, credentials(pem), [
        ("grpc.keepalive_time_ms", 500), ("grpc.keepalive_timeout_ms", 2000), ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0), ("grpc.use_local_subchannel_pool", 1)])
    assert caller.say(number=1).number == 2
    states = []
    caller.channel.subscribe(states.append)
    time.sleep(3)
    assert caller.say(number=2).number == 3
    assert set(states) == {grpc.ChannelConnectivity.READY}
    caller.channel.close()


# ---- our client, stock server ----

@pytest.fixture(scope="session")
def stock_port(note, pem):
    def say(request, context):
        request.number += 1
        return request

    def chat(requests, context):
        for request in requests:
            request.number += 1
            yield request

    def fail(request, context):
        context.abort(grpc.StatusCode.NOT_FOUND, request.text)

    def wait(request, context):
        time.sleep(2)
        return request

    kinds = {"Say": (grpc.unary_unary_rpc_method_handler, say), "Chat": (grpc.stream_stream_rpc_method_handler, chat),
             "Fail": (grpc.unary_unary_rpc_method_handler, fail), "Wait": (grpc.unary_unary_rpc_method_handler, wait)}
    server = grpc.server(futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("echo.Echo", {
        name: kind(handler, request_deserializer=note.FromString, response_serializer=note.SerializeToString)
        for name, (kind, handler) in kinds.items()})])
    creds = grpc.ssl_server_credentials([((pem / "server.key").read_bytes(), (pem / "server.pem").read_bytes())],
                                        (pem / "trust.pem").read_bytes(), require_client_auth=True)
    bound = server.add_secure_port("127.0.0.1:0", creds)
    server.start()
    yield bound
    server.stop(None)


@pytest.fixture
def call(stock_port, pem):
    def run(method, n=1, size=10, text=""):
        done = subprocess.run([ECHO, "call", pem, str(stock_port), method, str(n), str(size), text], capture_output=True, text=True,
                              timeout=SECONDS, check=True, preexec_fn=die_with_tests)
        answers, error, why = done.stdout.removesuffix("\n").split(" ", 2)
        return int(answers), error, why
    return run


def test_stock_server_unary(call):
    assert call("Say", 200, 60000) == (200, "0", "")


def test_stock_server_bidirectional(call):
    assert call("Chat", 5000, 100) == (5000, "0", "")


def test_stock_server_bidirectional_large(call):
    assert call("Chat", 100, 60000) == (100, "0", "")


def test_stock_server_half_close_only(call):
    assert call("Chat", 0) == (0, "0", "")


def test_stock_server_errors(call):
    assert call("Fail", text="nichts: 100 % \xe4") == (0, "E1017", "nichts: 100 % \xe4")
    assert call("Unknown") == (0, "E1016", "Method not found!")


def test_stock_server_deadline(call):
    assert call("Wait") == (0, "E1014", "")
