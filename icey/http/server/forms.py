"""FormParser: what a browser's form sends, urlencoded or multipart/form-data (RFC 7578), as it comes, within limits.

    def on_request(exchange):                               # small forms: all of it in memory
        FormParser.read(exchange, save)

    def save(exchange, form):
        form.get("title"), form.fields, form.files[0].data
        form.close()                                        # its files, where on_file has opened some

    FormParser.read(exchange, save, on_file=lambda part: TemporaryFile())       # uploads of any size; form.files[0].file

Rules
- A part with a file name is a file, even an empty one ("", what a browser sends where none was chosen); others are fields.
- A file's data go where `on_file(part)` says: to what it returns, something with `write`; else, with an `on_data`, to that as
  lent views; else into `part.data`, within `max_memory`.
- What `on_file` returned is written to here, and yours: close it when the form has come (`form.close()` does). If it does not
  come whole, all of them are closed here, and then `tempfile` ones are gone too.
- Malformed or cut short is BadRequest (400), past a limit TooLarge (413), another content type, charset or coding
  BadRequest with 415. Raised from a slot, these are the answer. Nothing is guessed.
- Text is UTF-8, but for a part's own charset, one given with the content type, or by a field `_charset_` (section 4.6: for
  what comes behind it); what it cannot decode becomes U+FFFD.
- To refuse an upload, raise an HttpError from `on_file`.

Not here: the bytes between two boundaries (multipart.py), pairs (urlencoded.py), headers of a part (parameters.py), forms that
we send (multipartencoder.py). Parts of parts (multipart/mixed, which RFC 7578 ended) are not opened.
"""

from __future__ import annotations

import codecs

from ...base.buffer import kept_view
from ...base.errors import BadRequest, StateError, TooLarge
from ...base.pieces import gather_piece, joined
from ...base.signal import require_callable
from ..semantics.headers import Headers
from ..semantics.multipart import MultipartReader, PartObserver, boundary_of
from ..semantics.pairreader import PairReader
from ..semantics.parameters import form_disposition, media_type, safe_name

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Tuple, Union

    from ..semantics.urlencoded import Octets
    from .exchange import Exchange

READING, COMPLETE, FAILED = range(3)

# What forms are sent in (WHATWG Encoding), and not what else Python calls a codec: some of those take quadratic time.
CHARSETS = frozenset(
    "utf-8 utf8 us-ascii ascii iso-8859-1 latin1 iso-8859-2 iso-8859-3 iso-8859-4 iso-8859-5 iso-8859-6 iso-8859-7 iso-8859-8"
    " iso-8859-10 iso-8859-13 iso-8859-14 iso-8859-15 iso-8859-16 windows-1250 windows-1251 windows-1252 windows-1253"
    " windows-1254 windows-1255 windows-1256 windows-1257 windows-1258 koi8-r koi8-u gbk gb2312 gb18030 big5 euc-jp shift_jis"
    " iso-2022-jp euc-kr".split()
)


class FormFile:
    """A file of a form: `name` (of its field), `filename` (as sent), `content_type`, `headers`, `size` (so far).

    `data`: its bytes, None where they went elsewhere. `file`: what on_file returned for it.
    """

    __slots__ = ("name", "filename", "headers", "size", "file", "data", "_pieces")

    def __init__(self, name: str, filename: str, headers: Headers) -> None:
        self.name: str = name
        self.filename: str = filename
        self.headers: Headers = headers
        self.size: int = 0
        self.file: Any = None
        self.data: Optional[bytes] = None
        self._pieces: List[Any] = []

    @property
    def content_type(self) -> str:
        """Its Content-Type, with the parameters; "text/plain" where none was sent (RFC 7578 section 4.4)."""
        return str(self.headers.get("content-type", "text/plain"))

    @property
    def safe_name(self) -> str:
        """The file name without folders, safe in a path; "" where nothing is left of it."""
        return safe_name(self.filename)

    def __repr__(self) -> str:
        return "<FormFile %s: %r, %d bytes>" % (self.name, self.filename, self.size)


class Form:
    """What came: `fields`, (name, value) pairs of str, and `files`, both in order. `form.get(name)`, `form.file(name)`."""

    __slots__ = ("fields", "files")

    def __init__(self) -> None:
        self.fields: List[Tuple[str, str]] = []
        self.files: List[FormFile] = []

    def get(self, name: str, default: Any = None) -> Any:
        """The first value of the field `name`, or `default`."""
        return next((value for key, value in self.fields if key == name), default)

    def get_all(self, name: str) -> List[str]:
        """All values of the field `name`."""
        return [value for key, value in self.fields if key == name]

    def file(self, name: str) -> Optional[FormFile]:
        """The first file of the field `name`, or None."""
        return next((part for part in self.files if part.name == name), None)

    def close(self) -> None:
        """Closes what on_file returned; raises the first error of those."""
        failed = None
        for part in self.files:
            try:
                if part.file is not None:
                    part.file.close()
            except Exception as exc:
                failed = failed or exc
        if failed is not None:
            raise failed

    def __repr__(self) -> str:
        return "<Form of %d fields, %d files>" % (len(self.fields), len(self.files))


