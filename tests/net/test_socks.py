"""SOCKS5: the handshake in bytes, URLs of proxies, and connect() by a proxy, over scripted sockets and on a virtual clock.

Over HTTP: http/client/test_client_socks.py. With microsocks, dante and curl: interop/test_socks.py.
"""
import errno
import os
import socket
import warnings

import pytest

import icey
from icey.base.state import watch_states
from icey.net import happyeyeballs, socks
from icey.net.socks import ASKING, AUTHENTICATING, FAILED, GREETING, OPEN, Handshake, SocksProxy
from icey.tools.testing import AGAIN, END, INTERRUPTED, STALL, byte_at_a_time
from tests.support import nets, socks as proxies, streams
from tests.support.streams import names, turn, watch

debug, clock, reports, loop, net = streams.debug, streams.clock, streams.reports, streams.loop, nets.net

PROXY, HOST = "192.0.2.99", "198.51.100.7"
URL = "socks5h://%s" % PROXY
LOGIN_URL = "socks5h://user:hush@%s" % PROXY
LOGIN = b"\x01\x04user\x04hush"
NAMED = icey.Address("a.test", 80)
ASKED = b"\x05\x01\x00\x03\x06a.test\x00\x50"
PLAIN = [proxies.NO_LOGIN, proxies.OPEN]
WITH_LOGIN = [proxies.LOGIN, proxies.ADMITTED, proxies.OPEN]


# the handshake

def talk(pieces, target=NAMED, login=b""):
    """A Handshake that got `pieces`, what it said, and how many bytes it took."""
    handshake = Handshake(target, login)
    watch_states(handshake)
    said, used = [handshake.output], 0
    handshake.output = b""
    for piece in pieces:
        used += handshake.feed(piece)
        if handshake.output:
            said.append(handshake.output)
            handshake.output = b""
    return handshake, said, used


@pytest.mark.parametrize("host, place", [
    ("a.test", b"\x03\x06a.test"), ("a.test.", b"\x03\x07a.test."),
    pytest.param("b\u00fccher.test", b"\x03\x12xn--bcher-kva.test", marks=pytest.mark.needs("idna")),
    ("127.0.0.1", b"\x01\x7f\x00\x00\x01"), ("", b"\x01\x00\x00\x00\x00"),
    ("2001:db8::1", b"\x04\x20\x01\x0d\xb8" + bytes(11) + b"\x01"),
    (".".join(["x" * 62] * 4) + ".ab",
     b"\x03\xfe" + b".".join([b"x" * 62] * 4) + b".ab")])
def test_what_is_said_without_user_and_password(host, place):
    handshake, said, used = talk(PLAIN, icey.Address(host, 8080))
    assert said == [b"\x05\x01\x00", b"\x05\x01\x00" + place + b"\x1f\x90"]
    assert handshake.state == OPEN and handshake.failure is None and handshake.wanted == 0


def test_what_is_said_with_user_and_password():
    handshake, said, used = talk(WITH_LOGIN, login=LOGIN)
    assert said == [b"\x05\x02\x00\x02", LOGIN, ASKED] and handshake.state == OPEN


def test_user_and_password_stay_here_where_the_proxy_wants_none():
    handshake, said, used = talk(PLAIN, login=LOGIN)
    assert said == [b"\x05\x02\x00\x02", ASKED] and handshake.state == OPEN


@pytest.mark.parametrize("reply", [proxies.OPEN, proxies.OPEN_IPV6, proxies.OPEN_NAME, b"\x05\x00\x00\x03\x00\x00\x00",
                                   b"\x05\x00\x00\x03\xff" + b"n" * 255 + b"\x00\x50", b"\x05\x00\xff" + proxies.OPEN[3:]])
def test_every_answer_may_be_split_anywhere_and_what_is_behind_it_is_not_taken(reply):
    whole = proxies.LOGIN + proxies.ADMITTED + reply
    for pieces in ([whole[:at], whole[at:] + b"behind"] for at in range(len(whole) + 1)):
        handshake, said, used = talk(pieces, login=LOGIN)
        assert handshake.state == OPEN and used == len(whole) and b"".join(said[1:]) == LOGIN + ASKED
    handshake, said, used = talk(byte_at_a_time(whole + b"behind"), login=LOGIN)
    assert handshake.state == OPEN and used == len(whole)


