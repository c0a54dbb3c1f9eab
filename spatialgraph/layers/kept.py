"""Kept values: what was derived from tensors and settings, for as long as these hold the same values."""

import ctypes
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from operator import attrgetter, is_
from typing import Generic, NamedTuple, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from spatialgraph.laws import LAWS, Law
from spatialgraph.tracing import is_observed

__all__ = ["Kept", "Sources", "law_settings", "may_be_kept"]

Value = TypeVar("Value")

_OWN_LAWS = frozenset(LAWS.values())
_END = (object(),)
_KIND = attrgetter("dtype", "is_cpu", "shape")
_NUMBERS = frozenset({bool, int, float})


def _c_memcmp() -> Callable[[int, int, int], int] | None:
    try:
        function = ctypes.CDLL(None).memcmp
    except (OSError, TypeError, AttributeError):  # Windows has no library of that kind
        return None
    function.argtypes, function.restype = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t), ctypes.c_int
    return cast(Callable[[int, int, int], int], function)


_memcmp = _c_memcmp()


class Sources(NamedTuple):
    """All that a value is derived from.

    ``tensors`` are compared by their values, ``settings`` by equality, ``things`` (which nobody changes) by identity.
    """

    tensors: Sequence[Tensor]
    settings: tuple[object, ...] = ()
    things: tuple[object, ...] = ()


class _Copy:
    """The values that sources had, and the attributes of the modules that they are read from."""

    def __init__(self, sources: Sources, modules: Sequence[nn.Module], things: tuple[object, ...]) -> None:
        self.sources = sources
        self.attributes = [*things, *_attributes(modules)]
        self.hooks = [hooks for module in modules for hooks in (module._forward_pre_hooks, module._forward_hooks)]
        self.tensors = [tensor.clone(memory_format=torch.contiguous_format) for tensor in sources.tensors]
        self.kinds = [*map(_KIND, self.tensors)]
        self.memory = [copy.data_ptr() for copy in self.tensors], [copy.nbytes for copy in self.tensors]
        self.has_memory = _memcmp is not None and all(copy.is_cpu for copy in self.tensors)

    def is_current(self, modules: Sequence[nn.Module], things: tuple[object, ...]) -> bool:
        """Tell whether modules have the same attributes as before, with the same values, and may be kept from."""
        return (
            all(map(is_, self.attributes, chain(things, _attributes(modules))))
            and not any(self.hooks)
            and not _has_any_global_hook()
            and not (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in self.sources.tensors))
            and self._have_values(self.sources.tensors)
        )

    def equals(self, sources: Sources) -> bool:
        """Tell whether sources have these values."""
        mine = self.sources
        if mine.settings != sources.settings or not all(map(is_, mine.things, sources.things)):
            return False
        return self._have_values(sources.tensors)

    def _have_values(self, tensors: Sequence[Tensor]) -> bool:
        if self.kinds != [*map(_KIND, tensors)]:
            return False
        if self.has_memory and _memcmp is not None and all(map(Tensor.is_contiguous, tensors)):
            # Comparing tensors takes several times as long as comparing their bytes.
            return not any(map(_memcmp, map(Tensor.data_ptr, tensors), *self.memory))
        pairs = zip(tensors, self.tensors, strict=True)
        return all(mine.device == theirs.device and torch.equal(mine, theirs) for mine, theirs in pairs)


def _attributes(modules: Sequence[nn.Module]) -> Iterator[object]:
    """List the classes of modules, all that they hold, and an end that is no attribute: other lengths differ."""
    held = [own for m in modules for own in (m.__dict__, m._modules, m._parameters, m._buffers)]
    return chain(map(type, modules), chain.from_iterable(map(dict.values, held)), _END)


class Kept(Generic[Value]):
    """A value that is derived anew only when its sources have changed, by whatever route they did.

    The sources are compared with a copy of them. Version counters would miss what fused optimisers, ``.data`` and NumPy
    write, identities what is written in place.

    Example:
        >>> total: Kept[Tensor] = Kept()
        >>> numbers = torch.ones(3)
        >>> total.get(lambda: Sources((numbers,)), numbers.sum)
        tensor(3.)
        >>> numbers.numpy()[0] = 5.0
        >>> total.get(lambda: Sources((numbers,)), numbers.sum)
        tensor(7.)
    """

    def __init__(self) -> None:
        # One attribute, so that threads which serve the same model see a value with the sources it belongs to.
        self._kept: tuple[_Copy, Value] | None = None

    def current(self, modules: Sequence[nn.Module], things: tuple[object, ...]) -> Value | None:
        """Return the value if :meth:`get` would find that nothing has changed, in less time; None if it might have.

        Args:
            modules: as in :meth:`get`.
            things: as in :meth:`get`.
        """
        kept = self._kept
        if kept is None or is_observed() or not kept[0].is_current(modules, things):
            return None
        return kept[1]

    def get(
        self,
        sources: Callable[[], Sources | None],
        build: Callable[[], Value],
        modules: Sequence[nn.Module] = (),
        things: tuple[object, ...] = (),
    ) -> Value | None:
        """Return the value, built anew, without gradients, if its sources have changed.

        Args:
            sources: reads what the value is derived from; None if nothing may be kept now.
            build: derives the value.
            modules: those whose attributes, with the things, settle the sources: while they hold the same objects only
                their tensors need to be compared. None of them may own this object.
            things: what else settles the sources, compared by identity.

        Returns:
            The value; None if nothing may be kept.
        """
        if is_observed():  # first: a compiler is not to trace the comparison
            return None
        kept = self._kept
        present = sources()
        if present is None or any(tensor.is_meta for tensor in present.tensors):
            return None
        if kept is not None and kept[0].equals(present):
            if modules:
                self._kept = _Copy(present, modules, things), kept[1]
            return kept[1]
        # Outside inference mode, so that the value may serve a later pass that records gradients of the input.
        with torch.inference_mode(False), torch.no_grad():
            copy = _Copy(present, modules, things)
            value = build()
            after = sources()
        if after is not None and copy.equals(after):  # else another thread has written to them meanwhile
            self._kept = copy, value
        return value

    def __deepcopy__(self, memo: dict[int, object]) -> "Kept[Value]":
        """Return an empty one: a copy of a module has parameters of its own."""
        return Kept()

    def __reduce__(self) -> tuple[type, tuple[()]]:
        """Leave the value out of pickles."""
        return Kept, ()


def law_settings(law: Law) -> tuple[object, ...] | None:
    """Return all that a law of the library computes with; None for another law, which may read anything.

    Example:
        >>> from spatialgraph.laws import Gaussian
        >>> law_settings(Gaussian(2.0))[1:]
        (0.0, 2.0)
    """
    own = law.__dict__
    if type(law) not in _OWN_LAWS or "from_square" in own or "slope" in own or "settings" in own:
        return None
    values = (type(law), law.softening, *law.settings().values())
    return values if _NUMBERS.issuperset(map(type, values[1:])) else None


def may_be_kept(module: nn.Module, *tensors: Tensor) -> bool:
    """Tell whether what a module derives from tensors may be kept between passes.

    It may in ``eval()``, if no gradient could be asked of the tensors and nothing watches the operations on them.

    Example:
        >>> may_be_kept(nn.Identity(), torch.zeros(2)), may_be_kept(nn.Identity().eval(), torch.zeros(2))
        (False, True)
    """
    if module.training or is_observed(*tensors):
        return False
    return not (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors))
