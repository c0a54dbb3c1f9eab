"""bfloat16 in Triton's interpreter, which cuts numbers off where GPUs round them, and multiplies their bits."""

import importlib.util

import torch


def mend():
    """Let the interpreter round to bfloat16, and widen it in products of matrices, as tensor cores do."""
    if importlib.util.find_spec("triton") is None:
        return
    import triton.language as tl
    from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

    dot, cast = InterpreterBuilder.create_dot, InterpreterBuilder.cast_impl
    if getattr(dot, "widens", False):
        return

    def widened(handle):
        if handle.dtype.scalar != tl.bfloat16:
            return handle
        bits = torch.from_numpy(handle.data.astype("int32") << 16)
        return TensorHandle(bits.view(torch.float32).numpy(), tl.float32)

    def create_dot(self, a, b, d, *options):
        return dot(self, widened(a), widened(b), d, *options)

    def cast_impl(self, src, dst_type):
        if (src.dtype.scalar, dst_type.scalar) != (tl.float32, tl.bfloat16):
            return cast(self, src, dst_type)
        rounded = torch.from_numpy(src.data).to(torch.bfloat16).view(torch.int16)
        return TensorHandle(rounded.numpy().view("uint16"), tl.bfloat16)

    create_dot.widens = True
    InterpreterBuilder.create_dot, InterpreterBuilder.cast_impl = create_dot, cast_impl
