"""Chromium, driven by its DevTools protocol, which is spoken over a WebSocket: icey's own.

    browser = Browser(folder, authority)        # the program: one for many tests
    devtools = DevTools(loop, browser.url)      # one for each test; its pages go with it
    page = devtools.page()                      # a window with cookies and caches of its own
    page.go(url)
    page.run("document.title")                  # the value of an expression; a promise is awaited
    page.until("document.images.length === 3")
    page.shot(0, 0, 40, 30)                     # rows of (red, green, blue): a part of what is seen
    assert page.errors == []                    # what its console shows in red

Not here: one page looked at by a Chromium of its own, without a word to it: programs.Chromium.
"""
import base64
import json
import os
import time

import icey
from tests.interop.pixels import pixels
from tests.support import programs


class Browser:
    """A running Chromium that trusts `authority`; its files are in `folder`."""

    def __init__(self, folder, authority):
        chromium = programs.Chromium(folder)
        chromium.trust(authority)
        self._program = programs.Program("chromium", *chromium.FLAGS, "--user-data-dir=" + os.path.join(folder, "profile"),
                                         "--remote-debugging-port=0", env=dict(os.environ, HOME=os.path.join(folder, "home")))
        self.url = self._program.expect(r"DevTools listening on (ws://\S+)").group(1)

    def end(self):
        self._program.end()


class DevTools:
    """A connection to the Browser at `url`. Whoever waits for it turns the loop, on which the test may have its server."""

    def __init__(self, loop, url):
        self.loop = loop
        self._pages, self._answers, self._count = {}, {}, 0
        self._ws = icey.http.WebSocket.connect(loop, url, limits=icey.Limits(max_message=64 << 20))
        self._ws.on_message += self._heard
        self._ws.on_connect += lambda ws: self._answers.update(connected={})
        self._ws.on_error += lambda ws, exc: self._answers.update(error=exc)
        self._wait("connected")

    def page(self, width=800, height=600, proxy=None):
        """A new Page, in a window of that size. proxy: the URL of one, for all that it asks."""
        through = {} if proxy is None else {"proxyServer": proxy.rstrip("/"), "proxyBypassList": "<-loopback>"}
        context = self.call("Target.createBrowserContext", disposeOnDetach=True, **through)["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context, width=width, height=height)
        session = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        self._pages[session] = Page(self, session, target["targetId"])
        self._pages[session].call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                                  mobile=False)
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._pages[session].call(domain + ".enable")
        return self._pages[session]

    def call(self, method, session=None, **params):
        """The result of a command to the browser, or to a page's session."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        self._ws.send(json.dumps(dict(message, sessionId=session) if session else message))
        answer = self._wait(self._count)
        assert "error" not in answer, (method, params, answer)
        return answer["result"]

    def close(self):
        """Closes it, and with it its pages."""
        self._ws.close()
        while not self._ws.closed:
            self.loop.run_once()

    def _wait(self, key):
        overdue = time.monotonic() + programs.PATIENCE
        while key not in self._answers:
            assert "error" not in self._answers and time.monotonic() < overdue, self._answers
            self.loop.run_once(0.05)
        return self._answers.pop(key)

    def _heard(self, ws, text):
        message = json.loads(text)
        if "id" in message:
            self._answers[message["id"]] = message
        elif message.get("sessionId") in self._pages:
            self._pages[message["sessionId"]].events.append((message["method"], message["params"]))


class Page:
    """A window of the browser. `events`: what it told, as (method, params)."""

    def __init__(self, devtools, session, target):
        self._devtools, self._session, self._target = devtools, session, target
        self.events = []

    def call(self, method, **params):
        return self._devtools.call(method, self._session, **params)

    def go(self, url):
        """Loads `url`, up to the end of its HTML."""
        before = len(self.told("Page.domContentEventFired"))
        failed = self.call("Page.navigate", url=url).get("errorText")
        assert failed is None, (url, failed)
        self._wait(lambda: len(self.told("Page.domContentEventFired")) > before, url)

    def run(self, expression):
        """The value of a JavaScript expression."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]["exception"].get("description", found)
        return found["result"].get("value")

    def until(self, expression):
        """Waits until it is true, over a reload too."""
        self._wait(lambda: self._holds(expression), expression)

    def _holds(self, expression):
        try:
            return self.run(expression)
        except AssertionError as exc:  # asked while one page went and another came
            if "navigated" in str(exc) or "context" in str(exc):
                return False
            raise

    def close(self):
        """Closes the window, as its user does."""
        self._devtools.call("Target.closeTarget", targetId=self._target)

    def told(self, method):
        """The params of its events of that name."""
        return [params for name, params in self.events if name == method]

    @property
    def errors(self):
        """What its console shows in red: exceptions, failed requests, console.error."""
        thrown = [params["exceptionDetails"] for params in self.told("Runtime.exceptionThrown")]
        logged = [params["entry"] for params in self.told("Log.entryAdded") if params["entry"]["level"] == "error"]
        said = [params["args"] for params in self.told("Runtime.consoleAPICalled") if params["type"] == "error"]
        return ([details["exception"].get("description", details["text"]) for details in thrown]
                + [entry["text"] for entry in logged] + [str(arguments) for arguments in said])

    def screenshot(self, **options):
        """A PNG of what is seen."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png", **options)["data"])

    def shot(self, x, y, width, height):
        """Rows of (red, green, blue) of a part of what is seen."""
        return pixels(self.screenshot(clip={"x": x, "y": y, "width": width, "height": height, "scale": 1}))

    def _wait(self, met, what):
        overdue = time.monotonic() + programs.PATIENCE
        while not met():
            assert time.monotonic() < overdue, "waited for %s; errors: %s" % (what, self.errors)
            self._devtools.loop.run_once(0.02)
