"""Basic and Digest: challenges read, answers made (the RFCs' own examples), refused ones given up, and the server's side."""
import hashlib
import random
import re
import time

import pytest

from icey.http import BasicAuth, DigestAuth, DigestVerifier, Headers
from icey.http.semantics import auth as auth_module, digest as digest_module
from icey.http.semantics.auth import MOST_ANSWERS, MOST_NONCES, MOST_ORIGINS, WINDOW, parse_challenges
from icey.http.semantics.message import Request
from tests.support import seeds

URL = "http://a.example/b?c"
NOW = 1_800_000_000


def fields(header):
    """The parameters of a Digest value."""
    (scheme, params), = parse_challenges([header])
    assert scheme == "digest"
    return params


def asked(target="/b?c", method="GET", **headers):
    return Request(method, target, "1.1", dict({"host": "a.example"}, **headers))


# -- lists of challenges

@pytest.mark.parametrize("value, challenges", [
    ("", []), (" , ,", []),
    ("Basic", [("basic", {})]), ("Basic ", [("basic", {})]), ("NEGOTIATE,basic", [("negotiate", {}), ("basic", {})]),
    ('Basic realm="a"', [("basic", {"realm": "a"})]),
    ("Basic realm=a", [("basic", {"realm": "a"})]),
    ('basic REALM = "a"', [("basic", {"realm": "a"})]),
    ('Basic realm\t=\t"a"\t', [("basic", {"realm": "a"})]),
    ('Basic realm="a", charset="UTF-8"', [("basic", {"realm": "a", "charset": "UTF-8"})]),
    (',Basic , realm="a",,charset=x,', [("basic", {"realm": "a", "charset": "x"})]),
    ('Basic realm=""', [("basic", {"realm": ""})]),
    ('Basic realm="a, Digest b=\\"c\\\\"', [("basic", {"realm": 'a, Digest b="c\\'})]),
    ('Basic realm="\\a\\\xe9\xe9\t"', [("basic", {"realm": "a\xe9\xe9\t"})]),
    ("Negotiate abc+/==", [("negotiate", "abc+/==")]), ("Bearer a.b_c~-", [("bearer", "a.b_c~-")]),
    ("X realm", [("x", "realm")]),
    ("X a=", [("x", "a=")]), ("X a==, Y b", [("x", "a=="), ("y", "b")]),
    ('Newauth realm="apps", type=1, title="Login to \\"apps\\"", Basic realm="simple"',  # RFC 9110 section 11.6.1
     [("newauth", {"realm": "apps", "type": "1", "title": 'Login to "apps"'}), ("basic", {"realm": "simple"})]),
    ('Basic realm="a",Digest realm="b",nonce="c"', [("basic", {"realm": "a"}), ("digest", {"realm": "b", "nonce": "c"})]),
    ('Digest realm="b" , nonce="c" , Negotiate', [("digest", {"realm": "b", "nonce": "c"}), ("negotiate", {})]),
    ('Negotiate, Basic realm="a"', [("negotiate", {}), ("basic", {"realm": "a"})]),
    ('Negotiate x, Basic realm="a"', [("negotiate", "x"), ("basic", {"realm": "a"})]),
    ('Basic realm="a", realm="b", x=y, Digest nonce=c', [("digest", {"nonce": "c"})]),
    ('Basic realm="a", REALM="a"', []), ('Basic a=1, a=2, a=3, Digest b=1', [("digest", {"b": "1"})]),
    # malformed: what came before stays
    ('Basic realm="a', []), ('Basic realm=', [("basic", "realm=")]), ('Basic realm=, a=b', [("basic", "realm=")]),
    ('Basic realm="a" x', []),
    ('Basic realm="a"x', []), ('Basic realm=a b', []), ('Basic realm="a"; b=c', []), ('X y, Basic realm="a', [("x", "y")]),
    ('Basic realm="a", Digest nonce=<>', [("basic", {"realm": "a"})]), ('Digest a="b", =c', []), ('="a"', []), ('"a"', []),
    ("Basic\trealm=a", []),
    ("Basic Digest realm=a", []), ('Digest nonce="\x00"', []), ('Digest nonce="a\\', []), ("a=b", []), ("@", []),
    ("Basic \u20ac", []),
    ('Digest nonce="\u20ac"', []), ("X y z", []), ("X y, Basic a b", [("x", "y")]),
    ('Digest realm="a", nonce=/x, qop="auth"', []),
])
def test_parse_challenges(value, challenges):
    assert parse_challenges([value]) == challenges


