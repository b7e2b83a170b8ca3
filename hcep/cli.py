"""The command line: one verb per workflow rule, each of which calls one function of the library.

Imports happen inside the verbs, so that ``hcep --help`` and verbs without a model start at once.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hcep import registry
from hcep.errors import HcepError

Arguments = argparse.Namespace
Verb = tuple[Callable[[argparse.ArgumentParser], None], Callable[[Arguments], None]]


def settings_argument(text: str) -> dict[str, Any]:
    """Settings given as JSON, or as the path of a JSON file.

    Raises
    ------
    argparse.ArgumentTypeError
        When the text is neither.
    """
    if not text.lstrip().startswith("{"):
        try:
            text = Path(text).read_text(encoding="utf-8")
        except OSError as error:
            raise argparse.ArgumentTypeError(f"neither JSON nor a readable file: {error}") from error
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from error


def _add(parser: argparse.ArgumentParser, *names: str, **options: Any) -> None:
    """Required options that are paths unless said otherwise."""
    for name in names:
        parser.add_argument(f"--{name}", required=True, **{"type": Path, **options})


def _settings(parser: argparse.ArgumentParser, keys: str) -> None:
    parser.add_argument(
        "--settings", type=settings_argument, required=True, metavar="JSON", help=f"JSON text or file with {keys}"
    )


def _shard_arguments(parser: argparse.ArgumentParser, keys: str) -> None:
    _add(parser, "manifest", help="manifest.tsv of the dataset")
    _add(parser, "root", help="folder of the release")
    _add(parser, "shard", type=str, metavar="III-of-NNN", help="which shard, as 007-of-064")
    _settings(parser, keys)
    parser.add_argument("--threads", type=int, default=1, help="files decoded at a time")
    _add(parser, "output", help="HDF5 file to write")


def _shard_settings(args: Arguments) -> dict[str, Any]:
    return {"manifest": args.manifest, "root": args.root, "shard": args.shard, "output": args.output}


def _generate_demo_arguments(parser: argparse.ArgumentParser) -> None:
    _add(parser, "output", help="folder to write: clips.tsv and video/")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="processes that draw and encode")


def generate_demo(args: Arguments) -> None:
    """Generate the demo clips: drawn talking faces with synthesised voices, as H.264 and AAC files."""
    from hcep.demo.corpus import generate_demo as run

    run(args.output, seed=args.seed, workers=args.workers)


def _pretrain_arguments(parser: argparse.ArgumentParser) -> None:
    _add(parser, "output", help="encoder folder to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)


def pretrain_demo_encoders(args: Arguments) -> None:
    """Pretrain the small encoders on generated faces and voices (no emotion label is a target)."""
    from hcep.demo.pretrain import pretrain_demo_encoders as run

    run(args.output, seed=args.seed, threads=args.threads)


def _fetch_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", required=True, help="name that results carry")
    _settings(parser, "source (package, hub, random), clip, pretrained, audio")
    _add(parser, "output", help="encoder folder to write")


def fetch_encoders(args: Arguments) -> None:
    """Make an encoder folder: the paper's weights from their hubs, the package's small ones, or random ones."""
    from hcep.encoders.fetch import fetch_encoders as run

    run(args.output, args.settings, args.name)


def _download_arguments(parser: argparse.ArgumentParser) -> None:
    _add(parser, "output", help="folder of the release")
    parser.add_argument("--base-url", default="https://zenodo.org", help="another server with Zenodo's records API")


def download_ravdess(args: Arguments) -> None:
    """Download RAVDESS from Zenodo (record 1188976), resumable, md5 checked, and unpack it."""
    from hcep.datasets.download import download_ravdess as run

    run(args.output, base_url=args.base_url)


def _manifest_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", required=True, help="name of the dataset entry")
    _add(parser, "root", help="folder of the release")
    _settings(parser, "adapter, options, text")
    _add(parser, "output", help="manifest.tsv to write")


def manifest(args: Arguments) -> None:
    """List the clips of a release: one row a clip, labels as names, nothing dropped."""
    from hcep.datasets.build import build_manifest

    options = args.settings["options"] | {"text": args.settings["text"]}
    build_manifest(args.settings["adapter"], args.root, args.dataset, options, args.output)


def _check_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", help="dataset entry of the config, e.g. mafw")
    parser.add_argument("--root", type=Path, help="folder of the release; the entry's `root` when absent")
    parser.add_argument("--config", type=Path, nargs="+", default=[Path("config/config.yaml")], help="config files")
    parser.add_argument("--settings", type=settings_argument, metavar="JSON", help="adapter, options, text, root")
    parser.add_argument(
        "--expected", type=Path, nargs="*", help="published counts; config/expected/DATASET.yaml when not given"
    )
    parser.add_argument("--output", type=Path, help="also write the report to this file")


def check(args: Arguments) -> None:
    """Say what a release on disk holds, beside the published counts, and what is missing; nothing is decoded."""
    from hcep.datasets.check import check_release, dataset_entry, report_text
    from hcep.files import write_text

    entry = args.settings or dataset_entry(args.config, args.dataset)
    usual = [path for path in [Path("config/expected") / f"{args.dataset}.yaml"] if path.is_file()]
    expected = usual if args.expected is None else args.expected
    found = check_release(
        entry["adapter"],
        args.root or Path(entry["root"]),
        args.dataset,
        entry.get("options", {}) | {"text": entry.get("text", "manifest")},
        expected=expected[0] if expected else None,
        max_failures=entry.get("max_failures", 0.01),
    )
    text = report_text(found)
    print(text, end="")
    if args.output:
        write_text(args.output, text)
    if not found.usable:
        raise HcepError("this release cannot be used as it is", file=found.root, remedy="see the errors above")


def decode_frames(args: Arguments) -> None:
    """Decode the frames of one shard's clips into HDF5."""
    from hcep.media.frames import decode_frames as run

    run(**_shard_settings(args), threads=args.threads, **args.settings)


