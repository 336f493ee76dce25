"""What the parser's tests and the fuzzers share: records of what a parser tells, ways to cut input, messages to cut.

    record(b"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")      -> [("request", "GET", "/", ...), ...]
    record([b"GET / HT", b"TP/1.1\\r\\n..."])          -> the same record
    stream(rng)                                     -> a connection's worth of requests, most of them valid
    answers(rng, "GET")                             -> a connection's worth of responses to requests of that method

A record is the same for the same messages however they came: the pieces of a body are joined, and an error, the end in
the middle of a message and bytes that stay unconsumed behind an upgrade are its last entry.

Rules: standard library only, since the fuzzers run without anything installed.
"""
from icey.base.errors import HttpError, IncompleteBody
from icey.base.limits import DEFAULTS
from icey.base.state import watched
from icey.http.http1.observer import ParserObserver
from icey.http.http1.parser import Parser


class Stuck(Exception):
    """A parser that was not held used nothing of its input."""


class Recorder(ParserObserver):
    """The observer of a parser; `events` is the record. hold: called after each event, True holds the parser."""

    def __init__(self, hold=None):
        self.events = []
        self.parser = None
        self.held = False
        self.strict = False
        self._hold = hold
        self._body = None

    def on_head(self, message):
        framing = self.parser.framing
        said = (framing.length, framing.keep_alive, framing.expect, framing.upgrade, framing.plain)
        fields = tuple(message.headers.items())
        if hasattr(message, "method"):
            self.events.append(("request", message.method, message.target, message.version, fields, said))
        else:
            self.events.append(("response", message.status, message.reason, message.version, fields, said))
        if self.strict:
            self.parser._irregular = True
        return self._whether()

    def on_body(self, view):
        if self._body is None:
            self._body = bytearray()
            self.events.append(("body", self._body))
        self._body += view
        return self._whether()

    def on_end_of_body(self):
        if self._body is not None:
            self.events[-1] = ("body", bytes(self._body))
            self._body = None
        self.events.append(("end", tuple(self.parser.trailers)))
        return self._whether()

    def _whether(self):
        hold = self._hold is not None and self._hold()
        self.held = self.held or hold
        return hold


def parser_for(recorder, *, strict=False, method="GET", **options):
    """A parser that tells `recorder`. strict: only the strict reader reads heads, nothing is remembered.

    Each of its moves from state to state is checked against its table.
    """
    parser = recorder.parser = watched(Parser)(recorder, **options)
    parser.request_method = method
    recorder.strict = strict
    if strict:
        parser._irregular = True
    return parser


def feed(recorder, pieces, end=True):
    """Feeds all of `pieces` to the recorder's parser, again what it was held from; returns the record."""
    parser, events = recorder.parser, recorder.events
    rest = None
    try:
        for piece in pieces:
            if rest is not None:
                rest += piece
                continue
            while piece:
                recorder.held = False
                used = parser.feed(piece)
                if used < len(piece) and not recorder.held:
                    rest = bytearray(piece[used:])
                    break
                if not used:
                    raise Stuck("held without having used anything")
                piece = piece[used:]
        if rest is None and end:
            parser.end()
    except HttpError as exc:
        kind = "incomplete" if type(exc) is IncompleteBody else "error"
        events.append((kind, type(exc).__name__, exc.status, exc.reason))
    if rest is not None:
        events.append(("unconsumed", bytes(rest)))
    return events


def record(pieces, *, hold=None, end=True, **options):
    """What a fresh parser tells of `pieces` (bytes, or a sequence of them)."""
    recorder = Recorder(hold)
    parser_for(recorder, **options)
    return feed(recorder, [pieces] if isinstance(pieces, bytes) else pieces, end)


def outcome(events):
    """The status of the error that ends a record, "incomplete", or None."""
    last = events[-1] if events else ("nothing",)
    return last[2] if last[0] == "error" else "incomplete" if last[0] == "incomplete" else None


class Answers:
    """What a client makes of the bytes a server sent: `found` has (status, fields, body) of each final answer.

    methods: of the requests, in order; an answer beyond them is taken for one to GET. HttpError: it is no HTTP, or cut.
    """

    def __init__(self, data, methods):
        self.found = []
        self.interim = []
        self._methods = iter(methods)
        self._parser = Parser(self, responses=True)
        self._turn()
        self.unread = len(data) - self._parser.feed(data)
        self._parser.end()

    def on_head(self, response):
        if response.status >= 200:
            self.found.append((response.status, dict(response.headers.items()), b""))
            if not self._parser.framing.length:
                self._turn()
        else:
            self.interim.append(response.status)

    def on_body(self, view):
        status, fields, body = self.found[-1]
        self.found[-1] = (status, fields, body + view)

    def on_end_of_body(self):
        self._turn()

    def _turn(self):
        self._parser.request_method = next(self._methods, "GET")


