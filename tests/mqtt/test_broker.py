"""URLs of brokers: what they mean, what is refused, and that no password is shown."""
import pytest

from icey.mqtt.broker import Broker

GOOD = [  # url, address, secure, user, password
    ("mqtt://host", "host:1883", False, None, None),
    ("MQTT://host/", "host:1883", False, None, None),
    (" mqtt://127.0.0.1:1884 ", "127.0.0.1:1884", False, None, None),
    ("mqtts://host", "host:8883", True, None, None),
    ("mqtts://[::1]:1", "[::1]:1", True, None, None),
    ("mqtt://[fe80::1]", "[fe80::1]:1883", False, None, None),
    ("mqtt://host:", "host:1883", False, None, None),
    ("mqtt://u@host", "host:1883", False, "u", None),
    ("mqtt://u:@host", "host:1883", False, "u", b""),
    ("mqtt://:p@host", "host:1883", False, "", b"p"),
    ("mqtt://a%40b:%2f%3A%ff@host", "host:1883", False, "a@b", b"/:\xff"),
    ("mqtt://\xe9:\xe9@host", "host:1883", False, "\xe9", b"\xc3\xa9"),
    ("mqtt+unix:/run/x.sock", "unix:/run/x.sock", False, None, None),
    ("mqtt+unix:///run/x.sock", "unix:/run/x.sock", False, None, None),
    ("mqtt+unix://u:p@/run/a%20b", "unix:/run/a b", False, "u", b"p"),
]


@pytest.mark.parametrize("url, address, secure, user, password", GOOD, ids=[row[0] for row in GOOD])
@pytest.mark.needs("unix")
def test_what_a_url_means(url, address, secure, user, password):
    broker = Broker(url)
    assert (str(broker.address), broker.secure, broker.user, broker.password) == (address, secure, user, password)
    assert "p@" not in repr(broker)


@pytest.mark.parametrize("url, said", [
    ("host", "begins with mqtt://"), ("http://host", "begins with mqtt://"), ("mqtt:host", "host or host:port"),
    ("mqtt://", "host or host:port"), ("mqtt://host/path", "no path"), ("mqtt://host?x", "no query"),
    ("mqtt://host#x", "no fragment"),
    ("mqtt://host:0", "1 to 65535"), ("mqtt://host:65536", "1 to 65535"), ("mqtt://host:x", "host or host:port"),
    ("mqtt://[host]", "IPv6"), ("mqtt://::1", "host or host:port"), ("mqtt://u:p:q@host", "%3A"), ("mqtt://u%zz@host", "%25"),
    ("mqtt://%ff@host", "not UTF-8"), ("mqtt+unix://host/x", "Unix socket"), ("mqtt+unix:", "Unix socket"),
    ("mqtt://u:p/q@host", "%2F"), ("mqtt://u:secret?@host", "%3F"),
])
def test_what_is_refused(url, said):
    with pytest.raises(ValueError) as caught:
        Broker(url)
    assert said in str(caught.value)


@pytest.mark.parametrize("url", ["mqtt://user:secret@host/path", "mqtt://user:secret@host:0", "mqtt://user:secret:x@host",
                                 "http://user:secret@host", "mqtt://user:secret?x@host", "mqtt://user:sec/ret@host"])
def test_no_error_shows_the_password(url):
    with pytest.raises(ValueError) as caught:
        Broker(url)
    assert "secret" not in str(caught.value) and "ret@" not in str(caught.value)


def test_a_url_is_text():
    with pytest.raises(TypeError):
        Broker(b"mqtt://host")
