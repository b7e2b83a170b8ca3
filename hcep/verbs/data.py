"""Verbs from a release to a cache: checks, manifests, shards, features."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hcep.errors import HcepError
from hcep.verbs.options import check_model, config_files

if TYPE_CHECKING:
    from hcep.datasets.check import Check


def fetch_encoders(name: str, output: Path, **settings: Any) -> None:
    """Make an encoder folder."""
    from hcep.encoders.fetch import fetch_encoders as run

    run(output, settings, name)


def manifest(
    dataset: str,
    root: Path,
    output: Path,
    adapter: str,
    options: dict[str, Any],
    text: str,
    follow_links: bool = False,
) -> None:
    """List the clips of a release."""
    from hcep.datasets.build import build_manifest

    build_manifest(adapter, root, dataset, options | {"text": text}, output, follow_links=follow_links)


def check(
    dataset: str | None,
    task: str | None,
    root: Path | None,
    configfile: Sequence[Path],
    settings: dict[str, Any] | None,
    expected: Sequence[Path] | None,
    output: Path | None,
) -> None:
    """Report on the release of a dataset, or on all datasets of a task."""
    from hcep.datasets.check import report_text
    from hcep.files import write_text

    configs = config_files(configfile)
    if (dataset is None) == (task is None):
        cause = "neither a dataset nor --task is given" if dataset is None else "a dataset and --task are given"
        raise HcepError(cause, remedy="name one of them, as `hcep check mafw` or `hcep check --task mafw`")
    if dataset is not None:
        found = [_check_dataset(dataset, configs, root, settings, expected)]
        texts, missed, broken = [report_text(found[0])], False, list[str]()
    else:
        if (root, settings, expected) != (None, None, None):
            cause = "--root, --settings and --expected belong to one dataset"
            raise HcepError(cause, remedy="name the dataset in place of --task, or write a file for --configfile")
        found, texts, missed, broken = _check_task(str(task), configs)
    text = "\n".join(texts)
    print(text, end="")
    if output:
        write_text(output, text)
    unusable = [str(one.root) for one in found if not one.usable] + broken
    if unusable:
        places = ", ".join(unusable)
        raise HcepError("this release cannot be used as it is", file=places, remedy="see the errors above")
    if missed:
        raise HcepError(f"task {task} does not fit its data", remedy="see the errors above")


def _check_dataset(
    dataset: str,
    configs: Sequence[Path],
    root: Path | None = None,
    settings: dict[str, Any] | None = None,
    expected: Sequence[Path] | None = None,
) -> Check:
    from hcep.config.entries import Dataset
    from hcep.config.whole import entry_of
    from hcep.datasets.check import check_release

    if settings is None:
        entry = entry_of(configs, "datasets", "dataset", dataset, ("adapter", "root"))
    else:
        if root is None and "root" not in settings:
            raise HcepError("has no 'root'", file="--settings", remedy="give it there, or as --root")
        given = check_model(
            settings, Dataset, ("adapter",), ("root", "options", "text", "max_failures", "follow_links")
        )
        entry = Dataset.model_validate({"root": str(root), **given})
    usual = [path for path in [Path("config/expected") / f"{dataset}.yaml"] if path.is_file()]
    published = usual if expected is None else expected
    decoded = Path("resources") / dataset / "qc.tsv"
    return check_release(
        entry.adapter,
        root or Path(entry.root),
        dataset,
        entry.options | {"text": entry.text},
        expected=published[0] if published else None,
        max_failures=entry.max_failures,
        follow_links=entry.follow_links,
        qc=decoded if decoded.is_file() else None,
    )


def _check_task(task: str, configs: Sequence[Path]) -> tuple[list[Check], list[str], bool, list[str]]:
    """Checks of a task's datasets, their reports and the task's own, whether it has near misses, and what has no check.

    A dataset without a check, as one that is not there, does not keep the others from theirs.
    """
    from hcep.config.whole import Config, entry_of, read_configs
    from hcep.datasets.check import report_text
    from hcep.protocol.check_tasks import read_names, task_text
    from hcep.protocol.near_misses import near_misses

    definition = entry_of(configs, "task_definitions", "task", task, ("dataset", "labels"))
    whole = Config.model_construct(task_definitions={task: definition}, words=read_configs(configs).get("words", {}))
    names = read_names(task, whole.names_of_task(task))
    found, texts, broken = [], [], []
    for dataset in definition.dataset:
        entry_of(configs, "datasets", "dataset", dataset, ("adapter", "root"))
        try:
            found.append(_check_dataset(dataset, configs))
            texts.append(report_text(found[-1]))
        except HcepError as error:
            texts.append(f"{dataset}: cannot be checked\n  {error}\n")
            broken.append(dataset)
    clips = sum((one.table for one in found), Counter())
    texts.append(task_text(task, clips, names))
    return found, texts, bool(near_misses(clips, names)), broken


def check_tasks(manifest: Path, settings: dict[str, Any], output: Path) -> None:
    """Say how each task takes the labels and folds of a dataset."""
    from hcep.config.entries import SplitSettings
    from hcep.protocol.check_tasks import check_tasks as run

    for names in settings.values():
        check_model(
            names, SplitSettings, ("labels", "test_folds"), ("train_folds", "val_folds", "other_labels", "words")
        )
    run(manifest, settings, output)


def decode_frames(manifest: Path, root: Path, shard: str, output: Path, threads: int, **settings: Any) -> None:
    """Decode the frames of one shard's clips."""
    from hcep.media.frames import decode_frames as run

    _refuse_future_clips(manifest, root, shard, "video")
    run(manifest, root, shard, output, threads=threads, **settings)