def test_challenges_of_several_fields():
    assert parse_challenges(["Basic realm=a", "@", 'Digest nonce="b"']) == [("basic", {"realm": "a"}),
    ("digest", {"nonce": "b"})]
    assert parse_challenges([]) == []


def test_any_text_is_read_without_an_error():
    seed = seeds.seed()
    rng = random.Random(seed)
    pieces = ["Basic", "Digest", " ", ",", "=", '"', "\\", "a", "realm", "nonce", "\t", "\xe9", "==", "/", "\r", ";"]
    for _ in range(3000):
        text = "".join(rng.choice(pieces) for _ in range(rng.randrange(12)))
        for scheme, params in parse_challenges([text]):
            assert scheme == scheme.lower() and re.fullmatch("[a-z=]+", scheme), (seed, text)
            assert isinstance(params, (str, dict)), (seed, text)
    for text in ("," * 60000, "a," * 30000, "X " + "a=b," * 15000, 'X a="' + "\\" * 60000, "X " * 30000, "a" * 60000 + "="):
        parse_challenges([text])


# -- Basic

@pytest.mark.parametrize("user, password, value", [
    ("Aladdin", "open sesame", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),  # RFC 7617 section 2
    ("test", "123\xa3", "Basic dGVzdDoxMjPCow=="),  # section 2.1
    ("", "", "Basic Og=="), ("u", "p:q", "Basic dTpwOnE="), ("\u20ac", "", "Basic 4oKsOg=="), ("u", "\udcff", "Basic dTr/"),
])
def test_basic(user, password, value):
    auth = BasicAuth(user, password)
    assert auth.first("GET", URL) == value == auth.first("POST", "http://proxy:3128/", uri=URL)
    assert auth.answer(['Basic realm="a"'], "GET", URL, b"") is None  # they were sent, and refused
    if "\udcff" not in password:
        assert BasicAuth.credentials(value) == (user, password)


def test_a_long_password_is_one_line():
    value = BasicAuth("u", "x" * 500).first("GET", URL)
    assert "\n" not in value and BasicAuth.credentials(value) == ("u", "x" * 500)
    assert Headers([("Authorization", value)])["authorization"] == value


def test_basic_takes_no_colon_in_a_user_name():
    with pytest.raises(ValueError, match="colon") as caught:
        BasicAuth("se:cret", "hidden")
    assert "se:cret" not in str(caught.value) and "hidden" not in str(caught.value)


@pytest.mark.parametrize("make", [BasicAuth, DigestAuth])
def test_credentials_are_checked_and_never_shown(make):
    for user, password in (("secret\n", "b"), ("a", "secret\r\nX: y"), ("secret\x00", "b"), ("a", "secret\x7f")):
        with pytest.raises(ValueError, match="control") as caught:
            make(user, password)
        assert "secret" not in str(caught.value)
    for user, password in ((b"secret", "b"), ("secret", None), (5, "secret")):
        with pytest.raises(TypeError) as caught:
            make(user, password)
        assert "secret" not in str(caught.value)
    auth = make("secret", "hidden")
    auth.first("GET", URL)
    auth.answer(['Digest realm="a", nonce="b"'], "GET", URL, b"")
    assert "secret" not in repr(auth) and "hidden" not in repr(auth) and not hasattr(auth, "__dict__")


@pytest.mark.parametrize("value, credentials", [
    (None, None), ("", None), ("Basic", None), ("Basic ", None), ("Basic Og==", ("", "")), ("bASIC   dTpw", ("u", "p")),
    ("Basic dTpwOnE=", ("u", "p:q")),
    ("Basic dTpwOnE", None), ("Basic dTp", None), ("Basic dT pw", None), ("Basic dTpw ", None), (" Basic dTpw", None),
    ("Basic\tdTpw", None),
    ("Basic dTpw=", None), ("Basic dTpw====", None), ("Basic d=pw", None), ("Basic dTp_", None), ("Basic dTp-", None),
    ("Basic dTpw\n", None),
    ("Basic dQ==", None),  # no colon
    ("Basic dToK", None), ("Basic dTp/", None), ("Basic AGE6Yg==", None),  # u:LF, u:DEL, NUL
    ("Basic 6Tpw", None), ("Basic dTr/", None),  # no UTF-8
    ("Digest dTpw", None), ("Basicx dTpw", None), ('Basic realm="a"', None), ("Basic dTpw, Basic dTpw", None),
    ("Basic \u0661\u0661\u0661\u0661", None),
])
def test_credentials_of_a_basic_request(value, credentials):
    assert BasicAuth.credentials(value) == credentials