# ways to cut

def bytewise(data):
    """Byte by byte."""
    return [data[i:i + 1] for i in range(len(data))]


def cut(data, places):
    """Cut at `places`, ascending."""
    edges = [0, *places, len(data)]
    return [data[a:b] for a, b in zip(edges, edges[1:]) if a < b]


def random_cuts(rng, data, most=5):
    """Cut at up to `most` random places."""
    size = len(data)
    return cut(data, sorted(int(rng.random() * size) for _ in range(1 + int(rng.random() * most))))


# what to cut

BROWSER = [
    ("Host", "www.example.com"), ("Connection", "keep-alive"),
    ("sec-ch-ua", '"Chromium";v="128", "Not;A=Brand";v="24"'),
    ("sec-ch-ua-mobile", "?0"), ("Upgrade-Insecure-Requests", "1"), ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64)"),
    ("Accept", "text/html,application/xhtml+xml,*/*;q=0.8"), ("Sec-Fetch-Site", "same-origin"),
    ("Referer", "http://www.example.com/index.html"), ("Accept-Encoding", "gzip, deflate, br"),
    ("Accept-Language", "en-GB,en;q=0.9"), ("Cookie", "session=0123456789abcdef"), ("X-Request-Id", "0"),
    ("If-None-Match", '"tag"'),
]
BARE = [("Host", "localhost:8080"), ("User-Agent", "wrk"), ("X-Id", "1"), ("X-Other", "2"),
        ("Authorization", "Basic YTpi")]
POSTED = BARE + [("Content-Length", "5"), ("Connection", "keep-alive"), ("Expect", "100-continue"), ("Upgrade", "x")]
FRAMED = {  # what these may vary to in their place
    "Host": ["a", "b:1", "c", "", "[::1]", "a b"],
    "Connection": ["keep-alive", "close", "upgrade", "x", ""],
    "Content-Length": ["0", "5", "005", "0", "5", "005", "+5"],
    "Expect": ["100-continue", "100-Continue", "100-continue", "x"],
    "Upgrade": ["x", "", "websocket"],
}

METHODS = ["GET", "GET", "GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "PURGE", "get", "M-SEARCH",
           "a!#$%&'*+-.^_`|~"]
TARGETS = ["/", "/index.html", "/a/b?c=d", "/%7Euser", "/{}|^[]`\"<>\\", "//x", "/?", "http://www.example.com/x?y",
           "http://[::1]:80", "HTTP://a", "*", "/#", "/" + "t" * 300]
VERSIONS = ["1.1"] * 12 + ["1.0", "1.0", "1.2", "1.9"]
VALUES = ["", "1", "two words", "tab\there", "caf\xe9", "\xa0nbsp\xa0", "soft\xadhyphen", "\x85", " lead", "trail  ",
          "\t both \t",
          "x" * 200, "y" * 300, "a,b,,c", '"quoted"', ":", "a: b", "\xff\xfe"]
FRAMING = [
    ("Content-Length", "0"), ("Content-Length", "5"), ("content-length", "005"), ("Transfer-Encoding", "chunked"),
    ("transfer-encoding", "\tChunked "), ("Connection", "close"), ("Connection", "keep-alive, foo"),
    ("connection", "Upgrade"),
    ("Connection", "closed-loop"), ("Upgrade", "h2c"), ("Upgrade", "websocket"), ("Expect", "100-continue"),
    ("Expect", "100-Continue"), ("Host", "other:1"), ("Host", ""), ("TE", "trailers"), ("Trailer", "x"),
    ("Keep-Alive", "300"),
]
BAD_FIELDS = [
    "Content-Length: +5", "Content-Length: 5, 5", "Content-Length: ", "Content-Length: 0x5",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: chunked, chunked", "Transfer-Encoding: x", "Transfer-Encoding:", "Host: a b", "Host: u@h",
    "Host: [::1",
    "X : y", " X: y", "\tX: y", ": y", "X", "X\x00: y", "X: a\x00b", "X: a\nY: b", "X: a\rb", "X: a\x7f", "X: a\x0b",
    "X: a\x0c", "Expect: 200-ok", "\xe9: a", "X: a\r", "X:\n", "(): a", "X\t: y",
]
CHUNKS = [b"5\r\nhello\r\n0\r\n\r\n", b"0\r\n\r\n",
          b"1;a=b\r\nx\r\n2 ; q=\"\\\"\"\r\nyz\r\n000\r\nT: u\r\nHost: v\r\n\r\n",
          b"A\r\n0123456789\r\n0;last\r\n\r\n", b"a\r\n\r\n\r\n\r\n\r\n\r\n\r\n0\r\n\r\n"]