@pytest.mark.parametrize("reply", [proxies.OPEN, proxies.OPEN_IPV6, proxies.OPEN_NAME])
def test_what_is_wanted_never_passes_the_answer(reply):
    handshake, left = Handshake(NAMED, LOGIN), proxies.LOGIN + proxies.ADMITTED + reply
    while handshake.state != OPEN:
        wanted = handshake.wanted
        assert 0 < wanted <= len(left)
        assert handshake.feed(left[:wanted]) == wanted
        left = left[wanted:]
    assert not left and handshake.wanted == 0 and handshake.feed(b"more") == 0


@pytest.mark.parametrize("code, text, number", [
    (1, "general failure", None), (2, "not allowed by its rules", errno.EACCES), (3, "network unreachable", errno.ENETUNREACH),
    (4, "host unreachable", errno.EHOSTUNREACH), (5, "connection refused", errno.ECONNREFUSED),
    (6, "the connection's time to live has expired", errno.ETIMEDOUT), (7, "it does not support CONNECT", errno.EOPNOTSUPP),
    (8, "it does not support this type of address", errno.EAFNOSUPPORT), (9, "for a reason that RFC 1928 does not have", None),
    (255, "for a reason that RFC 1928 does not have", None)])
def test_each_reply_says_which(code, text, number):
    for pieces in ([proxies.NO_LOGIN, proxies.refusal(code)], [proxies.NO_LOGIN, bytes([5, code])]):  # as soon as it is known
        handshake, said, used = talk(pieces)
        assert handshake.state == FAILED and handshake.refused and handshake.number == number
        assert handshake.failure == "could not connect to a.test:80: %s (reply %d)" % (text, code)
        assert handshake.output == b"" and handshake.wanted == 0 and handshake.feed(b"more") == 0


@pytest.mark.parametrize("login, came, text", [
    (b"", b"\x05\xff", "wants more than a client without user name and password: socks5://user:password@..."),
    (b"", b"\x05\x02", "wants more than a client without user name and password: socks5://user:password@..."),
    (LOGIN, b"\x05\xff", "takes neither user name and password nor a client without them"),
    (LOGIN, b"\x05\x01", "chose method 1, which it was not offered"),
    (b"", b"H", "is no SOCKS5 server: it speaks HTTP, maybe"),
    (b"", b"\x00\x5b", "is no SOCKS5 server: it speaks SOCKS4, maybe"),
    (b"", b"220 mail", "is no SOCKS5 server: its answer begins with 0x32"),
    (LOGIN, b"\x05\x02\x01\x01", "refused user name and password (status 1)"),
    (LOGIN, b"\x05\x02\x01\xff", "refused user name and password (status 255)"),
    (LOGIN, b"\x05\x02\x05\x00", "answered with version 5 where 1 is due"),
    (b"", b"\x05\x00\x04\x00", "answered with version 4 where 5 is due"),
    (b"", b"\x05\x00\x05\x00\x00\x02\x00", "answered with an address of type 2, which RFC 1928 does not have"),
])
def test_what_is_wrong_with_the_proxy(login, came, text):
    for pieces in ([came], byte_at_a_time(came)):
        handshake, said, used = talk(pieces, login=login)
        assert (handshake.state, handshake.failure, handshake.refused) == (FAILED, text, False)


@pytest.mark.parametrize("came, text", [
    (b"", "gone before it answered"), (b"\x05", "gone in the middle of an answer, 1 bytes short"),
    (b"\x05\x02", "gone when it got user name and password: are they right?"),
    (b"\x05\x02\x01", "gone in the middle of an answer, 1 bytes short"),
    (b"\x05\x02\x01\x00", "gone when it was asked for a.test:80"),
    (b"\x05\x02\x01\x00\x05", "gone in the middle of an answer, 1 bytes short"),
    (b"\x05\x02\x01\x00\x05\x00\x00", "gone in the middle of an answer, 2 bytes short"),
    (b"\x05\x02\x01\x00\x05\x00\x00\x01\x00\x00", "gone in the middle of an answer, 4 bytes short")])
def test_an_end_that_comes_too_early(came, text):
    handshake, said, used = talk([came], login=LOGIN)
    handshake.end("gone", 7)
    assert (handshake.state, handshake.failure, handshake.number) == (FAILED, text, 7)


@pytest.mark.parametrize("host, text", [
    ("x" * 64, "1 to 63 characters"), ("a..test", "1 to 63 characters"), (".".join(["x" * 63] * 4) + ".a", "at most 255 bytes"),
    ("fe80::1%1", "an interface of this machine"), ("\u00fc" * 64 + ".test", ".")])
