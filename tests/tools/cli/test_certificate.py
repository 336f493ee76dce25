"""The maker of certificates: its encodings, its arithmetic, and what OpenSSL says of the result."""
import os
import stat

import pytest

from icey.tools.cli import certificate
from icey.tools.cli.certificate import CLIENT_AUTH, Certificate


@pytest.mark.parametrize("seconds, form", [
    (0, b"\x17\x0d700101000000Z"), (2524607999, b"\x17\x0d491231235959Z"), (2524608000, b"\x18\x0f20500101000000Z")])
def test_a_time_has_its_form(seconds, form):
    assert certificate.moment(seconds) == form


@pytest.mark.parametrize("number, form", [
    (0, "020100"), (127, "02017f"), (128, "02020080"), (255, "020200ff"), (256, "02020100")])
def test_an_integer_has_its_form(number, form):
    assert certificate.integer(number).hex() == form


@pytest.mark.parametrize("size, head", [(0, "0400"), (127, "047f"), (128, "048180"), (255, "0481ff"), (256, "04820100"),
                                        (65535, "0482ffff"), (65536, "0483010000")])
def test_a_length_has_its_form(size, head):
    assert certificate.der(4, bytes(size)).hex() == head + "00" * size


@pytest.mark.parametrize("number, x, y", [  # NIST's examples of the curve
    (1, "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296",
     "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"),
    (2, "7cf27b188d034f7e8a52380304b51ac3c08969e277f21b35a60b48fc47669978",
     "07775510db8ed040293d9ac69f7430dbba7dade63ce982299e04b79d227873d1"),
    (3, "5ecbe4d1a6330a44c8f7ef951d4bf165e6c6b721efada985fb41661bc6e7fd6c",
     "8734640c4998ff7e374b06ce1a64a2ecd82ab036384fb83d9a79b127a27d5032"),
    (112233445566778899, "339150844ec15234807fe862a86be77977dbfb3ae3d96f4c22795513aeaab82f",
     "b1c14ddfdc8ec1b2583f51e85a5eb3a155840f2034730e9b5ada38b674336a21"),
    (112233445566778899112233445566778899, "1b7e046a076cc25e6d7fa5003f6729f665cc3241b5adab12b498cd32f2803264",
     "bfea79be2b666b073db69a2a241adab0738fe9d2dd28b5604eb8c8cf097c457b"),
    (0xc9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721,  # RFC 6979 appendix A.2.5
     "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6",
     "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299"),
])
def test_multiples_of_the_generator_are_the_known_ones(number, x, y):
    assert certificate.times(number) == (int(x, 16), int(y, 16))


@pytest.mark.parametrize("message, once, r, s", [  # RFC 6979 appendix A.2.5, with SHA-256
    (b"sample", 0xa6e3c57dd01abe90086538398355dd4c3b17aa873382b0f24d6129493d8aad60,
     "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716",
     "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"),
    (b"test", 0xd16b6ae827f17175e040871a1c7ec3500192c4c92677336ec2537acaee0008e0,
     "f1abb023518351cd71d881567b1ea663ed3efcf6c5132b354f28d3b0b7d38367",
     "019f4113742a2b14bd25926b49c649155f267e60d3814b4c0cc84250e46f0083"),
])
def test_signatures_are_the_known_ones(monkeypatch, message, once, r, s):
    monkeypatch.setattr(certificate, "secret", lambda: 0xc9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721)
    key = certificate.Key()
    monkeypatch.setattr(certificate, "secret", lambda: once)
    assert key.sign(message) == certificate.sequence(certificate.integer(int(r, 16)), certificate.integer(int(s, 16)))


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


# used

def shaken(cert, key, host):
    """Two ends that shook hands, the client trusting `cert` alone, and strictly."""
    import ssl
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    server.load_cert_chain(cert, key)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    client.load_verify_locations(cert)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(to_client, to_server, server_hostname=host),
            server.wrap_bio(to_server, to_client, server_side=True)]
    for _ in range(3):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                pass
    return ends


HOSTS = ["name.test", "other.test", "127.0.0.1", "::1", "2001:db8::7"]


@pytest.mark.needs("ssl")
@pytest.mark.parametrize("host", HOSTS)
def test_self_signed_is_good_for_its_hosts_by_strict_rules(tmp_path, host):
    client, server = shaken(*certificate.self_signed_files(str(tmp_path), HOSTS), host)
    client.write(b"hello")
    assert server.read(5) == b"hello"
    found = client.getpeercert()
    assert found["subject"] == found["issuer"] == ((("commonName", "name.test"),),)
    assert [name for _, name in found["subjectAltName"]][:3] == HOSTS[:3] and len(found["subjectAltName"]) == len(HOSTS)


@pytest.mark.needs("ssl")
@pytest.mark.parametrize("host, why", [("third.test", "Hostname mismatch"), ("127.0.0.2", "IP address mismatch"),
                                       ("::2", "IP address mismatch"), ("a.name.test", "Hostname mismatch")])
def test_self_signed_is_good_for_no_other(tmp_path, host, why):
    import ssl
    with pytest.raises(ssl.SSLCertVerificationError, match=why):
        shaken(*certificate.self_signed_files(str(tmp_path), HOSTS), host)


@pytest.mark.needs("ssl")
def test_self_signed_ends_with_its_days(tmp_path):
    import ssl
    import time
    cert, key = certificate.self_signed_files(str(tmp_path), ["name.test"], days=2.5)
    found = shaken(cert, key, "name.test")[0].getpeercert()
    assert abs(ssl.cert_time_to_seconds(found["notAfter"]) - time.time() - 2.5 * 86400) < 60
    assert ssl.cert_time_to_seconds(found["notBefore"]) < time.time()
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate has expired"):
        shaken(*certificate.self_signed_files(str(tmp_path), ["name.test"], days=-0.5), "name.test")


@pytest.mark.needs("ssl")
def test_self_signed_texts_and_files_are_the_same_kind(tmp_path):
    import ssl
    cert, key = certificate.self_signed(["name.test"])
    assert cert.startswith("-----BEGIN CERTIFICATE-----\n") and key.startswith("-----BEGIN PRIVATE KEY-----\n")
    (tmp_path / "both.pem").write_text(key + cert)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(str(tmp_path / "both.pem"))
    others, key_of_others = certificate.self_signed(["name.test"])
    (tmp_path / "mixed.pem").write_text(key_of_others + cert)
    with pytest.raises(ssl.SSLError, match="(?i)mismatch"):
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(str(tmp_path / "mixed.pem"))
