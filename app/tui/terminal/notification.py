"""Notifications of the desktop: which control sequence asks this terminal for one.

There are three, and no terminal says which it knows. OSC 9 (iTerm2) has one text, OSC 777 (rxvt-unicode) and OSC 99
(kitty) have title and text. A terminal that is not known to have any gets the bell, with which most of them mark the
window: Terminal.app, for example, shows a badge in the Dock.
"""

from collections.abc import Mapping

from app.lines import one_line

BELL, ESC = "\a", "\x1b"
MOST_TEXT = 160
"""Characters of a notification: more than any desktop shows."""


def notification(environment: Mapping[str, str], title: str, text: str) -> str:
    """The sequence that shows `title` and `text`, in a terminal of which `environment` tells.

    Neither can end the sequence or begin another: control characters become visible signs, and the separator of OSC 777
    a comma.

    tmux passes none of these sequences on. In its passthrough (ESC doubled, inside a DCS) one reaches the terminal
    around it, if the option `allow-passthrough` is set, and is dropped if not. So tmux gets the bell as well, with
    which it marks its window, and which it passes on. GNU screen gets the bell alone: the terminal that its environment
    names may be another by now. So may that of tmux be, but there a sequence that it doesn't know does nothing. Windows
    Terminal knows OSC 777 only since 2026 (microsoft/terminal#20012), and gets the bell as well.
    """
    title, text = _short(title), _short(text)
    sequence = _sequence(_known(environment), title, text)
    if "STY" in environment or not sequence:
        return BELL
    if "TMUX" in environment:
        return f"{BELL}{ESC}Ptmux;{sequence.replace(ESC, ESC + ESC)}{ESC}\\"
    return sequence + BELL if "WT_SESSION" in environment else sequence


def _known(environment: Mapping[str, str]) -> int:
    """The number of the OSC that the terminal knows, 0 if that isn't known.

    Variables of the terminal itself come first. LC_TERMINAL and TERM pass through ssh, the others don't.
    """
    term, program = environment.get("TERM", ""), environment.get("TERM_PROGRAM", "")
    if "KITTY_WINDOW_ID" in environment or term == "xterm-kitty":
        return 99
    if "GHOSTTY_RESOURCES_DIR" in environment or program == "ghostty" or term == "xterm-ghostty":
        return 777
    if term.startswith(("foot", "rxvt-unicode", "contour")):
        return 777
    if "WT_SESSION" in environment:
        return 777
    if program in ("iTerm.app", "WezTerm", "WarpTerminal") or environment.get("LC_TERMINAL") == "iTerm2":
        return 9
    return 9 if "WEZTERM_PANE" in environment or term == "wezterm" else 0


def _sequence(number: int, title: str, text: str) -> str:
    match number:
        case 9:  # ConEmu takes a text that begins with a digit for a command: none of the titles does
            return f"{ESC}]9;{title}: {text}{BELL}"
        case 777:
            return f"{ESC}]777;notify;{title.replace(';', ',')};{text.replace(';', ',')}{BELL}"
        case 99:  # of the same identifier: the second part belongs to the first, and a later one replaces it
            return f"{ESC}]99;i=gptoss-chat:d=0;{title}{ESC}\\{ESC}]99;i=gptoss-chat:p=body;{text}{ESC}\\"
    return ""


def _short(text: str) -> str:
    line = one_line(text)
    return line if len(line) <= MOST_TEXT else f"{line[: MOST_TEXT - 1]}\u2026"