def test_a_target_that_cannot_be_asked_for(host, text):
    with pytest.raises(ValueError, match=text):
        Handshake(icey.Address(host, 80))


# URLs

@pytest.mark.parametrize("url, address, remote, login", [
    ("socks5://p.test", "p.test:1080", False, b""), ("socks5h://p.test", "p.test:1080", True, b""),
    ("SOCKS5H://p.test:9050/", "p.test:9050", True, b""), (" socks5://[2001:db8::1]:1 ", "[2001:db8::1]:1", False, b""),
    ("socks5://user:hush@127.0.0.1", "127.0.0.1:1080", False, LOGIN),
    ("socks5h://%75ser:p%40%3a%2F@p.test", "p.test:1080", True, b"\x01\x04user\x04p@:/"),
    ("socks5h://%C3%BC:" + "p" * 255 + "@p.test", "p.test:1080", True, b"\x01\x02\xc3\xbc\xff" + b"p" * 255)])
def test_urls(url, address, remote, login):
    proxy = SocksProxy(url)
    assert (str(proxy.address), proxy.remote, proxy.login) == (address, remote, login)
    assert SocksProxy.of(proxy) is proxy and SocksProxy.of(url).login == login
    assert repr(proxy) == "<SocksProxy %s>" % address


@pytest.mark.parametrize("url", [
    "", "p.test:1080", "socks4://p.test", "socks://p.test", "http://p.test", "socks5://", "socks5:p.test", "socks5://p.test:0",
    "socks5://p.test:65536", "socks5://p.test:123456", "socks5://p.test:x", "socks5://p.test/path", "socks5://p.test?q",
    "socks5://::1", "socks5://[p.test]", "socks5://[]", "socks5://secret:secret:3@p.test", "socks5://secret@p.test",
    "socks5://secret:@p.test", "socks5://:secret@p.test", "socks5://secret:a@secret@p.test", "socks5://secret:%zz@p.test",
    "socks5://secret%FF:secret@p.test", "socks5://secret:" + "secret" * 43 + "@p.test",
    "socks5://" + "s" * 256 + ":secret@p.test", "socks5://secret:se/cret@p.test"])
def test_what_is_no_url_of_a_proxy(loop, url):
    client = icey.TCPSocket(loop)
    for make in (lambda: SocksProxy(url), lambda: client.connect("a.test", 80, proxy=url)):
        with pytest.raises(ValueError) as caught:
            make()
        assert "secret" not in str(caught.value)
    client.close()


def test_what_is_no_proxy_and_no_target_for_one(loop):
    client = icey.TCPSocket(loop)
    with pytest.raises(TypeError, match="a SOCKS proxy's URL is a str, not int"):
        client.connect("a.test", 80, proxy=1080)
    if hasattr(socket, "AF_UNIX"):
        with pytest.raises(ValueError, match="no Unix socket: leave proxy= out for unix:/run/x"):
            client.connect("unix:/run/x", proxy=URL)
    assert client.peer is None and not loop.handles  # as it was before
    client.close()


# connect()

def connecting(loop, url=URL, host="a.test", port=80, **more):
    """A TCPSocket that connects by a proxy, and what comes of it."""
    client = icey.TCPSocket(loop)
    seen = watch(client, "connect", "recv", "end", "error", "close")
    client.connect(host, port, proxy=url, **more)
    return client, seen


@pytest.fixture
def proxy(net):
    """The net, with the proxy at PROXY, where connecting succeeds at once."""
    net.outcomes = {PROXY: 0}
    return net


def failed(seen, where=PROXY):
    """The error that was told, and on_close behind it; its one attempt is at the proxy, and says the same."""
    assert names(seen) == ["error", "close"], seen
    error = seen[0][1]
    assert type(error) is icey.ConnectError
    assert {at for at, _ in error.attempts} == {icey.Address(where, 1080)}
    assert all(str(exc.strerror or exc) in str(error) for _, exc in error.attempts)
    assert "hush" not in str(error) + repr(error.attempts) + repr(error.__cause__)
    return error


@pytest.mark.parametrize("url, answers, sent", [
    (URL, PLAIN, b"\x05\x01\x00" + ASKED), (LOGIN_URL, WITH_LOGIN, b"\x05\x02\x00\x02" + LOGIN + ASKED)])
