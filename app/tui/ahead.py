"""What the first answer needs, loaded while the person types."""

import gc


def load_ahead() -> None:
    """What finds links, and colours of code, are made when first used."""
    from textual import scrollbar  # noqa: F401

    from app.tui.text.markdown_layout import GrowingLayout
    from app.tui.widgets import messages  # noqa: F401

    GrowingLayout(width=80).extend("Words.\n\n```python\npass\n```\n")
    if not gc.get_freeze_count():
        # What is there now stays: looking through it for garbage again and again would hold up the screen, each time
        # for longer than looking through all that a conversation brings.
        gc.freeze()