class FormParser(PartObserver):
    """Parses the body of a form with this Content-Type: `feed` its bytes, then `end`. For an exchange: `FormParser.read`.

    on_field(name, value)      a field, complete; without it they gather in `form.fields`
    on_file(part)              a FormFile begins; returns what its data are written to, or None
    on_data(part, view)        data of a file that is written to nothing; the view is lent until this returns
    on_file_end(part)          it is complete

    max_fields, max_files: counts. max_field_size, max_file_size: bytes of one; urlencoded, the field's name included.
    max_memory: bytes of all that is kept. max_part_head: bytes of one part's header lines. None: no bound, but for the last.
    BadRequest (415) for another content type, (400) for a malformed one.
    """

    __slots__ = (
        "form", "_reader", "_state", "_charset", "_on_field", "_on_file", "_on_data", "_on_file_end", "_max_fields",
        "_max_field_size", "_max_files", "_max_file_size", "_max_memory", "_fields", "_kept",
        "_part", "_name", "_part_charset", "_value",
    )

    def __init__(
        self,
        content_type: Optional[str],
        *,
        on_field: Optional[Callable[[str, str], Any]] = None,
        on_file: Optional[Callable[[FormFile], Any]] = None,
        on_data: Optional[Callable[[FormFile, memoryview], Any]] = None,
        on_file_end: Optional[Callable[[FormFile], Any]] = None,
        max_fields: Optional[int] = 1000,
        max_field_size: Optional[int] = 1 << 20,
        max_files: Optional[int] = 100,
        max_file_size: Optional[int] = None,
        max_memory: Optional[int] = 8 << 20,
        max_part_head: int = 16 << 10,
    ) -> None:
        kind, parameters = media_type(content_type) if content_type is not None else ("", {})
        self._reader: Union[MultipartReader, PairReader]
        if kind == "multipart/form-data":
            self._reader = MultipartReader(boundary_of(parameters), PartObserver(), max_head=max_part_head)
        elif kind == "application/x-www-form-urlencoded":
            self._reader = PairReader(_ignore_pair, max_field_size)
        else:
            raise BadRequest("a form is application/x-www-form-urlencoded or multipart/form-data, not %s" % (kind or "untyped"),
                             415)
        self.form: Form = Form()
        self._state = READING
        self._charset = _charset(parameters, "utf-8")
        self._on_field = on_field
        self._on_file = on_file
        self._on_data = on_data
        self._on_file_end = on_file_end
        self._max_fields = max_fields
        self._max_field_size = max_field_size
        self._max_files = max_files
        self._max_file_size = max_file_size
        self._max_memory = max_memory
        self._fields = 0  # how many
        self._kept = 0  # bytes of what is kept in memory
        self._part: Optional[FormFile] = None  # the file that is read, or else a field:
        self._name = self._part_charset = ""
        self._value = bytearray()

    @classmethod
    def read(cls, exchange: Exchange, done: Callable[[Exchange, Form], Any], **options: Any) -> None:
        """Reads the form that `exchange` brings, then calls `done(exchange, form)`, perhaps before this returns.

        options: as for FormParser. Raises, now or later from the exchange's slots, what is then the answer: 400, 413, 415.
        StateError once it was answered.
        """
        from .exchange import SENDING

        exchange.require(SENDING, "FormParser.read")
        require_callable(done, "done")
        headers = exchange.request.headers
        types = headers.get_all("content-type")
        if len(types) > 1:
            raise BadRequest("more than one Content-Type")
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise BadRequest("a form with a Content-Encoding is not read here", 415)
        parser = cls(types[0] if types else None, **options)
        exchange.on_close += lambda exchange: parser.close()
        exchange.on_payload += _Feed(parser, done)
        if exchange.connection.want_body(exchange):
            exchange.on_complete += lambda exchange: done(exchange, parser.end())
        else:
            done(exchange, parser.end())

    def feed(self, data: Octets) -> None:
        """The next bytes. What it raises is final; StateError after that, and after `end`."""
        self._require_reading("feed")
        self._have_read(self._reader.feed, data)

    def end(self) -> Form:
        """The body has ended: the form. BadRequest where it was cut short."""
        self._require_reading("end")
        self._have_read(self._reader.end)
        self._state = COMPLETE
        return self.form

    def close(self) -> None:
        """Gives up: closes what on_file returned so far. Nothing happens once the form is complete."""
        if self._state == READING:
            self._state = FAILED
            self.form.close()

    def _have_read(self, read: Callable[..., Any], *data: Octets) -> None:
        """The reader knows us only meanwhile: two that hold each other would keep a form until the garbage collector comes."""
        reader = self._reader
        if isinstance(reader, MultipartReader):
            reader.observer = self
        else:
            reader.on_pair = self._on_pair
        try:
            read(*data)
        except BaseException:
            self.close()
            raise
        finally:
            if isinstance(reader, MultipartReader):
                reader.observer = PartObserver()
            else:
                reader.on_pair = _ignore_pair

    def _require_reading(self, verb: str) -> None:
        if self._state != READING:
            what = "is complete" if self._state == COMPLETE else "failed"
            raise StateError("%s() on a form that %s" % (verb, what), "make a FormParser for each body")

    # urlencoded

    def _on_pair(self, name: bytes, value: bytes) -> None:
        self._count_field()
        self._field(name.decode(self._charset, "replace"), value, self._charset, len(name))

    # what a MultipartReader calls: PartObserver

    def on_part(self, pairs: List[Tuple[str, str]]) -> None:
        """A part's head."""
        given: Dict[str, str] = {}
        for key, text in pairs:
            if key in ("content-disposition", "content-type", "content-transfer-encoding") and key in given:
                raise BadRequest("more than one %s in a part" % key)
            given[key] = text
        if "content-disposition" not in given:
            raise BadRequest("a part without a Content-Disposition (RFC 7578 section 4.2)")
        name, filename = form_disposition(given["content-disposition"])
        if given.get("content-transfer-encoding", "binary").lower() not in ("7bit", "8bit", "binary"):
            raise BadRequest("a part's Content-Transfer-Encoding is not decoded (RFC 7578 section 4.7)", 415)
        if filename is None:
            self._count_field()
            self._name = name
            parameters = media_type(given["content-type"])[1] if "content-type" in given else {}
            self._part_charset = _charset(parameters, self._charset)
        else:
            self._begin_file(FormFile(name, filename, Headers.received(pairs)))

    def on_data(self, view: memoryview) -> None:
        """A piece of the part's body."""
        part = self._part
        if part is None:
            _within(len(self._value) + len(view), self._max_field_size, "a field over %d bytes")
            self._value += view
            return
        part.size += len(view)
        _within(part.size, self._max_file_size, "a file over %d bytes")
        if part.file is not None:
            _write(part.file, view)
        elif self._on_data is not None:
            self._lend(part, view, self._on_data)
        else:
            self._keep(len(view))
            gather_piece(part._pieces, view)

    def on_part_end(self) -> None:
        """The part is complete."""
        part, self._part = self._part, None
        if part is None:
            value, self._value = bytes(self._value), bytearray()
            self._field(self._name, value, self._part_charset, len(self._name))
            return
        if part.file is None and self._on_data is None:
            part.data, part._pieces = joined(part._pieces), []
        if self._on_file_end is not None:
            self._on_file_end(part)

    # what came

    def _count_field(self) -> None:
        self._fields += 1
        _within(self._fields, self._max_fields, "more than %d fields")

    def _field(self, name: str, value: bytes, charset: str, name_size: int) -> None:
        text = value.decode(charset, "replace")
        if name == "_charset_":
            self._charset = _charset({"charset": text}, "utf-8")
        if self._on_field is not None:
            self._on_field(name, text)
        else:
            self._keep(name_size + len(value))
            self.form.fields.append((name, text))

    def _begin_file(self, part: FormFile) -> None:
        files = self.form.files
        _within(len(files) + 1, self._max_files, "more than %d files")
        self._part = part
        files.append(part)
        if self._on_file is not None:
            part.file = self._on_file(part)
            if part.file is not None and not hasattr(part.file, "write"):
                wrong, part.file = part.file, None
                raise TypeError("on_file returns something with write(), or None, not %r" % (wrong,))

    def _lend(self, part: FormFile, view: memoryview, on_data: Callable[[FormFile, memoryview], Any]) -> None:
        lent = view[:]
        try:
            on_data(part, lent)
        finally:
            try:
                lent.release()
            except BufferError:
                raise kept_view([on_data])  # noqa: B904 - what on_data raised stays in its context

    def _keep(self, size: int) -> None:
        self._kept += size
        _within(self._kept, self._max_memory, "a form over %d bytes")