def test_asking_for_basic():
    assert BasicAuth.challenge('My "own"\\') == 'Basic realm="My \\"own\\"\\\\", charset="UTF-8"'
    assert parse_challenges([BasicAuth.challenge('My "own"\\')]) == [("basic", {"realm": 'My "own"\\', "charset": "UTF-8"})]
    for realm in ("a\r\nb", "\xe9", "\x00"):
        with pytest.raises(ValueError, match="realm"):
            BasicAuth.challenge(realm)


# -- Digest: the examples of the RFCs

MUFASA = ('Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=%s,'
          ' nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",'
          ' opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"')
MUFASA_CNONCE = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
JASON = ('Digest realm="api@example.org", qop="auth", algorithm=SHA-512-256,'
         ' nonce="5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK",'
         ' opaque="HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS", charset=UTF-8%s')
JASON_CNONCE = "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v"


def has_sha_512_256():
    try:
        hashlib.new("sha512_256")
    except ValueError:
        return False
    return True


needs_sha_512_256 = pytest.mark.skipif(not has_sha_512_256(), reason="this Python has no SHA-512-256")


@pytest.mark.parametrize("algorithm, response", [  # RFC 7616 section 3.9.1
    ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
    ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
])
def test_digest_of_the_rfc(algorithm, response):
    auth = DigestAuth("Mufasa", "Circle of Life", cnonce=lambda: MUFASA_CNONCE)
    assert auth.answer([MUFASA % algorithm], "GET", "http://www.example.org/dir/index.html", None) == (
        'Digest username="Mufasa", realm="http-auth@example.org", nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",'
        ' uri="/dir/index.html", response="%s", algorithm=%s, opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS",'
        ' qop=auth, nc=00000001,'
        ' cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"' % (response, algorithm))


@needs_sha_512_256
@pytest.mark.parametrize("hashed, user", [  # section 3.9.2, as mended by erratum 4897
    (", userhash=true", 'username="793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b"'),
    (", userhash=false", "username*=UTF-8''J%C3%A4s%C3%B8n%20Doe"),
    ("", "username*=UTF-8''J%C3%A4s%C3%B8n%20Doe"),
])
def test_digest_of_the_rfc_with_a_hashed_user_name(hashed, user):
    auth = DigestAuth("J\xe4s\xf8n Doe", "Secret, or not?", cnonce=lambda: JASON_CNONCE)
    value = auth.answer([JASON % hashed], "GET", "http://api.example.org/doe.json", None)
    assert value.startswith("Digest " + user + ", ") and value.endswith(", userhash=true") is (hashed == ", userhash=true")
    assert fields(value)["response"] == "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5"


def test_digest_of_the_rfc_before():
    auth = DigestAuth("Mufasa", "Circle Of Life", cnonce=lambda: "0a4f113b")  # RFC 2617 section 3.5
    value = auth.answer(['Digest realm="testrealm@host.com", qop="auth,auth-int", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093",'
                         ' opaque="5ccc069c403ebaf9f0171e9517f40e41"'], "GET", "http://www.nowhere.org/dir/index.html", None)
    assert fields(value)["response"] == "6629fae49393a05397450978507c4ef1" and "algorithm" not in value


def test_digest_of_the_first_rfc():
    """RFC 2069 section 2.4 as its erratum has it: no qop, so neither count nor client nonce."""
    auth = DigestAuth("Mufasa", "CircleOfLife")
    value = auth.answer(['Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093",'
                         ' opaque="5ccc069c403ebaf9f0171e9517f40e41"'], "GET", "http://www.nowhere.org/dir/index.html", None)
    assert value == ('Digest username="Mufasa", realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093",'
                     ' uri="/dir/index.html", response="1949323746fe6a43ef61f9606e7febea",'
                     ' opaque="5ccc069c403ebaf9f0171e9517f40e41"')


# -- Digest: everything else that is computed

def expected(params, user, password, method, body=b""):
    """RFC 7616 section 3.4 once more, in another way."""
    name = params.get("algorithm", "MD5").replace("-sess", "").replace("SHA-512-256", "SHA512_256").replace("-", "").lower()

    def digest(*parts):
        return hashlib.new(name, ":".join(parts).encode("latin-1")).hexdigest()

    one = hashlib.new(name,
    ("%s:" % user).encode() + params["realm"].encode("latin-1") + (":%s" % password).encode()).hexdigest()
    if params.get("algorithm", "").endswith("-sess"):
        one = digest(one, params["nonce"], params["cnonce"])
    two = [method, params["uri"]]
    if params.get("qop") == "auth-int":
        two.append(hashlib.new(name, body).hexdigest())
    middle = [params["nonce"]]
    if "qop" in params:
        middle += [params["nc"], params["cnonce"], params["qop"]]
    return digest(one, *middle, digest(*two))


