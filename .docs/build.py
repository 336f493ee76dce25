"""Builds the site: python3 .docs/build.py OUT (tox -e docs has what it needs); then: python3 -m icey serve OUT

    index.html        README.md                      guide/     the pages of .docs/guide
    course/           examples/README.md, and each of the lessons and examples
    icey.html, icey/  the reference: a page for each module that public names live in, from signatures and docstrings
    house.html        the map, icey/README.md        changes.html   CHANGELOG.md

Why pdoc: docstrings are Markdown, and are shown as they stand; its search needs no server; mitmproxy's authors keep it up; it
needs Jinja2, Pygments and MarkupSafe alone. What it does not do is done here:

- Public names are looked up lazily, so all of them are touched first. The page of a package is a table of its names.
- A class says in its docstring what its attributes are: from there each attribute's entry gets its sentence.
- What is there for whoever extends a class (see `inner`) stands behind what is there for whoever uses it.
- A Markdown page is a module without members: so it has the same navigation and links.
- A link to a file of the repository leads to its page in the reference, or to a page that shows the file; `Loop.post` in a page
  of the guide to that entry.
- The search knows the sections of the guide, its index by task, the examples, and the reference by public names.
"""
import argparse
import ast
import functools
import html
import importlib
import inspect
import os
import pathlib
import posixpath
import re
import sys
import types
import warnings

import pdoc.doc
import pdoc.render
import pdoc.render_helpers
from pygments.formatters import HtmlFormatter

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import icey  # noqa: E402

DOORS = ("icey", "icey.http", "icey.mqtt", "icey.hosts", "icey.workers")  # packages whose names are looked up lazily
MORE = ("icey.net.tls", "icey.http.server.wsgi", "icey.tools.testing", "icey.tools.inspect", "icey.tools.vendor",
        "icey.tools.doctor")
TABLES = ("STATES", "MOVES")  # of states: for whoever reads the code
GUIDE = ("tasks", "server", "workers", "websocket", "streaming", "client", "sockets", "pipelines", "processes", "mqtt",
         "embedding", "vendoring", "contracts", "limits", "types", "platforms", "commands", "working")
BESIDE = {"course.testing": "Testing"}  # pages from elsewhere that the navigation has among those of the guide

KINDS = {".py": "python", ".sh": "sh", ".ini": "ini", ".toml": "toml", ".html": "html", ".js": "js"}  # how files are shown


# the names

def public_names():
    """(package, name, object) of every public name; modules are left out."""
    for door in DOORS + MORE:
        module = importlib.import_module(door)
        names = getattr(module, "__all__", None) or [
            name for name, value in vars(module).items() if getattr(value, "__module__", None) == door]
        for name in names:
            value = getattr(module, name)
            if not name.startswith("_") and not isinstance(value, types.ModuleType):
                yield door, name, value


def home_of(door, value):
    """The module that `value`, which is reached by the package `door`, lives in; for a plain value that package itself."""
    home = getattr(value, "__module__", None) or ""
    return home if home.startswith("icey") else door


def name_of(name, value):
    """What `value`, of the public name `name`, is called where it lives."""
    return getattr(value, "__name__", name) if (getattr(value, "__module__", None) or "").startswith("icey") else name


def homes():
    """module -> what is shown of it: the public names that live there, and the classes that public ones are made of."""
    found = {}
    for door, name, value in public_names():
        found.setdefault(home_of(door, value), set()).add(name_of(name, value))
        for base in inspect.getmro(value)[1:] if inspect.isclass(value) else ():
            if base.__module__.startswith("icey.") and base.__name__ != "Generic":
                found.setdefault(base.__module__, set()).add(base.__name__)
    return found


def called(fullname):
    """The public name of what lives at `fullname`, "icey.base.loop.Loop" -> "icey.Loop"; "" where it has none."""
    return _CALLED.get(fullname, "")


_CALLED = {}


# what attributes are

