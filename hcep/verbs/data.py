"""Verbs from a release to a cache: encoders, checks, manifests, shards, features."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hcep.errors import HcepError
from hcep.verbs.options import Arguments, Verb, add_paths, add_settings, settings_argument

if TYPE_CHECKING:
    from hcep.datasets.check import Check


def _shard_arguments(parser: argparse.ArgumentParser, *keys: str, optional: Collection[str] = ()) -> None:
    add_paths(parser, "manifest", help="manifest.tsv of the dataset")
    add_paths(parser, "root", help="folder of the release")
    add_paths(parser, "shard", type=str, metavar="III-of-NNN", help="which shard, as 007-of-064")
    add_settings(parser, *keys, optional=optional)
    parser.add_argument("--threads", type=int, default=1, help="files decoded at a time")
    add_paths(parser, "output", help="HDF5 file to write")


def _shard_settings(args: Arguments, *, reads_root: bool = True) -> dict[str, Any]:
    if reads_root and not args.root.is_dir():
        raise HcepError("no such folder", file=args.root, remedy="give the folder of the release, that of the manifest")
    return {"manifest": args.manifest, "root": args.root, "shard": args.shard, "output": args.output}


def _refuse_future_clips(args: Arguments, column: str) -> None:
    """Refuse, before an hour of decoding, what Snakemake would delete after it."""
    from hcep.dates import refuse_future
    from hcep.media.shards import clips_of_shard

    names = {getattr(clip, column) for clip in clips_of_shard(args.manifest, args.shard)} - {""}
    refuse_future(args.root / name for name in sorted(names))


def _generate_demo_arguments(parser: argparse.ArgumentParser) -> None:
    add_paths(parser, "output", help="folder to write: clips.tsv and video/")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="processes that draw and encode")
    parser.add_argument(
        "--speakers", type=int, nargs=2, default=(12, 8), metavar="N", help="training and test speakers, ten clips each"
    )


def generate_demo(args: Arguments) -> None:
    """Generate the demo clips: drawn talking faces with synthesised voices, as H.264 and AAC files."""
    from hcep.demo.corpus import generate_demo as run

    run(args.output, seed=args.seed, workers=args.workers, speakers=tuple(args.speakers))


def _pretrain_arguments(parser: argparse.ArgumentParser) -> None:
    add_paths(parser, "output", help="encoder folder to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)


def pretrain_demo_encoders(args: Arguments) -> None:
    """Pretrain the small encoders on generated faces and voices (no emotion label is a target)."""
    from hcep.demo.pretrain import pretrain_demo_encoders as run

    run(args.output, seed=args.seed, threads=args.threads)


def _fetch_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", required=True, help="name that results carry")
    add_settings(parser, "source", optional=("clip", "pretrained", "audio", "revision", "sha256"))
    add_paths(parser, "output", help="encoder folder to write")


def fetch_encoders(args: Arguments) -> None:
    """Make an encoder folder: the paper's weights from their hubs, the package's small ones, or random ones."""
    from hcep.encoders.fetch import fetch_encoders as run

    run(args.output, args.settings, args.name)


def _download_arguments(parser: argparse.ArgumentParser) -> None:
    add_paths(parser, "output", help="folder of the release")
    parser.add_argument("--base-url", default="https://zenodo.org", help="another server with Zenodo's records API")


def download_ravdess(args: Arguments) -> None:
    """Download RAVDESS from Zenodo (record 1188976), resumable, md5 checked, and unpack it."""
    from hcep.datasets.download import download_ravdess as run

    run(args.output, base_url=args.base_url)


def _manifest_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", required=True, help="name of the dataset entry")
    add_paths(parser, "root", help="folder of the release")
    add_settings(parser, "adapter", "options", "text")
    add_paths(parser, "output", help="manifest.tsv to write")


def manifest(args: Arguments) -> None:
    """List the clips of a release: one row a clip, labels as names, nothing dropped."""
    from hcep.datasets.build import build_manifest

    options = args.settings["options"] | {"text": args.settings["text"]}
    build_manifest(args.settings["adapter"], args.root, args.dataset, options, args.output)


def _check_arguments(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("dataset", nargs="?", help="dataset entry of the config, e.g. mafw")
    which.add_argument("--task", help="task of the config: all its datasets, and how it takes their labels and folds")
    parser.add_argument("--root", type=Path, help="folder of the release; the entry's `root` when absent")
    parser.add_argument("--config", type=Path, nargs="+", default=[], help="files laid over config/config.yaml")
    parser.add_argument("--settings", type=settings_argument, metavar="JSON", help="adapter, options, text, root")
    parser.add_argument(
        "--expected", type=Path, nargs="*", help="published counts; config/expected/DATASET.yaml when not given"
    )
    parser.add_argument("--output", type=Path, help="also write the report to this file")


def check(args: Arguments) -> None:
    """Say what a release on disk holds, beside the published counts, and what is missing; nothing is decoded."""
    from hcep.datasets.check import report_text
    from hcep.files import write_text

    own = [path for path in [Path("config/config.yaml")] if path.is_file() or not args.config]
    configs = [*own, *args.config]
    if args.task is None:
        found = [_check_dataset(args, configs, args.dataset)]
        texts, missed = [report_text(found[0])], False
    else:
        found, texts, missed = _check_task(args, configs)
    text = "\n".join(texts)
    print(text, end="")
    if args.output:
        write_text(args.output, text)
    unusable = [one.root for one in found if not one.usable]
    if unusable:
        places = ", ".join(map(str, unusable))
        raise HcepError("this release cannot be used as it is", file=places, remedy="see the errors above")
    if missed:
        raise HcepError(f"task {args.task} does not fit its data", remedy="see the errors above")


def _check_dataset(args: Arguments, configs: Sequence[Path], dataset: str) -> Check:
    from hcep.datasets.check import check_release, dataset_entry

    entry = args.settings or dataset_entry(configs, dataset)
    usual = [path for path in [Path("config/expected") / f"{dataset}.yaml"] if path.is_file()]
    expected = usual if args.expected is None else args.expected
    decoded = Path("resources") / dataset / "qc.tsv"
    return check_release(
        entry["adapter"],
        args.root or Path(entry["root"]),
        dataset,
        entry.get("options", {}) | {"text": entry.get("text", "manifest")},
        expected=expected[0] if expected else None,
        max_failures=entry.get("max_failures", 0.01),
        qc=decoded if decoded.is_file() else None,
    )


def _check_task(args: Arguments, configs: Sequence[Path]) -> tuple[list[Check], list[str], bool]:
    """Checks of a task's datasets, their reports and the task's own, and whether it has near misses."""
    from hcep.datasets.check import config_entry, read_configs, report_text
    from hcep.protocol.check_tasks import read_names, task_text
    from hcep.protocol.near_misses import near_misses
    from hcep.protocol.settings import task_datasets, task_names

    if (args.root, args.settings, args.expected) != (None, None, None):
        cause = "--root, --settings and --expected belong to one dataset"
        raise HcepError(cause, remedy="name the dataset in place of --task, or write a file for --config")
    config_entry(configs, "task_definitions", "task", args.task, ("dataset", "labels"))
    config = read_configs(configs)
    names = read_names(args.task, task_names(config, args.task))
    found = [_check_dataset(args, configs, dataset) for dataset in task_datasets(config, args.task)]
    clips = sum((one.table for one in found), Counter())
    texts = [*map(report_text, found), task_text(args.task, clips, names)]
    return found, texts, bool(near_misses(clips, names))


def decode_frames(args: Arguments) -> None:
    """Decode the frames of one shard's clips into HDF5."""
    from hcep.media.frames import decode_frames as run

    shard = _shard_settings(args)
    _refuse_future_clips(args, "video")
    run(**shard, threads=args.threads, **args.settings)