def test_it_is_as_a_connection_to_the_target(loop, proxy, url, answers, sent):
    proxy.reads = [*answers[:-1], answers[-1] + b"hello"]  # what comes behind the answer, in one segment
    client, seen = connecting(loop, url)
    done = []
    assert client.send(b"early", lambda: done.append(client.link)) is True
    assert client.peer == NAMED and client.local is None and client.title() == "TCPSocket a.test:80"
    turn(loop, 6)
    assert seen == [("connect",), ("recv", b"hello")]
    assert bytes(proxy.made[0].sent) == sent + b"early" and done
    assert client.peer == NAMED and client.local == icey.Address("127.0.0.1", 1)
    assert client.send(b"late") is True and bytes(proxy.made[0].sent).endswith(b"earlylate")
    proxy.made[0].feed(END)
    turn(loop, 3)
    assert names(seen) == ["connect", "recv", "end"]
    client.close()
    turn(loop, 2)
    assert names(seen)[-1] == "close" and proxy.left() == []


@pytest.mark.parametrize("storm", [[], [AGAIN], [INTERRUPTED, AGAIN]])
def test_answers_byte_by_byte(loop, proxy, storm):
    whole = b"".join(WITH_LOGIN) + b"hello"
    proxy.reads = [item for byte in byte_at_a_time(whole) for item in (*storm, byte)]
    client, seen = connecting(loop, LOGIN_URL)
    turn(loop, 2 * len(whole) * (1 + len(storm)))
    assert names(seen[:2]) == ["connect", "recv"]
    assert b"".join(event[1] for event in seen[1:]) == b"hello"
    client.abort()
    turn(loop)


@pytest.mark.parametrize("writes", [[1] * 20, [AGAIN, 2, AGAIN, INTERRUPTED, 1], [0, 1]])
def test_what_it_says_goes_out_in_pieces(loop, proxy, writes):
    proxy.reads, proxy.writes = list(PLAIN), writes
    client, seen = connecting(loop)
    turn(loop, 60)
    assert names(seen) == ["connect"] and bytes(proxy.made[0].sent) == b"\x05\x01\x00" + ASKED
    client.abort()
    turn(loop)


def test_a_kernel_that_is_full_is_waited_for(loop, proxy):
    proxy.writes = [2, STALL]
    client, seen = connecting(loop)
    turn(loop, 5)
    assert bytes(proxy.made[0].sent) == b"\x05\x01"
    proxy.made[0].unstall()
    proxy.made[0].feed(*PLAIN)
    turn(loop, 5)
    assert names(seen) == ["connect"] and bytes(proxy.made[0].sent) == b"\x05\x01\x00" + ASKED
    client.abort()
    turn(loop)


@pytest.mark.parametrize("how, text, number", [
    (END, "closed the connection ", None), (ConnectionResetError, "broke the connection (", errno.ECONNRESET)])
def test_a_proxy_that_goes_away_behind_any_byte(loop, proxy, how, text, number):
    whole = b"".join(WITH_LOGIN)
    for at in range(len(whole)):
        proxy.reads = [whole[:at], how] if at else [how]
        client, seen = connecting(loop, LOGIN_URL)
        assert client.send(b"never") is True
        turn(loop, 8)
        error = failed(seen)
        assert str(error).startswith("cannot connect to a.test:80: the SOCKS proxy %s:1080 %s" % (PROXY, text)), error
        assert error.errno == number and isinstance(error.__cause__, icey.NetError)
        assert proxy.made[-1].closed and b"never" not in proxy.made[-1].sent


@pytest.mark.parametrize("writes", [[BrokenPipeError], [3, ConnectionResetError]])
def test_a_proxy_that_is_gone_when_it_is_written_to(loop, proxy, writes):
    proxy.reads, proxy.writes = list(PLAIN), writes
    client, seen = connecting(loop)
    turn(loop, 5)
    assert "broke the connection (" in str(failed(seen))


@pytest.mark.parametrize("url, answers, text, number", [
    (URL, [b"HTTP/1.1 400 Bad Request\r\n\r\n"], "is no SOCKS5 server: it speaks HTTP, maybe", None),
    (URL, [b"\x05\xff"], "wants more than a client without user name and password: socks5://user:password@...", None),
    (LOGIN_URL, [b"\x05\x02", b"\x01\x01"], "refused user name and password (status 1)", None),
    (URL, [b"\x05\x00", proxies.refusal(5)], "could not connect to a.test:80: connection refused (reply 5)",
     errno.ECONNREFUSED)])
