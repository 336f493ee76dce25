"""Public names, their parameters and defaults are what signatures.txt says: a change of them is seen in review.

    python tests/test_signatures.py              after a change that is meant: writes signatures.txt anew
    python tests/test_signatures.py --extension  the same; new names belong to the extension interface
    python tests/test_signatures.py FOLDER       prints what another tree's icey/ has, to compare

Read from the source, so that each Python tells the same. Of a class are listed its methods, properties, events with what a
slot gets, and the attributes that its docstring names. What a class inherits from a public one stands there alone. What the
package's own files and whoever writes a transport or a protocol call has a heading of its own, "extension"; which names
stand under it is remembered from the file itself: move a line there, or from there, and write the file anew.
"""
import ast
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGE = os.path.join(os.path.dirname(HERE), "icey")
SNAPSHOT = os.path.join(HERE, "signatures.txt")
HEADING = "    extension:"
MODULES = {"icey.tls": "net/tls.py", "icey.http.wsgi": "http/server/wsgi.py"}  # public as modules
SPECIAL = {"__init__", "__call__", "__iter__", "__len__", "__getitem__", "__setitem__", "__delitem__", "__contains__",
           "__enter__", "__exit__", "__eq__", "__hash__", "__bool__"}
INNER = {"MOVES", "STATES"}  # tables of states


class Source:
    """A package's files, parsed: finds what a name in one of them stands for."""

    def __init__(self, folder):
        self.folder, self._files, self._lines = folder, {}, {}

    def file(self, path):
        """(text, syntax tree, name -> its statement) of a file."""
        if path not in self._files:
            with open(os.path.join(self.folder, *path.split("/")), encoding="utf-8") as file:
                text = file.read()
            tree = ast.parse(text)
            names = {}
            for node in tree.body:
                for inner in node.body if isinstance(node, ast.If) else [node]:
                    if isinstance(inner, (ast.ClassDef, ast.FunctionDef)):
                        names.setdefault(inner.name, inner)
                    elif isinstance(inner, (ast.Import, ast.ImportFrom)):
                        for alias in inner.names:
                            names.setdefault(alias.asname or alias.name, (inner, alias.name))
                    elif isinstance(inner, ast.Assign) and isinstance(inner.targets[0], ast.Name):
                        names.setdefault(inner.targets[0].id, inner)
            self._files[path] = text, tree, names
        return self._files[path]

    def exists(self, path):
        return os.path.exists(os.path.join(self.folder, *path.split("/")))

    def find(self, path, name):
        """(path, statement) of a name, followed through imports; (path, None) where it is not the package's."""
        found = self.file(path)[2].get(name)
        if not isinstance(found, tuple):
            return path, found
        node, original = found
        if isinstance(node, ast.Import) or not node.level:
            return path, None
        parts = path.split("/")[:-1]
        base = "/".join(parts[:len(parts) - (node.level - 1)] + (node.module.split(".") if node.module else []))
        for target in (base + ".py", base + "/__init__.py"):
            if self.exists(target):
                return self.find(target, original)
        return path, None

    def part(self, path, node):
        """The source of an expression, on one line."""
        lines = self._lines.get(path)
        if lines is None:
            lines = self._lines[path] = [line.encode("utf-8") for line in self.file(path)[0].splitlines(True)]
        part = lines[node.lineno - 1:node.end_lineno]
        part[-1] = part[-1][:node.end_col_offset]  # columns are counted in bytes; the end first, it may be the same line
        part[0] = part[0][node.col_offset:]
        return " ".join(b"".join(part).decode("utf-8").split())

    def homes(self, path):
        """(name, file) of the public names in a table of lazy names, sorted."""
        table = ast.literal_eval(self.file(path)[2]["_HOME"].value)
        folder = path.rpartition("/")[0]
        for name, module in sorted((name, module) for module, names in table.items() if module for name in names.split()):
            yield name, (folder + "/" if folder else "") + module.replace(".", "/") + ".py"


def parameters(source, path, function, method):
    """The parameters of a function as text; without the first, of a method."""
    given = function.args
    positional = getattr(given, "posonlyargs", []) + given.args
    defaults = [None] * (len(positional) - len(given.defaults)) + given.defaults

    def one(argument, default):
        return argument.arg if default is None else "%s=%s" % (argument.arg, source.part(path, default))

    told = [one(*both) for both in zip(positional, defaults)][int(method):]
    if given.vararg:
        told.append("*" + given.vararg.arg)
    elif given.kwonlyargs:
        told.append("*")
    told += [one(*both) for both in zip(given.kwonlyargs, given.kw_defaults)]
    if given.kwarg:
        told.append("**" + given.kwarg.arg)
    return "(%s)" % ", ".join(told)


def decorators(function):
    return [getattr(one, "attr", getattr(one, "id", "")) for one in function.decorator_list]


def is_public(name):
    return not name.startswith("_") or name in SPECIAL


def members(source, path, cls):
    """name -> line, of what a class itself defines for its users."""
    found = {}
    for node in cls.body:
        if isinstance(node, ast.FunctionDef) and is_public(node.name):
            marks = decorators(node)
            if "setter" in marks:
                found[node.name] = "property %s, settable" % node.name
            elif "property" in marks:
                found[node.name] = "property " + node.name
            else:
                kind = next(("%s " % mark for mark in marks if mark in ("staticmethod", "classmethod")), "")
                found[node.name] = kind + node.name + parameters(source, path, node, kind != "staticmethod ")
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                name = getattr(target, "id", "_")
                if is_public(name) and name not in INNER:
                    found[name] = name
        elif isinstance(node, ast.AnnAssign) and node.value is not None and is_public(node.target.id) \
                and node.target.id not in INNER:
            name = node.target.id
            if getattr(getattr(node.annotation, "value", None), "id", "") == "Event":
                text = "".join(one.value for one in ast.walk(node.value) if isinstance(getattr(one, "value", None), str))
                found[name] = "event " + (text.partition(":")[0] or name)
            else:
                found[name] = name
    return found