@pytest.mark.parametrize("challenge, qop", [
    ('realm="r", nonce="n"', None),
    ('realm="r", nonce="n", algorithm=MD5', None),
    ('realm="r", nonce="n", qop=""', None),
    ('realm="r", nonce="n", algorithm=md5, qop="auth"', "auth"),
    ('realm="r", nonce="n", algorithm="SHA-256", qop=auth', "auth"),
    ('realm="r", nonce="n", algorithm=SHA-256-sess, qop="auth"', "auth"),
    ('realm="r", nonce="n", algorithm=md5-SESS, qop="auth"', "auth"),
    ('realm="r", nonce="n", algorithm=MD5-sess', None),
    ('realm="r", nonce="n", algorithm=SHA-256, qop="auth-int"', "auth-int"),
    ('realm="r", nonce="n", algorithm=SHA-256-sess, qop="auth-int"', "auth-int"),
    ('realm="r", nonce="n", qop="auth-int,auth"', "auth"),
    ('realm="r", nonce="n", qop="x , AUTH"', "auth"),
    ('realm="\xe9\\"\\\\", nonce="a\\"b", opaque="", qop="auth"', "auth"),
    pytest.param('realm="r", nonce="n", algorithm=SHA-512-256, qop="auth"', "auth", marks=needs_sha_512_256),
    pytest.param('realm="r", nonce="n", algorithm=SHA-512-256-sess, qop="auth-int"', "auth-int", marks=needs_sha_512_256),
])
@pytest.mark.parametrize("user, password", [("u", "p"), ('q"\\', "\u20ac"), ("a:b c", "\xe9")])
def test_responses(challenge, qop, user, password):
    for method, body in (("GET", None), ("POST", b"body"), ("PUT", bytearray(b"body")), ("M-SEARCH", memoryview(b""))):
        auth = DigestAuth(user, password)
        value = auth.answer(["Digest " + challenge], method, URL, body)
        assert Headers([("Authorization", value)])["authorization"] == value
        params = fields(value)
        assert params["response"] == expected(params, user, password, method, bytes(body or b""))
        assert params["username"] == user and params["uri"] == "/b?c" and params.get("qop") == qop
        (_, given), = parse_challenges(["Digest " + challenge])
        assert [params.get(name) for name in ("realm", "nonce", "opaque")] == [
            given.get(name) for name in ("realm", "nonce", "opaque")]
        assert ("algorithm" in params) is ("algorithm" in given) and ("nc" in params) is (qop is not None)
        assert ("cnonce" in params) is (qop is not None or "sess" in challenge)


@pytest.mark.parametrize("values, algorithm", [
    (['Digest realm="r", nonce="n", algorithm=MD5', 'Digest realm="r", nonce="n", algorithm=SHA-256'], "SHA-256"),
    (['Digest realm="r", nonce="n", algorithm=SHA-256, Digest realm="r", nonce="n", algorithm=MD5'], "SHA-256"),
    (['Digest realm="r", nonce="n", algorithm=SHA-256-sess', 'Digest realm="r", nonce="n", algorithm=SHA-256'], "SHA-256-sess"),
    (['Digest realm="r", nonce="n", algorithm=SHA-1', 'Basic realm="r"', 'Digest realm="r", nonce="n", algorithm=MD5'], "MD5"),
    (['Digest realm="r", nonce="n", algorithm=SHA-256, qop="auth-conf"', 'Digest realm="r", nonce="n", algorithm=MD5'], "MD5"),
    pytest.param(['Digest realm="r", nonce="n", algorithm=SHA-256', 'Digest realm="r", nonce="n", algorithm=SHA-512-256'],
    "SHA-512-256",
                 marks=needs_sha_512_256),
])
def test_the_strongest_is_taken(values, algorithm):
    assert fields(DigestAuth("u", "p").answer(values, "GET", URL, None))["algorithm"] == algorithm


