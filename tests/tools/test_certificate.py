"""The maker of certificates: its encodings, its arithmetic, and what OpenSSL says of the result."""
import os
import stat

import pytest

from icey.tools import certificate
from icey.tools.certificate import CLIENT_AUTH, Certificate


@pytest.mark.parametrize("seconds, form", [
    (0, b"\x17\x0d700101000000Z"), (2524607999, b"\x17\x0d491231235959Z"), (2524608000, b"\x18\x0f20500101000000Z")])
def test_a_time_has_its_form(seconds, form):
    assert certificate.moment(seconds) == form


@pytest.mark.parametrize("number, form", [
    (0, "020100"), (127, "02017f"), (128, "02020080"), (255, "020200ff"), (256, "02020100")])
def test_an_integer_has_its_form(number, form):
    assert certificate.integer(number).hex() == form


@pytest.mark.parametrize("size, head", [(0, "0400"), (127, "047f"), (128, "048180"), (255, "0481ff"), (256, "04820100")])
def test_a_length_has_its_form(size, head):
    assert certificate.der(4, bytes(size)).hex() == head + "00" * size


def test_points_add_up():
    one, two, three = map(certificate.times, (1, 2, 3))
    assert one == certificate.G
    assert certificate.add(one, two) == certificate.add(two, one) == three
    assert certificate.times(certificate.N - 1) == (one[0], certificate.P - one[1])
    assert certificate.add(certificate.times(certificate.N - 1), one) is None


def test_long_identifiers_have_their_form():
    assert certificate.oid("1.2.840.10045.4.3.2").hex() == "06082a8648ce3d040302"
    assert certificate.oid("2.5.29.17").hex() == "0603551d11"


@pytest.mark.parametrize("host, form", [
    ("name.test", "8209" + b"name.test".hex()), ("127.0.0.1", "87047f000001"), ("::1", "8710" + "00" * 15 + "01")])
def test_a_host_is_a_name_or_an_address(host, form):
    assert certificate.alternative(host).hex() == form


def test_every_key_and_number_is_another():
    one, two = Certificate("one"), Certificate("two")
    assert one.key.secret != two.key.secret
    assert one.der != Certificate("one", issuer=two).der
    assert 0 < one.key.secret < certificate.N


def test_a_text_is_pem():
    lines = Certificate("x").pem().splitlines()
    assert (lines[0], lines[-1]) == ("-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----")
    assert max(map(len, lines)) == 64


@pytest.mark.needs("ssl")
def test_openssl_reads_what_was_written(tmp_path):
    import ssl
    cert, key = certificate.self_signed_files(str(tmp_path), iter(["name.test", "::1"]), days=7)
    if os.name == "posix":
        assert [stat.S_IMODE(os.stat(path).st_mode) for path in (cert, key)] == [0o600, 0o600]
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key)  # the key belongs to it
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cert)
    assert context.cert_store_stats()["x509"] == 1


@pytest.mark.needs("ssl")
def test_an_authority_is_one():
    import ssl
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ca = Certificate("an authority", ca=True, days=(-10, 10))
    context.load_verify_locations(cadata=ca.pem())
    known, = context.get_ca_certs()
    assert known["subject"] == known["issuer"] == ((("commonName", "an authority"),),)
    seconds = ssl.cert_time_to_seconds(known["notAfter"]) - ssl.cert_time_to_seconds(known["notBefore"])
    assert abs(seconds - 20 * 86400) <= 1
    context.load_verify_locations(cadata=Certificate("a client", issuer=ca, usage=CLIENT_AUTH).pem())
    assert len(context.get_ca_certs()) == 1
