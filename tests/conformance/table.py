"""What HTTP/1.1 asks of a server and of a client, as literal bytes and what has to come of them.

    ACCEPTED   (name, bytes, requests, kept): all of them are answered; kept: the connection goes on
    REFUSED    (name, bytes, requests, status): what is whole before the error is answered, then the error, then no more
    CUT        (name, bytes, requests): the input ends inside a message: it is not answered, the ones before it are
    RESPONSES  (name, method, bytes, responses, rest): what a client sees; rest: see there

A request is (method, target, body), a response (status, body). The same rows are run against the parser alone
(test_parser.py) and, byte for byte, against a live server (test_server.py).
"""

HOST = b"Host: a\r\n"
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
ROOT = [("GET", "/", b"")]
TOKEN_CHARS = b"!#$%&'*+-.^_`|~09azAZ"


def field(line, method="GET", body=b""):
    """A request with one field line more."""
    return b"%s / HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n%s" % (method.encode(), line, body)


def host(value):
    return b"GET / HTTP/1.1\r\nHost: %s\r\n\r\n" % value


def target(value, method=b"GET"):
    return b"%s %s HTTP/1.1\r\nHost: a\r\n\r\n" % (method, value)


def length(value, body=b""):
    return POST + b"Content-Length:%s\r\n\r\n%s" % (value, body)


def coding(value, body=b"0\r\n\r\n"):
    return POST + b"Transfer-Encoding:%s\r\n\r\n%s" % (value, body)


def posted(body):
    return [("POST", "/", body)]


def got(where):
    return [("GET", where, b"")]