@pytest.mark.parametrize("value", [
    'Basic realm="r"', 'Digest realm="r"', 'Digest nonce="n"', "Digest", "Digest abc",
    'Digest realm="r", nonce="n", algorithm=SHA-1',
    'Digest realm="r", nonce="n", algorithm=', 'Digest realm="r", nonce="n", qop="auth-conf"',
    'Digest realm="r", nonce="n", qop="auth-conf,"',
    'Digest realm="r", nonce="n", nonce="m"', 'Digest realm="r", nonce="n', "",
    'Digest realm="r", nonce="n", algorithm=MD5-sess-sess',
])
def test_what_cannot_be_met(value):
    auth = DigestAuth("u", "p")
    assert auth.answer([value], "GET", URL, None) is None and auth.first("GET", URL) is None


def test_a_body_that_is_no_bytes_cannot_be_covered():
    auth = DigestAuth("u", "p")
    assert auth.answer(['Digest realm="r", nonce="n", qop="auth-int"'], "PUT", URL, iter([b"a"])) is None
    assert fields(auth.answer(['Digest realm="r", nonce="n", qop="auth-int, auth"'], "PUT", URL, iter([b"a"])))["qop"] == "auth"


def test_a_hash_that_is_missing_is_as_if_not_offered(monkeypatch):
    def new(name, data=b"", **options):
        if name == "md5":
            raise ValueError("disabled for FIPS")
        if options:
            raise TypeError("sha256() takes no keyword arguments")  # Python 3.8 without OpenSSL
        return hashlib.sha256(data)
    auth = DigestAuth("u", "p")
    with monkeypatch.context() as patch:
        patch.setattr(hashlib, "new", new)
        assert auth.answer(['Digest realm="r", nonce="n"'], "GET", URL, None) is None
        value = auth.answer(['Digest realm="r", nonce="n"', 'Digest realm="r", nonce="n", algorithm=SHA-256'], "GET", URL, None)
        with pytest.raises(ValueError, match="MD5"):
            DigestVerifier("r", {}.get, algorithm="MD5")
    assert fields(value)["response"] == expected(fields(value), "u", "p", "GET")


# -- Digest: first, answer, and when to give up

ONE = 'Digest realm="r", nonce="one", qop="auth", algorithm=SHA-256'
TWO = ONE.replace("one", "two")
STALE = TWO + ", stale=TRUE"


def test_after_a_challenge_the_nonce_is_sent_unasked_and_counted():
    auth = DigestAuth("u", "p")
    assert auth.first("GET", URL) is None
    answered = fields(auth.answer([ONE], "GET", URL, None))
    again = fields(auth.first("POST", "http://A.example:80/other"))
    third = fields(auth.first("GET", URL))
    assert [params["nc"] for params in (answered, again, third)] == ["00000001", "00000002", "00000003"]
    assert again["cnonce"] == answered["cnonce"] and again["nonce"] == "one" and again["uri"] == "/other"
    assert again["response"] == expected(again, "u", "p", "POST") != answered["response"]


@pytest.mark.parametrize("other", ["https://a.example/b", "http://a.example:81/b", "http://b.example/b"])
def test_a_nonce_stays_with_its_origin(other):
    auth = DigestAuth("u", "p")
    auth.answer([ONE], "GET", URL, None)
    assert auth.first("GET", other) is None
    assert fields(auth.answer([TWO], "GET", other, None))["nc"] == "00000001"
    assert fields(auth.first("GET", URL))["nonce"] == "one" and fields(auth.first("GET", other))["nonce"] == "two"


def test_the_wrong_password_is_tried_once():
    for again in (ONE, TWO):  # servers that keep their nonce, and such that make a new one for every refusal
        auth = DigestAuth("u", "wrong")
        assert auth.first("GET", URL) is None
        assert auth.answer([ONE], "GET", URL, None)
        assert auth.answer([again], "GET", URL, None) is None


def test_without_first_too():
    auth = DigestAuth("u", "wrong")
    assert auth.answer([ONE], "GET", URL, None)
    assert auth.answer([ONE], "GET", URL, None) is None
    assert fields(auth.answer([STALE], "GET", URL, None))["nonce"] == "two"
    assert auth.answer([TWO], "GET", URL, None) is None


def test_a_stale_nonce_is_renewed():
    auth = DigestAuth("u", "p")
    auth.first("GET", URL)
    auth.answer([ONE], "GET", URL, None)
    assert fields(auth.first("GET", URL))["nonce"] == "one"
    renewed = fields(auth.answer([STALE], "GET", URL, None))
    assert (renewed["nonce"], renewed["nc"]) == ("two", "00000001")
    assert auth.answer([TWO], "GET", URL, None) is None
    assert fields(auth.first("GET", URL))["nc"] == "00000002"


