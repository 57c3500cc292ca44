"""The report of coverage adds up lines by room and names the least covered files."""

import json
from pathlib import Path

from tests.coverage import LEAST_COVERED, Lines, by_room, least_covered, printed, read


def test_lines_add_up_by_room(tmp_path: Path) -> None:
    report = tmp_path / "coverage.json"
    files = {
        "app/chat/footer.py": {"executed_lines": [1, 2, 3], "missing_lines": [5]},
        "app/chat/__init__.py": {"executed_lines": [], "missing_lines": []},
        "metal/launch.py": {"executed_lines": [1], "missing_lines": [2, 3, 4]},
    }
    report.write_text(json.dumps({"files": files}))
    lines = read(report)
    assert by_room(lines) == {"app/chat": Lines(3, 4), "metal": Lines(1, 4), "all": Lines(4, 8)}
    assert list(least_covered(lines)) == ["metal/launch.py", "app/chat/footer.py", "app/chat/__init__.py"]
    assert "  all        50.0%      4 of     8 lines" in printed("Coverage", by_room(lines)).splitlines()


def test_only_the_least_covered_are_named() -> None:
    files = {f"file{number}.py": Lines(number, 20) for number in range(20)}
    assert list(least_covered(files)) == [f"file{number}.py" for number in range(LEAST_COVERED)]