def test_a_refusal_is_connect_error_and_says_which(loop, proxy, url, answers, text, number):
    proxy.reads = answers
    client, seen = connecting(loop, url)
    turn(loop, 6)
    error = failed(seen)
    assert str(error) == "cannot connect to a.test:80: the SOCKS proxy %s:1080 %s" % (PROXY, text) and error.errno == number
    assert proxy.made[0].closed and proxy.left() == []


def test_a_proxy_that_is_not_there(loop, net):
    net.outcomes = {PROXY: (0.1, errno.ECONNREFUSED)}
    client, seen = connecting(loop)
    loop.run()
    error = failed(seen)
    assert str(error).startswith("cannot connect to a.test:80: no way to the SOCKS proxy: cannot connect to %s:1080: " % PROXY)
    assert error.errno == errno.ECONNREFUSED


def test_a_proxy_whose_name_has_no_address(loop, net):
    net.failure = icey.ResolveError("cannot resolve 'p.test': no")
    client, seen = connecting(loop, "socks5h://p.test")
    loop.run()
    assert str(failed(seen, "p.test")) == "cannot connect to a.test:80: no way to the SOCKS proxy: cannot resolve 'p.test': no"


def test_a_proxy_with_a_name_is_tried_at_all_its_addresses(loop, net):
    net.hosts, net.outcomes = ["192.0.2.1", "192.0.2.2"], {"192.0.2.1": errno.ENETUNREACH, "192.0.2.2": 0}
    net.reads = list(PLAIN)
    client, seen = connecting(loop, "socks5h://p.test")
    turn(loop, 6)
    assert names(seen) == ["connect"] and [at[1] for at in net.begun] == ["192.0.2.1", "192.0.2.2"]
    client.abort()
    turn(loop)


def test_a_target_that_cannot_be_asked_for_is_connect_error(loop, proxy):
    client, seen = connecting(loop, host="x" * 64)
    assert seen == []  # told by the loop, as ever
    turn(loop, 3)
    assert "1 to 63 characters" in str(failed(seen)) and proxy.made == []


def test_no_descriptor(loop, proxy):
    proxy.no_descriptors_for = {1}
    client, seen = connecting(loop)
    turn(loop, 4)
    assert failed(seen).errno == errno.EMFILE


def test_a_poller_that_takes_no_more(loop, proxy, monkeypatch):
    def full(*arguments):
        raise OSError(errno.EMFILE, "select() takes no more")
    client, seen = connecting(loop)
    monkeypatch.setattr(loop.poller, "register", full)
    turn(loop, 4)
    assert failed(seen).errno == errno.EMFILE and proxy.made[0].closed


# names that are looked up here

def test_socks5_looks_names_up_here(loop, proxy):
    proxy.hosts, proxy.reads = [HOST], list(PLAIN)
    client, seen = connecting(loop, "socks5://" + PROXY)
    turn(loop, 6)
    assert names(seen) == ["connect"] and client.peer == icey.Address(HOST, 80)
    assert bytes(proxy.made[0].sent)[3:] == b"\x05\x01\x00\x01" + socket.inet_aton(HOST) + b"\x00\x50"
    client.abort()
    turn(loop)


def test_a_numeric_target_is_looked_up_nowhere(loop, proxy):
    proxy.hosts, proxy.reads = [], list(PLAIN)
    client, seen = connecting(loop, "socks5://" + PROXY, host="2001:db8::1")
    turn(loop, 6)
    assert names(seen) == ["connect"] and client.peer == icey.Address("2001:db8::1", 80)
    client.abort()
    turn(loop)


def test_a_name_without_an_address_is_resolve_error(loop, proxy):
    proxy.failure = icey.ResolveError("cannot resolve 'a.test': no")
    client, seen = connecting(loop, "socks5://" + PROXY)
    turn(loop, 3)
    assert seen == [("error", proxy.failure), ("close",)] and proxy.made == []


def test_each_address_is_tried_by_a_connection_of_its_own(loop, proxy):
    proxy.hosts = ["2001:db8::1", "198.51.100.1", "198.51.100.2"]
    proxy.scripts = [[b"\x05\x00", proxies.refusal(code)] for code in (3, 5)] + [list(PLAIN)]
    client, seen = connecting(loop, "socks5://" + PROXY)
    turn(loop, 12)
    assert names(seen) == ["connect"] and client.peer.host == "198.51.100.2"
    assert [sock.closed for sock in proxy.made] == [True, True, False]
    client.abort()
    turn(loop)


