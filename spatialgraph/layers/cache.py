"""A cache for values derived from tensors and settings, which is valid while these have the same values.

It holds what follows from tensors on the CPU, and nothing of those on an accelerator: to compare their values would
wait for it, which takes longer than to compute weights again, and is forbidden while a CUDA graph is captured.
"""

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

__all__ = ["Cache", "Sources", "law_settings", "may_be_cached"]

Value = TypeVar("Value")

_OWN_LAWS = frozenset(LAWS.values())
_END = (object(),)
_KIND = attrgetter("dtype", "is_cpu", "shape")
_IS_CPU = attrgetter("is_cpu")
_NUMBERS = frozenset({bool, int, float})


def _c_memcmp() -> Callable[[int, int, int], int] | None:
    try:
        function = ctypes.CDLL(None).memcmp
    except (OSError, TypeError, AttributeError):  # not available on Windows
        return None
    function.argtypes, function.restype = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t), ctypes.c_int
    return cast(Callable[[int, int, int], int], function)


_memcmp = _c_memcmp()


class Sources(NamedTuple):
    """The inputs from which a value is derived.

    ``tensors`` are compared by their values, ``settings`` by equality, ``objects``, which are immutable, by identity.
    """

    tensors: Sequence[Tensor]
    settings: tuple[object, ...] = ()
    objects: tuple[object, ...] = ()


class _Copy:
    """A copy of the values of sources, and the attributes of the modules from which they are read."""

    def __init__(self, sources: Sources, modules: Sequence[nn.Module], objects: tuple[object, ...]) -> None:
        self.sources = sources
        self.attributes = [*objects, *_attributes(modules)]
        self.hooks = [hooks for module in modules for hooks in (module._forward_pre_hooks, module._forward_hooks)]
        self.tensors = [tensor.clone(memory_format=torch.contiguous_format) for tensor in sources.tensors]
        self.kinds = [*map(_KIND, self.tensors)]
        self.memory = [copy.data_ptr() for copy in self.tensors], [copy.nbytes for copy in self.tensors]

    def is_current(self, modules: Sequence[nn.Module], objects: tuple[object, ...]) -> bool:
        """Tell whether modules have the same attributes with the same values as before, and no hooks or gradients."""
        return (
            all(map(is_, self.attributes, chain(objects, _attributes(modules))))
            and not any(self.hooks)
            and not _has_any_global_hook()
            and not (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in self.sources.tensors))
            and self._have_values(self.sources.tensors)
        )

    def equals(self, sources: Sources) -> bool:
        """Tell whether sources have these values."""
        own = self.sources
        if own.settings != sources.settings or not all(map(is_, own.objects, sources.objects)):
            return False
        return self._have_values(sources.tensors)

    def _have_values(self, tensors: Sequence[Tensor]) -> bool:
        if self.kinds != [*map(_KIND, tensors)]:
            return False
        if _memcmp is not None and all(map(Tensor.is_contiguous, tensors)):
            # Comparing bytes is several times faster than comparing tensors.
            return not any(map(_memcmp, map(Tensor.data_ptr, tensors), *self.memory))
        return all(map(torch.equal, tensors, self.tensors))


def _attributes(modules: Sequence[nn.Module]) -> Iterator[object]:
    """Yield the classes and attributes of modules, and an end mark, so that lists of other lengths differ."""
    held = [own for m in modules for own in (m.__dict__, m._modules, m._parameters, m._buffers)]
    return chain(map(type, modules), chain.from_iterable(map(dict.values, held)), _END)


class Cache(Generic[Value]):
    """A cached value that is recomputed only when its sources have changed.

    The sources are compared with a copy by value. Version counters would miss writes by fused optimisers, ``.data`` and
    NumPy, and identities would miss changes in place. A value that must not be cached any more is freed, so that none
    takes memory while a model trains.

    Example:
        >>> total: Cache[Tensor] = Cache()
        >>> numbers = torch.ones(3)
        >>> total.get(lambda: Sources((numbers,)), numbers.sum)
        tensor(3.)
        >>> numbers.numpy()[0] = 5.0
        >>> total.get(lambda: Sources((numbers,)), numbers.sum)
        tensor(7.)
    """

    def __init__(self) -> None:
        # One attribute, so that threads that share a model always see a value with its own sources.
        self._entry: tuple[_Copy, Value] | None = None

    def current(self, modules: Sequence[nn.Module], objects: tuple[object, ...]) -> Value | None:
        """Return the value if a fast check shows that nothing has changed, else None.

        Args:
            modules: as in :meth:`get`.
            objects: as in :meth:`get`.
        """
        entry = self._entry
        if entry is None or is_observed() or not entry[0].is_current(modules, objects):
            return None
        return entry[1]

    def get(
        self,
        sources: Callable[[], Sources | None],
        build: Callable[[], Value],
        modules: Sequence[nn.Module] = (),
        objects: tuple[object, ...] = (),
    ) -> Value | None:
        """Return the value, recomputed without gradients if its sources have changed.

        Args:
            sources: returns the inputs of the value; None if it must not be cached now. Nor is it where one of them is
                on an accelerator.
            build: computes the value.
            modules: the modules whose attributes, with ``objects``, determine the sources: while these are the same
                objects, only the tensors are compared. None of them may own this object.
            objects: other objects that determine the sources, compared by identity.

        Returns:
            The value; None if it must not be cached.
        """
        if is_observed():  # first, so that a compiler does not trace the comparison
            return None
        entry = self._entry
        present = sources()
        if present is None or not all(map(_IS_CPU, present.tensors)):
            self.clear()
            return None
        if entry is not None and entry[0].equals(present):
            if modules:
                self._entry = _Copy(present, modules, objects), entry[1]
            return entry[1]
        self._entry = entry = None  # freed first, so that memory holds one value and not two
        # Outside inference mode, so that the value can be used in later passes with gradients of the input.
        with torch.inference_mode(False), torch.no_grad():
            copy = _Copy(present, modules, objects)
            value = build()
            after = sources()
        if after is not None and copy.equals(after):  # unless another thread has changed them meanwhile
            self._entry = copy, value
        return value

    def clear(self) -> None:
        """Free the value."""
        self._entry = None

    def __deepcopy__(self, memo: dict[int, object]) -> "Cache[Value]":
        """Return an empty cache: a copy of a module has its own parameters."""
        return Cache()

    def __reduce__(self) -> tuple[type, tuple[()]]:
        """Exclude the value from pickles."""
        return Cache, ()


def law_settings(law: Law) -> tuple[object, ...] | None:
    """Return the values used by one of the library's laws; None for other laws, which may use anything.

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


def may_be_cached(module: nn.Module, *tensors: Tensor) -> bool:
    """Tell whether a module may cache values derived from tensors between passes.

    It may in ``eval()``, if the tensors need no gradients and nothing traces operations on them.

    Example:
        >>> may_be_cached(nn.Identity(), torch.zeros(2)), may_be_cached(nn.Identity().eval(), torch.zeros(2))
        (False, True)
    """
    if module.training or is_observed(*tensors):
        return False
    return not (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors))
