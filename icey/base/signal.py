"""Signals: what happened, told to whoever is attached.

    Signal        the local fast path: no lock, one thread, slots called at once
    LocalSignal   the same thing, named for intent
    ThreadSignal  attach, detach and emit from any thread; `loop=` delivers on that loop
    Event         how a class declares a signal: `on_recv = Event()`

Rules: higher priority first, equals in the order attached. A slot detached during an emit is not called any more, in
nested emits neither; one attached during an emit waits for the next. The first exception ends an emit and reaches the
caller; the events of a handle are guarded by the handle, which reports to its loop.

How it is fast: when slots come and go the signal rebinds `fire` to nothing, to the only slot, or to a function over all
of them, so that emitting costs one call. A handle's signal is made when it is first touched.
"""

from __future__ import annotations

from _thread import RLock

from .errors import StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterator, Optional, Tuple, TypeVar

    Slot = Callable[..., Any]
    F = TypeVar("F", bound=Slot)


class _Attached:
    """A slot in its signal. `fn` is None from the moment it is detached; `was` keeps the name for a report."""

    __slots__ = ("fn", "was", "priority", "once", "loop")

    def __init__(self, fn: Slot, priority: int, once: bool, loop: Any = None) -> None:
        self.fn: Optional[Slot] = fn
        self.was = fn
        self.priority = priority
        self.once = once
        self.loop = loop


def _nothing(*args: Any) -> bool:
    return False


def _over_all(slots: Tuple[_Attached, ...], stoppable: bool, spent: Slot) -> Slot:
    """A function that calls each slot still attached; `spent()` is told of each that was for once.

    It holds the slots, not the signal: no reference cycle (but while there are slots for once).
    """

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


class Signal:
    """A list of slots, called in order by `emit`. For one thread; see ThreadSignal for several.

    stoppable: a slot that returns True ends the emit, and `emit` then returns True.
    """

    __slots__ = ("stoppable", "fire", "_slots")

    def __init__(self, *, stoppable: bool = False) -> None:
        self.stoppable = stoppable
        self._slots: Tuple[_Attached, ...] = ()
        self.fire: Slot = _nothing

    def attach(self, fn: F, *, priority: int = 0, once: bool = False) -> F:
        """Adds a slot and returns it, so that `@signal.attach` decorates. once: detached before its first call."""
        if not callable(fn):
            raise TypeError("a slot must be callable, not %r" % (fn,))
        self._insert(_Attached(fn, priority, once))
        return fn

    def detach(self, fn: Slot) -> bool:
        """Takes the first slot equal to `fn` out; False if there is none. It is not called any more, from now on."""
        for slot in self._slots:
            if slot.fn is not None and slot.fn == fn:
                slot.fn = None
                self._keep_living()
                return True
        return False

    def detach_all(self) -> None:
        """Takes every slot out."""
        for slot in self._slots:
            slot.fn = None
        self._keep_living()

    def emit(self, *args: Any) -> bool:
        """Calls the slots with `args`; True if a slot of a stoppable signal stopped it."""
        return self.fire(*args) is True and self.stoppable

    def __iadd__(self, fn: Slot) -> Signal:
        self.attach(fn)
        return self

    def __isub__(self, fn: Slot) -> Signal:
        self.detach(fn)
        return self

    def __len__(self) -> int:
        return sum(slot.fn is not None for slot in self._slots)

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[Slot]:
        return iter([slot.fn for slot in self._slots if slot.fn is not None])

    def __repr__(self) -> str:
        return "<%s of %d slots>" % (type(self).__name__, len(self))

    def _insert(self, new: _Attached) -> None:
        living = [slot for slot in self._slots if slot.fn is not None]
        index = len(living)
        while index and living[index - 1].priority < new.priority:
            index -= 1
        living.insert(index, new)
        self._rebind(tuple(living))

    def _keep_living(self) -> None:
        self._rebind(tuple(slot for slot in self._slots if slot.fn is not None))

    def _rebind(self, slots: Tuple[_Attached, ...]) -> None:
        self._slots = slots
        if not slots:
            self.fire = _nothing
        elif len(slots) == 1 and not slots[0].once:
            self.fire = slots[0].fn or _nothing
        else:
            spent = self._keep_living if any(slot.once for slot in slots) else _nothing
            self.fire = _over_all(slots, self.stoppable, spent)


class LocalSignal(Signal):
    """A Signal that says by its name: this one stays on its loop."""

    __slots__ = ()


