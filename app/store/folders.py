"""The folders of a conversation, which go with it: what the model's code has written, and what its tools keep."""

import shutil
from collections.abc import Iterable

from app.paths import kept_folder, work_folder


def remove_folders(conversations: Iterable[str]) -> None:
    """Remove the folders of conversations that are gone, by their ids. What can't be removed stays.

    What is in them is untrusted: no link is followed.
    """
    for id in conversations:
        for folder in (work_folder(id), kept_folder(id)):
            shutil.rmtree(folder, ignore_errors=True)
