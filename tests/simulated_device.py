"""A simulated accelerator: tensors of the device ``sim`` hold real values, and each operation on them is recorded.

An operation on tensors of two devices raises, as on a GPU. The record counts the kernels that a GPU would launch, the
places where the host would wait for a value, and the bytes in use. Operations can be captured and replayed, as with
CUDA graphs; with ``limited`` the device has neither double precision, matrices in compressed rows nor Triton.
"""

import contextlib
import gc
import traceback
import weakref
from collections import Counter
from pathlib import Path

import torch
import torch.utils._pytree as pytree
from torch.overrides import _get_current_function_mode_stack
from torch.utils._python_dispatch import return_and_correct_aliasing
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

import spatialgraph
from spatialgraph import devices, tracing
from spatialgraph.kernels.cuda import launching

NAME = "sim"
LIBRARY = str(Path(spatialgraph.__file__).resolve().parent)

# Operations that launch nothing: views, and new tensors without values.
FREE = frozenset(
    "view _unsafe_view t transpose permute slice select expand unsqueeze squeeze detach as_strided alias split "
    "split_with_sizes unbind _reshape_alias lift_fresh reshape diagonal empty new_empty empty_like empty_strided "
    "new_empty_strided _sparse_compressed_tensor_unsafe _sparse_csr_tensor_unsafe values crow_indices col_indices "
    "view_as resize_ sparse_compressed_tensor _validate_sparse_compressed_tensor_args sym_size sym_stride unfold "
    "is_same_size set_ squeeze_ t_ unsqueeze_ unsafe_split_with_sizes".split()
)
# Operations whose results the host reads, or whose shapes depend on values.
WAITING = frozenset(
    "_local_scalar_dense nonzero bincount _unique2 unique_dim unique_consecutive masked_select equal is_nonzero item "
    "histc linalg_matrix_exp".split()
)
# Operations that take tensors of several devices.
ACROSS = frozenset("copy_ _to_copy index index_put index_put_ _index_put_impl_ set_".split())


class Record:
    """What happened on the device: launches and waits, each with the line of the library that it came from."""

    def __init__(self):
        self.live, self._storages = 0, set()
        self.captured, self.is_limited, self.is_exact = None, False, False
        self.clear()

    def clear(self):
        """Forget launches, waits and the peak of memory."""
        self.launches, self.waits, self.peak = [], [], self.live

    def launched(self, name):
        self.launches.append((name, _line()))

    def waited(self, name):
        if self.captured is not None:
            raise RuntimeError(f"operation not permitted while a graph is captured: {name} ({_line()})")
        self.waits.append((name, _line()))

    def hold(self, inner):
        """Count the bytes of a tensor until its memory is freed."""
        if inner.layout is not torch.strided:
            return
        storage = inner.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self._storages:
            self._storages.add(key)
            self.live += size
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._free, key, size)

    def report(self):
        """Return a line for each kind of launch and wait, the most frequent first."""
        counts = Counter([("wait", *entry) for entry in self.waits] + [("launch", *entry) for entry in self.launches])
        return "\n".join(f"{count:4d} x {' '.join(entry)}" for entry, count in counts.most_common())

    def _free(self, key, size):
        self._storages.discard(key)
        self.live -= size


record = Record()


class Sim(torch.Tensor):
    """A tensor of the device: a wrapper of one on the CPU."""

    @staticmethod
    def __new__(cls, inner):
        is_strided = inner.layout is torch.strided
        return torch.Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride() if is_strided else None,
            storage_offset=inner.storage_offset() if is_strided else None,
            dtype=inner.dtype,
            device=f"{NAME}:0",
            requires_grad=False,
        )

    def __init__(self, inner):
        self.inner = inner

    def __repr__(self):
        return f"Sim({self.inner!r})"

    def __reduce_ex__(self, protocol):
        return _rebuilt, (self.inner.clone(), self.requires_grad, isinstance(self, torch.nn.Parameter))

    def __deepcopy__(self, memo):
        if id(self) not in memo:
            own = _rebuilt(
                self.inner.clone(), self.requires_grad and self.is_leaf, isinstance(self, torch.nn.Parameter)
            )
            memo[id(self)] = own
        return memo[id(self)]

    def as_subclass(self, kind):
        return self  # a wrapper cannot be of two types

    def data_ptr(self):
        return self.inner.data_ptr()

    def numpy(self, *, force=False):
        if not force and _is_called_by_library():
            raise TypeError("can't convert sim device type tensor to numpy. Use Tensor.cpu() first.")
        return self.inner.numpy(force=force)

    def __array__(self, dtype=None):
        return self.numpy() if dtype is None else self.numpy().astype(dtype)

    def tolist(self):
        record.waited("tolist")
        return self.inner.tolist()

    def new_tensor(self, data, *, dtype=None, device=None, requires_grad=False):
        with torch.device("cpu"):
            made = _tensor(data, dtype=dtype or self.dtype)
        return made.to(device or self.device).requires_grad_(requires_grad)

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _dispatch(func, args, kwargs or {})

    __torch_function__ = torch._C._disabled_torch_function_impl