def decode_audio(args: Arguments) -> None:
    """Decode the sound of one shard's clips into HDF5: 16 kHz, mono, one length."""
    from hcep.media.audio import decode_audio as run

    settings = dict(args.settings)
    run(**_shard_settings(args), threads=args.threads, window=settings.pop("audio_window"), **settings)


def transcribe(args: Arguments) -> None:
    """Collect the words of one shard's clips: from the manifest, or by speech recognition."""
    from hcep.media.transcribe import transcribe as run

    settings = dict(args.settings)
    run(**_shard_settings(args), source=settings.pop("text"), model=settings.pop("asr_model", None), **settings)


def _index_arguments(parser: argparse.ArgumentParser) -> None:
    _add(parser, "manifest", help="manifest.tsv of the dataset")
    for kind in ("frames", "audio", "text"):
        _add(parser, kind, nargs="+", help=f"all {kind} shards")
    _settings(parser, "max_failures")
    _add(parser, "output", help="index.h5 to write")
    _add(parser, "qc", help="qc.tsv to write")


def index_cache(args: Arguments) -> None:
    """Check all shards, list where each clip is, and write the quality-control table."""
    from hcep.media.index import index_cache as run

    shards = {"frames": args.frames, "audio": args.audio, "text": args.text}
    run(args.manifest, shards, args.output, args.qc, max_failures=args.settings["max_failures"])


def _encode_arguments(parser: argparse.ArgumentParser) -> None:
    _add(parser, "index", help="index.h5 of the dataset")
    _add(parser, "shard", type=str, metavar="III-of-NNN", help="which shard")
    _add(parser, "encoder", help="encoder folder")
    _settings(parser, "batch_size, precision, device")
    _add(parser, "output", help="HDF5 file to write")


def encode(args: Arguments) -> None:
    """Encode one shard without prompts, for methods that train on cached features."""
    from hcep.encoders.folder import load_encoders
    from hcep.training.encode import encode as run

    run(args.index, args.shard, args.output, load_encoders(args.encoder), args.settings)


def _draw_arguments(parser: argparse.ArgumentParser) -> None:
    _add(parser, "labels", type=str, nargs="+", help="classes in label-id order")
    _add(parser, "openness", type=str, nargs="+", metavar="kKuU", help="levels, as k8u2")
    parser.add_argument("--count", type=int, default=4, help="splits per level")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--task", required=True, help="task that the file is for")
    _add(parser, "output", help="config/splits/<task>.yaml to write")


def draw_splits(args: Arguments) -> None:
    """Draw distinct class splits for a task and write them to be committed."""
    from hcep.protocol.class_splits import write_class_splits

    command = f"hcep draw_splits --task {args.task}"
    write_class_splits(args.output, args.labels, args.openness, count=args.count, seed=args.seed, command=command)


def _split_arguments(parser: argparse.ArgumentParser) -> None:
    for name in ("task", "openness", "split"):
        parser.add_argument(f"--{name}", required=True)
    _add(parser, "manifest", nargs="+", help="manifest.tsv of every dataset of the task")
    _add(parser, "classes", help="file of class splits")
    _settings(parser, "labels, test_folds, train_folds, val_folds, val_fraction, val_seed, min_train")
    _add(parser, "output", help="split JSON to write")


