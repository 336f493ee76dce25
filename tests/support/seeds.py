"""Where random tests get their seeds: each seed is printed, and ICEY_SEED in the environment replaces it.

    rng = seeds.rng()                # another seed in each run
    rng = seeds.rng(11)              # the same seed in each run
    seed = seeds.seed()              # the number itself, for a message or for a script that takes one

    @pytest.mark.parametrize("seed", seeds.each(range(8)))     # one test a seed; ICEY_SEED=5 makes it that one test
    def test_at_random(seed):
        rng = seeds.rng(seed)

pytest shows what a failed test has printed. The last line of the form ICEY_SEED=<number> is the one that repeats it:

    ICEY_SEED=1234 python -m pytest tests/base/test_timer.py -k random
"""
import os
import random

import pytest

# The long forms, what is marked slow among them: not in the plain run, nor where ICEY_SLOW=0 (most Pythons of tox).
LONG = bool(os.environ.get("ICEY_MODE")) and os.environ.get("ICEY_SLOW") != "0"


def given():
    """What ICEY_SEED says, or None."""
    text = os.environ.get("ICEY_SEED", "")
    return int(text) if text else None


def seed(default=None):
    """The seed for one test, or for one round of a test: ICEY_SEED, else `default`, else a new number. Printed."""
    chosen = given()
    if chosen is None:
        chosen = random.SystemRandom().randrange(1 << 32) if default is None else default
    print("ICEY_SEED=%d" % chosen)
    return chosen


def rng(default=None):
    """A random.Random that starts from `seed(default)`."""
    return random.Random(seed(default))


def each(numbers, quick=None):
    """The seeds of several tests or rounds: ICEY_SEED alone where it is set, else `numbers`.

    quick: for `parametrize`: how many of them the plain run has; the others are marked slow.
    """
    chosen, numbers = given(), list(numbers)
    if chosen is not None:
        return [chosen]
    return numbers if quick is None else numbers[:quick] + [pytest.param(n, marks=pytest.mark.slow) for n in numbers[quick:]]


def rounds(plain, more):
    """How many rounds a test plays: `plain` in the plain run, `more` where the long forms are run."""
    return more if LONG else plain


def fresh(count):
    """`count` seeds in a row that begin at a new number; ICEY_SEED alone where it is set. Print the one in use by `seed`."""
    first = random.SystemRandom().randrange(1 << 32)
    return each(range(first, first + count))