def _rebuilt(inner, requires_grad, is_parameter):
    made = Sim(inner)
    return torch.nn.Parameter(made, requires_grad) if is_parameter else made.requires_grad_(requires_grad)


def is_sim(device):
    return device is not None and torch.device(device).type == NAME


def _line():
    for frame in reversed(traceback.extract_stack()):
        if frame.filename.startswith(LIBRARY):
            return f"{frame.filename[len(LIBRARY) + 1 :]}:{frame.lineno}"
    return "elsewhere"


def _is_called_by_library():
    """Tests may look into tensors of the device; the library may not."""
    here = {__file__}
    for frame in reversed(traceback.extract_stack()):
        if frame.filename not in here and "/torch/" not in frame.filename:
            return frame.filename.startswith(LIBRARY)
    return False


def _dispatch(func, args, kwargs):
    name = func._schema.name.split("::")[-1]
    tensors = [value for value in pytree.tree_leaves((args, kwargs)) if isinstance(value, torch.Tensor)]
    there = [value for value in tensors if isinstance(value, Sim)]
    here = [value for value in tensors if not isinstance(value, Sim)]
    device = kwargs.get("device")
    to_sim = is_sim(device) or (bool(there) and device is None)
    _check_devices(func, name, args, kwargs, here, there, to_sim)
    if here and not there and not to_sim and name != "_to_copy":
        return func(*args, **kwargs)
    if name == "copy_":
        to_sim = isinstance(args[0], Sim)
    _note(name, func._overloadname, args, kwargs, to_sim)
    own_args, own_kwargs = pytree.tree_map(
        lambda value: value.inner if isinstance(value, Sim) else value, (args, kwargs)
    )
    if is_sim(own_kwargs.get("device")):
        own_kwargs = own_kwargs | {"device": "cpu"}
    if own_kwargs.get("pin_memory"):
        own_kwargs = own_kwargs | {"pin_memory": False}
    out = func(*own_args, **own_kwargs)
    if name == "_local_scalar_dense":
        return out
    if to_sim and record.captured is not None and name not in FREE:
        record.captured.append((func, own_args, own_kwargs, out))
    wrapped = pytree.tree_map(lambda value: _wrapped(value) if to_sim else value, out)
    is_sparse = any(t.layout is not torch.strided for t in pytree.tree_leaves(out) if isinstance(t, torch.Tensor))
    if not there or is_sparse or name in ("values", "_sparse_csr_tensor_unsafe"):
        return wrapped
    return return_and_correct_aliasing(func, args, kwargs, wrapped)


def _inner(value):
    return value.inner if isinstance(value, Sim) else value


def _wrapped(value):
    if not isinstance(value, torch.Tensor) or isinstance(value, Sim):
        return value
    if record.is_limited and value.dtype in (torch.float64, torch.complex128):
        raise TypeError("the device has no double precision")
    if record.is_limited and value.layout is not torch.strided:
        raise RuntimeError(f"the device has no {value.layout}")
    record.hold(value)
    return Sim(value)


def _check_devices(func, name, args, kwargs, here, there, to_sim):
    generator = kwargs.get("generator")
    if generator is not None and to_sim and generator.device.type != NAME:
        raise RuntimeError(f"Expected a 'sim' device type for generator but found '{generator.device.type}'")
    if there and name not in ACROSS and any(value.dim() > 0 for value in here):
        raise RuntimeError(f"Expected all tensors to be on the same device, but found sim and cpu! ({func})")
    if name == "index" and not isinstance(args[0], Sim) and any(isinstance(each, Sim) for each in args[1]):
        raise RuntimeError("indices should be either on cpu or on the same device as the indexed tensor (cpu)")
    if name in ("index_put", "index_put_", "_index_put_impl_"):
        own, values = isinstance(args[0], Sim), args[2]
        if isinstance(values, torch.Tensor) and isinstance(values, Sim) != own and values.dim() > 0:
            raise RuntimeError("Expected all tensors to be on the same device (index_put_)")


def _note(name, overload, args, kwargs, to_sim):
    """Record a launch, and a wait where the host needs a value."""
    if name == "_to_copy" and kwargs.get("device") is not None:
        if isinstance(args[0], Sim) != is_sim(kwargs["device"]):
            record.waited("copy to the CPU" if isinstance(args[0], Sim) else "copy from the CPU")
    elif name == "copy_" and isinstance(args[0], Sim) != isinstance(args[1], Sim):
        record.waited("copy_ across devices")
    elif name in WAITING or (name == "repeat_interleave" and overload == "Tensor" and "output_size" not in kwargs):
        record.waited(name)
    elif name == "index" and any(each is not None and each.dtype == torch.bool for each in args[1]):
        record.waited("index by a mask")
    elif name in ("index_put", "index_put_", "_index_put_impl_") and _is_put_by_mask(args):
        record.waited("index_put by a mask")
    if name not in FREE:
        record.launched(name)