class _Feed:
    """The slot that feeds a parser. `__func__`, as a method has it: the user's function, for a report of who kept a view."""

    __slots__ = ("__func__", "_parser")

    def __init__(self, parser: FormParser, done: Any) -> None:
        self.__func__ = parser._on_data or done
        self._parser = parser

    def __call__(self, exchange: Exchange, view: memoryview) -> None:
        self._parser.feed(view)


def _charset(parameters: Dict[str, str], default: str) -> str:
    """The charset parameter; BadRequest (415) for one that is not known."""
    name = parameters.get("charset", default).strip().lower()
    try:
        if name in CHARSETS:
            codecs.lookup(name)
            return name
    except LookupError:  # a Python made small
        pass
    raise BadRequest("text in the charset %.40r is not read here" % name, 415)


def _ignore_pair(name: bytes, value: bytes) -> None:
    """Nothing is read now."""


def _within(size: int, most: Optional[int], what: str) -> None:
    if most is not None and size > most:
        raise TooLarge(what % most)


def _write(file: Any, view: memoryview) -> None:
    """All of `view`; a raw file may take less at a time."""
    size = len(view)
    done = 0
    while done < size:
        with view[done:] as rest:
            taken = file.write(rest)
        if taken is None:  # it does not say: all
            return
        if taken <= 0:
            raise OSError("write() took nothing of %d bytes of a form's file" % (size - done))
        done += taken
