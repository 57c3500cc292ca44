"""The bytes of weights that a decoded token reads, from which bandwidth gives a bound of its speed."""

from metal.formats import MXFP4_BLOCK, QUANT_GROUP
from mlx_model.transformer.config import ModelConfig

_MXFP4_BITS = 4 + 8 / MXFP4_BLOCK
"""A code of 4 bits a weight, a scale of 8 bits a block."""

_AFFINE_OVERHEAD_BITS = 2 * 16 / QUANT_GROUP
"""Of affine quantisation: a scale and an offset of 16 bits each for a group."""


def bytes_per_token(config: ModelConfig, dense_bits: int = 16) -> int:
    """Bytes of weights that one decoded token reads: its experts, and attention and output matrix at `dense_bits`.

    Biases, norms, routers and the one embedding row, 0.1% of it, are left out.
    """
    hidden, layers = config.hidden_size, config.num_hidden_layers
    heads = 2 * config.num_attention_heads + 2 * config.num_key_value_heads  # queries and output; keys and values
    dense = hidden * (layers * heads * config.head_dim + config.vocab_size)
    experts = layers * config.num_experts_per_tok * 3 * hidden * config.intermediate_size  # gate, up, down
    bits_of_dense = dense_bits if dense_bits == 16 else dense_bits + _AFFINE_OVERHEAD_BITS
    return round((dense * bits_of_dense + experts * _MXFP4_BITS) / 8)