def make_split(args: Arguments) -> None:
    """Say which clips are training, known test and unknown test clips."""
    from hcep.protocol.make_split import make_split as run

    run(args.manifest, args.classes, args.task, args.openness, args.split, args.output, **args.settings)


def _run_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--base", required=True, help=f"base method: {', '.join(registry.METHODS)}")
    _add(parser, "split", help="split JSON")
    _add(parser, "index", nargs="+", help="index.h5 of every dataset of the task")
    parser.add_argument("--features", type=Path, nargs="*", default=[], help="feature shards, if it reads features")
    _add(parser, "encoder", help="encoder folder")


def _train_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--method", required=True, help="name in the results")
    parser.add_argument("--seed", type=int, required=True)
    _run_arguments(parser)
    _settings(parser, "what the loop and the method read")
    parser.add_argument("--work", type=Path, default=Path("work"), help="folder of resume states")
    _add(parser, "model", help="model.safetensors to write")
    _add(parser, "history", help="history.csv to write")


def _inputs(args: Arguments) -> Any:
    from hcep.encoders.info import read_info
    from hcep.training.run import Inputs

    encoders = None
    if registry.method(args.base).inputs == "media":
        from hcep.encoders.folder import load_encoders

        encoders = load_encoders(args.encoder)
    return Inputs(args.split, args.index, args.features, read_info(args.encoder), encoders)


def train(args: Arguments) -> None:
    """Train one run; started again after an interruption, it goes on where it stopped."""
    from hcep.provenance import code_digest
    from hcep.training.train import train as run

    entry = registry.method(args.base)
    modules = ["hcep.training.train", registry.module_of(entry.target)]
    judge = None
    if args.settings["selection"] == "best_on_test":
        from hcep.evaluation.select import judge_on_test

        judge = judge_on_test
        modules.append("hcep.evaluation.select")
    run(
        _inputs(args),
        registry.load(entry.target),
        args.settings,
        name=args.method,
        seed=args.seed,
        code=code_digest(modules),
        model=args.model,
        history=args.history,
        work=args.work,
        judge=judge,
    )


def _score_arguments(parser: argparse.ArgumentParser) -> None:
    _run_arguments(parser)
    _add(parser, "model", help="checkpoint")
    _add(parser, "output", help="scores.h5 to write")


def score(args: Arguments) -> None:
    """Score the training and test clips of a run with its checkpoint."""
    from hcep.training.score import score as run

    entry = registry.method(args.base)
    run(_inputs(args), registry.load(entry.target), args.model, args.output)


def _evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    _add(parser, "scores", help="scores.h5 of a run")
    _settings(parser, "replicates, confidence, seed, acceptance")
    _add(parser, "metrics", help="metrics.json to write")
    _add(parser, "curves", help="curves.csv to write")
    _add(parser, "thresholds", help="thresholds.csv to write")


def evaluate(args: Arguments) -> None:
    """AUROC, OSCR and the other metrics of a run with bootstrap intervals, its curves and thresholds."""
    from hcep.evaluation.evaluate import evaluate as run

    run(args.scores, args.metrics, args.curves, args.thresholds, **args.settings)


def _aggregate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task", required=True)
    _add(parser, "runs", nargs="+", help="run folders")
    parser.add_argument("--paper", type=Path, help="paper_results.csv")
    _settings(parser, "replicates, confidence, seed")
    _add(parser, "runs-table", "summary", "comparisons", help="CSV to write")


def aggregate(args: Arguments) -> None:
    """All runs of a task: runs.csv, summary.csv and comparisons.csv."""
    from hcep.evaluation.aggregate import aggregate as run

    settings = {key: args.settings[key] for key in ("replicates", "confidence", "seed")}
    run(args.runs, args.paper, args.task, args.runs_table, args.summary, args.comparisons, **settings)


def _paper_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task", required=True)
    _add(parser, "summary", help="summary.csv")
    _add(parser, "paper", help="paper_results.csv")
    _add(parser, "output", help="CSV to write")


def versus_paper(args: Arguments) -> None:
    """Our numbers beside the paper's, with the difference, whatever its sign."""
    from hcep.evaluation.versus_paper import versus_paper as run

    run(args.summary, args.paper, args.task, args.output)


def _complexity_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--encoder", type=Path, help="encoder.json; without it CLIP ViT-B/32 and wav2vec2-base")
    parser.add_argument("--known", type=int, nargs="+", default=[8, 6, 4, 2], help="values of K")
    parser.add_argument("--settings", type=settings_argument, metavar="JSON", help="frames, samples and methods")
    parser.add_argument("--paper", type=Path, help="paper_results.csv")
    parser.add_argument("--output", type=Path, help="CSV to write; without it a table is printed")


