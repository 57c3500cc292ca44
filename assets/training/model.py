"""gpt-oss in PyTorch, for training: the architecture of the Hub's GptOssForCausalLM with its tensor names."""

import math
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import nn

from .mxfp4 import straight_through


@dataclass(frozen=True)
class Config:
    """The sizes, under the names of the Hub's config.json."""

    vocab_size: int = 1024
    hidden_size: int = 128
    num_hidden_layers: int = 6
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    head_dim: int = 64
    num_local_experts: int = 8
    num_experts_per_tok: int = 2
    intermediate_size: int = 128
    sliding_window: int = 128
    rope_theta: float = 150000.0
    rope_factor: float = 32.0
    initial_context_length: int = 4096
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    swiglu_limit: float = 7.0
    rms_norm_eps: float = 1e-5


def yarn_frequencies(config: Config) -> tuple[torch.Tensor, float]:
    """YaRN: the angle per position of each of the head_dim/2 pairs, and the factor on cos and sin."""
    half = config.head_dim // 2
    base = config.rope_theta ** (torch.arange(half) / half)

    def pair_of(turns: float) -> float:
        return half * math.log(config.initial_context_length / (turns * 2 * math.pi)) / math.log(config.rope_theta)

    low, high = pair_of(config.beta_fast), pair_of(config.beta_slow)  # not rounded: "truncate": false
    ramp = ((torch.arange(half) - low) / (high - low)).clamp(0, 1)
    return ramp / (config.rope_factor * base) + (1 - ramp) / base, 0.1 * math.log(config.rope_factor) + 1


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """RoPE on pairs (i, i + half) of the last dimension."""
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


class RMSNorm(nn.Module):
    """Root-mean-square normalisation."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(config.hidden_size))
        self.eps = config.rms_norm_eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise the last dimension."""
        return F.rms_norm(x, x.shape[-1:], self.weight, self.eps)


class Attention(nn.Module):
    """Grouped-query attention with a learnt sink per query head."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        width, kv = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
        self.q_proj = nn.Linear(config.hidden_size, width)
        self.k_proj = nn.Linear(config.hidden_size, kv)
        self.v_proj = nn.Linear(config.hidden_size, kv)
        self.o_proj = nn.Linear(width, config.hidden_size)
        self.sinks = nn.Parameter(torch.zeros(config.num_attention_heads))
        for linear in (self.q_proj, self.k_proj, self.v_proj):
            nn.init.normal_(linear.weight, std=config.hidden_size**-0.5)
            nn.init.zeros_(linear.bias)
        nn.init.normal_(self.o_proj.weight, std=(width * 2 * config.num_hidden_layers) ** -0.5)
        nn.init.zeros_(self.o_proj.bias)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """x [rows, tokens, hidden]; mask [rows, 1, tokens, tokens + 1] is additive, its last column is the sink's."""
        rows, tokens, _ = x.shape
        heads, size = self.config.num_attention_heads, self.config.head_dim
        q, k, v = (p(x).view(rows, tokens, -1, size).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj))
        q, k = rotate(torch.cat((q, k), 1), cos, sin).to(v.dtype).split([heads, k.shape[1]], 1)
        # The sink is one more key. It scores `sinks[head]` for every query through a feature that is one in all queries
        # and zero in all other keys; its value is zero.
        groups, spare = heads // k.shape[1], 16
        k = F.pad(k.repeat_interleave(groups, 1), (0, spare, 0, 1))
        one_key = torch.zeros(heads, k.shape[2], size + spare, dtype=k.dtype)
        one_key[:, -1, size] = 1
        k = k + one_key * (self.sinks * size**0.5).to(k.dtype)[:, None, None]
        v = F.pad(v.repeat_interleave(groups, 1), (0, 0, 0, 1))
        one = F.pad(torch.ones(rows, heads, tokens, 1, dtype=q.dtype), (0, spare - 1))
        q = torch.cat((q * size**-0.5, one * size**-0.5), -1)
        with torch.autocast("cpu", enabled=False):  # it would make the softmax float32, at twice the time
            scores = torch.matmul(q, k.transpose(-1, -2)).add_(mask)
            out = torch.matmul(scores.softmax(-1), v)
        return self.o_proj(out.transpose(1, 2).reshape(rows, tokens, -1))


