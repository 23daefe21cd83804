"""What a node has on its disk of heal ops."""

from pathlib import Path

from lep6.cascade.staging import WORK_DIRECTORY


def directories_in(root: Path) -> int:
    """How many stagings, work areas and set-aside stagings lie below a staging root."""
    stagings = sum(path.name != WORK_DIRECTORY for path in root.glob("*"))
    return stagings + sum(1 for _ in root.glob(f"{WORK_DIRECTORY}/*"))
