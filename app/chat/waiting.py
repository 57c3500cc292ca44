"""What a chat says while its request stands in a line with those of other programs."""


def others_first(before: int) -> str:
    """So many requests are answered first."""
    return "another program is answered first" if before == 1 else f"{before} requests of other programs come first"