def test_when_all_are_refused_the_error_has_each(loop, proxy):
    proxy.hosts = ["2001:db8::1", "198.51.100.1"]
    proxy.scripts = [[b"\x05\x00", proxies.refusal(code)] for code in (3, 5)]
    client, seen = connecting(loop, "socks5://" + PROXY)
    turn(loop, 12)
    assert str(failed(seen)) == (
        "cannot connect to a.test:80: 2 addresses failed: "
        "the SOCKS proxy 192.0.2.99:1080 could not connect to [2001:db8::1]:80: network unreachable (reply 3), "
        "the SOCKS proxy 192.0.2.99:1080 could not connect to 198.51.100.1:80: connection refused (reply 5)")


def test_what_is_wrong_with_the_proxy_ends_it_at_once(loop, proxy):
    proxy.hosts = ["2001:db8::1", "198.51.100.1"]
    proxy.reads = [b"\x05\x02"]
    client, seen = connecting(loop, "socks5://" + PROXY)
    turn(loop, 8)
    assert len(failed(seen).attempts) == 1 and len(proxy.made) == 1


def test_the_next_address_is_tried_two_seconds_later_and_the_first_to_open_wins(loop, proxy):
    proxy.hosts = ["2001:db8::1", "198.51.100.1"]
    proxy.scripts = [[b"\x05\x00"], list(PLAIN)]
    client, seen = connecting(loop, "socks5://" + PROXY)
    client.set_no_delay()
    loop.call_later(3.0, client.close)
    loop.run()
    assert names(seen) == ["connect", "close"] and client.peer.host == "198.51.100.1"
    assert [at[0] for at in proxy.begun] == [0.0, 2.0] and all(sock.closed for sock in proxy.made)
    assert all((socket.IPPROTO_TCP, socket.TCP_NODELAY, True) in sock.options for sock in proxy.made)


@pytest.mark.parametrize("how", [END, ConnectionResetError])
def test_a_proxy_that_goes_away_when_it_is_asked_is_asked_for_the_next(loop, proxy, how):
    proxy.hosts = ["2001:db8::1", "198.51.100.1"]
    proxy.scripts = [[b"\x05\x00", how], list(PLAIN)]
    client, seen = connecting(loop, "socks5://" + PROXY)
    turn(loop, 10)
    assert names(seen) == ["connect"] and client.peer.host == "198.51.100.1"
    client.abort()
    turn(loop)


def test_when_nobody_is_reached_in_time_the_others_still_have_theirs(loop, clock, proxy):
    proxy.hosts = ["2001:db8::1", "198.51.100.1"]
    proxy.reads = [b"\x05\x00"]
    client, seen = connecting(loop, "socks5://" + PROXY)
    loop.run()
    assert clock() - proxy.started == pytest.approx(132.0)
    assert str(failed(seen)).count("within 130 s") == 2


def test_a_proxy_that_breaks_down_meanwhile_ends_the_attempts_that_go_on(loop, proxy):
    proxy.hosts = ["2001:db8::1", "198.51.100.1"]
    proxy.scripts = [[b"\x05\x00"], [b"\x05\xff"]]
    client, seen = connecting(loop, "socks5://" + PROXY)
    loop.run()
    assert len(failed(seen).attempts) == 1 and all(sock.closed for sock in proxy.made)


# options

def test_options_set_meanwhile(loop, clock, net):
    net.outcomes = {PROXY: (1.0, 0)}
    client, seen = connecting(loop)
    turn(loop)
    client.set_no_delay()  # while the proxy is being connected
    clock.advance(1.0)
    turn(loop, 4)
    client.set_keep_alive()  # while it is asked
    assert [option[1] for option in net.made[0].options] == [socket.TCP_NODELAY, socket.SO_KEEPALIVE]
    client.abort()
    turn(loop)


# deadlines