class ClampedSwiGLU(torch.autograd.Function):
    """gpt-oss's activation of interleaved gates and ups [..., 2n] -> [..., n], with a short backward pass."""

    @staticmethod
    def forward(ctx: Any, inner: torch.Tensor, limit: float) -> torch.Tensor:
        """min(gate, limit) * sigmoid(1.702 gate) * (clamp(up) + 1)."""
        gate, up = inner[..., 0::2].clamp(max=limit), inner[..., 1::2].clamp(-limit, limit)
        share = torch.sigmoid(1.702 * gate)
        ctx.save_for_backward(inner, share)
        ctx.limit = limit
        return gate * share * (up + 1)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        """With s = sigmoid(1.702 g): d(g s)/dg = s (1 + 1.702 g (1 - s)); clamped parts have no gradient."""
        inner, share = ctx.saved_tensors
        gate, up = inner[..., 0::2], inner[..., 1::2]
        result = torch.empty_like(inner)
        slope = share * (1 + 1.702 * gate * (1 - share)) * (gate < ctx.limit)
        torch.mul(gradient * (up.clamp(-ctx.limit, ctx.limit) + 1), slope, out=result[..., 0::2])
        torch.mul(gradient * gate.clamp(max=ctx.limit) * share, up.abs() < ctx.limit, out=result[..., 1::2])
        return result, None


