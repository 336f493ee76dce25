"""The histogram of latencies: counts, percentiles within one percent, and what is drawn of it."""
import math

import pytest

from icey.tools.bench.histogram import BLOCKS, PLAIN, Histogram, bar, three_digits, time_text
from tests.support import seeds

TIMES = [0.0, 1e-7, 12.3e-6, 25.5e-6, 25.6e-6, 25.7e-6, 51.1e-6, 51.2e-6, 1e-3, 0.5, 1.0, 59.9, 3600.0, 86400.0]


def of(*times):
    histogram = Histogram()
    for seconds in times:
        histogram.add(seconds)
    return histogram


def exact(times, percent):
    """The time of nearest rank."""
    return sorted(times)[max(0, math.ceil(len(times) * percent / 100) - 1)]


def test_of_nothing():
    empty = Histogram()
    assert (empty.count, empty.least, empty.most, empty.mean, empty.total) == (0, 0.0, 0.0, 0.0, 0.0)
    assert empty.percentile(50) == 0.0
    assert list(empty.buckets()) == empty.rows() == empty.drawn() == []


@pytest.mark.parametrize("seconds", TIMES)
def test_of_one_time(seconds):
    one = of(seconds)
    assert (one.count, one.least, one.most, one.mean) == (1, seconds, seconds, seconds)
    for percent in (0, 0.1, 50, 99.9, 100):
        assert one.percentile(percent) == seconds
    (low, high, count), = one.buckets()
    assert count == 1 and low <= seconds * (1 + 1e-9) and seconds < high * (1 + 1e-9)
    assert high - low <= max(1e-7, low / 127) * (1 + 1e-9)


def test_least_most_and_mean_are_exact():
    some = of(0.3, 0.1, 0.2)
    assert (some.least, some.most, some.count) == (0.1, 0.3, 3)
    assert some.mean == pytest.approx(0.2)


def test_a_clock_that_was_set_back_counts_as_no_time():
    some = of(-1.0, 0.5, -2.0)
    assert (some.least, some.most, some.count, some.total) == (0.0, 0.5, 3, 0.5)


def test_every_bucket_begins_where_the_one_before_ends():
    histogram = Histogram()
    for ticks in list(range(2048)) + [2048 + 16 * step for step in range(512)]:
        histogram.add((ticks + 0.5) * 1e-7)
    edges = [(round(low * 1e7), round(high * 1e7)) for low, high, _ in histogram.buckets()]
    assert edges[0] == (0, 1)
    for (_, end), (begin, _) in zip(edges, edges[1:]):
        assert end == begin
    assert sum(count for _, _, count in histogram.buckets()) == histogram.count


@pytest.mark.parametrize("seed", seeds.each(range(5)))
def test_percentiles_are_within_one_percent(seed):
    rng = seeds.rng(seed)
    scale = rng.choice([1e-5, 1e-3, 1.0])
    times = [scale * rng.lognormvariate(0, rng.choice([0.1, 1, 2])) for _ in range(rng.randrange(1, 3000))]
    histogram = of(*times)
    assert histogram.percentile(0) == min(times)
    assert histogram.percentile(100) == max(times)
    for percent in (1, 25, 50, 90, 99, 99.9, rng.uniform(0, 100)):
        wanted, got = exact(times, percent), histogram.percentile(percent)
        assert abs(got - wanted) <= max(0.01 * wanted, 1.5e-7), "seed %d, %g %%: %r, not %r" % (seed, percent, got, wanted)


@pytest.mark.parametrize("percent", [-1, 100.1, float("nan")])
def test_a_percentile_that_is_none(percent):
    with pytest.raises(ValueError, match="from 0 to 100"):
        of(1.0).percentile(percent)


def test_a_million_times_take_little_memory():
    histogram = Histogram()
    for exponent in range(-8, 6):
        for digit in range(1, 10):
            histogram.add(digit * 10.0 ** exponent)
    assert len(histogram._counts) < 5000


@pytest.mark.parametrize("times", [TIMES, TIMES[2:5], [0.1] * 7, [1e-9, 2e-9], [1.0, 1.001], [1.0, 1.5, 2.0]])
def test_rows_hold_everything_from_least_to_greatest(times):
    histogram = of(*times)
    rows = histogram.rows()
    assert 1 <= len(rows) <= 12
    assert sum(count for _, _, count in rows) == len(times)
    assert rows[0][0] == max(min(times), 1e-7) and rows[-1][1] == max(max(times), 1e-7)
    for (_, end, _), (begin, _, _) in zip(rows, rows[1:]):
        assert end == begin


def test_rows_grow_by_the_same_factor():
    rows = of(*[0.001 * 1.1 ** step for step in range(50)]).rows(8)
    factors = [high / low for low, high, _ in rows]
    assert len(rows) == 8 and max(factors) == pytest.approx(min(factors))


def test_it_is_drawn():
    histogram = of(*[0.001] * 10, *[0.002] * 40, *[0.004])
    lines = histogram.drawn(width=20)
    assert len(lines) == 12
    assert lines[0] == " 1.00 ms to 1.12 ms  #####                10"
    assert lines[-1] == " 3.56 ms to 4.00 ms  #                     1"
    assert " %s 40" % ("#" * 20) in "\n".join(lines)
    assert " ".join(lines[-2].split()) == "3.17 ms to 3.56 ms 0"
    assert of(0.5).drawn(BLOCKS, 4) == ["  500 ms to 500 ms   ████ 1"]


@pytest.mark.parametrize("part, marks, text", [
    (0, PLAIN, ""), (1, PLAIN, "########"), (0.5, PLAIN, "####"), (0.001, PLAIN, "#"), (0.999, PLAIN, "########"),
    (0, BLOCKS, ""), (1, BLOCKS, "████████"), (0.5, BLOCKS, "████"), (0.001, BLOCKS, "▏"), (0.55, BLOCKS, "████▍"),
])
def test_a_bar(part, marks, text):
    assert bar(part, marks, 8) == text


@pytest.mark.parametrize("seconds, text", [
    (0, "0.00 us"), (1e-7, "0.10 us"), (1.234e-6, "1.23 us"), (12.34e-6, "12.3 us"), (123.4e-6, "123 us"),
    (999.4e-6, "999 us"), (999.6e-6, "1.00 ms"), (0.0123, "12.3 ms"), (0.9994, "999 ms"), (0.9996, "1.00 s"),
    (1234.5, "1234 s"),
])
def test_times_in_words(seconds, text):
    assert time_text(seconds) == text


@pytest.mark.parametrize("value, text", [(0, "0.00"), (9.994, "9.99"), (9.996, "10.0"), (99.94, "99.9"), (99.96, "100"),
                                         (12345.6, "12346")])
def test_three_digits(value, text):
    assert three_digits(value) == text