STAGES = {  # what the proxy has said, and what is still missing
    "reaching": (None, "the SOCKS proxy 192.0.2.99:1080 is not connected"),
    "greeting": ([], "the SOCKS proxy 192.0.2.99:1080 does not answer"),
    "authenticating": ([b"\x05\x02"], "the SOCKS proxy 192.0.2.99:1080 does not answer"),
    "asking": ([b"\x05\x02", b"\x01\x00", b"\x05\x00\x00"], "the SOCKS proxy 192.0.2.99:1080 has not connected to a.test:80"),
}
stages = pytest.mark.parametrize("stage", STAGES)


def staged(net, stage):
    """Has the proxy come to that stage, and stop there."""
    reads, missing = STAGES[stage]
    net.outcomes = {} if reads is None else {PROXY: 0}
    net.reads = reads or []
    return missing


@stages
def test_the_deadline_of_connect_covers_all_of_it(loop, clock, net, stage):
    missing = staged(net, stage)
    client, seen = connecting(loop, LOGIN_URL, timeout=5.0)
    loop.run()
    assert clock() - net.started == pytest.approx(5.0)
    assert str(failed(seen)) == "cannot connect to a.test:80: not connected within 5 s: " + missing
    assert isinstance(seen[0][1].attempts[0][1], icey.Deadline) and net.open() == []


def test_the_deadline_while_the_target_is_looked_up_here(loop, clock, proxy):
    proxy.delay = None
    client, seen = connecting(loop, "socks5://" + PROXY, timeout=5.0)
    loop.run()
    assert str(failed(seen)) == "cannot connect to a.test:80: not connected within 5 s"


@pytest.mark.parametrize("stage, seconds", [("greeting", 10), ("authenticating", 10), ("asking", 130)])
def test_without_one_a_proxy_that_says_nothing_is_given_up(loop, clock, net, stage, seconds):
    missing = staged(net, stage)
    client, seen = connecting(loop, LOGIN_URL)
    loop.run()
    assert clock() - net.started == pytest.approx(seconds)
    assert str(failed(seen)) == "cannot connect to a.test:80: %s within %d s" % (missing, seconds)
    assert isinstance(seen[0][1].attempts[0][1], icey.Deadline) and net.open() == []


def test_with_one_it_alone_counts(loop, clock, net):
    staged(net, "greeting")
    client, seen = connecting(loop, timeout=60.0)
    loop.run()
    assert clock() - net.started == pytest.approx(60.0) and "within 60 s" in str(failed(seen))


def test_a_slow_proxy_has_the_time_anew_for_each_answer(loop, clock, proxy):
    client, seen = connecting(loop, LOGIN_URL)
    for seconds, answer in zip((9.0, 9.0, 129.0), WITH_LOGIN):
        loop.call_later(seconds, lambda: None)
        turn(loop, 3)
        clock.advance(seconds)
        proxy.made[0].feed(answer)
        turn(loop, 3)
    assert names(seen) == ["connect"]
    loop.call_later(1000.0, client.close)
    loop.run()
    assert names(seen) == ["connect", "close"]


@pytest.mark.parametrize("timeout", [None, 5.0])
def test_what_came_while_a_slot_held_the_loop_is_taken(loop, clock, proxy, timeout):
    client, seen = connecting(loop, LOGIN_URL, timeout=timeout)
    turn(loop, 3)

    def hold():
        clock.advance(200.0)
        proxy.made[0].feed(*WITH_LOGIN)
    loop.call_soon(hold)
    turn(loop, 4)
    assert names(seen) == ["connect"]
    client.abort()
    turn(loop)


def test_a_deadline_looks_before_it_falls(loop, clock, proxy):
    client, seen = connecting(loop, timeout=5.0)
    turn(loop, 3)
    proxy.made[0].feed(*PLAIN)
    loop.poller.unregister(proxy.made[0].fileno())  # the poller says nothing of it
    loop.call_later(9.0, client.close)
    loop.run()
    assert names(seen) == ["connect", "close"]


def test_so_does_that_of_the_proxy_s_answer(loop, clock, proxy):
    client, seen = connecting(loop)
    turn(loop, 3)
    loop.poller.unregister(proxy.made[0].fileno())
    proxy.made[0].feed(*PLAIN)
    loop.call_later(15.0, client.close)
    loop.run()
    assert names(seen) == ["connect", "close"]


def test_a_deadline_looks_at_all_attempts_until_one_is_open(loop, clock, proxy):
    proxy.hosts = ["2001:db8::1", "198.51.100.1"]
    client, seen = connecting(loop, "socks5://" + PROXY, timeout=5.0)
    loop.call_later(3.0, loop.stop)
    loop.run()
    assert len(proxy.made) == 2
    for sock in proxy.made:
        loop.poller.unregister(sock.fileno())
        sock.feed(*PLAIN)
    loop.call_later(9.0, client.close)
    loop.run()
    assert names(seen) == ["connect", "close"] and client.peer.host == "2001:db8::1"


