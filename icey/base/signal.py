"""Signals: what happened, told to whoever is attached.

    Signal        the local fast path: no lock, one thread, slots called at once
    LocalSignal   the same thing, named for intent
    Event         how a class declares a signal: `on_recv: Event[Callable[[Self, memoryview], Any]] = Event("...")`

Rules: higher priority first, equals in the order attached. A slot detached during an emit is not called any more, in
nested emits neither; one attached during an emit waits for the next. The first exception ends an emit and reaches the
caller; the events of a handle are guarded by the handle, which reports to its loop.

Not here: ThreadSignal, for several threads (threadsignal.py).

How it is fast: when slots come and go the signal rebinds `fire` to nothing, to the only slot, or to a function over all
of them, so that emitting costs one call. A handle's signal is made when it is first touched.
"""

from __future__ import annotations

import sys

from . import debug

TYPE_CHECKING = bool()
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Generic, Iterator, List, Optional, Tuple, overload

    from typing_extensions import Self, TypeVar

    Slot = Callable[..., Any]
    # What a slot of a signal is called with. Contravariant: a signal that gives more may stand where one gives less.
    S = TypeVar("S", bound=Slot, contravariant=True, default=Slot)
    F = TypeVar("F", bound=Slot)
else:
    S = None

    class Generic:
        """The Generic of typing, which is not imported: `Signal[...]` is Signal itself, for a subclass or a call."""

        __slots__ = ()

        def __class_getitem__(cls, slot):
            return cls


_NOT_RUN_BY_A_CALL = {0x80: "a coroutine function", 0x20: "a generator function", 0x200: "an asynchronous generator function"}


def require_callable(fn: Any, what: str) -> None:
    """TypeError where `fn`, which is to be called as `what` says, cannot be called, or a call would run nothing of it."""
    code = getattr(fn, "__code__", None)  # of a function or a method: the usual way, in two looks
    if code is not None and not code.co_flags & 0x2A0:
        return
    if not callable(fn):
        raise TypeError("%s must be callable, not %r" % (what, fn))
    code = debug.code_of(fn)
    if code is not None and code.co_flags & 0x2A0:
        kind = [kind for flag, kind in _NOT_RUN_BY_A_CALL.items() if code.co_flags & flag][0]
        raise TypeError("slots are called, not awaited: %s is %s, and a call would run nothing of it. Attach a plain function,"
                        " which may start a task" % (debug.place(fn), kind))


class Attached:
    """A slot in its signal. `fn` is None from the moment it is detached; `was` keeps the name for a report."""

    __slots__ = ("fn", "was", "priority", "once", "loop")

    def __init__(self, fn: Slot, priority: int, once: bool, loop: Any = None) -> None:
        self.fn: Optional[Slot] = fn
        self.was: Slot = fn
        self.priority: int = priority
        self.once: bool = once
        self.loop: Any = loop


def meant(slots: Tuple[Attached, ...], fn: Any) -> List[Attached]:
    """Those of `slots` that are detached by `fn`: the first that is equal to it, or else all that are methods of it."""
    if fn is None:
        return []
    for slot in slots:
        if slot.fn is not None and slot.fn == fn:
            return [slot]
    return [slot for slot in slots if getattr(slot.fn, "__self__", None) is fn]


def _ignore(*args: Any) -> bool:
    return False


# What is called where no slot is attached, as in most signals: that is to cost less than one slot. So in CPython it is a
# built-in function that takes any arguments and does nothing with them; PyPy inlines one of ours.
_nothing: Slot = "".format if sys.implementation.name == "cpython" else _ignore


def _over_all(slots: Tuple[Attached, ...], stoppable: bool, spent: Slot) -> Slot:
    """A function that calls each slot still attached; `spent()` is told of each that was for once.

    It holds the slots, not the signal: no reference cycle (but while there are slots for once).
    """
    if spent is _nothing:  # no slot is for once: none is asked

        def fire_all(*args: Any) -> bool:
            for slot in slots:
                fn = slot.fn
                if fn is not None and fn(*args) is True and stoppable:
                    return True
            return False

        return fire_all

    def fire(*args: Any) -> bool:
        for slot in slots:
            fn = slot.fn
            if fn is not None:
                if slot.once:
                    slot.fn = None
                    spent()
                if fn(*args) is True and stoppable:
                    return True
        return False

    return fire