def test_a_nonce_that_went_stale_without_a_word():
    auth = DigestAuth("u", "p")
    auth.first("GET", URL)
    auth.answer([ONE], "GET", URL, None)
    auth.first("GET", URL)
    assert auth.answer([ONE], "GET", URL, None) is None  # it is not the nonce that was refused
    assert fields(auth.answer([TWO], "GET", URL, None))["nonce"] == "two"
    assert auth.answer([ONE], "GET", URL, None) is None


@pytest.mark.parametrize("second", [ONE, TWO])
def test_requests_begun_together_are_each_answered(second):
    auth = DigestAuth("u", "p")
    for _ in range(3):
        assert auth.first("GET", URL) is None
    values = [fields(auth.answer([challenge], "GET", URL, None)) for challenge in (ONE, second, second)]
    used = [(params["nonce"], params["nc"]) for params in values]
    assert len(set(used)) == 3 and used[0] == ("one", "00000001")  # a count is never used twice
    assert auth.answer([second], "GET", URL, None) is None


def test_a_server_that_calls_all_stale_is_not_answered_for_ever():
    auth = DigestAuth("u", "p")
    auth.first("GET", URL)
    answers = [auth.answer([STALE.replace("two", str(number))], "GET", URL, None) for number in range(MOST_ANSWERS + 5)]
    assert [value is not None for value in answers] == [True] * MOST_ANSWERS + [False] * 5
    assert auth.first("GET", URL) and auth.answer([STALE], "GET", URL, None)


def test_a_body_to_be_covered_waits_for_its_challenge():
    auth = DigestAuth("u", "p")
    challenge = 'Digest realm="r", nonce="one", qop="auth-int"'
    for body in (b"a", b"b"):
        assert auth.first("PUT", URL) is None
        params = fields(auth.answer([challenge], "PUT", URL, body))
        assert params["response"] == expected(params, "u", "p", "PUT", body)
    assert params["nc"] == "00000002"


def test_a_proxy_is_told_the_target_that_it_sees():
    auth = DigestAuth("u", "p")
    proxy = "http://proxy.example:3128"
    assert auth.first("CONNECT", proxy, uri="a.example:443") is None
    assert fields(auth.answer([ONE], "CONNECT", proxy, None, uri="a.example:443"))["uri"] == "a.example:443"
    assert fields(auth.first("GET", proxy, uri="http://a.example/b"))["uri"] == "http://a.example/b"
    assert fields(auth.first("CONNECT", proxy))["uri"] == "proxy.example:3128"
    assert fields(DigestAuth("u", "p").answer([ONE], "CONNECT", "https://[::1]", None))["uri"] == "[::1]:443"


def test_so_many_origins_are_remembered():
    auth = DigestAuth("u", "p")
    for number in range(MOST_ORIGINS + 1):
        assert auth.answer([ONE], "GET", "http://h%d.example/" % number, None)
    assert auth.first("GET", "http://h1.example/") and auth.first("GET", "http://h%d.example/" % MOST_ORIGINS)
    assert auth.first("GET", "http://h0.example/") is None


def test_client_nonces_are_random():
    made = {fields(DigestAuth("u", "p").answer([ONE], "GET", URL, None))["cnonce"] for _ in range(20)}
    assert len(made) == 20 and all(re.fullmatch("[0-9a-f]{32}", cnonce) for cnonce in made)


# -- the server's side of Digest

class Clock:
    now = NOW

    def __call__(self):
        return self.now


USERS = {"u": "p", "J\xe4s\xf8n": "\u20ac", 'q"\\': "x", "empty": ""}


def verifier(**options):
    options.setdefault("clock", Clock())
    return DigestVerifier("my realm", USERS.get, **options)


def signed(server, user="u", password="p", method="GET", target="/b?c", auth=None):
    """The value of Authorization a client sends after this server's challenge."""
    return (auth or DigestAuth(user, password)).answer([server.challenge()], method, "http://a.example" + target, None)


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256", "sha-256", "MD5-sess", "SHA-256-sess",
                                       pytest.param("SHA-512-256", marks=needs_sha_512_256)])
@pytest.mark.parametrize("user", sorted(USERS))
def test_who_knows_the_password_is_let_in(algorithm, user):
    server = verifier(algorithm=algorithm)
    auth = DigestAuth(user, USERS[user])
    assert server.verify(asked(authorization=signed(server, auth=auth))) == user
    for _ in range(3):
        assert server.verify(asked(authorization=auth.first("GET", URL))) == user
        assert server.verify(asked("/x", "POST", authorization=auth.first("POST", "http://a.example/x"))) == user


