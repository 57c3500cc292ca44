"""The models that this program knows by name, and how much there is to download of each."""

DEMO = "demo"
"""The model in the package itself, which is never downloaded."""

DEFAULT = "gpt-oss-20b"
"""The model that is loaded and downloaded where none is named."""

LARGEST = "gpt-oss-120b"
"""The model that computers are put together for."""

KNOWN = {DEFAULT: f"openai/{DEFAULT}", LARGEST: f"openai/{LARGEST}"}
"""Short names of the published models."""

SIZES = {DEFAULT: 13_800_000_000, LARGEST: 65_200_000_000}
"""Bytes of their downloads, rounded to what is written of them."""