def decode_audio(
    manifest: Path, root: Path, shard: str, output: Path, threads: int, audio_window: Any, **settings: Any
) -> None:
    """Decode the sound of one shard's clips."""
    from hcep.media.audio import decode_audio as run

    _refuse_future_clips(manifest, root, shard, "audio")
    run(manifest, root, shard, output, threads=threads, window=audio_window, **settings)


def transcribe(
    manifest: Path,
    root: Path,
    shard: str,
    output: Path,
    threads: int,
    text: Any,
    asr_model: str | None = None,
    **settings: Any,
) -> None:
    """Collect the words of one shard's clips; speech recognition takes all `threads` by itself."""
    from hcep.media.transcribe import transcribe as run

    if text == "asr":
        _refuse_future_clips(manifest, root, shard, "audio")
    run(manifest, root, shard, output, source=text, model=asr_model, **settings)


def words(manifest: Path, text: Any, output: Sequence[Path]) -> None:
    """Collect the words of all clips of a dataset from its manifest."""
    from hcep.media.words import words as run

    run(manifest, output, text)


def _refuse_future_clips(manifest: Path, root: Path, shard: str, column: str) -> None:
    """Refuse, before an hour of decoding, what Snakemake would delete after it."""
    from hcep.datasets.faces import picture_paths
    from hcep.dates import refuse_future
    from hcep.media.shards import clips_of_shard

    if not root.is_dir():
        raise HcepError("no such folder", file=root, remedy="give the folder of the release, that of the manifest")
    clips = clips_of_shard(manifest, shard)
    if column == "video":
        names = {path for clip in clips for path in picture_paths(root, clip)}
    else:
        names = {getattr(clip, column) for clip in clips} - {""}
    refuse_future(root / name for name in sorted(names))


def index_cache(
    manifest: Path,
    frames: Sequence[Path],
    audio: Sequence[Path],
    text: Sequence[Path],
    output: Path,
    qc: Path,
    max_failures: float,
) -> None:
    """Check all shards, list where each clip is, and write the quality-control table."""
    from hcep.media.index import index_cache as run

    run(manifest, {"frames": frames, "audio": audio, "text": text}, output, qc, max_failures=max_failures)


def encode(index: Path, shard: str, encoder: Path, output: Path, **settings: Any) -> None:
    """Encode one shard without prompts."""
    from hcep.encoders.folder import load_encoders
    from hcep.training.encode import encode as run

    run(index, shard, output, load_encoders(encoder), settings)


def import_features(index: Path, shard: str, encoder: Path, features: Path, output: Path) -> None:
    """Take the features of one shard's clips from a user's file."""
    from hcep.encoders.info import read_info
    from hcep.training.import_features import import_features as run

    run(index, shard, read_info(encoder), features, output)