ACCEPTED = [
    # fields
    ("white space around a value", field(b"X: \t a \t "), ROOT, True),
    ("no white space before a value", field(b"X:a"), ROOT, True),
    ("white space around Content-Length", length(b" \t5 \t", b"hello"), posted(b"hello"), True),
    ("white space around Transfer-Encoding", coding(b"\t chunked\t "), posted(b""), True),
    ("an empty value", field(b"X:"), ROOT, True),
    ("a value of white space", field(b"X: \t "), ROOT, True),
    ("a tab in a value", field(b"X: a\tb"), ROOT, True),
    ("obs-text in a value", field(b"X: \x80\xa0\x85\xff"), ROOT, True),
    ("all token characters in a name", field(TOKEN_CHARS + b": a"), ROOT, True),
    ("underscores in a name", field(b"content_length: 5"), ROOT, True),
    ("a field over 8 KiB", field(b"X: " + b"a" * 9000), ROOT, True),
    ("100 fields", b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n" * 99 + b"\r\n", ROOT, True),
    ("the same field twice", field(b"X: a\r\nX: b"), ROOT, True),
    # request lines
    ("all token characters in a method", b"GET" + TOKEN_CHARS + GET[3:], [("GET" + TOKEN_CHARS.decode(), "/", b"")],
     True),
    ("a lower-case method", b"get" + GET[3:], [("get", "/", b"")], True),
    ("an unknown method", b"BREW" + GET[3:], [("BREW", "/", b"")], True),
    ("a target of 8000 bytes", target(b"/" + b"a" * 7999), got("/" + "a" * 7999), True),
    ("what browsers send raw in a query", target(b"/?{}|^[]`\"<>\\"), got("/?{}|^[]`\"<>\\"), True),
    ("all of 0x21 to 0x7E in a target", target(b"/" + bytes(range(0x21, 0x7F))),
     got("/" + bytes(range(0x21, 0x7F)).decode()), True),
    ("absolute form", target(b"http://b:80/x?y"), got("http://b:80/x?y"), True),
    ("absolute form without a path", target(b"http://b"), got("http://b"), True),
    ("absolute form with an address", target(b"http://[::1]/"), got("http://[::1]/"), True),
    ("OPTIONS *", target(b"*", b"OPTIONS"), [("OPTIONS", "*", b"")], True),
    ("CONNECT", target(b"b:443", b"CONNECT"), [("CONNECT", "b:443", b"")], None),
    ("an empty line before", b"\r\n" + GET, ROOT, True),
    ("four empty lines before", b"\r\n" * 4 + GET, ROOT, True),
    ("empty lines after a body", length(b"2", b"hi") + b"\r\n\r\n" + GET, posted(b"hi") + ROOT, True),
    ("empty lines between", GET + b"\r\n" + GET + b"\r\n" * 4 + GET, ROOT * 3, True),
    # Host
    ("an empty Host", host(b""), ROOT, True),
    ("Host with a port", host(b"a.example:8080"), ROOT, True),
    ("Host with an empty port", host(b"a:"), ROOT, True),
    ("Host of an IPv4 address", host(b"127.0.0.1:80"), ROOT, True),
    ("Host of an IPv6 address", host(b"[fe80::1:2]:80"), ROOT, True),
    ("Host of an IPv4 address in an IPv6 one", host(b"[::ffff:1.2.3.4]"), ROOT, True),
    ("Host of a future address", host(b"[v1.a:b]"), ROOT, True),
    ("Host with percent and sub-delims", host(b"a%41_~!$&'()*+;="), ROOT, True),
    ("HOST in capitals", b"GET / HTTP/1.1\r\nHOST:a\r\n\r\n", ROOT, True),
    # versions
    ("HTTP/1.0 without Host", b"GET / HTTP/1.0\r\n\r\n", ROOT, False),
    ("HTTP/1.0 with keep-alive", b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", ROOT, True),
    ("HTTP/1.0 with a body", b"POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi", posted(b"hi"), False),
    ("HTTP/1.0 with an expectation", b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
     posted(b"hi"), False),
    ("HTTP/1.2", GET.replace(b"1.1", b"1.2"), ROOT, True),
    ("HTTP/1.9", GET.replace(b"1.1", b"1.9"), ROOT, True),
    # Connection
    ("Connection: close", field(b"Connection: close"), ROOT, False),
    ("close in a list", field(b"Connection: Keep-Alive, CLOSE"), ROOT, False),
    ("close in a second line", field(b"Connection: keep-alive\r\nConnection: foo,close"), ROOT, False),
    ("close among empty elements", field(b"Connection: ,, close\t,"), ROOT, False),
    ("closed-loop is not close", field(b"Connection: closed-loop"), ROOT, True),
    ("bytes behind Connection: close", field(b"Connection: close") + b"garbage\x00\r\n" + GET, ROOT, False),
    ("an unknown upgrade", field(b"Connection: upgrade\r\nUpgrade: foo/2"), ROOT, True),
    ("h2c", field(b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ"), ROOT, True),
    # bodies
    ("Content-Length 0", length(b" 0"), posted(b""), True),
    ("leading zeros in Content-Length", length(b" 0000000000005", b"hello"), posted(b"hello"), True),
    ("18 digits of Content-Length", length(b" 000000000000000005", b"hello"), posted(b"hello"), True),
    ("a body of GET", field(b"Content-Length: 2", "GET", b"hi"), [("GET", "/", b"hi")], True),
    ("a body of DELETE", field(b"Content-Length: 2", "DELETE", b"hi"), [("DELETE", "/", b"hi")], True),
    ("a body of OPTIONS", field(b"Content-Length: 2", "OPTIONS", b"hi"), [("OPTIONS", "/", b"hi")], True),
    ("a body of HEAD", field(b"Content-Length: 2", "HEAD", b"hi"), [("HEAD", "/", b"hi")], True),
    ("a chunked body of GET", field(b"Transfer-Encoding: chunked", "GET", b"2\r\nhi\r\n0\r\n\r\n"),
     [("GET", "/", b"hi")], True),
    ("a body like a request", length(b" %d" % len(GET), GET) + GET, posted(GET) + ROOT, True),
    ("an expectation of a body already there", POST + b"Expect: 100-CONTINUE\r\nContent-Length: 2\r\n\r\nhi",
     posted(b"hi"), True),
    ("an expectation without a body", field(b"Expect: 100-continue"), ROOT, True),
    ("a coding in capitals", coding(b" CHUNKED", b"2\r\nhi\r\n0\r\n\r\n"), posted(b"hi"), True),
    # chunks
    ("upper and lower hex", CHUNKED + b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", posted(b"0123456789" * 2),
     True),
    ("leading zeros in a chunk size", CHUNKED + b"0000000000000000000002\r\nhi\r\n0\r\n\r\n", posted(b"hi"), True),
    ("a last chunk of many zeros", CHUNKED + b"2\r\nhi\r\n000\r\n\r\n", posted(b"hi"), True),
    ("an extension of the last chunk", CHUNKED + b"2\r\nhi\r\n0;ext\r\n\r\n", posted(b"hi"), True),
    ("an extension", CHUNKED + b"2;a=b\r\nhi\r\n0\r\n\r\n", posted(b"hi"), True),
    ("white space around an extension", CHUNKED + b"2 ; a = b\t;\tc\r\nhi\r\n0\r\n\r\n", posted(b"hi"), True),
    ("a quoted extension", CHUNKED + b"2;a=\"b;\\\"\\\\ \t\x80c\"\r\nhi\r\n0\r\n\r\n", posted(b"hi"), True),
    ("an extension of 4 KiB", CHUNKED + b"2;" + b"a" * 4096 + b"\r\nhi\r\n0\r\n\r\n", posted(b"hi"), True),
    ("CRLF in chunk data", CHUNKED + b"6\r\n\r\n0\r\n\r\r\n0\r\n\r\n", posted(b"\r\n0\r\n\r"), True),
    ("trailers", CHUNKED + b"2\r\nhi\r\n0\r\nX: a\r\nY:\r\n\r\n", posted(b"hi"), True),
    ("trailers that may not be", CHUNKED + b"0\r\nHost: b\r\nContent-Length: 5\r\nTransfer-Encoding: x\r\n\r\n" + GET,
     posted(b"") + ROOT, True),
    # pipelining
    ("200 requests in one segment", b"".join(target(b"/%d" % i) for i in range(200)),
     [("GET", "/%d" % i, b"") for i in range(200)], True),
    ("all kinds of bodies in a row",
     length(b"2", b"hi") + CHUNKED + b"1\r\nx\r\n0\r\nT: u\r\n\r\n" + GET + length(b"0"),
     posted(b"hi") + posted(b"x") + ROOT + posted(b""), True),
]

REFUSED = [
    # Content-Length and Transfer-Encoding
    ("both lengths", POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", [], 400),
    ("both lengths, the other way round", POST + b"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n",
     [], 400),
    ("both lengths, whatever the coding", POST + b"Transfer-Encoding: x\r\nContent-Length: 0\r\n\r\n", [], 400),
    ("Transfer-Encoding in HTTP/1.0", b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", [],
     400),
    ("an empty coding", coding(b""), [], 400),
    ("a coding with parameters", coding(b" chunked;q=1"), [], 400),
    ("chunked twice", coding(b" chunked, chunked"), [], 400),
    ("chunked in two lines", POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", [],
     400),
    ("chunked not last", coding(b" chunked, gzip"), [], 400),
    ("chunked in quotes", coding(b' "chunked"'), [], 400),
    ("an unknown coding alone", coding(b" gzip"), [], 400),
    ("identity", coding(b" identity"), [], 400),
    ("an unknown coding before chunked", coding(b" gzip, chunked"), [], 501),
    ("an unknown coding before chunked, in two lines",
     POST + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", [], 501),
    ("an empty element before chunked", coding(b" , chunked"), [], 400),
    ("an empty element after chunked", coding(b" chunked,"), [], 400),
    ("a space in chunked", coding(b" chun ked"), [], 400),
    ("a negative length", length(b" -1"), [], 400),
    ("a signed length", length(b" +5", b"hello"), [], 400),
    ("a hexadecimal length", length(b" 0x5", b"hello"), [], 400),
    ("an underscore in a length", length(b" 0_5", b"hello"), [], 400),
    ("an empty length", length(b""), [], 400),
    ("a superscript digit", length(b" \xb2", b"hi"), [], 400),
    ("a length of 19 digits", length(b" 0000000000000000005", b"hello"), [], 400),
    ("a length of 5000 digits", length(b" " + b"1" * 5000), [], 400),
    ("a list of equal lengths", length(b" 5, 5", b"hello"), [], 400),
    ("a list of lengths", length(b" 5, 6", b"hello"), [], 400),
    ("equal lengths in two lines", POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", [], 400),
    ("lengths in two lines", POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", [], 400),
    ("a length with nbsp", length(b" 5\xa0", b"hello"), [], 400),
    # chunks
    ("a signed chunk size", CHUNKED + b"+2\r\nhi\r\n0\r\n\r\n", [], 400),
    ("0x in a chunk size", CHUNKED + b"0x2\r\nhi\r\n0\r\n\r\n", [], 400),
    ("an underscore in a chunk size", CHUNKED + b"0_2\r\nhi\r\n0\r\n\r\n", [], 400),
    ("an empty chunk size", CHUNKED + b"\r\nhi\r\n0\r\n\r\n", [], 400),
    ("only an extension", CHUNKED + b";a=b\r\nhi\r\n0\r\n\r\n", [], 400),
    ("a letter in a chunk size", CHUNKED + b"2g\r\nhi\r\n0\r\n\r\n", [], 400),
    ("17 digits of a chunk size", CHUNKED + b"10000000000000002\r\nhi\r\n0\r\n\r\n", [], 400),
    ("a space after a chunk size", CHUNKED + b"2 \r\nhi\r\n0\r\n\r\n", [], 400),
    ("a tab after a chunk size", CHUNKED + b"2\t\r\nhi\r\n0\r\n\r\n", [], 400),
    ("a space before a chunk size", CHUNKED + b" 2\r\nhi\r\n0\r\n\r\n", [], 400),
    ("an extension without a name", CHUNKED + b"2;\r\nhi\r\n0\r\n\r\n", [], 400),
    ("an extension without a value", CHUNKED + b"2;a=\r\nhi\r\n0\r\n\r\n", [], 400),
    ("an extension that is no token", CHUNKED + b"2;a=b c\r\nhi\r\n0\r\n\r\n", [], 400),
    ("an open quote in an extension", CHUNKED + b"2;a=\"b\r\nhi\r\n0\r\n\r\n", [], 400),
    ("CR in an extension", CHUNKED + b"2;a\rb\r\nhi\r\n0\r\n\r\n", [], 400),
    ("NUL in an extension", CHUNKED + b"2;a\x00b\r\nhi\r\n0\r\n\r\n", [], 400),
    ("a control character in a quoted extension", CHUNKED + b"2;a=\"\x01\"\r\nhi\r\n0\r\n\r\n", [], 400),
    ("a chunk longer than its size", CHUNKED + b"2\r\nhiXX0\r\n\r\n", [], 400),
    ("chunk data followed by LF", CHUNKED + b"2\r\nhi\n0\r\n\r\n", [], 400),
    ("chunk data followed by CR alone", CHUNKED + b"2\r\nhi\r0\r\n\r\n", [], 400),
    ("a chunk line ended by LF", CHUNKED + b"2\nhi\r\n0\r\n\r\n", [], 400),
    ("a last chunk ended by LF", CHUNKED + b"2\r\nhi\r\n0\n\r\n", [], 400),
    ("trailers ended by LF", CHUNKED + b"2\r\nhi\r\n0\r\nX: a\n\r\n", [], 400),
    ("LF after the last chunk", CHUNKED + b"0\r\n\n", [], 400),
    ("a malformed trailer", CHUNKED + b"0\r\nX : a\r\n\r\n", [], 400),
    ("a folded trailer", CHUNKED + b"0\r\nX: a\r\n b\r\n\r\n", [], 400),
    ("NUL in a trailer", CHUNKED + b"0\r\nX: \x00\r\n\r\n", [], 400),
    ("a chunk line over 8 KiB", CHUNKED + b"2;" + b"a" * 8300 + b"\r\nhi\r\n0\r\n\r\n", [], 400),
    ("extensions over 64 KiB", CHUNKED + (b"1;" + b"a" * 4000 + b"\r\nx\r\n") * 17 + b"0\r\n\r\n", [], 400),
    ("trailers over 16 KiB", CHUNKED + b"0\r\n" + (b"X: " + b"a" * 1000 + b"\r\n") * 17 + b"\r\n", [], 400),
    # line ends and control characters
    ("LF after the request line", b"GET / HTTP/1.1\nHost: a\r\n\r\n", [], 400),
    ("LF after a field", b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", [], 400),
    ("LF as blank line", b"GET / HTTP/1.1\r\nHost: a\r\n\n", [], 400),
    ("LF everywhere", b"GET / HTTP/1.1\nHost: a\n\n", [], 400),
    ("LF before the request line", b"\n" + GET, [], 400),
    ("CR alone before the request line", b"\r" + GET, [], 400),
    ("CR in the request line", b"GET /\r HTTP/1.1\r\nHost: a\r\n\r\n", [], 400),
    ("CR CR LF", b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", [], 400),
    ("CR in a value", field(b"X: a\rb"), [], 400),
    ("CR in a name", field(b"X\r: a"), [], 400),
    ("NUL in the request line", b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n", [], 400),
    ("NUL in a name", field(b"X\x00: a"), [], 400),
    ("NUL in a value", field(b"X: a\x00"), [], 400),
] + [
    ("%02x in a value" % byte, field(b"X: a%cb" % byte), [], 400)
    for byte in [*range(1, 9), 11, 12, *range(14, 32), 127]
] + [
    ("%02x around chunked" % byte, coding(b" %cchunked%c" % (byte, byte)), [], 400) for byte in (0, 11, 12, 0x85, 0xA0)
] + [
    # field lines
    ("a space before the colon", field(b"X : a"), [], 400),
    ("a tab before the colon", field(b"X\t: a"), [], 400),
    ("a space before the colon of Content-Length", POST + b"Content-Length : 5\r\n\r\nhello", [], 400),
    ("an empty name", field(b": a"), [], 400),
    ("no colon", field(b"X"), [], 400),
    ("a name with a space", field(b"X Y: a"), [], 400),
    ("a folded line", field(b"X: a\r\n b"), [], 400),
    ("a folded line with a tab", field(b"X: a\r\n\tb"), [], 400),
    ("a folded line that is empty", field(b"X: a\r\n "), [], 400),
    ("white space before the first field", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", [], 400),
] + [
    ("%02x in a name" % byte, field(b"X%c: a" % byte), [], 400) for byte in [*b'"(),/;<=>?@[\\]{}', 0x7F, 0x80, 0xFF]
] + [
    # Host
    ("no Host", b"GET / HTTP/1.1\r\n\r\n", [], 400),
    ("no Host with an absolute form", b"GET http://a/ HTTP/1.1\r\n\r\n", [], 400),
    ("no Host in HTTP/1.2", b"GET / HTTP/1.2\r\nX: y\r\n\r\n", [], 400),
    ("two Hosts", field(b"Host: b"), [], 400),
    ("two equal Hosts", field(b"Host: a"), [], 400),
    ("two Hosts in HTTP/1.0", b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", [], 400),
    ("a malformed Host with an absolute form", b"GET http://a/ HTTP/1.1\r\nHost: a b\r\n\r\n", [], 400),
    ("a malformed Host in HTTP/1.0", b"GET / HTTP/1.0\r\nHost: a/b\r\n\r\n", [], 400),
] + [
    ("Host: %s" % value.decode("latin-1"), host(value), [], 400)
    for value in [b"a, b", b"u@a", b"u:p@a", b"a/b", b"a:b", b"a:-1", b"a:99999", b"a:123456", b"a:80:80", b"::1",
                  b"[::1", b"::1]",
                  b"[::1]80", b"[]", b"[a]", b"[1.2.3.4]", b"[::1::]", b"[1:2:3:4:5:6:7:8:9]", b"[1:2:3:4:5:6:7]",
                  b"[::12345]",
                  b"[fe80::1%25eth0]", b"[::1.2.3]", b"[::256.1.1.1]", b"[::01.1.1.1]", b"[v1]", b"[v.a]", b"a b",
                  b"a\tb", b"a#b",
                  b"a?b", b"a<b", b"a>b", b'a"b', b"a\\b", b"a^b", b"a`b", b"a{b", b"a|b", b"a}b", b"a%4", b"a%zz",
                  b"\xe9", b"http://a"]
] + [
    # request lines
    ("two spaces before the target", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", [], 400),
    ("two spaces after the target", b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", [], 400),
    ("tabs for spaces", b"GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n", [], 400),
    ("a space before the method", b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", [], 400),
    ("a space after the version", b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", [], 400),
    ("a space in the target", target(b"/a b"), [], 400),
    ("a word behind the version", b"GET / HTTP/1.1 x\r\nHost: a\r\n\r\n", [], 400),
    ("no target", b"GET HTTP/1.1\r\nHost: a\r\n\r\n", [], 400),
    ("an empty target", b"GET  HTTP/1.1\r\nHost: a\r\n\r\n", [], 400),
    ("a method that is no token", b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", [], 400),
    ("no method", b"/ HTTP/1.1\r\nHost: a\r\n\r\n", [], 400),
    ("a target without a slash", target(b"index.html"), [], 400),
    ("a target ?", target(b"?a"), [], 400),
    ("GET *", target(b"*"), [], 400),
    ("OPTIONS **", target(b"**", b"OPTIONS"), [], 400),
    ("an authority with GET", target(b"a:80"), [], 400),
    ("CONNECT without a port", target(b"a", b"CONNECT"), [], 400),
    ("CONNECT with an empty port", target(b"a:", b"CONNECT"), [], 400),
    ("CONNECT without a host", target(b":80", b"CONNECT"), [], 400),
    ("CONNECT with a path", target(b"/", b"CONNECT"), [], 400),
    ("CONNECT with a URL", target(b"http://a:80/", b"CONNECT"), [], 400),
    ("an absolute form without a host", target(b"http:///x"), [], 400),
    ("an absolute form with only a port", target(b"http://:80/x"), [], 400),
    ("an absolute form with userinfo", target(b"http://u@a/x"), [], 400),
    ("an absolute form with a bad port", target(b"http://a:x/"), [], 400),
    ("an absolute form without slashes", target(b"http:a"), [], 400),
    ("an absolute form with a bad scheme", target(b"1http://a/"), [], 400),
    ("obs-text in a target", target(b"/\xe9"), [], 400),
    ("DEL in a target", target(b"/\x7f"), [], 400),
    ("HTTP/0.9", b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", [], 400),
    ("a simple request", b"GET /\r\n\r\n", [], 400),
    ("no version", b"GET / \r\nHost: a\r\n\r\n", [], 400),
    ("http/1.1", b"GET / http/1.1\r\nHost: a\r\n\r\n", [], 400),
    ("Http/1.1", b"GET / Http/1.1\r\nHost: a\r\n\r\n", [], 400),
    ("HTTP/1.10", b"GET / HTTP/1.10\r\nHost: a\r\n\r\n", [], 400),
    ("HTTP/01.1", b"GET / HTTP/01.1\r\nHost: a\r\n\r\n", [], 400),
    ("HTTP/1,1", b"GET / HTTP/1,1\r\nHost: a\r\n\r\n", [], 400),
    ("HTTP/1", b"GET / HTTP/1\r\nHost: a\r\n\r\n", [], 400),
    ("HTTP/1.x", b"GET / HTTP/1.x\r\nHost: a\r\n\r\n", [], 400),
    ("another protocol", b"GET / ICY/1.1\r\nHost: a\r\n\r\n", [], 400),
    ("HTTP/2.0", b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", [], 505),
    ("HTTP/3.1", b"GET / HTTP/3.1\r\nHost: a\r\n\r\n", [], 505),
    ("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [], 505),
    ("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", [], 400),
    # limits
    ("five empty lines before", b"\r\n" * 5 + GET, [], 400),
    ("a target over 8 KiB", target(b"/" + b"a" * 8192), [], 414),
    ("a request line without an end", b"GET /" + b"a" * 20000, [], 414),
    ("a method without an end", b"G" * 20000, [], 414),
    ("101 fields", b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n" * 100 + b"\r\n", [], 431),
    ("fields over 64 KiB", b"GET / HTTP/1.1\r\n" + HOST + (b"X: " + b"a" * 8000 + b"\r\n") * 9 + b"\r\n", [], 431),
    ("a field over 64 KiB", field(b"X: " + b"a" * 66000), [], 431),
    ("a name without an end", b"GET / HTTP/1.1\r\n" + b"a" * 66000, [], 431),
    ("101 trailers", CHUNKED + b"0\r\n" + b"X: a\r\n" * 101 + b"\r\n", [], 431),
    # expectations
    ("an unknown expectation", POST + b"Expect: 200-ok\r\nContent-Length: 2\r\n\r\nhi", [], 417),
    ("an unknown expectation beside a known one", field(b"Expect: 100-continue, x"), [], 417),
    # after what is good
    ("an error behind a request", GET + b"GET  / HTTP/1.1\r\n\r\n", ROOT, 400),
    ("an error behind three requests", GET + length(b"2", b"hi") + CHUNKED + b"1\r\nx\r\n0\r\n\r\n" + host(b"a b"),
     ROOT + posted(b"hi") + posted(b"x"), 400),
    ("more bytes than Content-Length", length(b"2", b"hi!") + GET, posted(b"hi") + [("!GET", "/", b"")], None),
    ("garbage behind a body", length(b"2", b"hi\x00\x00"), posted(b"hi"), 400),
]
ACCEPTED += [(name, data, requests, True) for name, data, requests, status in REFUSED if status is None]
REFUSED = [row for row in REFUSED if row[3] is not None]

CUT = [
    ("a method", b"GE", []),
    ("a request line", b"GET / HTTP/1.1", []),
    ("a request line with its CR", b"GET / HTTP/1.1\r", []),
    ("fields", b"GET / HTTP/1.1\r\nHost: a\r\n", []),
    ("the blank line", b"GET / HTTP/1.1\r\nHost: a\r\n\r", []),
    ("HTTP/1.0 fields", b"GET / HTTP/1.0\r\n", []),
    ("a body of Content-Length", length(b"5", b"hell"), []),
    ("a body of Content-Length, none of it there", length(b"5"), []),
    ("a chunk size", CHUNKED + b"5", []),
    ("a chunk", CHUNKED + b"5\r\nhel", []),
    ("a chunk's end", CHUNKED + b"5\r\nhello\r", []),
    ("a chunked body without its last chunk", CHUNKED + b"5\r\nhello\r\n", []),
    ("the last chunk", CHUNKED + b"5\r\nhello\r\n0\r\n", []),
    ("trailers", CHUNKED + b"5\r\nhello\r\n0\r\nX: a\r\n", []),
    ("the next request", GET + b"GET /x HTTP/1.1\r\n", ROOT),
    ("a body behind a request", GET + length(b"5", b"hel"), ROOT),
]

# What a client sees. rest: bytes left unread behind an upgrade; "close": the connection cannot be used again, which the
# last response's framing says; "error": BadResponse; "incomplete": the input ended too early; "end": the last body is
# as long as the connection; None: all is well.
OK = b"HTTP/1.1 200 OK\r\n"
HI = OK + b"Content-Length: 2\r\n\r\nhi"
CHUNKED_OK = OK + b"Transfer-Encoding: chunked\r\n\r\n"
HEADERS_ONLY = b"Content-Length: 5\r\n\r\n"

RESPONSES = [
    ("a length", "GET", HI, [(200, b"hi")], None),
    ("a length of 0", "GET", OK + b"Content-Length: 0\r\n\r\n", [(200, b"")], None),
    ("two in a row", "GET", HI + HI, [(200, b"hi")] * 2, None),
    ("chunks", "GET", CHUNKED_OK + b"2\r\nhi\r\n0\r\n\r\n", [(200, b"hi")], None),
    ("chunks with trailers", "GET", CHUNKED_OK + b"2;a=b\r\nhi\r\n0\r\nX: y\r\n\r\n", [(200, b"hi")], None),
    ("until close", "GET", OK + b"\r\nhi", [(200, b"hi")], "end"),
    ("until close, nothing", "GET", OK + b"\r\n", [(200, b"")], "end"),
    ("HTTP/1.0 until close", "GET", b"HTTP/1.0 200 OK\r\n\r\nhi", [(200, b"hi")], "end"),
    ("HTTP/1.0 with a length", "GET", b"HTTP/1.0 200 OK\r\n" + HI[17:], [(200, b"hi")], "close"),
    ("HTTP/1.0 keep-alive", "GET", b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n" + HI[17:], [(200, b"hi")], None),
    ("HTTP/1.0 chunked is never kept", "GET",
     b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n" + CHUNKED_OK[17:] + b"0\r\n\r\n",
     [(200, b"")], "close"),
    ("close", "GET", OK + b"Connection: foo, Close\r\n" + HI[17:], [(200, b"hi")], "close"),
    ("a coding that is not chunked", "GET", OK + b"Transfer-Encoding: gzip\r\n\r\nhi", [(200, b"hi")], "end"),
    ("chunked not last", "GET", OK + b"Transfer-Encoding: chunked, gzip\r\n\r\nhi", [(200, b"hi")], "end"),
    ("an empty coding", "GET", OK + b"Transfer-Encoding:\r\n\r\nhi", [(200, b"hi")], "end"),
    ("an empty coding and a length", "GET", OK + b"Transfer-Encoding:\r\nContent-Length: 2\r\n\r\nhi", [], "error"),
    ("HEAD with a length", "HEAD", (OK + HEADERS_ONLY) * 2, [(200, b"")] * 2, None),
    ("HEAD with a coding", "HEAD", CHUNKED_OK, [(200, b"")], None),
    ("HEAD with neither", "HEAD", OK + b"\r\n", [(200, b"")], None),
    ("204 with a length", "GET", b"HTTP/1.1 204 No Content\r\n" + HEADERS_ONLY + HI, [(204, b""), (200, b"hi")], None),
    ("204 with a coding", "GET", b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n" + HI,
     [(204, b""), (200, b"hi")], None),
    ("304 with a length", "GET", b"HTTP/1.1 304 Not Modified\r\n" + HEADERS_ONLY + HI, [(304, b""), (200, b"hi")],
     None),
    ("interim answers", "GET",
     b"HTTP/1.1 100 Continue\r\n\r\n" * 2 + b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + HI,
     [(100, b""), (100, b""), (103, b""), (200, b"hi")], None),
    ("an interim answer with a length", "GET", b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n" + HI,
     [(100, b""), (200, b"hi")], None),
    ("100 interim answers", "GET", b"HTTP/1.1 102 Processing\r\n\r\n" * 100 + HI, [(102, b"")] * 100 + [(200, b"hi")],
     None),
    ("100 interim answers, twice", "GET", (b"HTTP/1.1 102 Processing\r\n\r\n" * 100 + HI) * 2,
     ([(102, b"")] * 100 + [(200, b"hi")]) * 2, None),
    ("equal lengths", "GET", OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi", [(200, b"hi")], None),
    ("a list of equal lengths", "GET", OK + b"Content-Length: 2, 2\r\n\r\nhi", [(200, b"hi")], None),
    ("an upgrade", "GET", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n\x00\xff",
     [(101, b"")],
     b"\x00\xff"),
    ("CONNECT", "CONNECT", OK + b"Content-Length: 5\r\n\r\n\x00\xff", [(200, b"")], b"\x00\xff"),
    ("CONNECT refused", "CONNECT", b"HTTP/1.1 403 Forbidden\r\n" + HI[17:], [(403, b"hi")], None),
    ("no reason phrase", "GET", b"HTTP/1.1 200 \r\n" + HI[17:], [(200, b"hi")], None),
    ("no reason phrase nor space", "GET", b"HTTP/1.1 200\r\n" + HI[17:], [(200, b"hi")], None),
    ("a long reason phrase", "GET", b"HTTP/1.1 200 \t \xe9 all is well\r\n" + HI[17:], [(200, b"hi")], None),
    ("a status of 599", "GET", b"HTTP/1.1 599 x\r\n" + HI[17:], [(599, b"hi")], None),
    ("a status of 999", "GET", b"HTTP/1.1 999 x\r\n" + HI[17:], [(999, b"hi")], None),
    ("a folded field", "GET", OK + b"X: a\r\n \t b\r\n\t\r\n\tc\r\n" + HI[17:], [(200, b"hi")], None),
    ("Set-Cookie twice", "GET", OK + b"Set-Cookie: a=b\r\nSet-Cookie: c=d, e\r\n" + HI[17:], [(200, b"hi")], None),
    ("HTTP/1.2", "GET", HI.replace(b"1.1", b"1.2"), [(200, b"hi")], None),
    # errors
    ("bytes behind a body", "GET", HI + b"xyz\r\n", [(200, b"hi")], "error"),
    ("an empty response", "GET", b"", [], None),  # the client, which waits for one, makes an error of it
    ("a cut status line", "GET", b"HTTP/1.1 2", [], "incomplete"),
    ("cut headers", "GET", OK + b"Content-Length: 2\r\n", [], "incomplete"),
    ("a cut body", "GET", HI[:-1], [], "incomplete"),
    ("cut chunks", "GET", CHUNKED_OK + b"2\r\nhi\r\n", [], "incomplete"),
    ("a cut last chunk", "GET", CHUNKED_OK + b"2\r\nhi\r\n0\r\n", [], "incomplete"),
    ("both lengths", "GET", CHUNKED_OK[:-2] + b"Content-Length: 2\r\n\r\n", [], "error"),
    ("chunked twice", "GET", OK + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", [], "error"),
    ("gzip, chunked", "GET", OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", [], "error"),
    ("different lengths", "GET", OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi", [], "error"),
    ("a list of different lengths", "GET", OK + b"Content-Length: 2, 3\r\n\r\nhi", [], "error"),
    ("an empty length", "GET", OK + b"Content-Length:\r\n\r\nhi", [], "error"),
    ("a signed length", "GET", OK + b"Content-Length: +2\r\n\r\nhi", [], "error"),
    ("a negative length", "GET", OK + b"Content-Length: -2\r\n\r\nhi", [], "error"),
    ("a signed chunk size", "GET", CHUNKED_OK + b"+2\r\nhi\r\n0\r\n\r\n", [], "error"),
    ("0x in a chunk size", "GET", CHUNKED_OK + b"0x2\r\nhi\r\n0\r\n\r\n", [], "error"),
    ("a space after a chunk size", "GET", CHUNKED_OK + b"2 \r\nhi\r\n0\r\n\r\n", [], "error"),
    ("a chunk longer than its size", "GET", CHUNKED_OK + b"1\r\nhi\r\n0\r\n\r\n", [], "error"),
    ("two digits of status", "GET", b"HTTP/1.1 20 OK\r\n\r\n", [], "error"),
    ("four digits of status", "GET", b"HTTP/1.1 2000 OK\r\n\r\n", [], "error"),
    ("a status of 099", "GET", b"HTTP/1.1 099 OK\r\n\r\n", [], "error"),
    ("a status with a sign", "GET", b"HTTP/1.1 +20 OK\r\n\r\n", [], "error"),
    ("two spaces before the status", "GET", b"HTTP/1.1  200 OK\r\n\r\n", [], "error"),
    ("HTTP/2.0", "GET", b"HTTP/2.0 200 OK\r\n\r\n", [], "error"),
    ("HTTP/2", "GET", b"HTTP/2 200 OK\r\n\r\n", [], "error"),
    ("HTTP/0.9", "GET", b"HTTP/0.9 200 OK\r\n\r\n", [], "error"),
    ("HTTP/1.10", "GET", b"HTTP/1.10 200 OK\r\n\r\n", [], "error"),
    ("ICY", "GET", b"ICY 200 OK\r\n\r\n", [], "error"),
    ("RTSP", "GET", b"RTSP/1.0 200 OK\r\n\r\n", [], "error"),
    ("a page without a head", "GET", b"<html>\r\n", [], "error"),
    ("an empty line first", "GET", b"\r\n" + HI, [], "error"),
    ("a control character in the reason", "GET", b"HTTP/1.1 200 \x01\r\n\r\n", [], "error"),
    ("a bare LF", "GET", b"HTTP/1.1 200 OK\n\n", [], "error"),
    ("a bare LF after a field", "GET", OK + b"X: a\nContent-Length: 2\r\n\r\nhi", [], "error"),
    ("NUL in a value", "GET", OK + b"X: \x00\r\n\r\n", [], "error"),
    ("CR in a value", "GET", OK + b"X: a\rb\r\n\r\n", [], "error"),
    ("a fold before the first field", "GET", OK + b" X: a\r\n\r\n", [], "error"),
    ("a space before the colon", "GET", OK + b"X : a\r\n\r\n", [], "error"),
    ("no colon", "GET", OK + b"X\r\n\r\n", [], "error"),
    ("a head over 64 KiB", "GET", OK + (b"X: " + b"a" * 8000 + b"\r\n") * 9 + b"\r\n", [], "error"),
    ("a head without an end", "GET", OK + b"X: " + b"a" * 70000, [], "error"),
    ("a folded head without an end", "GET", OK + b"X: a\r\n" + b" b\r\n" * 17000, [], "error"),
    ("a status line without an end", "GET", b"HTTP/1.1 200 " + b"a" * 20000, [], "error"),
    ("101 fields", "GET", OK + b"X: a\r\n" * 101 + b"\r\n", [], "error"),
]