def decode_audio(args: Arguments) -> None:
    """Decode the sound of one shard's clips into HDF5: 16 kHz, mono, one length."""
    from hcep.media.audio import decode_audio as run

    settings = dict(args.settings)
    shard = _shard_settings(args)
    _refuse_future_clips(args, "audio")
    run(**shard, threads=args.threads, window=settings.pop("audio_window"), **settings)


def transcribe(args: Arguments) -> None:
    """Collect the words of one shard's clips: from the manifest, or by speech recognition."""
    from hcep.media.transcribe import transcribe as run

    settings = dict(args.settings)
    source = settings.pop("text")
    shard = _shard_settings(args, reads_root=source == "asr")
    if source == "asr":
        _refuse_future_clips(args, "audio")
    run(**shard, source=source, model=settings.pop("asr_model", None), **settings)


def _index_arguments(parser: argparse.ArgumentParser) -> None:
    add_paths(parser, "manifest", help="manifest.tsv of the dataset")
    for kind in ("frames", "audio", "text"):
        add_paths(parser, kind, nargs="+", help=f"all {kind} shards")
    add_settings(parser, "max_failures")
    add_paths(parser, "output", help="index.h5 to write")
    add_paths(parser, "qc", help="qc.tsv to write")


def index_cache(args: Arguments) -> None:
    """Check all shards, list where each clip is, and write the quality-control table."""
    from hcep.media.index import index_cache as run

    shards = {"frames": args.frames, "audio": args.audio, "text": args.text}
    run(args.manifest, shards, args.output, args.qc, max_failures=args.settings["max_failures"])


def _encode_arguments(parser: argparse.ArgumentParser) -> None:
    add_paths(parser, "index", help="index.h5 of the dataset")
    add_paths(parser, "shard", type=str, metavar="III-of-NNN", help="which shard")
    add_paths(parser, "encoder", help="encoder folder")
    add_settings(parser, "batch_size", "precision", "device")
    add_paths(parser, "output", help="HDF5 file to write")


def encode(args: Arguments) -> None:
    """Encode one shard without prompts, for methods that train on cached features."""
    from hcep.encoders.folder import load_encoders
    from hcep.training.encode import encode as run

    run(args.index, args.shard, args.output, load_encoders(args.encoder), args.settings)


VERBS: dict[str, Verb] = {
    "generate_demo": (_generate_demo_arguments, generate_demo),
    "pretrain_demo_encoders": (_pretrain_arguments, pretrain_demo_encoders),
    "fetch_encoders": (_fetch_arguments, fetch_encoders),
    "download_ravdess": (_download_arguments, download_ravdess),
    "check": (_check_arguments, check),
    "manifest": (_manifest_arguments, manifest),
    "decode_frames": (
        lambda p: _shard_arguments(p, "frames", "size", "timeout", optional=("frame_sampling",)),
        decode_frames,
    ),
    "decode_audio": (lambda p: _shard_arguments(p, "samples", "audio_window", "timeout"), decode_audio),
    "transcribe": (lambda p: _shard_arguments(p, "text", optional=("asr_model", "timeout")), transcribe),
    "index_cache": (_index_arguments, index_cache),
    "encode": (_encode_arguments, encode),
}