BAD_CHUNKS = [b"+5\r\nhello\r\n0\r\n\r\n", b"5 \r\nhello\r\n0\r\n\r\n", b"5\nhello\r\n0\r\n\r\n",
              b"5\r\nhelloXX0\r\n\r\n",
              b"5;\r\nhello\r\n0\r\n\r\n", b"0\r\nX : y\r\n\r\n", b"0x5\r\nhello\r\n0\r\n\r\n", b"\r\n"]


STATUS_LINES = ["HTTP/1.1 200 OK"] * 8 + [
    "HTTP/1.1 404 Not Found", "HTTP/1.1 204 No Content", "HTTP/1.1 304 Not Modified", "HTTP/1.1 500 ", "HTTP/1.1 599",
    "HTTP/1.0 200 OK", "HTTP/1.0 200 Connection established", "HTTP/1.9 200 OK", "HTTP/1.1 200 caf\xe9", "HTTP/1.1 999 \t",
    "HTTP/1.1 100 Continue", "HTTP/1.1 103 Early Hints", "HTTP/1.1 101 Switching Protocols",
]
BAD_STATUS_LINES = ["HTTP/2.0 200 OK", "HTTP/1.1 099 OK", "HTTP/1.1 20 OK", "HTTP/1.1  200 OK", "HTTP/1.1 200\tOK", "HTTP/1.1",
                    "http/1.1 200 OK", "HTTP/1.1 200 a\x7f", "HTTP/1.1 200 a\nb", "GET / HTTP/1.1", "", " HTTP/1.1 200 OK"]
SERVED = [
    ("Server", "nginx/1.27"), ("Date", "Sun, 06 Nov 1994 08:49:37 GMT"), ("Content-Type", "text/html; charset=utf-8"),
    ("Content-Length", "5"), ("Connection", "keep-alive"), ("ETag", '"5"'), ("Set-Cookie", "session=0123456789abcdef"),
    ("Set-Cookie", "other=1"), ("X-Request-Id", "0"),
]
PLAIN = [("Server", "icey"), ("Date", "Sun, 06 Nov 1994 08:49:37 GMT"), ("Content-Length", "5")]
FRAMED_ANSWERS = {
    "Content-Length": ["5", "0", "005", "5", "+5", "5, 5"],
    "Connection": ["keep-alive", "close", "Keep-Alive, x", "upgrade", ""],
}
FRAMING_OF_ANSWERS = [
    ("Content-Length", "5"), ("Transfer-Encoding", "chunked"), ("transfer-encoding", " Chunked\t"), ("Connection", "close"),
    ("Transfer-Encoding", "gzip"), ("Upgrade", "websocket"), ("Trailer", "x"), ("Keep-Alive", "timeout=5"),
]


def answer(rng, base, wild, method):
    """One response to a request of `method`, its body included where its framing headers announce one."""
    fields = list(base)
    for index, (name, value) in enumerate(base):
        if name == "Date" and rng.random() < 0.3:
            fields[index] = (name, value.replace("37", "%02d" % rng.randrange(60)))
        elif name in FRAMED_ANSWERS and rng.random() < wild:
            fields[index] = (name, rng.choice(FRAMED_ANSWERS[name]))
        elif name in ("ETag", "X-Request-Id") and rng.random() < 0.3:
            fields[index] = (name, "%d" % rng.randrange(1000) if rng.random() > wild else rng.choice(VALUES))
    if rng.random() < wild:
        index = rng.randrange(len(fields))
        done = rng.randrange(4)
        if done == 0:
            del fields[index]
        elif done == 1:
            fields.append(fields[index])
        elif done == 2:
            fields[index] = (fields[index][0].swapcase(), fields[index][1])
        else:
            fields.insert(index, rng.choice(FRAMING_OF_ANSWERS))
    lines = [name + ": " + value for name, value in fields]
    if lines and rng.random() < wild * 0.3:
        lines.insert(rng.randrange(len(lines) + 1), rng.choice([" folded", "\tfolded: 5", " ", *BAD_FIELDS]))
    first = rng.choice(STATUS_LINES) if rng.random() < wild else STATUS_LINES[0]
    if rng.random() < wild * 0.1:
        first = rng.choice(BAD_STATUS_LINES)
    data = "\r\n".join([first, *lines, "", ""]).encode("latin-1")
    folded = [line.lower().replace(" ", "").replace("\t", "") for line in lines]
    status = first.split(" ")[1:2]
    if method == "HEAD" or status in (["204"], ["304"]) or status[:1] < ["200"]:
        return data
    if "transfer-encoding:chunked" in folded:
        return data + rng.choice(CHUNKS if rng.random() > 0.1 else BAD_CHUNKS)
    return data + b"hello" * ("content-length:5" in folded or "content-length:005" in folded)