@pytest.mark.parametrize("user, password",
[("u", "q"), ("u", ""), ("U", "p"), ("nobody", ""), ("nobody", "p"), ("J\xe4s\xf8n", "p")])
def test_who_does_not_is_not(user, password):
    server = verifier()
    request = asked(authorization=signed(server, user, password))
    assert server.verify(request) is None
    assert "stale" not in server.challenge(request)


def test_the_challenge():
    server = verifier()
    value = server.challenge()
    params = fields(value)
    assert dict(params, nonce="") == {"realm": "my realm", "qop": "auth", "algorithm": "SHA-256", "charset": "UTF-8",
    "nonce": ""}
    assert 'qop="auth"' in value and 'realm="my realm"' in value and "algorithm=SHA-256," in value
    assert len({fields(server.challenge())["nonce"] for _ in range(50)}) == 50
    assert Headers([("WWW-Authenticate", value)])["www-authenticate"] == value
    assert "stale" not in server.challenge(asked())
    assert 'realm="a\\"b"' in DigestVerifier('a"b', USERS.get).challenge()


@pytest.mark.parametrize("make", [
    lambda: DigestVerifier("a\r\nb", USERS.get), lambda: DigestVerifier("\xe9", USERS.get), lambda: verifier(algorithm="SHA-1"),
    lambda: verifier(algorithm=""), lambda: verifier(algorithm="token"),
])
def test_what_a_verifier_is_not_made_of(make):
    with pytest.raises(ValueError):
        make()


@pytest.mark.parametrize("old, new", [
    ('username="u"', 'username="v"'), ('username="u"', "username*=UTF-8''v"), ('username="u", ', ""),
    ('username="u"', 'username="u", username*=UTF-8\'\'u'), ('username="u"', "username*=u"),
    ('username="u"', "username*=latin-1''u"),
    ('username="u"', "username*=UTF-8''%ff"), ('username="u"', 'username="\xff"'), ('username="u"', 'username=""'),
    ('realm="my realm"', 'realm="my Realm"'), ('realm="my realm"', 'realm=""'), ('realm="my realm", ', ""),
    ('uri="/b?c"', 'uri="/b"'),
    ('uri="/b?c"', 'uri="http://a.example/b?c"'), ('uri="/b?c", ', ""), ("algorithm=SHA-256, ", ""),
    ("algorithm=SHA-256", "algorithm=MD5"),
    ("algorithm=SHA-256", "algorithm=SHA-256-sess"), ("algorithm=SHA-256", "algorithm=x"), ("qop=auth", "qop=auth-int"),
    ("qop=auth, ", ""),
    ("qop=auth", "qop=AUTH"), ("qop=auth", 'qop="auth,auth-int"'), ("nc=00000001", "nc=00000002"), ("nc=00000001", "nc=1"),
    ("nc=00000001, ", ""),
    ("nc=00000001", "nc=0000000g"), ("nc=00000001", "nc=+0000001"), ("nc=00000001", 'nc="0000 001"'), ('cnonce="', 'cnonce="0'),
    ('nonce="', 'nonce="0'), ('response="', 'response="0'), ("Digest ", "Basic "), ("Digest ", ""),
    ("Digest ", "Digest a=b, a=c, "),
    ("Digest ", "Digest userhash=true, "), ("Digest ", "Basic realm=x, Digest "), ("Digest ", "Digest @"),
    ('nonce="', 'nonce="\xe9'),
    ('response="', 'response="\xe9'),
])
def test_what_was_tampered_with_is_refused(old, new):
    server = verifier()
    value = signed(server)
    assert old in value
    request = asked(authorization=value.replace(old, new, 1))
    assert server.verify(request) is None
    assert "stale" not in server.challenge(request)
    assert server.verify(asked(authorization=value)) == "u"


@pytest.mark.parametrize("request_", [
    asked(), asked(authorization=""), asked(authorization="Digest"), asked(authorization="Digest abc"),
    asked(authorization="Basic dTpw"),
    Request("GET", "/b?c", "1.1", [("authorization", "Digest a=b"), ("authorization", "Digest a=b")]),
])
def test_requests_without_credentials(request_):
    assert verifier().verify(request_) is None


def test_another_method_another_target_or_two_fields_are_refused():
    server = verifier()
    value = signed(server)
    assert server.verify(asked(method="POST", authorization=value)) is None
    assert server.verify(asked("/b", authorization=value)) is None
    assert server.verify(Request("GET", "/b?c", "1.1", [("authorization", value), ("authorization", value)])) is None
    assert server.verify(asked(authorization=value)) == "u"