class Signal(Generic[S]):
    """A list of slots, called in order by `emit`. For one thread; see ThreadSignal for several.

    stoppable: a slot that returns True ends the emit, and `emit` then returns True. For whoever emits often: `fire`, a function
    that calls the slots; `slots`: they themselves, each an Attached; `keep_living()` drops those that were detached.
    For type checkers `Signal[Callable[[int], Any]]` says what its slots are called with.
    """

    __slots__ = ("stoppable", "fire", "slots")

    def __init__(self, *, stoppable: bool = False) -> None:
        self.stoppable: bool = stoppable
        self.slots: Tuple[Attached, ...] = ()
        self.fire: Slot = _nothing

    def attach(self: Signal[F], fn: F, *, priority: int = 0, once: bool = False) -> F:
        """Adds a slot and returns it, so that `@signal.attach` decorates. once: detached before its first call."""
        require_callable(fn, "a slot")
        self._insert(Attached(fn, priority, once))
        return fn

    def detach(self, fn: Any) -> bool:
        """Takes out the first slot equal to `fn`, or else all that are methods of the object `fn`; False if there is none.

        They are not called any more, from now on.
        """
        found = meant(self.slots, fn)
        for slot in found:
            slot.fn = None
        if found:
            self.keep_living()
        return bool(found)

    def detach_all(self) -> None:
        """Takes every slot out."""
        for slot in self.slots:
            slot.fn = None
        self.keep_living()

    def emit(self, *args: Any) -> bool:
        """Calls the slots with `args`; True if a slot of a stoppable signal stopped it."""
        return self.fire(*args) is True and self.stoppable

    def __iadd__(self, fn: S) -> Self:
        self.attach(fn)
        return self

    def __isub__(self, fn: Any) -> Self:
        self.detach(fn)
        return self

    def __len__(self) -> int:
        count = 0
        for slot in self.slots:
            if slot.fn is not None:
                count += 1
        return count

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[Slot]:
        return iter([slot.fn for slot in self.slots if slot.fn is not None])

    def __repr__(self) -> str:
        return "<%s of %d slots>" % (type(self).__name__, len(self))

    def _insert(self, new: Attached) -> None:
        if self.slots and self.slots[-1].priority >= new.priority:  # the usual case, where there may be thousands
            self._rebind((*self.slots, new))
            return
        living = [slot for slot in self.slots if slot.fn is not None]
        index = len(living)
        while index and living[index - 1].priority < new.priority:
            index -= 1
        living.insert(index, new)
        self._rebind(tuple(living))

    def keep_living(self) -> None:
        self._rebind(tuple([slot for slot in self.slots if slot.fn is not None]))

    def _rebind(self, slots: Tuple[Attached, ...]) -> None:
        self.slots = slots
        if not slots:
            self.fire = _nothing
        elif len(slots) == 1 and not slots[0].once:
            self.fire = slots[0].fn or _nothing
        else:
            spent = self.keep_living if [slot for slot in slots if slot.once] else _nothing
            self.fire = _over_all(slots, self.stoppable, spent)


class LocalSignal(Signal[S]):
    """A Signal that says by its name: this one stays on its loop."""

    __slots__ = ()


class OwnedSignal(Signal[S]):
    """The signal of a handle or another loop-affine object: attach and detach are for its loop's thread only.

    The owner has `check_thread()` (raises AffinityError) and `slots_changed(name, signal)`.
    """

    __slots__ = ("_owner", "_name")

    def __init__(self, owner: Any, name: str) -> None:
        self.stoppable = False  # as Signal.__init__ does it, a call less: a request makes two of these
        self.slots: Tuple[Attached, ...] = ()
        self.fire: Slot = _nothing
        self._owner = owner
        self._name = name

    def attach(self: OwnedSignal[F], fn: F, *, priority: int = 0, once: bool = False) -> F:
        """Adds a slot, as Signal.attach does, on the owner's thread (AffinityError from another)."""
        owner = self._owner
        owner.check_thread()
        if self.slots or once:
            return super().attach(fn, priority=priority, once=once)
        require_callable(fn, "a slot")  # the only slot, as it is mostly: there is nothing to sort
        self.slots = (Attached(fn, priority, False),)
        self.fire = fn
        try:
            owner.slots_changed(self._name, self)
        except BaseException:  # see _rebind
            super()._rebind(())
            raise
        return fn

    def detach(self, fn: Any) -> bool:
        """As Signal.detach, on the owner's thread (AffinityError from another)."""
        self._owner.check_thread()
        return super().detach(fn)

    def detach_all(self) -> None:
        """Takes every slot out, on the owner's thread (AffinityError from another)."""
        self._owner.check_thread()
        super().detach_all()

    def _rebind(self, slots: Tuple[Attached, ...]) -> None:
        before = self.slots
        super()._rebind(slots)
        try:
            self._owner.slots_changed(self._name, self)
        except BaseException:  # a descriptor that cannot be watched: what was refused is not attached
            super()._rebind(before)
            raise


class Event(Generic[S]):
    """Declares a signal of a class: made on first touch, kept in the object's `signals`, never replaced.

    `obj.on_x += fn` reads the signal, attaches, and assigns the same signal back; assigning anything else is TypeError.
    stoppable: as of a Signal.
    `on_x: Event[Callable[[Self, int], Any]] = Event("on_x(obj, n): ...")` tells type checkers what its slots are called with.
    """

    def __init__(self, doc: str = "", *, stoppable: bool = False) -> None:
        self.__doc__: str = doc
        self.stoppable = stoppable
        self.name: str = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    if TYPE_CHECKING:

        @overload
        def __get__(self, obj: None, cls: Any = None) -> Self: ...

        @overload
        def __get__(self, obj: object, cls: Any = None) -> OwnedSignal[S]: ...

    def __get__(self, obj: Any, cls: Any = None) -> Any:
        if obj is None:
            return self
        signals: Optional[Dict[str, Signal]] = obj.signals
        if signals is None:
            signals = obj.signals = {}
        signal = signals.get(self.name)
        if signal is None:
            signal = signals[self.name] = OwnedSignal(obj, self.name)
            if self.stoppable:
                signal.stoppable = True
        return signal

    def __set__(self, obj: Any, value: Signal[S]) -> None:
        # Not asked: whether it is the signal of this moment; an object's signals may die between the two halves of `+=`.
        if not isinstance(value, OwnedSignal) or value._owner is not obj or value._name != self.name:
            raise TypeError("%s.%s is a signal: attach a slot with += or .attach(fn), do not assign to it"
                            % (type(obj).__name__, self.name))