def attributes(cls):
    """The public attributes that the docstring names, where __slots__ or __init__ have them."""
    had = set()
    for node in cls.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__slots__":
            had.update(one.value for one in ast.walk(node.value) if isinstance(one, ast.Constant))
        elif isinstance(node, ast.FunctionDef) and node.name == "__init__":
            had.update(one.attr for one in ast.walk(node) if isinstance(one, ast.Attribute) and isinstance(one.ctx, ast.Store)
                       and getattr(one.value, "id", "") == "self")
    return {name for name in re.findall(r"`(\w+)`", ast.get_docstring(cls) or "") if name in had and is_public(name)}


def of_class(source, path, cls, public, is_extension):
    """The lines of a class; what comes from bases that are not public is counted as its own."""
    lines, bases = {}, []

    def walk(path, cls):
        for name, line in members(source, path, cls).items():
            lines.setdefault(name, line)
        for name in attributes(cls):
            lines.setdefault(name, name)
        for base in cls.bases:
            if isinstance(base, ast.Subscript):  # Signal[S]: what S is, is for type checkers
                base = base.value
            where, node = source.find(path, getattr(base, "id", "")) if isinstance(base, ast.Name) else (path, None)
            if isinstance(node, ast.ClassDef) and (where, node.name) not in public:
                walk(where, node)
            else:
                name = node.name if isinstance(node, ast.ClassDef) else source.part(path, base)
                if name not in bases and "TYPE_CHECKING" not in name and name not in ("object", "Generic"):
                    bases.append(name)

    walk(path, cls)
    yield "class %s%s" % (cls.name, "(%s)" % ", ".join(bases) if bases else "")
    extension = sorted(name for name in lines if is_extension(cls.name, name))
    for name in sorted(set(lines) - set(extension)):
        yield "    " + lines[name]
    if extension:
        yield HEADING
        for name in extension:
            yield "        " + lines[name]


def of_name(source, path, name, public, is_extension):
    where, node = source.find(path, name)
    if isinstance(node, ast.ClassDef):
        yield from of_class(source, where, node, public, is_extension)
    elif isinstance(node, ast.FunctionDef):
        yield name + parameters(source, where, node, False)
    else:
        yield name


def listing(folder, is_extension):
    """All lines. is_extension(class, name): whether the name stands under the second heading of the class."""
    source = Source(folder)
    tables = [("icey", "__init__.py"), ("icey.http", "http/__init__.py"), ("icey.mqtt", "mqtt/__init__.py"),
              ("icey.hosts", "hosts/__init__.py")]
    homes = {title: [(name, path) for name, path in source.homes(table) if source.exists(path)] for title, table in tables}
    public = set()
    for names in homes.values():
        for name, path in names:
            where, node = source.find(path, name)
            public.add((where, getattr(node, "name", name)))
    for title, _ in tables:
        yield from [title, ""]
        for name, path in homes[title]:
            yield from of_name(source, path, name, public, is_extension)
            yield ""
    for title, path in MODULES.items():
        yield from [title, ""]
        for name, node in sorted(source.file(path)[2].items()):
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and not name.startswith("_") and (path, name) not in public:
                yield from of_name(source, path, name, public, is_extension)
                yield ""


def name_in(line):
    """The name that a line of a class is about."""
    return re.sub(r"^(class|static)method |^property |^event ", "", line.strip()).partition("(")[0].partition(",")[0]


def remembered(lines, new=False):
    """is_extension as the lines of a snapshot say it; `new`: for a name that they do not have."""
    known, cls, extension = {}, "", False
    for line in lines:
        if line.startswith("class "):
            cls, extension = line[6:].partition("(")[0], False
        elif line == HEADING:
            extension = True
        elif line.startswith("    "):
            known[cls, name_in(line)] = extension
    return lambda cls, name: known.get((cls, name), new)


def snapshot():
    with open(SNAPSHOT, encoding="utf-8") as file:
        return file.read().splitlines()


def test_public_names_and_their_parameters_are_as_they_were():
    expected = snapshot()
    assert list(listing(PACKAGE, remembered(expected))) == expected, "meant? then: python tests/test_signatures.py"


def test_the_snapshot_tells_users_names_from_those_of_the_extension_interface():
    lines = ["class A(B)", "    send(data)", "    property closed, settable", HEADING, "        event on_x(a, b)", "class C",
             "    send"]
    is_extension = remembered(lines, new=True)
    assert [is_extension(*both) for both in (("A", "send"), ("A", "closed"), ("A", "on_x"), ("C", "send"), ("C", "other"))] \
        == [False, False, True, False, True]


def main(arguments):
    if arguments and arguments != ["--extension"]:
        print("\n".join(listing(arguments[0], lambda cls, name: False)))
        return
    made = listing(PACKAGE, remembered(snapshot(), new=bool(arguments)))
    text = "\n".join(made) + "\n"
    with open(SNAPSHOT, "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    main(sys.argv[1:])
