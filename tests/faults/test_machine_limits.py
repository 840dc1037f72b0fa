"""What a machine that has its certificate, or a user, can still not have from the server."""
import grpc
import pytest

from wire import Device, Key, Peer, User, enrol, fleet, refusal

CERTIFICATES_PER_DAY = 24  # src/server/core_enrol.c


@pytest.fixture
def rogue(mesh, tmp_path):
    return Device(mesh, tmp_path, "limited")


def test_certificates_have_a_limit(rogue):
    rogue.enrol()
    request = enrol.RenewRequest(csr=rogue.key.request())
    for _ in range(CERTIFICATES_PER_DAY - 1):
        assert rogue.peer.unary("CertificationManager/RenewCertificate", request, enrol.CertificateReply).leaf
    code, name = refusal(lambda: rogue.peer.unary("CertificationManager/RenewCertificate", request, enrol.CertificateReply))
    assert (code, name) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "E1020")


def test_the_management_part_keeps_its_key(rogue, tmp_path):
    """The net role knows the join key too; taken over later, it must not become the management part."""
    token = rogue.token()
    code, _ = refusal(lambda: rogue.certify(rogue.request(token, kind=enrol.MANAGER)))
    assert code == grpc.StatusCode.PERMISSION_DENIED  # the machine comes first
    node = rogue.certify(rogue.request(token))
    own, other = Key(tmp_path, "own"), Key(tmp_path, "other")
    first = rogue.certify(rogue.request(token, kind=enrol.MANAGER, csr=own.request()))
    again = rogue.certify(rogue.request(token, kind=enrol.MANAGER, csr=own.request()))  # the first answer was lost
    assert first.device_id == again.device_id == node.device_id
    code, _ = refusal(lambda: rogue.certify(rogue.request(token, kind=enrol.MANAGER, csr=other.request())))
    assert code == grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize("kind", [enrol.USER, enrol.COMPONENT, 4, 2**31 - 1])
def test_no_other_kind_is_enrolled(rogue, kind):
    message = rogue.request(rogue.token())
    message.kind = kind
    assert refusal(lambda: rogue.certify(message))[0] == grpc.StatusCode.PERMISSION_DENIED


def test_a_manager_is_no_peer(mesh, rogue, tmp_path):
    token, own = rogue.token(), Key(tmp_path, "own")
    rogue.certify(rogue.request(token))
    manager = rogue.certify(rogue.request(token, kind=enrol.MANAGER, csr=own.request()))
    with Peer(f"localhost:{mesh.port}", own, manager) as peer:
        assert refusal(lambda: peer.unary("Fleet/NewKey", fleet.KeyRequest(), fleet.JoinKey))[0] == grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("rights", [4, 7, 2**32 - 1])
def test_unknown_rights_are_not_signed(mesh, tmp_path, rights):
    user = User(mesh, tmp_path)
    code, _ = refusal(lambda: user.tunnel(user.device("web02"), ":80", rights=rights))
    assert code == grpc.StatusCode.UNIMPLEMENTED
