"""MXFP4: blocks of 32 four-bit floats (E2M1) that share a power-of-two scale (E8M0)."""

import torch

BLOCK = 32
# E2M1 codes 0 to 7; code + 8 is the negative.
VALUES = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])
# Halfway points between neighbouring values.
BOUNDS = torch.tensor([0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5])


def encode(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes [..., blocks, 32] and scale exponents [..., blocks, 1] of a weight [..., blocks * 32].

    Of the two exponents that come into question, with the largest value cut off or not, each block takes the one
    with the smaller squared error.
    """
    blocks = weight.detach().unflatten(-1, (-1, BLOCK))
    size = blocks.abs()
    exponent = torch.floor(torch.log2(size.amax(-1, keepdim=True).clamp_min(1e-30))) - 2
    best: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None
    for candidate in (exponent, exponent + 1):
        scale = torch.exp2(candidate)
        code = torch.bucketize(size / scale, BOUNDS)
        error = (VALUES[code] * scale - size).square().sum(-1, keepdim=True)
        if best is None:
            best = code, candidate, error
        else:
            better = error < best[2]
            best = torch.where(better, code, best[0]), torch.where(better, candidate, best[1]), error
    assert best is not None
    return best[0] + 8 * (blocks < 0), best[1]


def decode(codes: torch.Tensor, exponents: torch.Tensor) -> torch.Tensor:
    """The weight [..., blocks * 32] that codes and exponents stand for."""
    signed = torch.cat((VALUES, -VALUES))
    return (signed[codes] * torch.exp2(exponents)).flatten(-2)


def pack(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Blocks [..., blocks, 16] and scales [..., blocks] as the Hub stores them: low nibble first, exponent + 127."""
    codes, exponents = encode(weight)
    codes = codes.to(torch.uint8)
    return codes[..., 0::2] | (codes[..., 1::2] << 4), (exponents[..., 0] + 127).clamp(0, 254).to(torch.uint8)


def unpack(blocks: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """The inverse of `pack`."""
    codes = torch.stack((blocks & 15, blocks >> 4), -1).flatten(-2)
    return decode(codes.long(), scales[..., None].float() - 127)


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, weight: torch.Tensor) -> torch.Tensor:
        return decode(*encode(weight))

    @staticmethod
    def backward(ctx: object, gradient: torch.Tensor) -> torch.Tensor:
        return gradient


def straight_through(weight: torch.Tensor) -> torch.Tensor:
    """The weight as it will be after rounding; gradients pass as if it had not been rounded."""
    return _StraightThrough.apply(weight)