def sentence(docstring, name):
    """What a class's docstring says of its attribute `name`; "" for nothing."""
    text = " ".join(docstring.split())
    parts = [""]
    for part in re.split(r"(?<=[.;]) (?=[`A-Z]|\w+(?:, \w+)*: )", text):  # not inside of parentheses
        if parts[-1].count("(") > parts[-1].count(")"):
            parts[-1] += " " + part
        else:
            parts.append(part)
    for part in parts:
        if re.search(r"`%s\b[^`]*`|(?:^|[\s,(])%s(?:, \w+)*(?:: | \()" % (re.escape(name), re.escape(name)), part):
            if part.count("` (") > 1:  # a list: `a` (what a is), `b` (...)
                own = re.search(r"`%s` (?:\((.*?)\)(?=,|\.|$))" % re.escape(name), part)
                return "`%s`: %s" % (name, own.group(1) if own else "see the class")
            return part.rstrip(";")
    return ""


def inner(cls):
    """The attributes and methods of `cls` that are there for whoever extends it, or works on it, and not for whoever uses it.

    Its docstring says so ("For whoever writes a transport: ...", "For its connections: ..."), or the map's table of the
    extension interface, or an attribute has no words but a comment in the code.
    """
    found = set()
    for base in inspect.getmro(cls):
        if base.__module__.startswith("icey"):
            for text in re.findall(r"For (?:whoever|what|its) [^:]*:(.*?)(?:\n\n|$)", inspect.getdoc(base) or "", re.S):
                found.update(re.findall(r"`(\w+)`", text))
            found.update(name for on, name in _EXTENSIONS if on == base.__name__)
            found.update(_REMARKS.get(base, ()))
    return found


_EXTENSIONS, _REMARKS = {}, {}


def members(cls):
    """The public names that a class defines itself: methods, events, properties, slots."""
    own = set(vars(cls)) | set(getattr(cls, "__annotations__", ())) | set(vars(cls).get("__slots__", ()))
    return sorted(name for name in own if not name.startswith("_") and name not in TABLES)


def extensions():
    """(class, name) -> what it is for: the table of the extension interface in the map of the house."""
    table = text_of("icey/README.md").partition("### The extension interface")[2].partition("\n## ")[0]
    found, on = {}, ""
    for cls, names, meaning in re.findall(r"^\| *(\w*) *\| (`.*?) \| (.*?) \|$", table, re.M):
        on = cls or on
        found.update(((on, name), meaning) for name in re.findall(r"`(\w+)", names))
    return found


def row_of(docstring, name):
    """What a module's docstring says of `name` in a table: "    NAME   what it means", or "" ."""
    match = re.search(r"^ {4,}%s(?: [-<>]+ [\w, ]+?)? {2,}(\S.*(?:\n {16,}\S.*)*)" % re.escape(name), docstring or "", re.M)
    return " ".join(match.group(1).split()) if match else ""


def comment_of(cls, name):
    """The comment behind the line that gives a class, or its objects, the attribute `name`; "" for none."""
    match = re.search(r"^ +(?:self\.)?%s(?:: [^=\n]+)? = .*?  # (.*)$" % re.escape(name), inspect.getsource(cls), re.M)
    return match.group(1) if match else ""


def describe(modules):
    """Gives the attributes that have no docstring of their own what their class, a base of it, or their module says of them."""
    limits = {row[0]: "%s; by default %s%s" % (row[3], "%g" % row[1], {"s": " seconds", "B": " bytes"}.get(row[2], ""))
              for row in icey.Limits.table()}
    _EXTENSIONS.update(extensions())
    for module in modules.values():
        module.__dict__["docstring"] = keep_tables(module.docstring)
        for cls in module.classes if hasattr(module, "classes") else ():
            for member in cls.own_members:
                if member.kind != "class" and not member.docstring and not member.name.startswith("_"):
                    text = limits.get(member.name, "") if cls.name == "Limits" else ""
                    for base in inspect.getmro(cls.obj):
                        text = text or sentence(inspect.getdoc(base) or "", member.name)
                        text = text or row_of(sys.modules[base.__module__].__doc__, member.name)
                        text = text or _EXTENSIONS.get((base.__name__, member.name), "")
                        if not text and base.__module__.startswith("icey"):
                            text = comment_of(base, member.name)
                            if text:
                                _REMARKS.setdefault(base, set()).add(member.name)
                    member.__dict__["docstring"] = text
    for module in modules.values():
        for cls in module.classes if hasattr(module, "classes") else ():
            behind = inner(cls.obj)
            cls.__dict__["own_members"] = sorted(cls.own_members, key=lambda member: member.name in behind)


