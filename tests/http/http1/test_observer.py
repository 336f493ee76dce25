"""ParserObserver: a base class that ignores everything and never holds."""
from icey.http import Parser
from icey.http.http1.observer import ParserObserver


def test_an_observer_that_overrides_nothing_lets_all_go_by():
    parser = Parser(ParserObserver())
    data = (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert parser.feed(data) == len(data) and parser.idle


def test_what_it_returns_is_that_it_does_not_hold():
    observer = ParserObserver()
    assert (observer.on_head(None), observer.on_body(memoryview(b"x")), observer.on_end_of_body()) == (False, False, False)
