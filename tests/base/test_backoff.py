"""Backoff: rests that double, their jitter, and when they begin anew."""
import pytest

from icey.base.backoff import Backoff, from_0_to_1


@pytest.mark.parametrize("jitter, rests", [
    (0.0, [1, 2, 4, 5, 5]), (1.0, [2, 4, 8, 10, 10]), (0.5, [1.5, 3, 6, 7.5, 7.5]),
])
def test_rests_double_between_the_bounds_with_jitter(jitter, rests):
    backoff = Backoff(1.0, 10.0, lambda: jitter)
    assert [backoff.next() for _ in rests] == rests


def test_they_begin_anew_when_it_lived_longer_than_the_bound_of_the_rest_before():
    backoff = Backoff(1.0, 60.0, lambda: 0.0)
    assert [backoff.next(), backoff.next(lived=2.0), backoff.next(lived=4.0), backoff.next(lived=8.1)] == [1, 2, 4, 1]


def test_the_longest_rest_and_what_follows_it():
    backoff = Backoff(1.0, 60.0, lambda: 0.0)
    assert [backoff.next(longest=True), backoff.next(), backoff.next(lived=61.0)] == [30, 30, 1]


def test_bounds_that_are_one():
    backoff = Backoff(3, 3, lambda: 0.0)
    assert [backoff.next() for _ in range(3)] == [3.0] * 3


def test_another_least_holds_from_the_next_rest_on():
    backoff = Backoff(1.0, 60.0, lambda: 0.0)
    backoff.next()
    backoff.least = 5.0
    assert [backoff.next(), backoff.next(), backoff.next()] == [5, 10, 20]
    backoff.least = 0.5
    assert backoff.next(lived=100) == 0.5


def test_the_jitter_of_its_own_is_between_0_and_1():
    drawn = [from_0_to_1() for _ in range(100)]
    assert all(0 <= one < 1 for one in drawn) and len(set(drawn)) > 90
    assert all(1 <= Backoff(1, 60).next() < 2 for _ in range(100))


@pytest.mark.parametrize("given, kind", [
    (None, TypeError), (1.0, TypeError), ((1,), TypeError), ((1, 2, 3), TypeError), (("a", 2), TypeError),
    ((0, 2), ValueError), ((3, 2), ValueError), ((1, float("inf")), ValueError), ((float("nan"), 2), ValueError),
])
def test_what_is_no_pair_of_bounds(given, kind):
    with pytest.raises(kind, match="retry"):
        Backoff.of(given, "retry")


def test_a_pair_of_bounds():
    backoff = Backoff.of([1, 2], "retry")
    assert (backoff.least, backoff.most) == (1.0, 2.0)