class OwnedSignal(Signal):
    """The signal of a handle or another loop-affine object: attach and detach are for its loop's thread only.

    The owner has `_check()` (raises AffinityError) and `_slots_changed(name, signal)`.
    """

    __slots__ = ("_owner", "_name")

    def __init__(self, owner: Any, name: str) -> None:
        super().__init__()
        self._owner = owner
        self._name = name

    def attach(self, fn: F, *, priority: int = 0, once: bool = False) -> F:
        """Adds a slot, as Signal.attach does, on the owner's thread (AffinityError from another)."""
        self._owner._check()
        return super().attach(fn, priority=priority, once=once)

    def detach(self, fn: Slot) -> bool:
        """Takes a slot out, on the owner's thread (AffinityError from another)."""
        self._owner._check()
        return super().detach(fn)

    def detach_all(self) -> None:
        """Takes every slot out, on the owner's thread (AffinityError from another)."""
        self._owner._check()
        super().detach_all()

    def _rebind(self, slots: Tuple[_Attached, ...]) -> None:
        before = self._slots
        super()._rebind(slots)
        try:
            self._owner._slots_changed(self._name, self)
        except BaseException:  # a descriptor that cannot be watched: what was refused is not attached
            super()._rebind(before)
            raise


class Event:
    """Declares a signal of a class: made on first touch, kept in the object's `_signals`, never replaced.

    `obj.on_x += fn` reads the signal, attaches, and assigns the same signal back; assigning anything else is TypeError.
    """

    def __init__(self, doc: str = "") -> None:
        self.__doc__ = doc
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, obj: Any, cls: Any = None) -> Signal:
        if obj is None:
            return self  # type: ignore[return-value]
        signals: Optional[Dict[str, Signal]] = obj._signals
        if signals is None:
            signals = obj._signals = {}
        signal = signals.get(self.name)
        if signal is None:
            signal = signals[self.name] = OwnedSignal(obj, self.name)
        return signal

    def __set__(self, obj: Any, value: Signal) -> None:
        # Not asked: whether it is the signal of this moment; an object's signals may die between the two halves of `+=`.
        if not isinstance(value, OwnedSignal) or value._owner is not obj or value._name != self.name:
            raise TypeError("%s.%s is a signal: attach a slot with += or .attach(fn), do not assign to it"
                            % (type(obj).__name__, self.name))


class ThreadSignal:
    """A signal that any thread may attach to, detach from and emit.

    The slots of an emit are those attached when it began; no lock is held while they run. `attach(fn, loop=loop)` has
    `fn` run on that loop (by `loop.post`), the others run in the emitting thread.
    """

    __slots__ = ("stoppable", "_lock", "_slots")

    def __init__(self, *, stoppable: bool = False) -> None:
        self.stoppable = stoppable
        self._lock = RLock()  # re-entrant: a finalizer may strike inside
        self._slots: Tuple[_Attached, ...] = ()

    def attach(self, fn: F, *, priority: int = 0, once: bool = False, loop: Any = None) -> F:
        """Adds a slot and returns it. loop: the loop to run it on; with one it cannot stop the emit."""
        if not callable(fn):
            raise TypeError("a slot must be callable, not %r" % (fn,))
        if loop is not None and loop.closed:
            raise StateError("attach(loop=...) got a closed loop", "attach to a loop that is open")
        new = _Attached(fn, priority, once, loop)
        with self._lock:
            index = len(self._slots)
            while index and self._slots[index - 1].priority < priority:
                index -= 1
            self._slots = self._slots[:index] + (new,) + self._slots[index:]
        return fn

    def detach(self, fn: Slot) -> bool:
        """Takes the first slot equal to `fn` out; calls not yet begun, on a loop too, do not happen any more."""
        with self._lock:
            for slot in self._slots:
                if slot.fn == fn:
                    slot.fn = None
                    self._slots = tuple(other for other in self._slots if other is not slot)
                    return True
        return False

    def detach_all(self) -> None:
        """Takes every slot out."""
        with self._lock:
            for slot in self._slots:
                slot.fn = None
            self._slots = ()

    def emit(self, *args: Any) -> bool:
        """Calls or posts each slot; True if a slot of a stoppable signal, run in this thread, stopped it."""
        for slot in self._slots:
            if slot.loop is not None:
                slot.loop.post(self._deliver, slot, args)
            elif self._deliver(slot, args) is True and self.stoppable:
                return True
        return False

    def _deliver(self, slot: _Attached, args: Tuple[Any, ...]) -> Any:
        if slot.once:
            with self._lock:
                fn, slot.fn = slot.fn, None
                self._slots = tuple(other for other in self._slots if other is not slot)
        else:
            fn = slot.fn
        return fn(*args) if fn is not None else None

    def __iadd__(self, fn: Slot) -> ThreadSignal:
        self.attach(fn)
        return self

    def __isub__(self, fn: Slot) -> ThreadSignal:
        self.detach(fn)
        return self

    def __len__(self) -> int:
        return len(self._slots)

    def __bool__(self) -> bool:
        return True
