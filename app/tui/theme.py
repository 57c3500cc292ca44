"""The look of our own: calm themes, dark, light and in the terminal's colours; Textual's others are in the palette."""

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
# The terminal's own palette, dark or light. It has no shades to mix: what other themes tint is bright black here.
ANSI = Theme(
    name="gptoss-ansi",
    ansi=True,
    primary="ansi_cyan",
    secondary="ansi_blue",
    accent="ansi_yellow",
    foreground="ansi_default",
    background="ansi_default",
    surface="ansi_default",
    panel="ansi_bright_black",
    boost="ansi_default",
    success="ansi_green",
    warning="ansi_yellow",
    error="ansi_red",
    variables={
        "ansi-background": "ansi_black",
        "ansi-foreground": "ansi_white",
        "border-blurred": "ansi_bright_black",
        "block-cursor-foreground": "ansi_black",
        "block-cursor-background": "ansi_cyan",
        "block-cursor-blurred-foreground": "ansi_black",
        "block-cursor-blurred-background": "ansi_cyan",
        "input-cursor-background": "ansi_default",
        "input-cursor-foreground": "ansi_default",
        "input-cursor-text-style": "reverse",
        "input-selection-background": "ansi_blue",
        "input-selection-foreground": "ansi_white",
        "screen-selection-background": "ansi_blue",
        "screen-selection-foreground": "ansi_white",
    },
)

THEMES = {"dark": DARK, "light": LIGHT, "ansi": ANSI}
"""Ours, by the names that people and the settings use."""


def long_name(name: str) -> str:
    """The name by which Textual knows a theme."""
    return THEMES[name].name if name in THEMES else name


def short_name(name: str) -> str:
    """The name by which a person knows a theme of Textual's name."""
    return next((short for short, theme in THEMES.items() if theme.name == name), name)