def complexity(args: Arguments) -> None:
    """Learnable and frozen parameters and operations per clip (Table 8), counted without weights."""
    from hcep.encoders.fetch import full_size_info
    from hcep.encoders.info import read_info
    from hcep.training.complexity import complexity as run
    from hcep.training.complexity import default_methods, print_complexity, write_complexity

    info = read_info(args.encoder.parent) if args.encoder else full_size_info()
    settings = args.settings or {"frames": 8, "samples": 80_000, "methods": default_methods()}
    methods = {
        name: (registry.load(registry.method(value["base"]).target), value["settings"])
        for name, value in settings["methods"].items()
    }
    paper = args.paper or (Path("config/paper_results.csv") if Path("config/paper_results.csv").is_file() else None)
    rows = run(info, settings["frames"], settings["samples"], methods, args.known, paper)
    if args.output:
        write_complexity(rows, args.output)
    else:
        print_complexity(rows)


def _figure_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", required=True, choices=sorted(registry.FIGURES), help="which figure")
    parser.add_argument("--task", required=True)
    _add(parser, "sources", nargs="+", help="run folders (summary.csv for summary_bars)")
    _add(parser, "output", help="SVG to write")


def figure(args: Arguments) -> None:
    """Draw one figure of a task."""
    registry.load(registry.FIGURES[args.name])(args.sources, args.output, title=args.task)


def _qc_arguments(parser: argparse.ArgumentParser) -> None:
    _add(parser, "qc", nargs="+", help="qc.tsv of every dataset of the task")
    _add(parser, "output", help="HTML page to write")


def qc_page(args: Arguments) -> None:
    """The quality-control page of a dataset."""
    from hcep.figures.qc_page import write_qc_page

    write_qc_page(args.qc, args.output)


def _summary_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task", required=True)
    _add(parser, "summary", help="summary.csv")
    _add(parser, "output", help="HTML page to write")


def summary_page(args: Arguments) -> None:
    """The summary table as a page for the report."""
    from hcep.figures.summary_page import write_summary_page

    write_summary_page(args.summary, args.output, title=args.task)


VERBS: dict[str, Verb] = {
    "generate_demo": (_generate_demo_arguments, generate_demo),
    "pretrain_demo_encoders": (_pretrain_arguments, pretrain_demo_encoders),
    "fetch_encoders": (_fetch_arguments, fetch_encoders),
    "download_ravdess": (_download_arguments, download_ravdess),
    "check": (_check_arguments, check),
    "manifest": (_manifest_arguments, manifest),
    "decode_frames": (lambda p: _shard_arguments(p, "frames, size, timeout"), decode_frames),
    "decode_audio": (lambda p: _shard_arguments(p, "samples, audio_window, timeout"), decode_audio),
    "transcribe": (lambda p: _shard_arguments(p, "text (manifest, none, asr) and asr_model"), transcribe),
    "index_cache": (_index_arguments, index_cache),
    "encode": (_encode_arguments, encode),
    "draw_splits": (_draw_arguments, draw_splits),
    "make_split": (_split_arguments, make_split),
    "train": (_train_arguments, train),
    "score": (_score_arguments, score),
    "evaluate": (_evaluate_arguments, evaluate),
    "aggregate": (_aggregate_arguments, aggregate),
    "versus_paper": (_paper_arguments, versus_paper),
    "complexity": (_complexity_arguments, complexity),
    "figure": (_figure_arguments, figure),
    "qc_page": (_qc_arguments, qc_page),
    "summary_page": (_summary_arguments, summary_page),
}


def build_parser() -> argparse.ArgumentParser:
    """The parser with all verbs."""
    parser = argparse.ArgumentParser(
        prog="hcep",
        description="Open-set multimodal emotion recognition. Each verb is a rule of the workflow and can be typed by "
        "hand; `snakemake --cores 2 results/demo/summary.csv` runs them all.",
    )
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="verb")
    for name, (arguments, function) in VERBS.items():
        text = (function.__doc__ or "").strip()
        verb = verbs.add_parser(name, help=text, description=text)
        arguments(verb)
        verb.set_defaults(run=function)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code (0, or 1 with one message on standard error)."""
    args = build_parser().parse_args(argv)
    try:
        args.run(args)
    except HcepError as error:
        if args.debug:
            raise
        print(f"hcep {args.verb}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"hcep {args.verb}: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if args.debug:
            raise
        print(
            f"hcep {args.verb}: {type(error).__name__}: {error} (an error of hcep itself; "
            f"`hcep --debug {args.verb} ...` shows where)",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
