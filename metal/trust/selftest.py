"""What the kernels take for granted of a GPU, tried on it: that it keeps half denormals, as which FP4 is decoded."""

import mlx.core as mx
import numpy as np

from metal.launch import Call, Kernel, launch

# OCP Microscaling Formats (MX) v1.0, section 5.3.
_E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)

_KERNEL = Kernel.load("selftest", ("words",), ("values",), ("common", "lanes", "mxfp4"))


def decodes_fp4() -> bool:
    """Whether the kernels' integer decoding of FP4 gives all 16 codes at all places; if not, TABLE=1 is the way."""
    octets = np.arange(256, dtype=np.uint32)
    call = Call(
        kernel=_KERNEL,
        inputs=(mx.array(octets * np.uint32(0x01010101)),),
        parameters=(),
        grid=(256, 1, 1),
        threadgroup=(256, 1, 1),
        output_shapes=((256, 8),),
        output_dtypes=(mx.float32,),
    )
    even, odd = _E2M1[octets & 15], _E2M1[octets >> 4]
    expected = np.stack([even, even, odd, odd] * 2, axis=-1) / np.float32(2**14)
    return np.array_equal(np.array(launch(call)[0]).view(np.uint32), expected.view(np.uint32))
