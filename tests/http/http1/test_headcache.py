"""HeaderCache is bounded and keeps no secrets; a Template's holes are never what frames a message."""
import pytest

from icey.base.errors import BadRequest
from icey.http.http1 import headcache as memo
from icey.http.http1.framing import request_framing_of
from icey.http.http1.headcache import FRAMING, LONGEST, MOST_HOLES, MOST_LINES, MOST_PER_NAME, SECRETS, HeaderCache, Template
from icey.http.semantics import grammar

# HeaderCache

def test_a_line_is_checked_on_its_first_sight(monkeypatch):
    seen = []

    def noted(line):
        seen.append(line)
        return grammar.field(line)

    monkeypatch.setattr(memo, "field", noted)
    lines = HeaderCache()
    assert [lines["Host: a"] for _ in range(3)] == [("host", "a")] * 3
    assert seen == ["Host: a"]


@pytest.mark.parametrize("line", ["", "a", "a : b", " a: b", "a: \x00", "a: b\nc: d", "a: b\rc"])
def test_a_malformed_line_is_refused_every_time(line):
    lines = HeaderCache()
    for _ in range(2):
        with pytest.raises(BadRequest):
            lines[line]
    assert not lines


@pytest.mark.parametrize("name", sorted(SECRETS) + ["Cookie", "AUTHORIZATION", "Proxy-Authorization", "Set-Cookie"])
def test_secrets_are_never_kept(name):
    lines = HeaderCache()
    assert lines[name + ": s3cret"] == (name.lower(), "s3cret")
    assert not lines and "s3cret" not in repr(lines._names)


def test_secrets_are_the_fields_that_authenticate():
    assert {"cookie", "set-cookie", "authorization", "proxy-authorization"} <= SECRETS


def test_long_lines_are_not_kept():
    lines = HeaderCache()
    just = "a: " + "b" * (LONGEST - 3)
    assert lines[just] and lines[just + "b"] == ("a", "b" * (LONGEST - 2))
    assert list(lines) == [just]


def test_a_name_has_its_quota():
    lines = HeaderCache()
    lines["Host: a"]
    for index in range(10 * MOST_PER_NAME):
        assert lines["X-Id: %d" % index] == ("x-id", str(index))
        lines["x-ID: %d" % index]  # whatever its spelling
    assert "Host: a" in lines and len(lines) == MOST_PER_NAME + 1


def test_full_it_starts_anew():
    lines = HeaderCache()
    for index in range(MOST_LINES):
        lines["a%d: b" % index]
    assert len(lines) == MOST_LINES
    lines["c: d"]
    assert list(lines) == ["c: d"]
    for index in range(5 * MOST_LINES):
        lines["n%d: %d" % (index % 300, index)]
        assert len(lines) <= MOST_LINES and sum(lines._names.values()) == len(lines)


def test_what_it_hands_out_is_immutable():
    assert type(HeaderCache()["a: b"]) is tuple


# Template

BLOCK = ["Host: a", "X-Id: 1", "Accept: */*", "X-Last:  z "]


def fields_of(lines):
    return dict(map(grammar.field, lines))


def framing_of(lines):
    return request_framing_of("1.1", fields_of(lines))


def learned(before, lines, old=None):
    return Template.learned(old, before, lines, fields_of(lines), framing_of(lines))


def replaced(lines, **values):
    """`lines` with other values at the places given: _1="X-Id: 2"."""
    made = list(lines)
    for place, line in values.items():
        made[int(place[1:])] = line
    return made


def text_of(lines):
    return "\r\n".join(lines) + "\r\n\r\n"


@pytest.fixture
def template():
    return learned(BLOCK, replaced(BLOCK, _1="X-Id: 2", _3="X-Last:  y "))


@pytest.mark.parametrize("changes", [
    {}, {"_1": "X-Id: 3"}, {"_1": "X-Id: "}, {"_1": "X-Id: a b c", "_3": "X-Last:  "}, {"_1": "X-Id: caf\xe9"},
    {"_1": "X-Id: " + "x" * 5000},
    {"_1": "X-Id: :"},
])
def test_a_block_that_differs_in_holes_alone_matches(template, changes):
    lines = replaced(BLOCK, _3="X-Last:  z", **changes) if "_3" not in changes else replaced(BLOCK, **changes)
    text = "GET / HTTP/1.1\r\n" + text_of(lines)
    assert template.match(text + "more", 16) == (fields_of(lines), len(text))


@pytest.mark.parametrize("changes", [
    {"_0": "Host: b"}, {"_2": "Accept: *"}, {"_1": "X-ID: 3"}, {"_1": "X-Id:3"}, {"_1": "X-Id:\t3"},
    {"_1": "X-Id:  3"}, {"_1": "X-Id: 3 "},
    {"_1": "X-Id: 3\t4"}, {"_1": "X-Id: \x00"}, {"_1": "X-Id: 3\r"}, {"_1": "X-Id: 3\n"}, {"_1": "X-Id: 3\rHost: b"},
    {"_1": "X-Id: 3\nA: b"},
    {"_1": "X-Id: \x7f"}, {"_1": "X-Id: \xa0"}, {"_1": "X-Id: 3\r\nA: b"}, {"_1": "X-Id : 3"}, {"_3": "X-Last:  y "},
    {"_3": "X-Last: y"},
])
def test_any_other_block_is_left_to_the_strict_reader(template, changes):
    assert template.match(text_of(replaced(BLOCK, **changes)), 0) is None


