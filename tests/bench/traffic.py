"""The requests that the HTTP benchmarks send: what a bare client, a browser, and two browsers behind a proxy would.

Rules: the same requests in every run, made from one seed. Values that change are random, of changing lengths, and begin
or end alike only by chance, so that nobody gets away with guessing what stays. There are 16 384 different requests in a
scenario, more than any sane cache of header lines holds. Fourteen headers each, in the order the browser sends them.
"""

import random

CONNECTIONS = 64  # that the load generator keeps open
DISTINCT = 16384

CHROME = """\
Host: www.example.com
Connection: keep-alive
sec-ch-ua: "Chromium";v="124", "Google Chrome";v="124", "Not-A.Brand";v="99"
sec-ch-ua-platform: "Linux"
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8
Sec-Fetch-Site: same-origin
Sec-Fetch-Mode: navigate
Sec-Fetch-Dest: document
Referer: https://www.example.com/%(referer)s
Accept-Encoding: gzip, deflate, br, zstd
Accept-Language: en-GB,en;q=0.9,de;q=0.8
If-None-Match: "%(etag)s"
Cookie: theme=dark; session=%(session)s; consent=1
"""

FIREFOX = """\
Host: www.example.com
User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:125.0) Gecko/20100101 Firefox/125.0
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8
Accept-Language: fr-FR,fr;q=0.8,en-US;q=0.5,en;q=0.3
Accept-Encoding: gzip, deflate, br
Referer: https://www.example.com/%(referer)s
DNT: 1
Connection: keep-alive
Cookie: session=%(session)s
Upgrade-Insecure-Requests: 1
Sec-Fetch-Dest: document
Sec-Fetch-Mode: navigate
Sec-Fetch-Site: same-origin
Priority: u=0, i
"""

WORDS = "about archive article basket blog cart contact docs download faq forum gallery help index media news".split()
CONSTANT = {"referer": "news/index", "etag": "5f2c-61a8b", "session": "c0ffee00c0ffee00"}
VALUES = {
    "referer": lambda pick: "%s/%s" % (pick.choice(WORDS), page(pick)),
    "etag": lambda pick: "%x-%x" % (pick.getrandbits(16), pick.getrandbits(20)),
    "session": lambda pick: "%016x" % pick.getrandbits(64),
}


def page(pick):
    return "%s-%d" % (pick.choice(WORDS), pick.randrange(10 ** pick.randint(3, 7)))


def requests_of(header_sets, *changing):
    """Yield DISTINCT requests: each with a new path, the header sets in turn, new values in the `changing` headers.

    wrk does not tell a script which connection a request is for, but serves them in turn. So a set is kept for a whole
    round of the connections: a server that takes 10 us a request then sees the other set on 98 of 100 requests (85 to
    91 where it is as fast as RAW), where a plain A B A B gave anything from 8 to 93.
    """
    pick = random.Random(20)
    for number in range(DISTINCT):
        values = dict(CONSTANT, **{name: VALUES[name](pick) for name in changing})
        headers = header_sets[number // CONNECTIONS % len(header_sets)] % values
        yield "GET /%s/%s HTTP/1.1\n%s\n" % (pick.choice(WORDS), page(pick), headers)


BARE = "GET %s HTTP/1.1\nHost: www.example.com\n\n"

# Scenario: its requests. A list of one is sent for ever.
SCENARIOS = {
    "bare": lambda: [BARE % "/"],
    "browser": lambda: requests_of([CHROME], "referer"),
    "three": lambda: requests_of([CHROME], "referer", "etag", "session"),
    "alternating": lambda: requests_of([CHROME, FIREFOX]),
    "headers": lambda: [BARE % "/headers"],
    "stream": lambda: [BARE % "/stream"],
    "close": lambda: [(BARE % "/").replace("\n\n", "\nConnection: close\n\n")],
    "http10": lambda: [(BARE % "/").replace("1.1", "1.0")],
}
