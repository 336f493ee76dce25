"""`serve --live` in Chromium: a page that changes reloads, a style sheet is swapped, also over wss and behind a restart."""
import os
import sys
import time

import pytest

PAGE = """<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>%s</title><link rel="icon" href="data:,">
<link rel="stylesheet" href="style.css"><body><p>%s</p></body></html>
"""
COLOUR = "getComputedStyle(document.querySelector('p')).color"


@pytest.fixture
def site(folder):
    """A folder to serve."""
    root = os.path.join(folder, "site")
    os.mkdir(root)
    write(root, "index.html", PAGE % ("one", "first"))
    write(root, "style.css", "p { color: rgb(1, 2, 3) }")
    return root


def write(root, name, text):
    """As an editor does it."""
    path = os.path.join(root, name)
    with open(path + "~", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(path + "~", path)


@pytest.fixture
def serve(start, site):
    return lambda *flags: start(sys.executable, "-u", "-m", "icey", "serve", "--live", "--port", "0", *flags, site)


@pytest.mark.parametrize("flags", [(), ("tls",)], ids=["ws", "wss"])
def test_a_page_reloads_and_a_style_sheet_is_swapped(serve, site, window, certs, flags):
    server = serve(*(flags and ("--cert", certs.cert("localhost")[0], "--key", certs.cert("localhost")[1])))
    page = window()
    page.go(server.url.replace("127.0.0.1", "localhost"))
    page.until("document.readyState === 'complete'")
    assert page.run("document.title") == "one" and page.run(COLOUR) == "rgb(1, 2, 3)"
    write(site, "index.html", PAGE % ("two", "second"))
    page.until("document.title === 'two' && document.readyState === 'complete'")
    assert page.run("document.querySelector('p').innerText") == "second"
    assert page.run("performance.getEntriesByType('navigation')[0].type") == "reload"
    settle(page)
    write(site, "style.css", "p { color: rgb(7, 8, 9) }")
    page.until(COLOUR + " === 'rgb(7, 8, 9)'")
    assert page.run("window.mark") == 1  # it did not reload
    assert page.errors == []


def settle(page):
    """A page that was connected too late for a change reloads once more: until that is out of the way."""
    overdue = time.monotonic() + 1.5
    while time.monotonic() < overdue:
        page.until("true")
    page.run("window.mark = 1")


def test_a_page_that_was_missing_shows_when_it_is_made(serve, site, window):
    page = window()
    page.go(serve().url + "new.html")
    page.until("document.readyState === 'complete'")
    assert "404" in page.run("document.body.innerText")
    write(site, "new.html", PAGE % ("new", "here"))
    page.until("document.title === 'new'")


def test_pages_come_back_to_a_server_that_was_away(serve, site, window):
    server = serve()
    page = window()
    page.go(server.url)
    page.until("document.readyState === 'complete'")
    settle(page)
    server.end()
    write(site, "index.html", PAGE % ("later", "changed meanwhile"))
    serve("--bind", "127.0.0.1", "--port", str(server.port))
    page.until("document.title === 'later'")


BELOW = """
    map $http_upgrade $connection_upgrade { default upgrade; "" ""; }
    server {
        listen 127.0.0.1:%(port)d;
        location /files/ {
            proxy_pass http://127.0.0.1:%(upstream)d/;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
        }
    }
"""


def test_below_a_prefix_of_nginx_pages_reload_and_folders_are_found(serve, site, nginx, window):
    os.mkdir(os.path.join(site, "sub"))
    write(site, "sub/index.html", (PAGE % ("one", "first")).replace('href="style.css"', 'href="../style.css"'))
    os.mkdir(os.path.join(site, "list"))
    front = "http://localhost:%d/files/" % nginx(BELOW, upstream=serve().port).port
    page = window()
    page.go(front + "sub?x=1")  # a redirect, which has to stay below the prefix
    page.until("document.readyState === 'complete'")
    assert page.run("location.href") == front + "sub/?x=1" and page.run("document.title") == "one"
    settle(page)
    write(site, "style.css", "p { color: rgb(7, 8, 9) }")
    page.until(COLOUR + " === 'rgb(7, 8, 9)'")
    assert page.run("window.mark") == 1  # it did not reload
    write(site, "sub/index.html", PAGE % ("two", "second"))
    page.until("document.title === 'two' && document.readyState === 'complete'")
    page.go(front + "list/")
    page.until("document.readyState === 'complete'")
    write(site, "list/new.txt", "x")
    page.until("document.body !== null && document.body.innerText.includes('new.txt')")
    page.go(front + "sub/none.html")
    page.until("document.readyState === 'complete'")
    write(site, "sub/none.html", PAGE % ("here", "it is"))
    page.until("document.title === 'here'")