def keep_tables(docstring):
    """`docstring` where a table of the head of a file ("NAME     what it means") is shown as it stands, and not as one text."""
    def shown(match):
        return "\n\n" + "".join("    %s\n" % line for line in match.group(0).strip("\n").split("\n")) + "\n"

    return re.sub(r"(?:^|\n)(?:\S[^\n ]{0,20} {2,}\S[^\n]*(?:\n {6,}\S[^\n]*)*(?:\n|$)){2,}", shown, docstring)


# Markdown pages

class Pages:
    """Markdown as modules. `modules`: name -> types.ModuleType. `titles`: name -> str. `of`: path in the repository -> name."""

    def __init__(self, reference=()):
        """reference: the names of the modules that have a page."""
        self.modules, self.titles, self._texts = {}, {}, {}
        self.of = {name.replace(".", "/") + ".py": name for name in reference}

    def add(self, name, path, text, title=None):
        """The page `name` ("guide.server"), of the file at `path`. title: None for the text's first heading."""
        module = types.ModuleType(name)
        module.__path__ = []
        self.modules[name] = module
        self.titles[name] = title or re.search(r"^# (.*)$", text, re.M).group(1)
        self.of[path] = name
        self._texts[name] = (path, text)

    def finish(self):
        """Links, once all pages are known; those to files that are no page make one that shows the file."""
        for name in list(self._texts):
            path, text = self._texts[name]
            self.modules[name].__doc__ = self._linked(name, path, text)

    def _linked(self, name, path, text):
        def link(match):
            target, anchor = match.group(1), match.group(2) or ""
            if ":" in target:
                return match.group(0)
            file = posixpath.normpath(posixpath.join(posixpath.dirname(path), target)) if target else path
            if file not in self.of:
                if not (ROOT / file).is_file():
                    sys.exit("%s: a link to %s, which is not there" % (path, target))
                self.add("source." + re.sub(r"\W", "_", file), file, source_page(file), file)
                page = self.of[file]
                self.modules[page].__doc__ = self._texts[page][1]
            page = pdoc.render_helpers.relative_link(name, self.of[file]) or name.rpartition(".")[2] + ".html"
            return "](%s%s)" % (page, anchor)

        def code(match):
            there = place_of(match.group(1)) if name.startswith("guide.") else None
            if there is None:
                return match.group(0)
            return "[%s](%s#%s)" % (match.group(0), pdoc.render_helpers.relative_link(name, there[0]), there[1])

        def linked(part):
            part = re.sub(r"\]\(([^)#\s]*)(#[^)]*)?\)", link, part)
            return re.sub(r"(?<![\[`])`([\w.]+)(?:\([^`]*\))?`(?![\]`])", code, part)

        return "".join(part if part.startswith("```") else linked(part) for part in re.split(r"(?ms)(^```.*?^```$)", text))

    def documents(self):
        """What the search knows of them: a page's sections, the rows of the index by task, an example's head."""
        for name, (path, _) in self._texts.items():
            if path.endswith(".py") and not name.startswith("source."):
                head = ast.get_docstring(ast.parse(text_of(path))) or ""
                first = "<p>%s</p>" % html.escape(head.split("\n\n")[0])
                yield entry("Example: %s" % path.rpartition("/")[2], name, "", first, head)
            elif path.endswith(".md") and name.startswith(("index", "guide.", "course.")):
                yield from self._sections(name)

    def _sections(self, name):
        shown = str(pdoc.render_helpers.to_html(self.modules[name].__doc__))
        title = BESIDE.get(name, self.titles[name])
        parts = re.split(r'<h[123] id="([^"]+)">(.*?)</h[123]>', shown, flags=re.S)[1:]
        for anchor, heading, body in zip(parts[::3], parts[1::3], parts[2::3]):
            heading = html.unescape(re.sub("<[^>]*>", "", heading))
            first = re.search(r"<p>.*?</p>", body, re.S)
            yield entry(title if heading == title else "%s: %s" % (title, heading), name, anchor,
                        re.sub("</?a\\b[^>]*>", "", first.group(0)) if first else "", re.sub("<[^>]*>", " ", body))
            if name == "guide.tasks":
                for row in re.findall(r"<tr>\s*<td.*?</tr>", body, re.S):
                    what, guide, names, _ = (cell.strip() for cell in re.findall(r"<td.*?>(.*?)</td>", row, re.S))
                    there = re.search(r'href="([^"#]*)\.html(#[^"]*)?"', guide + names) or re.match("()()", "")
                    page = posixpath.normpath(posixpath.join("guide", there.group(1) or "tasks"))
                    what = "I want to " + html.unescape(re.sub("<[^>]*>", "", what))
                    yield entry(what, page.replace("/", "."), (there.group(2) or "#")[1:], "<p>%s %s</p>" % tuple(
                        re.sub("</?a\\b[^>]*>", "", cell) for cell in (guide, names)), what)