def test_a_response_in_upper_case_and_quoted_words_are_as_good():
    server = verifier()
    value = signed(server)
    response = fields(value)["response"]
    value = value.replace(response, response.upper()).replace("qop=auth", 'qop="auth"').replace("nc=00000001", 'nc="00000001"')
    assert server.verify(asked(authorization=value.replace("algorithm=SHA-256", 'algorithm="sha-256"'))) == "u"


def test_a_request_is_let_in_once():
    server = verifier()
    request = asked(authorization=signed(server))
    assert server.verify(request) == "u"
    assert server.verify(request) is None and "stale=true" in server.challenge(request)


def test_requests_on_parallel_connections_may_overtake_each_other():
    server = verifier()
    auth = DigestAuth("u", "p")
    values = [signed(server, auth=auth)] + [auth.first("GET", URL) for _ in range(WINDOW + 9)]
    order = [5, 3, 4, 0, WINDOW - 1, 1, WINDOW + 9, 9]  # 9 is as far behind as the window does not reach any more
    assert [server.verify(asked(authorization=values[index])) for index in order] == ["u"] * 7 + [None]
    assert server.verify(asked(authorization=values[10])) == "u"
    assert not any(server.verify(asked(authorization=values[index])) for index in [*order, 10])


def test_a_nonce_has_its_time():
    clock = Clock()
    server = verifier(nonce_lifetime=10, clock=clock)
    auth = DigestAuth("u", "p")
    assert server.verify(asked(authorization=signed(server, auth=auth))) == "u"
    clock.now += 10
    assert server.verify(asked(authorization=auth.first("GET", URL))) == "u"
    clock.now += 0.001
    late = asked(authorization=auth.first("GET", URL))
    assert server.verify(late) is None
    challenge = server.challenge(late)
    assert challenge.endswith(", stale=true")
    assert server.verify(asked(authorization=auth.answer([challenge], "GET", URL, None))) == "u"
    clock.now -= 5  # a clock put back: what it has not seen yet is not good
    assert server.verify(asked(authorization=auth.first("GET", URL))) is None


def test_a_wall_clock_that_is_set_back_shuts_nobody_out():
    assert DigestVerifier.__init__.__kwdefaults__["clock"] is time.monotonic


def test_the_nonce_of_another_server_is_stale():
    one, other = verifier(), verifier()
    request = asked(authorization=signed(one))
    assert other.verify(request) is None and "stale=true" in other.challenge(request)
    for nonce in ("", "x", "0" * 60, "\xe9" * 60, fields(one.challenge())["nonce"][:-1]):
        request = asked(authorization=DigestAuth("u", "p").answer(
            ['Digest realm="my realm", nonce="%s", qop="auth", algorithm=SHA-256' % nonce], "GET", URL, None))
        assert one.verify(request) is None


def test_the_table_of_nonces_is_bounded_and_what_was_forgotten_is_never_let_in():
    clock = Clock()
    server = verifier(clock=clock)
    unused = asked(authorization=signed(server))
    clock.now += 1
    first = asked(authorization=signed(server))
    assert server.verify(first) == "u"
    clock.now += 1
    for _ in range(MOST_NONCES):
        assert server.verify(asked(authorization=signed(server))) == "u"
    assert server.verify(first) is None and "stale=true" in server.challenge(first)
    assert server.verify(unused) is None  # older than the one forgotten, so nobody knows
    assert server.verify(asked(authorization=signed(server))) == "u"
    assert len(server._seen) == MOST_NONCES


def test_wrong_passwords_fill_no_table():
    server = verifier()
    for _ in range(20):
        server.verify(asked(authorization=signed(server, password="wrong")))
    assert server._seen == {}


def test_a_nobody_costs_a_computation_too(monkeypatch):
    calls = []
    compute = digest_module.digest_response
    monkeypatch.setattr(auth_module, "digest_response", lambda *args: calls.append(1) or compute(*args))
    server = verifier()
    value = signed(server, "nobody", "")
    calls.clear()
    assert server.verify(asked(authorization=value)) is None
    assert calls == [1]


def test_a_lookup_that_fails_is_heard_of():
    def lookup(user):
        raise LookupError("no database")
    server = DigestVerifier("my realm", lookup)
    with pytest.raises(LookupError, match="no database"):
        server.verify(asked(authorization=signed(server)))


def test_a_verifier_shows_no_key():
    server = verifier()
    assert server._key.hex() not in repr(server) and not hasattr(server, "__dict__")
