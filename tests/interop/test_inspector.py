"""The inspector's page in Chromium: programs at work are shown as they are, and what is read stays while it is drawn anew.

Pictures of it, light, dark and narrow, go to a folder of the test's own; ICEY_PICTURES names another one, to look at them.
"""
import json
import os
import re
import sys
import urllib.request

import pytest

import icey
from icey.tools.inspect import Inspector
from tests.support import ROOT, streams

EXAMPLES = os.path.join(ROOT, "examples")
SHOWN = r"(?:shown on|Inspect it at) (http://127\.0\.0\.1:\d+/)"
PIPELINE = """import sys; sys.path.insert(0, %r)
import pipeline; pipeline.FRAMES, pipeline.next_frame = 1 << 30, lambda number: pipeline.memory; pipeline.main()""" % EXAMPLES
LEAKING = """import icey
with icey.Loop() as loop:
    kept = []
    icey.Timer(loop, 0.05, lambda timer: kept.append(loop.call_later(3600, print)), interval=0.05).start()
    icey.run(loop)"""
SIZES = {"light": (1280, 1400), "dark": (1280, 1400), "narrow": (400, 1600)}


@pytest.fixture
def inspected(program):
    """inspected(*arguments) runs a Python with an inspector, on a port that is free: (Program, the inspector's URL)."""
    def inspected(*arguments, environ=True):
        env = dict(os.environ, ICEY_INSPECT="127.0.0.1:0") if environ else None
        started = program(sys.executable, "-u", *arguments, cwd=ROOT, env=env)
        return started, started.expect(SHOWN).group(1)
    return inspected


@pytest.fixture
def show(window, folder):
    """show(url, kind="light") -> the page of an inspector, once it has told of rates."""
    def show(url, kind="light"):
        page = window(*SIZES[kind])
        if kind == "dark":
            page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
        page.go(url)
        page.until("last !== null && last.loop.turns !== null")
        return page
    return show


@pytest.fixture
def inspector(loop):
    """An inspector of the loop of the test."""
    inspector = Inspector(loop)
    yield inspector
    inspector.abort()
    streams.turn(loop, 2)


def state_of(url):
    with urllib.request.urlopen(url + "state.json", timeout=20) as answer:
        return json.loads(answer.read().decode())


def look(page, name, folder):
    """Nothing is red, nothing wider than the window; a picture of it."""
    place = os.environ.get("ICEY_PICTURES") or folder
    with open(os.path.join(place, name + ".png"), "wb") as file:
        file.write(page.screenshot())
    assert page.errors == []
    assert page.run("document.documentElement.scrollWidth <= innerWidth")


def text(selector):
    return "document.querySelector(%r).textContent" % selector


# programs at work

@pytest.mark.parametrize("kind", sorted(SIZES))
def test_a_pipeline_is_drawn_as_its_graph_and_moves(inspected, show, aside, folder, kind):
    started, url = inspected("-c", PIPELINE)
    page = show(url, kind)
    page.until("/camera.* active .* packets.s/.test(%s)" % text("#graph"))
    told = page.run("last.streams")
    assert sorted(stream["name"] for stream in told) == ["camera", "delivery", "detection"]
    drawn = page.run(text("#graph"))
    for stream in told:
        for stage in stream["stages"]:
            assert stage["kind"] in drawn
    assert page.run("document.querySelectorAll('#graph .dot').length") > 0
    page.until("/ dropped/.test(%s) && /boundary/.test(%s)" % (text("#graph"), text("#graph")))
    dots = page.run("window.dot = document.querySelector('#graph .dot'); last.streams.length")
    page.until("last.streams[0].entered > %d" % (told[0]["entered"] or 0))
    assert dots == 3 and page.run("window.dot.isConnected"), "what moves moves on"
    state = aside(state_of, url)
    counts = {stream["name"]: stream["entered"] for stream in state["streams"]}
    assert counts["camera"] >= counts["delivery"] > 0 and counts["detection"] <= counts["camera"]
    dark = sum(page.shot(0, 300, 5, 5)[0][0]) < 128
    assert dark is (kind == "dark")
    look(page, "pipeline-" + kind, folder)


def test_a_chat_and_its_websockets(inspected, show, window, folder):
    started, url = inspected(os.path.join(EXAMPLES, "chat_ws.py"))
    guests = [window(), window()]
    for guest in guests:
        guest.go(_site(started, url))
        guest.until("!button.disabled")
    page = show(url)
    page.until("document.querySelectorAll('#websockets tbody tr').length === 2")
    assert "2 upgraded" in page.run(text("#servers"))
    guests[0].close()
    page.until("document.querySelectorAll('#websockets tbody tr').length === 1")
    look(page, "chat", folder)


def _site(started, inspector):
    """The URL of what `started` serves."""
    return [url for url in re.findall(r"http://127\.0\.0\.1:\d+/", started.said) if url != inspector][0]


@pytest.mark.tool("wrk")
def test_serve_under_load(inspected, program, site, show, aside, folder):
    started, url = inspected("-m", "icey", "serve", site, "0", "-q", "--inspect", "0", environ=False)
    served = _site(started, url)
    page = show(url)
    load = program("wrk", "-t1", "-c20", "-d8s", served + "hello.txt")
    page.until("last.servers[0].accepted >= 20 && last.loop.turns > 100 && last.loop.busy > 0.05")
    assert page.run("Object.values(last.servers[0].states).reduce((sum, count) => sum + count, 0)") == 20
    look(page, "load", folder)
    kinds = {row["kind"]: row["count"] for row in aside(state_of, url)["kinds"]}
    assert kinds["TCPSocket"] == 20 and kinds["Server"] == 1
    load.end()


