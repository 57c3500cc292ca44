"""What is said of a set: what it was made from, how many tries were kept and dropped and why, what it is good for."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from app.dataset.export import how_to_use
from app.dataset.run import TIMES_ALONE, Run
from app.lines import counted


def report(run: Run, model: str, form: str, data: Path, task: Path, left_out: Sequence[str]) -> str:
    """The report as Markdown."""
    recipe = run.recipe
    language = f", in {recipe.language}" if recipe.language else ""
    lines = [
        f"# {data.name}",
        "",
        f"{counted(len(run.items), 'item')} of the kind {recipe.kind}{language}, made by {model} with effort "
        f"{recipe.options.effort.value} and seed {recipe.seed}.",
        "",
        *_table("tries", [("kept", len(run.items)), *((reason.value, n) for reason, n in run.drops.most_common())]),
        f"The log beside this file has {counted(run.tries, 'try')}, each with why it was dropped.",
        "",
        *_table("items by difficulty", Counter(item.difficulty for item in run.items).most_common()),
        "## Sources",
        "",
        f"{counted(len(run.passages), 'passage')}; left out with the text of one of them: {run.copies:,}.",
        "",
        "| file | passages | items | SHA-256 |",
        "|---|---:|---:|---|",
    ]
    asked, kept = Counter(each.file for each in run.passages), Counter(item.file for item in run.items)
    for name, source in run.sources.items():
        part = f" ({source.part})" if source.part else ""
        lines.append(f"| {_cell(name + part)} | {asked[name]:,} | {kept[name]:,} | {source.sha256[:16]} |")
    notes = [f"{name}: {note}" for name, source in run.sources.items() for note in source.document.notes]
    if rest := [*notes, *left_out]:
        lines += ["", "Not in the text, or not read:", "", *(f"- {line}" for line in rest)]
    lines += ["", "## Use", "", how_to_use(form, data, task), "", "## What it is not", "", *_weaknesses(run), ""]
    return "\n".join(lines)


def summary(run: Run) -> list[str]:
    """The same in lines for a terminal."""
    lines = [f"{len(run.items):,} of {counted(run.recipe.count, 'item')} from {counted(run.tries, 'try')}"]
    return lines + [f"{count:,} dropped: {reason.value}" for reason, count in run.drops.most_common()]


def _table(title: str, rows: Sequence[tuple[str, int]]) -> list[str]:
    return [f"| {title} | |", "|---|---:|", *(f"| {name} | {count:,} |" for name, count in rows), ""]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _weaknesses(run: Run) -> list[str]:
    lines = [
        "- Nobody has read the items. Checked by code: the quote stands in the file, the answer's numbers and words in "
        "the quote, the question does not give the answer away, no two items ask the same. Whether the question is a "
        "good one, code can't tell: read a sample.",
        "- `difficulty` is what the model was asked for, not what was measured.",
        "- The items have text of the files in them, which may be confidential or under somebody's copyright.",
    ]
    if run.recipe.drop_known:
        lines.append(
            f"- What the model itself answered right {TIMES_ALONE} times without the document was dropped; another "
            "model may know more, or less."
        )
    else:
        lines.append("- A model may know some answers without the document; --drop-known drops what this one knows.")
    return lines
