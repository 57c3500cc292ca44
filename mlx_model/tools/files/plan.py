"""What a patch would do to the files of a folder, and doing it: all of it, or nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from mlx_model.tools.files.diff import unified
from mlx_model.tools.files.folder import MOST_BYTES, Content, FilesError, Folder
from mlx_model.tools.files.lines import Edit, Lines
from mlx_model.tools.files.match import edits_of
from mlx_model.tools.files.patch import Section, parse

MOST_FILES = 100
_NULL = "/dev/null"


class HalfDoneError(FilesError):
    """Writing failed, and so did putting back what was written."""


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of a path. None is no file; `diff` is for people."""

    path: str
    before: Content | None
    after: Content | None
    diff: str = ""

    @property
    def reversed(self) -> Change:
        """The way back."""
        return Change(self.path, self.after, self.before)


@dataclass(frozen=True, slots=True)
class Plan:
    """What would change. `moves` are new paths with the old ones, `made` the folders that are missing for it."""

    changes: tuple[Change, ...]
    moves: Mapping[str, str] = field(default_factory=dict)
    made: tuple[str, ...] = ()

    def diff(self) -> str:
        """All of it as a unified diff."""
        return "\n".join(change.diff for change in self.changes if change.diff)

    def summary(self) -> list[str]:
        """A line for each file: A (added), D (deleted), M (modified), R (renamed) and its path."""
        gone = {*self.moves.values()}
        lines = []
        for change in self.changes:
            if change.path in self.moves:
                lines.append(f"R {self.moves[change.path]} -> {change.path}")
            elif change.after is None and change.path not in gone:
                lines.append(f"D {change.path}")
            elif change.after is not None:
                lines.append(f"{'A' if change.before is None else 'M'} {change.path}")
        return lines


def plan(folder: Folder, text: str) -> Plan:
    """What a patch would do. Reads files and writes none.

    Sections take effect one after the other, so that a file may have several. Raises FilesError, worded for the model.
    """
    planner = _Planner(folder)
    for section in parse(text):
        planner.add(section)
    return planner.plan()


def apply(folder: Folder, plan: Plan) -> None:
    """Writes what is planned, if the files still are what it was planned for.

    Raises FilesError, and all files are as they were; or HalfDoneError where that failed, too.
    """
    # Files go when all others are written: what fails then is most likely to have failed before.
    changes = sorted(plan.changes, key=lambda change: change.after is None)
    done: list[Change] = []
    try:
        for change in changes:
            if change.after is not None:
                folder.stage(change.path, change.after)
        for change in changes:
            _check(folder, change)
            _write(folder, change)
            done.append(change)
    except FilesError as error:
        stuck = _back(folder, done)
        for change in changes:
            with suppress(FilesError):
                folder.unstage(change.path)
        folder.remove_empty(plan.made)
        if stuck:
            raise HalfDoneError(f"{error} {', '.join(stuck)} had been written and could not be put back.") from None
        raise FilesError(f"{error} Nothing was changed.") from None


def _back(folder: Folder, done: Sequence[Change]) -> list[str]:
    """Undoes changes; returns the paths of those where that fails, too."""
    stuck = []
    for change in reversed(done):
        way = change.reversed
        try:
            if way.after is not None:
                folder.stage(way.path, way.after)
            _write(folder, way)
        except FilesError:
            stuck.append(change.path)
    return stuck


def _write(folder: Folder, change: Change) -> None:
    if change.after is None:
        folder.remove(change.path)
    else:
        folder.put(change.path)


def _check(folder: Folder, change: Change) -> None:
    now = folder.read(change.path)
    if (now and now.data) != (change.before and change.before.data):
        raise FilesError(f"{change.path} has changed meanwhile: read it and send the patch again.")


@dataclass(slots=True)
class _State:
    """A path while a patch is read. `lines` are those of its text, with where they come from in `source`."""

    before: Content | None
    now: Content | None
    lines: Lines | None = None
    source: str = ""


class _Planner:
    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._states: dict[str, _State] = {}

    def add(self, section: Section) -> None:
        """Takes the next section into account."""
        path = self._folder.relative(section.path)
        state = self._state(path)
        match section.kind:
            case "add":
                if state.now is not None:
                    raise _failed(path, 'is there already: change it with "*** Update File".')
                lines = Lines().edited([Edit(0, 0, section.added)])
                mode = state.before.mode if state.before else None
                state.now, state.lines, state.source = Content(lines.data(), mode), lines, ""
            case "delete":
                self._existing(path)
                state.now, state.lines = None, None
            case "update":
                self._update(path, section)

    def _update(self, path: str, section: Section) -> None:
        state, content = self._state(path), self._existing(path)
        lines = state.lines
        if section.hunks:
            lines = lines or Lines.of(content.data, path)
            lines = lines.edited(edits_of(lines.texts, section.hunks, path))
            content = replace(content, data=lines.data())
        if len(content.data) > MOST_BYTES:
            raise _failed(path, f"would have more than {MOST_BYTES:,} bytes.")
        new_path = self._folder.relative(section.moved_to) if section.moved_to else path
        if new_path != path:
            if self._state(new_path).now is not None:
                raise _failed(new_path, f"is there already, so {path} can't be moved to it.")
            state.now, state.lines = None, None
        target = self._state(new_path)
        target.now, target.lines, target.source = content, lines, state.source
        if new_path != path:
            state.source = path if state.before else ""

    def plan(self) -> Plan:
        """What all sections do together."""
        moves = {
            path: state.source for path, state in self._states.items() if state.now and state.source not in ("", path)
        }
        changes = tuple(
            Change(path, state.before, state.now, self._diff(path, state, moves))
            for path, state in self._states.items()
            if (state.now and state.now.data) != (state.before and state.before.data)
        )
        if not changes:
            raise FilesError("The patch changes nothing: the files are as it would make them.")
        made = {each for change in changes if change.after for each in self._folder.missing_folders(change.path)}
        return Plan(changes, moves, tuple(sorted(made)))

    def _diff(self, path: str, state: _State, moves: Mapping[str, str]) -> str:
        if state.now is None and path in moves.values():
            return ""
        source = moves.get(path, path)
        before = self._states[source].before if path in moves else state.before
        moved = f"rename from {source}\nrename to {path}" if path in moves else ""
        if moved and state.lines is None:
            return moved
        try:
            old = Lines.of(before.data, source) if before else Lines()
        except FilesError:
            gone = f"the binary file {path} of {len(before.data) if before else 0:,} bytes is removed"
            old, moved = Lines(), gone
        new = Lines() if state.now is None else state.lines or old
        names = (f"a/{source}" if before else _NULL, f"b/{path}" if state.now else _NULL)
        return "\n".join(filter(None, [moved, unified(old, new, *names)]))

    def _existing(self, path: str) -> Content:
        now = self._state(path).now
        if now is None:
            raise _failed(path, 'is not there: look with list_files, or make it with "*** Add File".')
        if not (now.mode is None or now.mode & 0o200):
            raise _failed(path, "is read-only.")
        return now

    def _state(self, path: str) -> _State:
        if path not in self._states:
            before = self._folder.read(path)
            same = [
                name
                for name, state in self._states.items()
                if before and state.before and state.before.identity == before.identity
            ]
            if same:
                raise _failed(path, f"and {same[0]} are the same file.")
            if len(self._states) >= MOST_FILES:
                raise FilesError(f"A patch may change {MOST_FILES} files at most. Nothing was changed.")
            self._states[path] = _State(before, before, source=path if before else "")
        return self._states[path]


def _failed(path: str, what: str) -> FilesError:
    return FilesError(f"{path} {what} Nothing was changed.")
