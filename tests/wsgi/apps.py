"""The same application three times: as users of Flask, of Django and of Bottle would write it.

    GET  /hello                 "Hello"                     GET  /large        1 MiB, in one piece
    any  /echo                  method, type and body       GET  /stream       100 pieces of 10 KiB, from a generator
    POST /form                  the fields, and of files name and size
    GET  /file                  a file, as the framework sends files
    GET  /seen/NAME?q=          what the framework makes of path, query, cookies, scheme, host, client
    GET  /cookies               two cookies are set         GET  /away         redirects to /hello
    GET  /status/N              an answer of that status    GET  /fails        an error of the application
    GET  /tag                   an ETag, 304 if the client has it

`make(name)` makes one.
"""

import os

HERE = os.path.dirname(os.path.abspath(__file__))
FILE = os.path.abspath(__file__)
LARGE = b"0123456789abcdef" * 65536
PIECE = b"0123456789" * 1024
ECHO = "%s %s %d\n"


def pieces():
    for _ in range(100):
        yield PIECE


def seen(name, query, cookies, scheme, host, client):
    return "\n".join(map(repr, (name, query, sorted(cookies.items()), scheme, host, client)))


def fields(pairs, files):
    return "\n".join(sorted(map(repr, pairs)) + sorted(map(repr, files)))


def flask():
    import flask as framework

    app = framework.Flask("apps", static_folder=None)
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.logger.disabled = True
    request = framework.request
    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]

    def plain(body, status=200):
        return framework.Response(body, status, content_type="text/plain; charset=utf-8")

    @app.route("/hello")
    def hello():
        return plain("Hello")

    @app.route("/large")
    def large():
        return plain(LARGE)

    @app.route("/stream")
    def stream():
        return plain(pieces())

    @app.route("/echo", methods=methods)
    def echo():
        body = request.get_data(cache=False)
        return plain((ECHO % (request.method, request.content_type, len(body))).encode() + body)

    @app.route("/form", methods=["POST"])
    def form():
        return plain(fields(request.form.items(multi=True), [
            (name, file.filename, len(file.read())) for name, file in request.files.items(multi=True)]))

    @app.route("/file")
    def file():
        return framework.send_file(FILE, "text/x-python", etag=False, last_modified=None)

    @app.route("/seen/<name>")
    def seen_(name):
        return plain(seen(name, request.args.get("q"), request.cookies, request.scheme, request.host, request.remote_addr))

    @app.route("/cookies")
    def cookies():
        answer = plain("set")
        answer.set_cookie("one", "1")
        answer.set_cookie("two", "2")
        return answer

    @app.route("/away")
    def away():
        return framework.redirect("/hello")

    @app.route("/status/<int:status>")
    def status(status):
        answer = plain("" if status == 204 else "status", status)
        if status == 204:  # the validator wants none
            del answer.headers["Content-Type"]
        return answer

    @app.route("/fails")
    def fails():
        raise ValueError("on purpose")

    @app.route("/tag")
    def tag():
        answer = plain("tagged")
        answer.set_etag("tag")
        return answer.make_conditional(request)

    return app


def django():
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.http import FileResponse, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
    from django.urls import path
    from django.views.decorators.http import condition

    def plain(body, status=200):
        return HttpResponse(body, status=status, content_type="text/plain; charset=utf-8")

    def echo(request):
        return plain((ECHO % (request.method, request.META.get("CONTENT_TYPE") or None,
        len(request.body))).encode() + request.body)

    def form(request):
        return plain(fields([(name, value) for name, values in request.POST.lists() for value in values], [
            (name, file.name, len(file.read())) for name, files in request.FILES.lists() for file in files]))

    def file(request):
        answer = FileResponse(open(FILE, "rb"), content_type="text/x-python")
        del answer["Content-Disposition"]
        return answer

    def cookies(request):
        answer = plain("set")
        answer.set_cookie("one", "1")
        answer.set_cookie("two", "2")
        return answer

    def status_(request, status):
        answer = plain("" if status == 204 else "status", status)
        if status == 204:
            del answer["Content-Type"]
        return answer

    def fails(request):
        raise ValueError("on purpose")

    class Urls:
        urlpatterns = [
            path("hello", lambda request: plain("Hello")),
            path("large", lambda request: plain(LARGE)),
            path("stream", lambda request: StreamingHttpResponse(pieces(), content_type="text/plain; charset=utf-8")),
            path("echo", echo), path("form", form), path("file", file), path("cookies", cookies), path("fails", fails),
            path("seen/<name>", lambda request, name: plain(seen(
                name, request.GET.get("q"), request.COOKIES, request.scheme, request.get_host(), request.META["REMOTE_ADDR"]))),
            path("away", lambda request: HttpResponseRedirect("/hello")),
            path("status/<int:status>", status_),
            path("tag", condition(etag_func=lambda request: '"tag"')(lambda request: plain("tagged"))),
        ]

    settings.configure(
        DEBUG=False, ALLOWED_HOSTS=["*"], ROOT_URLCONF=Urls, SECRET_KEY="of a test", LOGGING_CONFIG=None,
        MIDDLEWARE=["django.middleware.common.CommonMiddleware"])
    return get_wsgi_application()


def bottle():
    import bottle as framework

    app = framework.Bottle()
    request, route = framework.request, app.route

    def plain(body, status=200):
        return framework.HTTPResponse(body, status, {"Content-Type": "text/plain; charset=utf-8"})

    @route("/hello")
    def hello():
        return plain("Hello")

    @route("/large")
    def large():
        return plain(LARGE)

    @route("/stream")
    def stream():
        framework.response.content_type = "text/plain; charset=utf-8"
        return pieces()

    @route("/echo", ["GET", "POST", "PUT", "PATCH", "DELETE"])
    def echo():
        body = request.body.read()
        return plain((ECHO % (request.method, request.content_type or None, len(body))).encode() + body)

    @route("/form", "POST")
    def form():
        return plain(fields(request.forms.decode().allitems(), [
            (name, file.raw_filename, len(file.file.read())) for name, file in request.files.allitems()]))

    @route("/file")
    def file():
        return framework.static_file(os.path.basename(FILE), HERE, "text/x-python", etag=False)

    @route("/seen/<name>")
    def seen_(name):
        return plain(seen(name, request.query.decode().get("q"), request.cookies, request.urlparts.scheme,
                          request.urlparts.netloc, request.remote_addr))

    @route("/cookies")
    def cookies():
        answer = plain("set")
        answer.set_cookie("one", "1")
        answer.set_cookie("two", "2")
        return answer

    @route("/away")
    def away():
        return framework.redirect("/hello")

    @route("/status/<status:int>")
    def status(status):
        return plain("" if status == 204 else "status", status)

    @route("/fails")
    def fails():
        raise ValueError("on purpose")

    @route("/tag")
    def tag():
        answer = plain("" if request.get_header("If-None-Match") == '"tag"' else "tagged",
                       304 if request.get_header("If-None-Match") == '"tag"' else 200)
        answer.set_header("ETag", '"tag"')
        return answer

    return app


def make(name):
    """The application of that framework."""
    return {"flask": flask, "django": django, "bottle": bottle}[name]()