def answers(rng, method, most=20):
    """The responses of one connection to requests of `method`: a list of bytes."""
    base = rng.choice([SERVED, SERVED[:6], PLAIN])
    wild = rng.choice([0.0, 0.05, 0.2, 0.5])
    made = []
    for _ in range(rng.randrange(1, most + 1)):
        made.append(rng.choice(made[-3:]) if made and rng.random() < 0.25 else answer(rng, base, wild, method))
    return made


def lines_of(rng, base, wild, places):
    """The field lines of one request: `base` with values that vary at `places`; wild: how often odd things are done."""
    fields = list(base)
    for index in places if rng.random() < 0.8 else [rng.randrange(len(fields))]:  # what a template's holes are for
        name = fields[index][0]
        if name not in FRAMED:
            fields[index] = (name, "%d" % rng.randrange(100) if rng.random() < 0.7 else rng.choice(VALUES))
        elif rng.random() < 0.4:
            fields[index] = (name, rng.choice(FRAMED[name]))
    if rng.random() < wild:
        done = rng.randrange(9)
        index = rng.randrange(len(fields))
        name, value = fields[index]
        if done == 0:
            del fields[index]
        elif done == 1:
            fields.insert(index, fields.pop())
        elif done == 2:
            fields.append((name, value))
        elif done == 3:
            fields[index] = (rng.choice([name.upper(), name.lower(), "X-" + name]), value)
        elif done == 4:
            fields.insert(index, ("X-New", rng.choice(VALUES)))
        else:
            fields.insert(index, rng.choice(FRAMING))
            if rng.random() < 0.2:
                fields.insert(0, rng.choice(FRAMING))
    lines = [name + ": " + value for name, value in fields]
    if rng.random() < wild:
        index = rng.randrange(len(fields))
        lines[index] = rng.choice([":", ":  ", ":\t", " :"]).join(fields[index])
    if rng.random() < wild * 0.2:
        lines.insert(rng.randrange(len(lines) + 1), rng.choice(BAD_FIELDS))
    return lines


def request(rng, base, wild, places):
    """One request, its body included where its framing headers ask for one."""
    lines = lines_of(rng, base, wild, places)
    odd = rng.random() < wild
    method = rng.choice(METHODS) if odd else "GET"
    target = rng.choice(TARGETS) if odd or rng.random() < 0.5 else "/item/%d" % rng.randrange(30)
    version = rng.choice(VERSIONS) if odd else "1.1"
    data = ("%s %s HTTP/%s\r\n%s\r\n\r\n" % (method, target, version, "\r\n".join(lines))).encode("latin-1")
    folded = [line.lower().replace(" ", "").replace("\t", "") for line in lines]
    if "transfer-encoding:chunked" in folded:
        data += rng.choice(CHUNKS if rng.random() > 0.1 else BAD_CHUNKS)
    elif "content-length:5" in folded or "content-length:005" in folded:
        data += b"hello"
    if rng.random() < wild * 0.1:
        data = b"\r\n" * rng.randrange(1, 6) + data
    return data


def stream(rng, most=30):
    """The requests of one connection: a list of bytes."""
    base = rng.choice([BROWSER, BARE, POSTED])
    if rng.random() < 0.3:
        base = rng.sample(base, len(base))
    wild = rng.choice([0.0, 0.02, 0.1, 0.3])
    places = rng.sample(range(len(base)), rng.randrange(4))
    made = []
    for _ in range(rng.randrange(1, most + 1)):
        made.append(rng.choice(made[-3:]) if made and rng.random() < 0.25 else request(rng, base, wild, places))
    return made


def limits_near(rng, messages):
    """Limits at which one of `messages` (the longest, or any) just passes or just fails; the defaults for some."""
    message = max(messages, key=len) if rng.random() < 0.6 else rng.choice(messages)
    head, _, _ = message.partition(b"\r\n\r\n")
    line, _, block = head.lstrip(b"\r\n").partition(b"\r\n")
    target = line.partition(b" ")[2].rpartition(b" ")[0]
    which, less = rng.randrange(4), rng.randrange(2)
    if which == 0:
        return DEFAULTS.replace(max_head=max(0, len(block) + 4 - less))
    if which == 1:
        return DEFAULTS.replace(max_fields=max(0, block.count(b"\r\n") + 1 - less))
    if which == 2:
        return DEFAULTS.replace(max_target=max(0, len(target) - less))
    return DEFAULTS
