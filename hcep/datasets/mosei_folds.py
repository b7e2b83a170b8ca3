"""Which fold a CMU-MOSEI video belongs to: the standard folds of the SDK, or a table of the user's."""

from __future__ import annotations

import ast
from pathlib import Path

from hcep.datasets.limits import read_bytes, read_literal
from hcep.datasets.manifest_file import open_table
from hcep.datasets.spellings import find
from hcep.errors import HcepError

SDK_FILE = "cmu_mosei_std_folds.py"
SDK_FOLDERS = ("CMU-MultimodalSDK", "CMU-MultimodalSDK-main", "CMU-MultimodalSDK-master")
SDK_PLACE = "mmsdk/mmdatasdk/dataset/standard_datasets/CMU_MOSEI"
LISTS = {"standard_train_fold": "train", "standard_valid_fold": "valid", "standard_test_fold": "test"}
# what a video in no list gets
NONE = "none"
REMEDY = (
    f"put {SDK_FILE} into the release (github.com/CMU-MultiComp-Lab/CMU-MultimodalSDK, {SDK_PLACE}), or name in the "
    "setting `folds` a table with the columns video and fold (.tsv or .csv)"
)


def find_folds(root: Path, name: str) -> Path | None:
    """The file of folds: `name`, below root or absolute, or with '' the SDK's wherever it lies, None where it is not.

    A file called `name` that is not there is an HcepError.
    """
    if not name:
        sdk = find(root, SDK_FOLDERS, depth=2, kind="folder")
        return find(root, (SDK_FILE,), depth=3, kind="file") or (
            sdk and find(sdk / SDK_PLACE, (SDK_FILE,), kind="file")
        )
    if (root / name).is_file():
        return root / name
    found = find(root, (Path(name).name,), depth=3, kind="file")
    if found is None:
        raise HcepError("the file named in the setting `folds` is missing", file=root / name, remedy=REMEDY)
    return found


def read_folds(path: Path) -> dict[str, str]:
    """Read video id -> fold from the SDK's Python file, which is parsed and never run, or from a table.

    The table has the columns video and fold, separated by commas when its name ends in .csv, else by tabs.

    Raises
    ------
    HcepError
        When the file cannot be read, a list is missing, or a video is in two folds.
    """
    pairs = _lists(path) if path.suffix.lower() == ".py" else _table(path)
    folds: dict[str, str] = {}
    for place, video, fold in pairs:
        if folds.setdefault(video, fold) != fold:
            cause = f"video {video!r} is in fold {folds[video]} and in fold {fold}"
            raise HcepError(cause, file=path, row=place, remedy="keep it in one: segments of a video share speech")
    if not folds:
        raise HcepError("lists no video", file=path, remedy=REMEDY)
    return folds


def _lists(path: Path) -> list[tuple[int | str, str, str]]:
    found: dict[str, list[str]] = {}
    try:
        for node in ast.parse(read_bytes(path).decode("utf-8-sig")).body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in LISTS:
                found[node.targets[0].id] = _ids(read_literal(node.value))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise HcepError(f"cannot be read as lists of video ids: {error}", file=path, remedy=REMEDY) from error
    missing = [name for name in LISTS if name not in found]
    if missing:
        raise HcepError(f"lacks the list {', '.join(missing)}", file=path, remedy=REMEDY)
    return [(name, video, LISTS[name]) for name, videos in found.items() for video in videos]


def _ids(value: object) -> list[str]:
    if not isinstance(value, list | tuple | set) or not all(isinstance(video, str) for video in value):
        raise ValueError("a fold is not a list of quoted video ids")
    return list(value)


def _table(path: Path) -> list[tuple[int | str, str, str]]:
    rows = open_table(path, "," if path.suffix.lower() == ".csv" else "\t", ("video", "fold"))
    return [(row, cells["video"], cells["fold"].strip() or NONE) for row, cells in rows]