# closing

@stages
@pytest.mark.parametrize("how", ["close", "abort"])
def test_close_and_abort_at_every_stage(loop, net, stage, how):
    staged(net, stage)
    client, seen = connecting(loop, LOGIN_URL)
    turn(loop, 5)
    getattr(client, how)()
    assert client.closing and names(seen) == []
    turn(loop, 3)
    assert names(seen) == ["close"] and net.open() == [] and net.left() == []
    with pytest.raises(icey.StateError):
        client.connect("a.test", 80, proxy=URL)


def test_close_with_something_queued_waits_for_the_way(loop, proxy):
    proxy.reads = [b"\x05\x00"]
    client, seen = connecting(loop)
    client.send(b"early")
    turn(loop, 3)
    client.close()
    turn(loop, 3)
    proxy.made[0].feed(proxies.OPEN)
    turn(loop, 4)
    assert names(seen) == ["close"] and bytes(proxy.made[0].sent).endswith(ASKED + b"early")


@pytest.mark.parametrize("how", ["close", "abort"])
def test_close_and_abort_inside_on_connect(loop, proxy, how):
    proxy.reads = [b"\x05\x00", proxies.OPEN + b"hello"]
    client, seen = connecting(loop)
    client.on_connect += lambda client: getattr(client, how)()
    turn(loop, 6)
    assert names(seen) == ["connect", "close"] and proxy.made[0].closed


@stages
def test_the_loop_closes_at_every_stage(debug, clock, monkeypatch, stage):
    loop = icey.Loop(debug, clock=clock, selector=streams.VirtualSelector(clock))
    net = nets.Net(loop, clock)
    monkeypatch.setattr(happyeyeballs, "socket", net)
    monkeypatch.setattr(happyeyeballs, "resolve", net.resolve)
    staged(net, stage)
    client, seen = connecting(loop, LOGIN_URL)
    turn(loop, 5)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loop.close()
    assert (len(caught), names(seen), net.open()) == (int(debug), ["close"], [])
    assert not debug or "TCPSocket connecting to a.test:80, made at" in str(caught[0].message)


@pytest.mark.needs("fork")
@stages
def test_the_child_of_a_fork_closes_its_copies_of_the_sockets(loop, net, stage):
    staged(net, stage)
    client, seen = connecting(loop, LOGIN_URL)
    turn(loop, 5)
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            loop.close()
            os.write(write, b"%d left" % len(net.open()))
        finally:
            os._exit(0)
    os.close(write)
    with open(read, "rb") as pipe:
        assert pipe.read() == b"0 left"
    os.waitpid(child, 0)
    assert net.open() == [PROXY]
    client.abort()
    turn(loop)


def test_a_slot_of_on_connect_that_raises(loop, proxy, reports):
    proxy.reads = list(PLAIN)
    client, seen = connecting(loop)

    @client.on_connect.attach
    def broken(client):
        raise ValueError("of the slot")
    turn(loop, 6)
    reports.take(ValueError)
    assert names(seen) == ["connect", "close"]


def test_it_keeps_its_loop_running_as_any_socket(loop, clock, proxy):
    client, seen = connecting(loop, timeout=5.0)
    client.unref()
    loop.run()
    assert clock() == proxy.started and seen == []
    client.abort()
    turn(loop)


def test_shutdown_while_it_connects(loop, proxy):
    client, seen = connecting(loop)
    client.send(b"all")
    client.shutdown()
    turn(loop, 3)
    proxy.made[0].feed(*PLAIN)
    turn(loop, 4)
    assert names(seen) == ["connect"] and ("shutdown", socket.SHUT_WR) in proxy.made[0].calls
    with pytest.raises(icey.StateError):
        client.send(b"more")
    client.abort()
    turn(loop)


def test_the_numbers(loop):
    assert (socks.PORT, socks.ANSWER_TIMEOUT, socks.CONNECT_TIMEOUT, socks.ATTEMPT_DELAY) == (1080, 10.0, 130.0, 2.0)
    assert (GREETING, AUTHENTICATING, ASKING, OPEN, FAILED) == tuple(range(5))
