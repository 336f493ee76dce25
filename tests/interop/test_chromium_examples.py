"""Every example with a page, in Chromium: the page says nothing in red, and does what it is there for."""
import importlib.util
import os
import socket
import sys
import time

import pytest

import icey
from tests.support import ROOT, programs

EXAMPLES = os.path.join(ROOT, "examples")
EVENTS = 'const source = new EventSource("/events"); source.addEventListener("sample", event => seen.push(+event.lastEventId))'


def imported(name):
    """The module of an example."""
    spec = importlib.util.spec_from_file_location("example_" + name, os.path.join(EXAMPLES, name + ".py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


stream_sse, mjpeg = imported("stream_sse"), imported("mjpeg")


@pytest.fixture
def watch():
    return stream_sse.Watch()


@pytest.fixture
def loop(watch):
    """Instead of the one of all tests: it looks at itself, as the one of stream_sse does."""
    reports = []
    with icey.Loop(selector=watch) as loop:
        loop.on_error += lambda loop, exc, handle: reports.append(exc)
        yield loop
        for handle in loop.handles:
            handle.abort()
        loop.run()
    assert reports == []


@pytest.fixture
def example(start):
    """example(name, *flags) runs it as its docstring says: a Server."""
    return lambda name, *flags: start(sys.executable, "-u", os.path.join(EXAMPLES, name + ".py"), *flags, cwd=ROOT)


def colours(rows):
    return {colour for row in rows for colour in row}


# chat_ws: two pages talk

SAID = "[...document.querySelectorAll('li')].map(item => [item.className, item.innerText])"


def say(page, text):
    page.run("(input.value = %r, form.requestSubmit())" % text)


def test_chat_between_two_windows(example, window):
    server = example("chat_ws")
    ada, bob = window(), window()
    ada.go(server.url)
    ada.until("!button.disabled && me === 'guest 1'")
    bob.go(server.url)
    bob.until("me === 'guest 2'")
    ada.until("document.getElementById('names').textContent === 'guest 1, guest 2'")
    say(ada, "/nick Ada")
    bob.until("document.getElementById('names').textContent === 'Ada, guest 2'")
    say(ada, "hello <b>Bob</b> 🌍")
    bob.until("document.querySelector('li:last-child').className === ''")
    assert bob.run(SAID)[-1] == ["", "Ada\nhello <b>Bob</b> 🌍"]
    say(bob, "hello yourself")
    ada.until("document.querySelector('li:last-child').className === ''")
    assert ada.run(SAID)[-3:] == [["note", "guest 1 is now Ada"], ["mine", "hello <b>Bob</b> 🌍"],
                                  ["", "guest 2\nhello yourself"]]
    assert bob.run(SAID)[-1] == ["mine", "hello yourself"] and bob.run("input.value") == ""
    assert ada.errors == [] and bob.errors == []
    bob.close()
    ada.until("document.querySelector('li:last-child').innerText === 'guest 2 left'")
    server.process.terminate()
    ada.until("button.disabled")
    assert ada.run(SAID)[-1] == ["note", "The connection is gone (1001: the server stops); trying again"]
    assert server.process.wait(programs.PATIENCE) == 0


# stream_sse: a chart that lives, and misses nothing

def test_events_and_a_connection_that_is_lost(loop, watch, window, until):
    site, asked = stream_sse.Site(loop, watch, 0), []
    site.server.on_request.attach(lambda exchange: asked.append(
        (exchange.request.path, exchange.request.headers.get("last-event-id"))), priority=1)
    page = window(800, 1000)
    page.go("http://%s/" % site.server.address)
    page.run("{ window.seen = []; %s }" % EVENTS.replace("const source", "window.source"))
    page.until("document.getElementById('state').className === 'live' && samples.length > 1 && seen.length > 1")
    # The curves are drawn: each one's colour is in its box.
    boxes = page.run("[...document.querySelectorAll('svg')].map(svg => svg.getBoundingClientRect().toJSON())")
    for box, (red, green, blue) in zip(boxes, ((37, 99, 201), (194, 65, 12), (31, 138, 91))):
        seen = colours(page.shot(box["right"] - 40, box["top"] - 4, 44, box["height"] + 8))
        assert any(abs(r - red) + abs(g - green) + abs(b - blue) < 60 for r, g, b in seen), (box, sorted(seen))
    page.run("document.getElementById('hold').click()")
    page.until("samples.some(sample => sample.longest >= 100)")
    assert page.errors == []

    last = page.run("seen[seen.length - 1]")
    for connection in site.server.connections:
        connection.abort()
    page.until("document.getElementById('state').className === 'lost'")
    page.until("document.getElementById('state').className === 'live' && seen[seen.length - 1] > %d" % last)
    assert sorted(path for path, seen in asked if seen is not None) == ["/events", "/events"]
    assert all(int(seen) >= last for path, seen in asked if seen is not None)
    numbers = page.run("seen")
    assert numbers == list(range(numbers[0], numbers[-1] + 1)), "none is missing, none came twice"
    page.run("document.getElementById('load').click()")
    page.until("!document.getElementById('load').disabled")
    assert len([path for path, _ in asked if path == "/small"]) == 300
    page.close()
    until(lambda: len(site.pulse.on_packet) == 0)  # who left is let go
    site.server.close()


# mjpeg: frames take each other's place

DRAWN = """(() => {
    const image = document.images[0], canvas = document.createElement("canvas"), where = canvas.getContext("2d");
    canvas.width = image.naturalWidth;
    canvas.height = image.naturalHeight;
    where.drawImage(image, 0, 0);
    return [canvas.width, canvas.height, ...where.getImageData(0, 100, canvas.width, 1).data];
})()"""


def test_moving_pictures(example, window):
    server, page = example("mjpeg"), window()
    page.go(server.url)
    page.until("document.images[0].naturalWidth === %d" % mjpeg.WIDTH)
    page.until("document.querySelector('figcaption').textContent.startsWith('1 watching')")
    row = list(mjpeg.pixels())[100][1:]  # numbers of colours
    table = mjpeg.Picture().colours
    steps = set()
    overdue = time.monotonic() + programs.PATIENCE
    while len(steps) < 3 and time.monotonic() < overdue:  # each frame is all of one turn of the palette
        width, height, *levels = page.run(DRAWN)
        assert (width, height) == (mjpeg.WIDTH, mjpeg.HEIGHT)
        drawn = bytes(level for at, level in enumerate(levels) if at % 4 < 3)
        step, = [step for step in range(256) if drawn == b"".join(
            table[3 * (number + step):3 * (number + step) + 3] for number in row)]
        steps.add(step)
    assert len(steps) == 3
    box = page.run("document.images[0].getBoundingClientRect().toJSON()")
    part = box["x"] + 20, box["y"] + 20, 60, 40
    first = page.shot(*part)
    assert len(colours(first)) > 10
    overdue = time.monotonic() + programs.PATIENCE
    while page.shot(*part) == first:
        assert time.monotonic() < overdue, "the picture stands still"
    assert page.errors == []


# The others

def test_a_custom_upgrade(example, window):
    server, page = example("upgrade_custom"), window()
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as raw, raw.makefile("rb") as answers:
        raw.sendall(b"GET / HTTP/1.1\r\nHost: here\r\nConnection: upgrade\r\nUpgrade: lines-kv\r\n\r\n"
                    b"SET sky deep <blue>\nQUIT\n")
        assert answers.read().endswith(b"\r\n\r\nOK\nBYE\n")
    page.go(server.url)
    assert page.run("[...document.querySelectorAll('tr')].map(row => [...row.cells].map(cell => cell.innerText))") == [
        ["greeting", "hello"], ["sky", "deep <blue>"]]
    assert page.errors == []


def test_hello(example, window):
    server, page = example("hello_http"), window()
    for path in ("now", "later"):
        page.go(server.url + path)
        assert page.run("document.body.innerText") == "Hello from /%s\n" % path


def test_https(example, window, certs):
    cert, key = certs.cert("localhost")
    server, page = example("https_server", "--cert", cert, "--key", key), window()
    page.go(server.url)
    assert page.run("document.body.innerText").endswith(", over TLSv1.3\n")


def test_a_page_and_a_websocket_through_the_proxy(example, window, talk):
    proxy, server = example("proxy"), talk()
    page = window(proxy=proxy.url)
    page.go(server.url)
    assert page.run("document.title") == "Talk"
    assert page.run("""new Promise(done => {
        const ws = new WebSocket(location.origin.replace("http", "ws"));
        ws.onopen = () => ws.send("through a tunnel");
        ws.onmessage = event => done(event.data);
    })""") == "through a tunnel"
    assert page.errors == []