def entry(title, page, anchor, shown, text):
    """A document for the search. `bases` is a field that is looked at, and not shown."""
    return {"fullname": title, "modulename": page, "qualname": anchor, "kind": "page", "doc": shown,
            "bases": " ".join(text.split())}


def place_of(text):
    """(module, anchor) of the entry of what a page calls "Loop.post", "icey.run" or "http.Server"; None where there is none."""
    known = by_public_name()
    for name, attr in ((text, ""), (text.rpartition(".")[0], text.rpartition(".")[2])):
        for full in (name, "icey." + name, "icey.net." + name, "icey.http." + name):
            if full in known and (full == name or name[:1].isupper() or "." in name):
                home, value = known[full]
                if not attr:
                    return home, name_of(full.rpartition(".")[2], value)
                for base in inspect.getmro(value) if inspect.isclass(value) else ():
                    if attr in members(base) and base.__module__.startswith("icey."):
                        return base.__module__, "%s.%s" % (base.__name__, attr)
    return None


@functools.lru_cache(maxsize=None)
def by_public_name():
    """"icey.Loop" -> (the module that it lives in, the object)."""
    return {"%s.%s" % (door, name): (home_of(door, value), value) for door, name, value in public_names()}


def text_of(path):
    return (ROOT / path).read_text(encoding="utf-8")


def source_page(path):
    """A file of the repository, shown."""
    text = text_of(path)
    fence = "`" * max([3] + [len(run) + 1 for run in re.findall("`+", text)])
    kind = KINDS.get(pathlib.Path(path).suffix, "text")
    return "# %s\n\n%s%s\n%s\n%s\n" % (path, fence, kind, text.rstrip(), fence)


def pages(reference=()):
    made = Pages(reference)
    made.add("index", "README.md", text_of("README.md"))
    for name in GUIDE:
        if (ROOT / ".docs/guide" / (name + ".md")).exists():
            made.add("guide." + name, ".docs/guide/%s.md" % name, text_of(".docs/guide/%s.md" % name))
    made.add("course.contents", "examples/README.md", text_of("examples/README.md"))
    for path in sorted([*ROOT.glob("examples/reactor/*.py"), *ROOT.glob("examples/*.py")]):
        file = path.relative_to(ROOT).as_posix()
        made.add("course." + path.stem, file, source_page(file), path.name)
    for file in sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("examples/*/README.md")):
        made.add("course." + pathlib.Path(file).parent.name, file, text_of(file))
    made.add("house", "icey/README.md", text_of("icey/README.md"), "The map of the house")
    made.add("changes", "CHANGELOG.md", text_of("CHANGELOG.md"))
    made.finish()
    return made


# the site