def _is_put_by_mask(args):
    indices = [each for each in args[1] if each is not None]
    if all(each.dtype != torch.bool for each in indices):
        return False
    # With one value, PyTorch makes a masked_fill of it.
    return not (isinstance(args[2], torch.Tensor) and args[2].numel() == 1 and len(indices) == 1)


_tensor, _as_tensor = torch.tensor, torch.as_tensor


def _default_device():
    for mode in reversed(_get_current_function_mode_stack()):
        if type(mode).__name__ == "DeviceContext":
            return mode.device
    return torch.device("cpu")


def _made_by(make):
    """Return torch.tensor or torch.as_tensor for the device too: from lists, PyTorch makes tensors of its own."""

    def tensor(data, *, dtype=None, device=None, **kwargs):
        device = _default_device() if device is None else device
        if isinstance(data, Sim) or not is_sim(device):
            return make(data, dtype=dtype, device=device, **kwargs)
        with torch.device("cpu"):
            return make(data, dtype=dtype, **kwargs).to(device)

    return tensor


class _Module(_DummyBackendModule):
    def get_amp_supported_dtype(self):
        return [torch.float16, torch.bfloat16]

    def synchronize(self, device=None):
        record.waited("synchronize")


def _empty(size, **options):
    return _wrapped(torch.empty(size, dtype=options.get("dtype"), device="cpu"))


def _empty_strided(size, stride, **options):
    return _wrapped(torch.empty_strided(size, stride, dtype=options.get("dtype"), device="cpu"))


def _factory(name):
    """Return a factory for the device; those of PyTorch resize an empty tensor, which a wrapper cannot."""
    packet, _, overload = name.partition(".")
    operation = getattr(getattr(torch.ops.aten, packet), overload or "default")

    def make(*args, **options):
        generator = options.pop("generator", None)
        if generator is not None:
            options["generator"] = generator
        record.launched(packet)
        return _wrapped(operation(*args, **options | {"device": "cpu", "pin_memory": False}))

    return make


FACTORIES = (
    "arange arange.start arange.start_step eye eye.m linspace randperm randperm.generator tril_indices triu_indices"
).split()


def _copy_from(source, target, non_blocking=False):
    here, there = map(_inner, (source, target))
    there.copy_(here)
    return target


def _run(kernel, grid, operands, constants):
    """Run a Triton kernel through its interpreter."""
    record.launched(kernel.fn.__name__)
    own = [*map(_inner, operands)]
    kernel[grid](*own, **constants)
    if record.is_exact:
        gc.collect()
    if record.captured is not None:
        record.captured.append((kernel[grid], own, constants, None))


_library = None


def install():
    """Register the device with PyTorch, for the rest of the process."""
    global _library
    if _library is not None:
        return
    torch.tensor, torch.as_tensor = _made_by(_tensor), _made_by(_as_tensor)
    _setup_privateuseone_for_python_backend(NAME, _Module())
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # a wrapper cannot take over another's data
    _library = torch.library.Library("aten", "IMPL")
    _library.impl("empty_strided", _empty_strided, "PrivateUse1")
    _library.impl("empty.memory_format", _empty, "PrivateUse1")
    _library.impl("_copy_from", _copy_from, "PrivateUse1")
    for name in FACTORIES:
        _library.impl(name, _factory(name), "PrivateUse1")
    tracing.PLAIN.add(Sim)
    launching.DEVICES.add(NAME)
    launching.run = _run


@contextlib.contextmanager
def captured():
    """Capture the operations on the device meanwhile; yields a function that repeats them, on the same memory."""
    record.captured = operations = []
    try:
        yield lambda: [_repeat(*operation) for operation in operations]
    finally:
        record.captured = None


def _repeat(func, args, kwargs, out):
    for before, now in zip(pytree.tree_leaves(out), pytree.tree_leaves(func(*args, **kwargs)), strict=True):
        if isinstance(before, torch.Tensor) and before.layout is torch.strided and before is not now:
            before.copy_(now)


@contextlib.contextmanager
def limited():
    """Let the device have neither double precision, matrices in compressed rows nor Triton, as Apple's GPUs."""
    kinds = devices.WITHOUT_DOUBLE, devices.WITHOUT_COMPRESSED
    record.is_limited = True
    launching.DEVICES.discard(NAME)
    for kind in kinds:
        kind.add(NAME)
    try:
        yield
    finally:
        record.is_limited = False
        launching.DEVICES.add(NAME)
        for kind in kinds:
            kind.discard(NAME)


@contextlib.contextmanager
def recorded(is_exact=False):
    """Record what happens on the device meanwhile.

    For an exact peak of memory, what the interpreter leaves behind after each kernel is collected.
    """
    if is_exact:
        gc.collect()
    record.clear()
    record.is_exact = is_exact
    try:
        yield record
    finally:
        record.is_exact = False
