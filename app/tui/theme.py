"""The look of our own: two calm themes, dark and light; Textual's others stay available in the palette."""

from textual.theme import Theme

DARK = Theme(
    name="gptoss-dark",
    primary="#8fb8a8",
    secondary="#7a9cc6",
    accent="#d9b477",
    foreground="#d8d8d2",
    background="#16181a",
    surface="#1d2022",
    panel="#26292c",
    success="#8fb8a8",
    warning="#d9b477",
    error="#d98c7a",
    dark=True,
)
LIGHT = Theme(
    name="gptoss-light",
    primary="#2f6f5b",
    secondary="#35618f",
    accent="#8a5f14",
    foreground="#26282a",
    background="#faf9f6",
    surface="#f2f1ec",
    panel="#e6e4dd",
    success="#2f6f5b",
    warning="#8a5f14",
    error="#a8432d",
    dark=False,
)