def test_a_cut_block_does_not_match(template):
    text = text_of(replaced(BLOCK, _3="X-Last:  y"))
    assert template.match(text, 0)
    for size in range(len(text)):
        assert template.match(text[:size], 0) is None


def test_a_block_with_more_or_fewer_lines_does_not_match(template):
    assert template.match(text_of(BLOCK[:3]), 0) is None
    assert template.match(text_of([*replaced(BLOCK, _3="X-Last:  y"), "A: b"]), 0) is None


def test_what_it_hands_out_is_a_copy(template):
    text = text_of(replaced(BLOCK, _3="X-Last:  y"))
    first, _ = template.match(text, 0)
    first["host"] = "evil"
    first.clear()
    assert template.match(text, 0)[0] == fields_of(replaced(BLOCK, _3="X-Last:  y"))


@pytest.mark.parametrize("name", sorted(FRAMING))
def test_what_frames_is_never_a_hole(name):
    for spelling in (name, name.upper(), name.title()):
        before, lines = BLOCK + [spelling + ": 1"], BLOCK + [spelling + ": 2"]
        assert memo.differing(before, lines) == []
        assert Template.learned(None, before, lines, {}, framing_of(BLOCK)) is None


class Noted(dict):
    """Fields that note which of them are looked for."""

    looked_for = set()

    def __contains__(self, name):
        self.looked_for.add(name)
        return super().__contains__(name)

    def get(self, name):
        self.looked_for.add(name)
        return super().get(name)


def test_all_that_framing_reads_is_in_the_table():
    everything = {"host": "a", "content-length": "5", "connection": "upgrade", "upgrade": "x", "expect": "100-continue"}
    request_framing_of("1.1", Noted(everything))
    request_framing_of("1.1", Noted({"host": "a", "transfer-encoding": "chunked"}))
    assert {*everything, "transfer-encoding"} == Noted.looked_for <= FRAMING


def test_up_to_four_holes():
    before = ["Host: a"] + ["X%d: 0" % index for index in range(6)]
    four = before[:3] + ["X%d: 1" % index for index in range(2, 6)]
    assert memo.differing(before, four) == [3, 4, 5, 6] and MOST_HOLES == 4
    assert memo.differing(before, ["Host: a"] + ["X%d: 1" % index for index in range(6)]) == []
    assert learned(before, four).match(text_of(before), 0)[0] == fields_of(before)


def test_blocks_of_another_shape_are_not_compared():
    assert memo.differing(BLOCK, BLOCK[:3]) == [] == memo.differing(BLOCK, replaced(BLOCK, _1="Y: 2"))
    assert memo.differing(BLOCK, replaced(BLOCK, _1="x-id: 2")) == []
    assert memo.differing(BLOCK, BLOCK) == []


def test_an_equal_block_keeps_the_template(template):
    assert learned(BLOCK, BLOCK, template) is template
    assert learned(BLOCK, BLOCK) is None
    assert learned(BLOCK, BLOCK[:3], template) is None


def test_holes_are_gathered_while_they_fit():
    first = learned(BLOCK, replaced(BLOCK, _1="X-Id: 2"))
    both = learned(BLOCK, replaced(BLOCK, _2="Accept: a"), first)
    assert both.match(text_of(replaced(BLOCK, _1="X-Id: 9", _2="Accept: 9")), 0)
    assert not learned(BLOCK, replaced(BLOCK, _2="Accept: a")).match(text_of(replaced(BLOCK, _1="X-Id: 9")), 0)
    many = ["Host: a"] + ["X%d: 0" % index for index in range(6)]
    old = learned(many, replaced(many, _1="X0: 1", _2="X1: 1", _3="X2: 1"))
    new = learned(many, replaced(many, _4="X3: 1", _5="X4: 1"), old)
    assert new.match(text_of(replaced(many, _4="X3: 7")), 0) and not new.match(text_of(replaced(many, _1="X0: 7")), 0)


def test_holes_of_a_block_of_another_shape_are_dropped():
    old = learned(["A: 1", "B: 1", "Host: a"], ["A: 1", "B: 2", "Host: a"])
    lines = ["A: 1", "Content-Length: 0", "Host: a"]
    made = learned(["A: 2", "Content-Length: 0", "Host: a"], lines, old)
    assert made.match(text_of(["A: 7", "Content-Length: 0", "Host: a"]), 0)
    assert made.match(text_of(["A: 7", "Content-Length: 5", "Host: a"]), 0) is None
    last = learned(["Host: a", "A: 1", "B: 1"], ["Host: a", "A: 1", "B: 2"])
    assert learned(["Host: a", "A: 1"], ["Host: a", "A: 2"], last).match(text_of(["Host: a", "A: 3"]), 0)
