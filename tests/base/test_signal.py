"""Signal: its list and how it is kept; and a random play against a naive model. The contract is in tests/contracts."""
import gc
import random
import subprocess
import sys
import weakref

import pytest

from icey import LocalSignal, Signal
from tests.support import ROOT, seeds


def test_a_LocalSignal_is_a_Signal_named_for_intent():
    assert issubclass(LocalSignal, Signal)
    assert repr(LocalSignal()) == "<LocalSignal of 0 slots>"


def test_iterating_gives_the_slots_in_order():
    signal = Signal()
    signal += print
    signal.attach(repr, priority=1)
    assert list(signal) == [repr, print]
    for slot in signal:
        signal -= slot
    assert list(signal) == []


def test_bound_methods_are_found_by_equality():
    class Owner:
        def slot(self):
            pass

    owner = Owner()
    signal = Signal()
    signal += owner.slot
    assert signal.detach(owner.slot) is True
    assert signal.detach(Owner().slot) is False


def test_a_slot_is_compared_no_further_than_to_the_one_that_is_meant_and_never_when_one_is_attached():
    class Slot:
        compared = 0

        def __call__(self):
            pass

        def __eq__(self, other):
            Slot.compared += 1
            assert isinstance(other, Slot)  # no slot that was detached in this emit is left here
            return self is other

        __hash__ = None

    signal = Signal()
    slots = [signal.attach(Slot(), once=bool(number % 2)) for number in range(50)]
    assert Slot.compared == 0 and list(map(id, signal)) == list(map(id, slots))
    assert signal.detach(slots[2]) and Slot.compared <= 3
    signal.emit()
    assert len(signal) == 24


def test_iadd_on_an_attribute_keeps_the_same_signal():
    class Owner:
        changed = Signal()

    before = Owner.changed
    Owner.changed += print
    Owner.changed -= print
    assert Owner.changed is before


def test_signals_and_events_are_subscriptable_and_typing_is_not_needed():
    code = ("import sys; from icey.base.signal import Event, LocalSignal, OwnedSignal, Signal;"
            "from icey.base.threadsignal import ThreadSignal\n"
            "print([cls[int] is cls for cls in (Event, LocalSignal, OwnedSignal, Signal, ThreadSignal)]);"
            "print('typing' in sys.modules)")
    done = subprocess.run([sys.executable, "-S", "-c", code], stdout=subprocess.PIPE, timeout=60, cwd=ROOT,
                          universal_newlines=True)
    assert done.stdout == "[True, True, True, True, True]\nFalse\n"

    class Ticks(Signal[int]):
        pass

    ticks, got = Ticks(), []
    ticks += got.append
    ticks.emit(1)
    assert got == [1]


def test_signal_takes_no_positional_arguments():
    with pytest.raises(TypeError):
        Signal(True)


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="counts references")
def test_a_signal_with_slots_is_no_reference_cycle():
    class Owner:
        pass

    gc.disable()
    try:
        owner = Owner()
        owner.signal = Signal()
        owner.signal += print
        owner.signal += repr
        gone = weakref.ref(owner)
        del owner
        assert gone() is None
    finally:
        gc.enable()


def test_a_spent_once_slot_is_let_go_of():
    class Thing:
        def slot(self):
            pass

    signal = Signal()
    thing = Thing()
    gone = weakref.ref(thing)
    signal.attach(thing.slot, once=True)
    signal += int
    signal.emit()
    del thing
    gc.collect()
    assert gone() is None


# against a model

class Model:
    """The rules of a signal in the plainest words."""

    def __init__(self, stoppable):
        self.stoppable = stoppable
        self.slots = []

    def attach(self, fn, priority=0, once=False):
        self.slots.append({"fn": fn, "priority": priority, "once": once})
        self.slots.sort(key=lambda slot: -slot["priority"])

    def detach(self, fn):
        for slot in self.slots:
            if slot["fn"] is fn:
                self.slots.remove(slot)
                return True
        return False

    def detach_all(self):
        self.slots = []

    def emit(self, *args):
        for slot in list(self.slots):
            if any(slot is living for living in self.slots):
                if slot["once"]:
                    self.slots = [other for other in self.slots if other is not slot]
                if slot["fn"](*args) is True and self.stoppable:
                    return True
        return False

    def __len__(self):
        return len(self.slots)


def play(signal, seed):
    """Does to `signal` what the seed says, from within slots too; returns all that could be seen of it."""
    dice = random.Random(seed)
    log = []
    depth = [0]

    def make(name):
        def slot(value):
            log.append(("called", name, value))
            if depth[0] < 3 and len(log) < 400:
                for _ in range(dice.randrange(3)):
                    act()
            if dice.random() < 0.05:
                raise LookupError(name)
            return dice.random() < 0.1
        return slot

    slots = [make(name) for name in "abcdef"]

    def act():
        what = dice.random()
        if what < 0.35:
            signal.attach(dice.choice(slots), priority=dice.choice((0, 0, 1, -1)), once=dice.random() < 0.3)
        elif what < 0.6:
            log.append(("detach", signal.detach(dice.choice(slots))))
        elif what < 0.63:
            signal.detach_all()
        else:
            depth[0] += 1
            try:
                log.append(("emit", signal.emit(len(log))))
            except LookupError as exc:
                log.append(("raised", exc.args))
            depth[0] -= 1
        log.append(("len", len(signal)))

    for _ in range(40):
        act()
    return log


@pytest.mark.parametrize("stoppable", [False, True])
def test_random_play_is_the_same_as_a_naive_models(stoppable):
    seed = seeds.seed()
    for number in range(seed, seed + seeds.rounds(100, 300)):
        assert play(Signal(stoppable=stoppable), number) == play(Model(stoppable), number), "seed %d" % number
