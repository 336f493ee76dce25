"""Limits: the defaults users rely on, and a table that cannot be changed by accident."""
import pytest

from icey import Limits
from icey.base.limits import DEFAULTS, limits_of

KiB, MiB = 1024, 1024 * 1024
PROMISED = {
    "head_timeout": 10.0,
    "body_timeout": 30.0,
    "keep_alive_timeout": 30.0,
    "write_timeout": 30.0,
    "handshake_timeout": 10.0,
    "close_timeout": 5.0,
    "pong_timeout": 20.0,
    "max_head": 65536,
    "max_fields": 100,
    "max_target": 8192,
    "max_body": 1 * MiB,
    "max_connections": 10000,
    "high_water": 64 * KiB,
    "low_water": 16 * KiB,
    "max_queue": 16 * MiB,
    "max_message": 16 * MiB,
}


def test_the_defaults_are_the_promised_ones():
    assert {name: Limits().items()[name] for name in PROMISED} == PROMISED
    assert DEFAULTS == Limits()


def test_what_is_not_promised_is_at_least_in_the_table():
    assert set(Limits().items()) == {row[0] for row in Limits.table()} >= set(PROMISED)


def test_times_are_floats_sizes_ints():
    for name in PROMISED:
        assert type(getattr(Limits(), name)) is (float if name.endswith("timeout") else int)


def test_overrides_replace_some():
    limits = Limits(max_body=5, head_timeout=2, keep_alive_timeout=None, max_queue=None)
    assert (limits.max_body, limits.head_timeout, limits.keep_alive_timeout, limits.max_queue) == (5, 2, None, None)
    assert limits.max_head == 65536


def test_replace_makes_a_changed_copy():
    limits = Limits(max_body=5)
    other = limits.replace(max_head=7)
    assert (other.max_body, other.max_head) == (5, 7)
    assert limits.max_head == 65536
    assert limits.replace() == limits


def test_limits_are_immutable():
    limits = Limits()
    with pytest.raises(AttributeError, match=r"limits.replace\(max_body=...\)"):
        limits.max_body = 1
    with pytest.raises(AttributeError, match="immutable"):
        limits.no_such = 1
    with pytest.raises(AttributeError, match="immutable"):
        del limits.max_body
    assert limits == Limits()


def test_an_unknown_name_is_TypeError():
    with pytest.raises(TypeError, match="no such limit: max_boddy, timeout"):
        Limits(timeout=1, max_boddy=2, max_head=3)
    with pytest.raises(TypeError):
        Limits().replace(no_such=1)
    with pytest.raises(TypeError):
        Limits(10)


@pytest.mark.parametrize("name", PROMISED)
@pytest.mark.parametrize("value", [-1, "10", True, float("nan"), [1]])
def test_a_negative_or_wrongly_typed_value_is_ValueError(name, value):
    with pytest.raises(ValueError, match=name):
        Limits(**{name: value})


@pytest.mark.parametrize("name", [name for name in PROMISED if not name.endswith("timeout")])
def test_a_size_is_a_whole_number(name):
    with pytest.raises(ValueError, match="%s must be a whole number" % name):
        Limits(**{name: 1.5})


@pytest.mark.parametrize("name", PROMISED)
def test_None_switches_a_limit_off_but_for_the_water_marks(name):
    if name in ("high_water", "low_water"):
        with pytest.raises(ValueError, match="%s needs a number" % name):
            Limits(**{name: None})
    else:
        assert getattr(Limits(**{name: None}), name) is None


def test_an_infinite_time_is_None():
    for name, _, unit, _ in Limits.table():
        if unit == "s":
            assert Limits(**{name: float("inf")}) == Limits(**{name: None})
        else:
            with pytest.raises(ValueError, match=name):
                Limits(**{name: float("inf")})


def test_low_water_is_not_above_high_water():
    assert Limits(low_water=5, high_water=5).low_water == 5
    with pytest.raises(ValueError, match="low_water 6 is above high_water 5"):
        Limits(low_water=6, high_water=5)
    with pytest.raises(ValueError):
        Limits(high_water=100)


def test_equal_limits_are_equal_and_hash_alike():
    assert Limits(max_body=1) == Limits(max_body=1) != Limits()
    assert len({Limits(max_body=1), Limits(max_body=1), Limits()}) == 2
    assert Limits() != PROMISED


def test_repr_shows_what_differs_from_the_defaults():
    assert repr(Limits()) == "Limits()"
    assert repr(Limits(max_body=1, head_timeout=None)) == "Limits(head_timeout=None, max_body=1)"
    assert eval(repr(Limits(max_body=1))) == Limits(max_body=1)


def test_the_table_tells_name_default_unit_and_meaning_and_is_a_copy():
    for name, default, unit, meaning in Limits.table():
        assert getattr(Limits(), name) == default
        assert unit in ("s", "B", "") and meaning
    Limits.table().clear()
    assert Limits.table()


def test_what_is_given_in_the_place_of_limits():
    assert limits_of(None) is DEFAULTS
    mine = Limits(max_body=5)
    assert limits_of(mine) is mine
    for wrong in ({"max_body": 5}, 5, Limits):
        with pytest.raises(TypeError, match=r"^limits are an icey.Limits\(name=value\), not "):
            limits_of(wrong)