class Experts(nn.Module):
    """Router and mixture of clamped-SwiGLU experts; rows 2i and 2i + 1 of gate_up are gate and up."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        experts, hidden, inner = config.num_local_experts, config.hidden_size, config.intermediate_size
        self.router = nn.Linear(hidden, experts)
        self.gate_up_proj = nn.Parameter(torch.randn(experts, 2 * inner, hidden) * hidden**-0.5)
        self.gate_up_proj_bias = nn.Parameter(torch.zeros(experts, 2 * inner))
        self.down_proj = nn.Parameter(
            torch.randn(experts, hidden, inner) * (inner * 2 * config.num_hidden_layers) ** -0.5
        )
        self.down_proj_bias = nn.Parameter(torch.zeros(experts, hidden))
        nn.init.normal_(self.router.weight, std=hidden**-0.5)
        nn.init.zeros_(self.router.bias)
        self.quantised = False
        self.row_multiple = 64
        self.balance_loss = torch.zeros(())
        self.load = torch.zeros(experts)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [tokens, hidden]. The tokens are sorted by expert, so that each expert is one matrix product."""
        chosen, weights = self._route(x)
        gate_up: torch.Tensor = self.gate_up_proj
        down: torch.Tensor = self.down_proj
        if self.quantised:
            gate_up, down = straight_through(gate_up), straight_through(down)
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
        gate_up, down, x = gate_up.to(dtype), down.to(dtype), x.to(dtype)  # once for all experts
        sizes, slots, order = self._slots(chosen)
        # A slot that pads its expert works on token 0 with weight 0.
        tokens = torch.zeros(sum(sizes), dtype=torch.long).index_copy_(0, slots, order // chosen.shape[1])
        shares = torch.zeros(sum(sizes)).index_copy(0, slots, weights.flatten()[order])
        biases = self.gate_up_proj_bias.to(dtype), self.down_proj_bias.to(dtype)
        inner = torch.cat(list(map(F.linear, x[tokens].split(sizes), gate_up.unbind(), biases[0].unbind())))
        activated = ClampedSwiGLU.apply(inner, self.config.swiglu_limit).split(sizes)
        outputs = torch.cat(list(map(F.linear, activated, down.unbind(), biases[1].unbind())))
        return torch.zeros_like(x).index_add(0, tokens, outputs * shares[:, None].to(dtype))

    def _route(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The experts of every token [tokens, k] and their weights, a softmax over the chosen alone."""
        logits = self.router(x).float()
        top, chosen = logits.topk(self.config.num_experts_per_tok, -1)
        if self.training:
            # As in Switch Transformers: product of the shares of tokens and of probability, 1 when balanced.
            self.load = torch.bincount(chosen.flatten(), minlength=logits.shape[1]) / chosen.numel()
            self.balance_loss = logits.shape[1] * (logits.softmax(-1).mean(0) * self.load).sum()
        return chosen, top.softmax(-1)

    def _slots(self, chosen: torch.Tensor) -> tuple[list[int], torch.Tensor, torch.Tensor]:
        """Padded sizes of the experts' inputs, the slot of each choice, and the order of choices by expert.

        oneDNN compiles a kernel for every new shape, which takes longer than the product itself: sizes are rounded up
        so that there are few.
        """
        flat = chosen.flatten()
        counts = torch.bincount(flat, minlength=self.config.num_local_experts)
        padded = (counts + self.row_multiple - 1) // self.row_multiple * self.row_multiple
        shift = (padded - counts).cumsum(0) - (padded - counts)
        slots = torch.arange(flat.numel()) + torch.repeat_interleave(shift, counts)
        return padded.tolist(), slots, flat.argsort(stable=True)


class Layer(nn.Module):
    """Attention and experts, each behind its norm and added to the residual stream."""

    def __init__(self, config: Config, index: int) -> None:
        super().__init__()
        self.slides = index % 2 == 0
        self.input_layernorm = RMSNorm(config)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config)
        self.mlp = Experts(config)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, masks: "Masks") -> torch.Tensor:
        """x [rows, tokens, hidden]."""
        mask = masks.sliding if self.slides else masks.full
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, mask)
        y = self.mlp(self.post_attention_layernorm(x).flatten(0, 1))
        return x + y.view(x.shape)


@dataclass
class Masks:
    """Additive masks [rows, 1, tokens, tokens + 1] of the full and of the sliding layers."""

    full: torch.Tensor
    sliding: torch.Tensor

    @classmethod
    def of(cls, visible: torch.Tensor, positions: torch.Tensor, window: int, dtype: torch.dtype) -> "Masks":
        """From which token may see which [rows, tokens, tokens] and the positions of the tokens."""
        near = visible & (positions[:, :, None] - positions[:, None, :] < window)

        def additive(allowed: torch.Tensor) -> torch.Tensor:
            mask = torch.zeros(allowed.shape, dtype=dtype).masked_fill_(~allowed, -math.inf)
            return F.pad(mask, (0, 1))[:, None]

        return cls(additive(visible), additive(near))


class Decoder(nn.Module):
    """Embedding, layers, last norm: the Hub's `model`."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        nn.init.normal_(self.embed_tokens.weight, std=0.5)
        self.layers = nn.ModuleList(Layer(config, index) for index in range(config.num_hidden_layers))
        self.norm = RMSNorm(config)


class GptOss(nn.Module):
    """gpt-oss for causal language modelling."""

    frequencies: torch.Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.model = Decoder(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        nn.init.normal_(self.lm_head.weight, std=0.3 * config.hidden_size**-0.5)
        frequencies, self.concentration = yarn_frequencies(config)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def hidden(self, ids: torch.Tensor, positions: torch.Tensor, masks: Masks) -> torch.Tensor:
        """Normed hidden states [rows, tokens, hidden] of ids at positions [rows, tokens]."""
        angles = positions[:, None, :, None] * self.frequencies
        cos, sin = angles.cos() * self.concentration, angles.sin() * self.concentration
        x = self.model.embed_tokens(ids)
        for layer in self.model.layers:
            x = layer(x, cos, sin, masks)
        return self.model.norm(x)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Logits [rows, tokens, vocabulary] of plain sequences."""
        positions = torch.arange(ids.shape[1]).expand(ids.shape)
        visible = positions[:, :, None] >= positions[:, None, :]
        masks = Masks.of(visible, positions, self.config.sliding_window, torch.float32)
        return self.lm_head(self.hidden(ids, positions, masks))

    def experts(self) -> list[Experts]:
        """The mixture of every layer."""
        return [cast(Layer, layer).mlp for layer in self.model.layers]

    @torch.no_grad()
    def start_with_previous_token_heads(self) -> None:
        """Let the first query heads of layer 0 look one and two tokens back, by their biases alone.

        Copying needs such heads and finds them late. With a key bias on the fastest RoPE pairs and the same bias turned
        by `offset` positions for the query, the score is highest `offset` tokens back; the weights stay free to learn.
        """
        config, attention = self.config, cast(Layer, self.model.layers[0]).self_attn
        pairs, half = 8, config.head_dim // 2
        strength = torch.tensor([5, 4, 3, 2, 1.5, 1, 1, 1.0])
        amplitude = (strength * config.head_dim**0.5 / self.concentration**2).sqrt()
        angle = self.frequencies[:pairs]
        q, k = attention.q_proj, attention.k_proj
        for head in range(config.num_attention_heads // config.num_key_value_heads):
            begin, offset = head * config.head_dim, head + 1
            q.bias[begin : begin + pairs] = amplitude * torch.cos(-offset * angle)
            q.bias[begin + half : begin + half + pairs] = amplitude * torch.sin(-offset * angle)
            q.weight[begin : begin + config.head_dim] *= 0.3
        k.bias[:pairs] = amplitude
        k.weight[: config.head_dim] *= 0.3
