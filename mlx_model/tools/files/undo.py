"""What patches have replaced, kept on disk until it is put back: the last patches of a conversation."""

from __future__ import annotations

import hashlib
import json
import shutil
from contextlib import suppress
from pathlib import Path

from metal.files import parse_json, read_small, replace_file
from mlx_model.tools.files.folder import MOST_BYTES, Content, FilesError, Folder, reason_of
from mlx_model.tools.files.plan import Change, HalfDoneError, Plan, apply

MOST_KEPT = 20
"""Patches that can be undone, the last ones."""
_RECORD = "record.json"
_BEFORE = "before"


class Undo:
    """Keeps in the folder at `path` what patches replace, each patch in a folder with its number.

    `path` has to be out of reach of the model's code: what is there is written into the person's files.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def is_empty(self) -> bool:
        """Whether there is no patch that could be undone."""
        return not self._numbers()

    def apply(self, folder: Folder, plan: Plan) -> None:
        """Keeps what the files are, and writes what is planned. Raises FilesError, as `plan.apply`."""
        place = self._keep(folder, plan)
        try:
            apply(folder, plan)
        except HalfDoneError:
            raise
        except FilesError:
            shutil.rmtree(place, ignore_errors=True)
            raise

    def put_back(self, folder: Folder) -> list[str]:
        """Puts back what the last patch replaced; returns the paths, none where the files are so already.

        Raises FilesError, and nothing is put back, if there is none, if it is of another folder, or if a file has
        changed since.
        """
        numbers = self._numbers()
        if not numbers:
            raise FilesError("There is no patch to undo in this conversation.")
        place = self._place(numbers[-1])
        plan = self._way_back(place, folder)
        apply(folder, plan)
        folder.remove_empty(plan.made)
        shutil.rmtree(place, ignore_errors=True)
        return [change.path for change in plan.changes]

    def _keep(self, folder: Folder, plan: Plan) -> Path:
        numbers = self._numbers()
        place = self._place(numbers[-1] + 1 if numbers else 1)
        try:
            # One without a record was given up halfway.
            shutil.rmtree(place, ignore_errors=True)
            self._path.mkdir(parents=True, exist_ok=True, mode=0o700)
            for change in plan.changes:
                if change.before is not None:
                    replace_file(place / _BEFORE / change.path, change.before.data, durable=True)
            record = {
                "folder": str(folder.path),
                "made": list(plan.made),
                "changes": [
                    {
                        "path": change.path,
                        "before": _digest(change.before),
                        "after": _digest(change.after),
                        "mode": change.before.mode if change.before else None,
                    }
                    for change in plan.changes
                ],
            }
            replace_file(place / _RECORD, json.dumps(record).encode(), durable=True)
        except OSError as error:
            shutil.rmtree(place, ignore_errors=True)
            reason = reason_of(error)
            raise FilesError(f"{place} can't be written ({reason}), so that nothing was changed.") from None
        for number in numbers[: -MOST_KEPT + 1]:
            shutil.rmtree(self._place(number), ignore_errors=True)
        return place

    def _way_back(self, place: Path, folder: Folder) -> Plan:
        changes, changed = [], []
        try:
            record = parse_json(read_small(place / _RECORD))
            if record["folder"] != str(folder.path):
                raise FilesError(f"The last patch was in {record['folder']}: open that folder to undo it.")
            for fields in record["changes"]:
                path = folder.relative(fields["path"])
                folder.unstage(path)  # of a program that was killed meanwhile
                now = folder.read(path)
                if _digest(now) == fields["before"]:
                    continue
                if _digest(now) != fields["after"]:
                    changed.append(path)
                    continue
                before = None
                if fields["before"] is not None:
                    before = Content(read_small(place / _BEFORE / path, MOST_BYTES), int(fields["mode"]) & 0o777)
                if _digest(before) != fields["before"]:
                    raise ValueError(f"{path} is not what it was")
                changes.append(Change(path, now, before))
            made = tuple(folder.relative(each) for each in record["made"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FilesError(f"The last patch can't be undone: {place} is damaged ({error}).") from None
        if changed:
            raise FilesError(
                f"Changed since the patch: {', '.join(changed)}. Nothing was put back; what was there before the patch "
                f"is in {place / _BEFORE}."
            )
        return Plan(tuple(changes), made=made)

    def _numbers(self) -> list[int]:
        """The patches that can be undone, the last one at the end."""
        with suppress(OSError):
            names = [each.parent.name for each in self._path.glob(f"*/{_RECORD}")]
            return sorted(int(name) for name in names if name.isdecimal())
        return []

    def _place(self, number: int) -> Path:
        return self._path / f"{number:04}"


def _digest(content: Content | None) -> str | None:
    return None if content is None else hashlib.sha256(content.data).hexdigest()