def build(out):
    """Writes the site into the folder `out`."""
    shown = homes()
    for door, name, value in public_names():
        _CALLED.setdefault("%s.%s" % (home_of(door, value), name_of(name, value)), "%s.%s" % (door, name))  # DOORS come first
    doors = sorted({door for door, _, value in public_names() if home_of(door, value) != door})
    reference = sorted({*DOORS, *MORE, *shown})
    made = pages(reference)
    modules = {name: pdoc.doc.Module(module) for name, module in made.modules.items()}
    modules.update((name, pdoc.doc.Module(importlib.import_module(name))) for name in reference)
    describe({name: modules[name] for name in reference})

    pdoc.render.configure(docformat="markdown", show_source=False, template_directory=ROOT / ".docs" / "templates",
                          footer_text="icey %s" % icey.__version__)
    pdoc.render.env.globals.update(
        pages=made.titles, beside=BESIDE, inner=inner, shown=shown, doors=doors, called=called, tables=TABLES,
        reference=reference, packages=DOORS, more=MORE, dark=HtmlFormatter(style="github-dark").get_style_defs(".pdoc-code"),
        relative_link=pdoc.render_helpers.relative_link, rows=table_of)
    for name, module in modules.items():
        path = out / (name.replace(".", "/") + ".html")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(pdoc.render.html_module(module, modules), encoding="utf-8")
    (out / "search.js").write_text(search(modules, made), encoding="utf-8")


def search(modules, made):
    """The search: pdoc's, with documents of ours, and the better hits first: pages, and what has all of the words."""
    def documents(*args):
        found = list(made.documents())
        for one in made_by_pdoc(*args):
            cls, _, name = one.get("qualname", "").rpartition(".")
            value = getattr(sys.modules.get(one["modulename"]), cls, None) if cls else None
            if one["modulename"] not in made.modules and not (value and name in inner(value)):
                home = "%s.%s" % (one["modulename"], (cls or name).partition(".")[0])
                if called(home):
                    one["fullname"] = called(home) + one["fullname"][len(home):]
                found.append(one)
        return list({one["fullname"]: one for one in reversed(found)}.values())  # the first of a name

    made_by_pdoc, pdoc.render.make_index = pdoc.render.make_index, documents
    try:
        return pdoc.render.search_index(modules) + RANKING
    finally:
        pdoc.render.make_index = made_by_pdoc


RANKING = """
window.pdocSearch = (plain => term => {
    const words = term.toLowerCase().split(/[^\\w-]+/).filter(Boolean);
    const weight = doc => {
        const text = Object.values(doc).join(" ").toLowerCase();
        const share = words.filter(word => text.includes(word)).length / (words.length || 1);
        const page = doc.kind !== "page" ? 1 : doc.fullname.startsWith("I want to") ? 4 : 2;
        return share * share * share * (doc.kind === "class" ? 2 : page);
    };
    return plain(term).map(hit => ({...hit, score: hit.score * weight(hit.doc)})).sort((a, b) => b.score - a.score);
})(window.pdocSearch);
"""


def table_of(door):
    """(name, (module, qualname), first sentence) of each public name of the package `door`."""
    for package, name, value in public_names():
        if package == door:
            text = (inspect.getdoc(value) or "").split("\n\n")[0]
            if not inspect.isroutine(value) and not (inspect.isclass(value) and value.__module__.startswith("icey")):
                text = remark_of(door, name) or (text if type(value).__module__.startswith("icey") else "")
            first = re.split(r"(?<=\.) (?=[A-Z`])", " ".join(text.split()))[0]
            yield name, (home_of(door, value), name_of(name, value)), first


def remark_of(door, name):
    """The comment behind the line that makes the value `name`, in some module of the package `door`; "" for none."""
    for module in [module for path, module in sorted(sys.modules.items()) if path.startswith(door) and name in vars(module)]:
        match = re.search(r"^%s(?:: [^=\n]+)? = .*?  # (.*)$" % re.escape(name), inspect.getsource(module), re.M)
        if match:
            return match.group(1)
    return ""


def main():
    parser = argparse.ArgumentParser(description="Build the site.")
    parser.add_argument("out", type=pathlib.Path, help="the folder to write it to")
    options = parser.parse_args()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Error parsing type annotation", UserWarning)  # such a one is shown as it is written
        build(options.out)
    print("%d pages in %s: python3 -m icey serve %s" % (len(list(options.out.rglob("*.html"))), options.out, options.out))


if __name__ == "__main__":
    os.chdir(str(ROOT))
    main()