def test_a_program_that_leaks_is_seen(inspected, show, folder):
    started, url = inspected("-c", LEAKING)
    page = show(url)
    first = page.run("last.loop.timers")
    page.until("last.loop.timers > %d + 30" % first)
    page.until("/%s Timer/.test(%s)" % ("[0-9]+", text("#kinds")))
    look(page, "leaking", folder)


def test_a_program_that_ends_is_told_as_gone(inspected, show, folder):
    started, url = inspected("-c", LEAKING)
    page = show(url)
    started.process.terminate()
    page.until("%s.startsWith('lost')" % text("#live"))
    assert started.wait() == 0 and "Warning" not in started.said and "Traceback" not in started.said


# the page itself

def test_what_is_read_stays_while_it_is_drawn_anew(loop, inspector, show, folder):
    server = icey.http.Server(loop, "127.0.0.1", 0)
    server.on_request += lambda exchange: None
    server.start()
    wide = icey.PacketStream("wide")
    for number in range(20):
        wide.attach(Wide(), number)
    wide.start()
    page = show(inspector.url, "narrow")
    page.until("document.querySelector('#handles summary') !== null")
    page.run("document.querySelector('#handles summary').click(), document.querySelector('#handles summary').focus()")
    page.run("at('graph').scrollLeft = 500")
    page.run("window.before = lastAt, window.row = document.querySelector('#handles details')")
    for _ in range(2):
        loop.call_later(3600, print).unref()  # the table has to be drawn anew
        page.until("lastAt > window.before && !(window.before = 0)")
        page.run("window.before = lastAt")
        page.until("lastAt > window.before")
    assert page.run("!window.row.isConnected"), "it was drawn anew"
    assert page.run("document.querySelector('#handles details').open")
    assert page.run("document.activeElement === document.querySelector('#handles summary')")
    assert page.run("at('graph').scrollLeft") == 500
    page.run("at('pause').click()")
    page.until("waits !== null")
    told = page.run(text("#loop"))
    page.until("waits !== last && JSON.stringify(waits) !== JSON.stringify(last)")
    assert page.run(text("#loop")) == told and page.run("at('pause').ariaPressed") == "true"
    page.run("at('pause').click()")
    page.until("waits === null && last !== null")
    look(page, "opened", folder)
    wide.close()
    server.close()


class Wide(icey.PacketProcessor):
    def process(self, packet):
        self.emit(packet)


def test_ten_thousand_handles_two_hundred_streams_and_strange_names(loop, inspector, show, folder):
    timers = [loop.call_later(3600 + number, print) for number in range(10_000)]
    made = [icey.PacketStream("<img src=x onerror=alert(1)>" if not number else "\u202e\u05d0\u05d1 %d " % number + "x" * 400)
            for number in range(200)]
    for stream in made:
        inspector.watch("<b>%s" % stream.name, stream)
    inspector.watch("</script><script>alert(1)</script>", timers[0])
    page = show(inspector.url, "narrow")
    page.until("document.querySelectorAll('#handles tbody tr').length === 100")
    assert page.run("last.loop.handles") >= 10_000 and page.run("last.streams.length") == 100
    assert page.run("document.querySelectorAll('main img, main b:not(.figure b), main script').length") == 0
    assert page.run("[...document.querySelectorAll('#graph text')].filter(one => /^\u2068.*\u2069.* none$/.test("
                    "one.textContent)).length") == 100, "no name turns its neighbours round"
    assert "<b><img src=x" in page.run(text("#graph")) and "10,00" in page.run(text("#loop"))
    assert page.run("document.querySelectorAll('*').length") < 20_000
    look(page, "many", folder)
    for timer in timers:
        timer.stop()
    for stream in made:
        stream.close()


def test_nothing_moves_where_less_motion_is_wanted(loop, inspector, window):
    stream = icey.PacketStream("s")
    stream.start()
    timer = icey.Timer(loop, 0.01, lambda timer: stream.write(b"x"), interval=0.01).start()
    page = window(800, 600)
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "reduce"}])
    page.go(inspector.url)
    page.until("/packets.s/.test(%s)" % text("#graph"))
    assert page.run("document.querySelectorAll('#graph .dot').length") == 0 and page.errors == []
    timer.stop()
    stream.close()


def test_pages_of_others_cannot_look(loop, inspector, window):
    other = icey.http.Server(loop, "127.0.0.1", 0)
    other.on_request += lambda exchange: exchange.respond(200, b"<p>other", "text/html")
    other.start()
    page = window()
    page.go("http://%s/" % other.address)
    for way in ("fetch(%r)", "fetch(%r, {mode: 'no-cors'}).then(answer => answer.type === 'opaque' ? 'opaque' : 'read')",
                "new Promise(done => { const it = new EventSource(%r); it.onmessage = () => done('read');"
                " it.onerror = () => done('refused') })"):
        told = page.run("(%s).then(it => String(it), () => 'refused')" % way % (inspector.url + "events"))
        assert told in ("refused", "opaque"), way
    page.run("document.body.append(Object.assign(document.createElement('iframe'), {src: %r}))" % inspector.url)
    page.until("document.querySelector('iframe').contentDocument === null")
    assert not inspector.picture()["loop"]["errors"]
    other.close()


def test_a_token_is_asked_for_and_goes_along(loop, show, window, folder):
    inspector = Inspector(loop, token="abc1")
    page = show(inspector.url)
    assert page.run(text("#live")) == "\u25cf live" and page.errors == []
    bare = window()
    bare.go(inspector.url.partition("?")[0])
    assert "a token is asked for" in bare.run("document.body.textContent")
    inspector.abort()
    streams.turn(loop, 2)
