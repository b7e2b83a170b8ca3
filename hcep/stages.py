"""The one table of stages: what a verb is called, which function it runs, its arguments, and the code that it covers.

The command line makes its options from this table, and the workflow its commands and digests of code. Functions and
modules are named, not imported, so that reading the table costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

REQUIRED = object()


class Argument(NamedTuple):
    """One option of a verb, which is also an argument of its function.

    Attributes
    ----------
    name : str
        ``--name`` on the command line.
    help : str
        What `hcep VERB --help` says.
    place : str
        Where a rule of the workflow has the value, as ``input.scores``; '' for an option that no rule sets.
    kind : callable
        From the text on the command line to the value; `bool` for an option without one, which is true where given.
    default
        `REQUIRED`, or the value of an option that is left out.
    nargs : str, int or None
        As `argparse` takes it: '+' one or more, '*' any number.
    metavar : str or None
        What the help shows for the value.
    positional : bool
        Written without its name, and may be left out.
    """

    name: str
    help: str = ""
    place: str = ""
    kind: Callable[[str], Any] = Path
    default: Any = REQUIRED
    nargs: str | int | None = None
    metavar: str | None = None
    positional: bool = False


class Keys(NamedTuple):
    """The settings of a stage: fields of a model of `hcep.config`, all of which must be given, and others that may be.

    Without names the whole model is taken, and every field that has a default may be left out.
    """

    model: str
    names: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()


class Stage(NamedTuple):
    """One verb.

    Attributes
    ----------
    function : str
        ``"module:function"``; it takes the arguments by name.
    help : str
        One sentence for ``hcep --help``.
    arguments : tuple of Argument
    keys : Keys or None
        Settings with fixed names, which the function takes by name; see `hcep.verbs.options`.
    code : tuple of str
        Modules whose digest the rule compares, apart from those of a method, an adapter or a figure; the function's
        own where none is named.
    """

    function: str
    help: str
    arguments: tuple[Argument, ...]
    keys: Keys | None = None
    code: tuple[str, ...] = ()


def reads(name: str, text: str, place: str = "", **more: Any) -> Argument:
    """A file that the rule has as an input of this name."""
    return Argument(name, text, place or f"input.{name}", **more)


def writes(name: str, text: str, place: str = "") -> Argument:
    """A file that the rule has as an output of this name."""
    return Argument(name, text, place or f"output.{name}")


def names(name: str, text: str = "", **more: Any) -> Argument:
    """A name that the rule has as a wildcard."""
    return Argument(name, text, f"wildcards.{name}", str, **more)


def value(name: str, text: str, kind: Callable[[str], Any] = str, default: Any = REQUIRED, **more: Any) -> Argument:
    """A value that the rule has as a parameter of this name."""
    return Argument(name, text, more.pop("place", f"params.{name}"), kind, default, **more)


def option(name: str, text: str, **more: Any) -> Argument:
    """An option for people, which no rule sets."""
    return Argument(name, text, "", **more)


DATASET, EVALUATION = "hcep.config.entries:Dataset", "hcep.config.entries:Evaluation"
SETTINGS = value("settings", "JSON text, or a file of it", metavar="JSON")

SHARD = (
    value("manifest", "manifest.tsv of the dataset", Path),
    value("root", "folder of the release", Path),
    names("shard", "which shard, as 007-of-064", metavar="III-of-NNN"),
    SETTINGS,
    Argument("threads", "files decoded at a time", "threads", int, 1),
    writes("output", "HDF5 file to write"),
)
RUN = (
    value("base", "base method, a name in `hcep/config/methods.py`"),
    reads("split", "split JSON"),
    reads("index", "index.h5 of every dataset of the task", nargs="+"),
    reads("features", "feature shards, if it reads features", nargs="*", default=()),
    value("encoder", "encoder folder", Path),
)
TRAINING = (
    names("method", "name in the results"),
    names("seed", "seed of the run")._replace(kind=int),
    *RUN,
    SETTINGS,
    Argument("work", "folder of resume states", "", Path, Path("work")),
)
PAPER = reads("paper", "paper_results.csv")

STAGES: dict[str, Stage] = {
    "generate_demo": Stage(
        "hcep.demo.corpus:generate_demo",
        "Generate the demo clips: drawn talking faces with synthesised voices, as H.264 and AAC files.",
        (
            writes("output", "folder to write: clips.tsv and video/", "params.folder"),
            value("seed", "seed of faces, voices and words", int, 0),
            Argument("workers", "processes that draw and encode", "threads", int, 2),
            value("speakers", "training and test speakers, ten clips each", int, (12, 8), nargs=2, metavar="N"),
        ),
    ),
    "pretrain_demo_encoders": Stage(
        "hcep.demo.pretrain:pretrain_demo_encoders",
        "Pretrain the small encoders on generated faces and voices (no emotion label is a target).",
        (
            writes("output", "encoder folder to write", "params.folder"),
            value("seed", "seed of weights and data", int, 0),
            Argument("threads", "threads of torch", "threads", int, 2),
        ),
    ),
    "fetch_encoders": Stage(
        "hcep.verbs.data:fetch_encoders",
        "Make an encoder folder: the paper's weights from their hubs, the package's small ones, or random ones.",
        (
            value("name", "name that results carry", place="wildcards.encoder"),
            SETTINGS,
            writes("output", "encoder folder to write", "params.folder"),
        ),
        Keys("hcep.config.entries:Encoder"),
        ("hcep.encoders.fetch", "hcep.encoders.folder"),
    ),
    "download_ravdess": Stage(
        "hcep.datasets.download:download_ravdess",
        "Download RAVDESS from Zenodo (record 1188976), resumable, md5 checked, and unpack it.",
        (
            writes("output", "folder of the release", "params.folder"),
            option("base-url", "another server with Zenodo's records API", kind=str, default="https://zenodo.org"),
        ),
    ),
    "check": Stage(
        "hcep.verbs.data:check",
        "Say what a release on disk holds, beside the published counts, and what is missing; nothing is decoded.",
        (
            Argument(
                "dataset", "dataset entry of the config, e.g. mafw", "wildcards.dataset", str, None, positional=True
            ),
            option(
                "task",
                "task of the config: all its datasets, and how it takes their labels and folds",
                kind=str,
                default=None,
            ),
            value("root", "folder of the release; the entry's `root` when absent", Path, None),
            option("configfile", "files laid over config/config.yaml, the later one wins", nargs="+", default=()),
            SETTINGS._replace(default=None, help="adapter, options, text, root"),
            reads("expected", "published counts; config/expected/DATASET.yaml when not given", nargs="*", default=None),
            writes("output", "also write the report to this file")._replace(default=None),
        ),
        code=("hcep.datasets.check",),
    ),
    "manifest": Stage(
        "hcep.verbs.data:manifest",
        "List the clips of a release: one row a clip, labels as names, nothing dropped.",
        (
            names("dataset", "name of the dataset entry"),
            value("root", "folder of the release", Path),
            SETTINGS,
            writes("output", "manifest.tsv to write"),
        ),
        Keys(DATASET, ("adapter", "options", "text")),
        ("hcep.datasets.build",),
    ),
    "check_tasks": Stage(
        "hcep.verbs.data:check_tasks",
        "Say which labels and folds of a dataset each task takes; names that almost match are an error.",
        (
            reads("manifest", "manifest.tsv of a dataset"),
            SETTINGS._replace(
                help="JSON text, or a file of it: task -> its labels and test_folds, and train_folds, val_folds, "
                "other_labels and words where it has them"
            ),
            writes("output", "text to write"),
        ),
        code=("hcep.protocol.check_tasks",),
    ),
    "decode_frames": Stage(
        "hcep.verbs.data:decode_frames",
        "Decode the frames of one shard's clips into HDF5.",
        SHARD,
        Keys(DATASET, ("frames", "size", "timeout"), ("frame_sampling", "decoder_memory")),
        ("hcep.media.frames",),
    ),
    "decode_audio": Stage(
        "hcep.verbs.data:decode_audio",
        "Decode the sound of one shard's clips into HDF5: 16 kHz, mono, one length.",
        SHARD,
        Keys(DATASET, ("samples", "audio_window", "timeout"), ("decoder_memory",)),
        ("hcep.media.audio",),
    ),
    "transcribe": Stage(
        "hcep.verbs.data:transcribe",
        "Collect the words of one shard's clips: from the manifest, or by speech recognition.",
        SHARD,
        Keys(DATASET, ("text",), ("asr_model", "timeout", "decoder_memory")),
        ("hcep.media.transcribe",),
    ),
    "index_cache": Stage(
        "hcep.verbs.data:index_cache",
        "Check all shards, list where each clip is, and write the quality-control table.",
        (
            reads("manifest", "manifest.tsv of the dataset"),
            *(reads(kind, f"all {kind} shards", nargs="+") for kind in ("frames", "audio", "text")),
            SETTINGS,
            writes("output", "index.h5 to write", "output.index"),
            writes("qc", "qc.tsv to write"),
        ),
        Keys(DATASET, ("max_failures",)),
        ("hcep.media.index",),
    ),
    "encode": Stage(
        "hcep.verbs.data:encode",
        "Encode one shard without prompts, for methods that train on cached features.",
        (
            reads("index", "index.h5 of the dataset"),
            names("shard", "which shard", metavar="III-of-NNN"),
            value("encoder", "encoder folder", Path),
            SETTINGS,
            writes("output", "HDF5 file to write"),
        ),
        Keys("hcep.config.methods:Common", ("batch_size", "precision", "device")),
        ("hcep.training.encode",),
    ),
    "import_features": Stage(
        "hcep.verbs.data:import_features",
        "Take the features of one shard's clips from a file that you supply, for methods on cached features.",
        (
            reads("index", "index.h5 of the dataset"),
            names("shard", "which shard", metavar="III-of-NNN"),
            value("encoder", "encoder folder", Path),
            reads("features", "HDF5 file with clip, text, vision and audio"),
            writes("output", "HDF5 file to write"),
        ),
        code=("hcep.training.import_features",),
    ),
    "declare_encoder": Stage(
        "hcep.encoders.info:declare_encoder",
        "Make the folder of an encoder whose features you supply: its name and their width, no weights.",
        (
            value("name", "name that results carry", place="wildcards.encoder"),
            SETTINGS,
            writes("output", "encoder.json to write"),
        ),
        Keys("hcep.config.entries:Encoder", ("width", "stand_in")),
    ),
    "draw_splits": Stage(
        "hcep.verbs.runs:draw_splits",
        "Draw distinct class splits for a task and write them to be committed.",
        (
            option("labels", "classes in label-id order", kind=str, nargs="+"),
            option("openness", "levels, as k8u2", kind=str, nargs="+", metavar="kKuU"),
            option("count", "splits per level", kind=int, default=4),
            option("seed", "seed of the draw", kind=int, default=0),
            option("task", "task that the file is for", kind=str),
            option("output", "config/splits/<task>.yaml to write"),
        ),
    ),
    "init": Stage(
        "hcep.verbs.start:init",
        "Write a table of clips, a task and its splits from a folder of your clips, and say what to type next.",
        (
            option("dir", "folder of the clips; nothing is written there", default=None, positional=True),
            option("table", "CSV or TSV that lists the clips; without it the folders' names are read", default=None),
            option(
                "layout",
                "what the levels of folders are: label, speaker, fold or * for none, as label/speaker",
                kind=str,
                default=None,
            ),
            option("column", "columns with other names than usual, as label=Emotion", kind=str, nargs="+", default=()),
            option("ignore", "columns of the table that are not used", kind=str, nargs="+", default=()),
            option("label-names", "other names for labels, as 0=anger 1=fear", kind=str, nargs="+", default=()),
            option("text-kind", "where the words come from: transcript, caption, asr", kind=str, default=None),
            option("name", "name of the data set and of the task", kind=str, default="mydata"),
            option("output", "folder to write; config/NAME when not given", default=None),
            option("openness", "levels, as k4u2; two usual ones when not given", kind=str, nargs="+", default=()),
            option("splits", "splits per level", kind=int, default=4),
            option("seed", "seed of the folds and splits", kind=int, default=0),
            option("test-share", "share of each label to test, where folds are drawn", kind=float, default=0.3),
            option("test-folds", "folds of the data that are tested", kind=str, nargs="+", default=()),
            option("min-train", "known classes with fewer training clips are left out", kind=int, default=1),
            option("encoder", "encoder entry; demo for a first look", kind=str, default="clip_wav2vec2"),
            option(
                "methods",
                "rows of the results",
                kind=str,
                nargs="+",
                default=("hcep", "frozen_prompts", "arpl_mm", "linear_msp"),
            ),
            option("configfile", "files laid over config/config.yaml", nargs="+", default=()),
        ),
    ),
    "make_split": Stage(
        "hcep.protocol.make_split:make_split",
        "Say which clips are training, known test and unknown test clips.",
        (
            names("task"),
            names("openness"),
            names("split"),
            reads("manifest", "manifest.tsv of every dataset of the task", nargs="+"),
            reads("classes", "file of class splits"),
            SETTINGS,
            writes("output", "split JSON to write"),
        ),
        Keys(
            "hcep.config.entries:SplitSettings",
            ("labels", "test_folds"),
            ("train_folds", "val_folds", "val_fraction", "val_seed", "min_train", "other_labels", "words"),
        ),
    ),
    "tune": Stage(
        "hcep.verbs.runs:tune",
        "Choose settings of one run from a grid, on held-out known training clips alone.",
        (
            *TRAINING,
            value("grid", "setting -> values", metavar="JSON"),
            writes("output", "tuned.json to write"),
        ),
        code=("hcep.training.tune",),
    ),
    "train": Stage(
        "hcep.verbs.runs:train",
        "Train one run; started again after an interruption, it goes on where it stopped.",
        (
            *TRAINING,
            reads("tuned", "tuned.json, laid over the settings", nargs="*", default=()),
            writes("model", "model.safetensors to write"),
            writes("history", "history.csv to write"),
        ),
        code=("hcep.training.train",),
    ),
    "score": Stage(
        "hcep.verbs.runs:score",
        "Score the training and test clips of a run with its checkpoint.",
        (
            *RUN,
            reads("model", "checkpoint"),
            writes("output", "scores.h5 to write", "output.scores"),
            writes("timing", "timing.json to write: seconds and memory of the test clips"),
        ),
        code=("hcep.training.score",),
    ),
    "series": Stage(
        "hcep.verbs.runs:series",
        "Train, score and evaluate several runs of one method on cached features, one after another in one process.",
        (
            *TRAINING[:1],
            reads("split", "split JSON of every run", nargs="+"),
            value("seeds", "seed of every run", int, nargs="+"),
            value("runs", "folder of every run", Path, nargs="+", place="params.folders"),
            *(argument for argument in RUN if argument.name != "split"),
            SETTINGS,
            value("evaluation", "settings of `hcep evaluate`", metavar="JSON"),
            value("posthoc", "settings of `hcep posthoc`", metavar="JSON"),
        ),
        code=("hcep.training.train", "hcep.training.score", "hcep.evaluation.evaluate", "hcep.evaluation.posthoc"),
    ),
    "evaluate": Stage(
        "hcep.evaluation.evaluate:evaluate",
        "AUROC, OSCR and the other metrics of a run with bootstrap intervals, its curves and thresholds.",
        (
            reads("scores", "scores.h5 of a run"),
            SETTINGS,
            writes("metrics", "metrics.json to write"),
            writes("curves", "curves.csv to write"),
            writes("thresholds", "thresholds.csv to write"),
            writes("replicates-h5", "replicates.h5 to write, for aggregate", "output.replicates"),
        ),
        Keys(EVALUATION, ("replicates", "confidence", "seed", "acceptance")),
    ),
    "posthoc": Stage(
        "hcep.evaluation.posthoc:posthoc",
        "Other scores from a run's saved logits and features (energy, Mahalanobis, ViM, ...), without training.",
        (
            reads("scores", "scores.h5 of a run"),
            SETTINGS,
            writes("output", "posthoc.csv to write"),
            writes("replicates-h5", "posthoc.h5 to write, for aggregate_posthoc", "output.replicates"),
        ),
        Keys(
            "hcep.config.entries:PosthocSettings",
            ("replicates", "confidence", "seed"),
            ("distance_power", "ridge", "score_folds"),
        ),
    ),
    "aggregate_posthoc": Stage(
        "hcep.evaluation.posthoc_summary:posthoc_summary",
        "Post-hoc scores of all runs of a task: means, and paired differences from each method's own score.",
        (
            names("task"),
            value("runs", "run folders", Path, nargs="+", place="params.folders"),
            writes("output", "CSV to write"),
        ),
    ),
    "page_of_posthoc": Stage(
        "hcep.figures.posthoc_page:write_posthoc_page",
        "The table of post-hoc scores as a page for the report.",
        (names("task"), reads("table", "posthoc.csv of the task"), writes("output", "HTML page to write")),
    ),
    "unknowns": Stage(
        "hcep.evaluation.unknowns:unknowns",
        "Cluster the test clips that a run rejects, and compare the clusters with the labels; exploration.",
        (
            reads("scores", "scores.h5 of a run"),
            SETTINGS,
            writes("output", "unknowns.csv to write"),
            writes("report", "unknowns.json to write"),
            writes("replicates-h5", "unknowns.h5 to write, for aggregate_unknowns", "output.replicates"),
        ),
        Keys(
            "hcep.config.entries:UnknownsSettings",
            ("replicates", "confidence", "seed"),
            ("acceptance", "most_clusters", "exemplars"),
        ),
    ),
    "aggregate_unknowns": Stage(
        "hcep.evaluation.unknowns_summary:unknowns_summary",
        "Clusters of rejected clips in all runs of a task: how many, and how far they are the labels.",
        (
            names("task"),
            value("runs", "run folders", Path, nargs="+", place="params.folders"),
            writes("output", "CSV to write"),
        ),
    ),
    "page_of_unknowns": Stage(
        "hcep.figures.unknowns_page:write_unknowns_page",
        "The clips nearest to the middle of every cluster of rejected clips, as a page to look at.",
        (
            names("task"),
            reads("table", "unknowns.csv of the task"),
            value(
                "runs",
                "run folders, one a method, of one level, split and seed",
                Path,
                nargs="+",
                place="params.folders",
            ),
            reads("index", "index.h5 of every dataset of the task, beside its shards", nargs="+"),
            writes("output", "HTML page to write"),
        ),
    ),
    "robustness": Stage(
        "hcep.verbs.runs:robustness",
        "Score disturbed test clips with a trained run: noise, lost frames, blur, late sound, wrong words.",
        (
            *RUN,
            reads("model", "checkpoint"),
            reads("scores", "scores.h5 of the run"),
            SETTINGS,
            writes("output", "robustness.csv to write"),
            writes("replicates-h5", "robustness.h5 to write, for aggregate_robustness", "output.replicates"),
        ),
        Keys(
            "hcep.config.entries:RobustnessSettings",
            ("replicates", "confidence", "seed"),
            (
                *("white_noise_db", "babble_db", "dropped_frames", "blur", "shift_ms", "word_errors", "missing"),
                "disturbance_seed",
            ),
        ),
        ("hcep.training.robustness",),
    ),
    "aggregate_robustness": Stage(
        "hcep.evaluation.robustness_summary:robustness_summary",
        "Disturbed test clips of all runs of a task: means, and paired differences from the clean clips.",
        (
            names("task"),
            value("runs", "run folders", Path, nargs="+", place="params.folders"),
            writes("output", "CSV to write"),
        ),
    ),
    "page_of_robustness": Stage(
        "hcep.figures.robustness_page:write_robustness_page",
        "The table of disturbed test clips as a page for the report.",
        (names("task"), reads("table", "robustness.csv of the task"), writes("output", "HTML page to write")),
    ),
    "aggregate": Stage(
        "hcep.verbs.results:aggregate",
        "All runs of a task: runs.csv, summary.csv, comparisons.csv and corpora.csv.",
        (
            names("task"),
            value("runs", "run folders", Path, nargs="+", place="params.folders"),
            PAPER._replace(default=None),
            value("protocol", "what the task chose where the paper leaves a choice", default=""),
            value("references", "methods that all others are compared with", nargs="*", default=()),
            writes("runs-table", "CSV to write", "output.runs"),
            *(writes(name, "CSV to write") for name in ("summary", "comparisons", "corpora")),
        ),
        code=("hcep.evaluation.aggregate",),
    ),
    "versus_paper": Stage(
        "hcep.evaluation.versus_paper:versus_paper",
        "Our numbers beside the paper's, with the difference, whatever its sign.",
        (names("task"), reads("summary", "summary.csv"), PAPER, writes("output", "CSV to write")),
    ),
    "table": Stage(
        "hcep.verbs.results:table",
        "One of the paper's tables in its layout: our number, the printed one, the difference.",
        (
            value("name", "table2 ... table8, fig4 or headline", place="wildcards.table"),
            SETTINGS._replace(help="JSON text, or a file of it, with definition, stand_in_for, absent"),
            reads("summaries", "summary.csv of every task", nargs="+"),
            PAPER,
            reads("complexity", "complexity.csv, for Table 8", nargs="*", default=()),
            writes("output", "CSV to write", "output.csv"),
            writes("markdown", "Markdown to write"),
        ),
        code=("hcep.evaluation.tables",),
    ),
    "complexity": Stage(
        "hcep.verbs.results:complexity",
        "Learnable and frozen parameters and operations per clip (Table 8), counted without weights.",
        (
            reads("encoder", "encoder folder; without it CLIP ViT-B/32 and wav2vec2-base", default=None),
            value("known", "values of K", int, (8, 6, 4, 2), nargs="+"),
            SETTINGS._replace(default=None, help="frames, samples and methods"),
            PAPER._replace(default=None),
            reads("timings", "timing.json of runs", nargs="*", default=()),
            writes("output", "CSV to write; without it a table is printed")._replace(default=None),
        ),
        code=("hcep.training.complexity",),
    ),
    "figure": Stage(
        "hcep.verbs.results:figure",
        "Draw one figure of a task.",
        (
            value("name", "which figure", place="wildcards.figure"),
            value("task", "task that the title names", place="params.title"),
            value(
                "sources",
                "run folders, or a table of the task; for fig5 also index.h5",
                Path,
                nargs="+",
                place="params.folders",
            ),
            writes("output", "SVG to write; PDF, PNG and CSV of its data are written beside it"),
        ),
    ),
    "qc_page": Stage(
        "hcep.figures.qc_page:write_qc_page",
        "The quality-control page of a dataset.",
        (reads("qc", "qc.tsv of every dataset of the task", nargs="+"), writes("output", "HTML page to write")),
    ),
    "summary_page": Stage(
        "hcep.figures.summary_page:write_summary_page",
        "The summary table as a page for the report.",
        (
            names("task"),
            *(reads(name, f"{name}.csv") for name in ("summary", "comparisons")),
            writes("output", "HTML page to write"),
        ),
    ),
    "overview": Stage(
        "hcep.figures.overview:write_overview",
        "The first page of the report: question, headline numbers, differences, the protocol that was used.",
        (
            names("task"),
            *(reads(name, f"{name}.csv of the task") for name in ("summary", "comparisons", "complexity")),
            reads("forest", "SVG of the paired differences"),
            reads("splits", "split JSON of every level and split", nargs="+"),
            value("runs", "run folders", Path, nargs="+", place="params.folders"),
            writes("output", "HTML page to write"),
        ),
    ),
    "table_page": Stage(
        "hcep.figures.table_page:write_table_page",
        "Any CSV table of results as a page for the report.",
        (
            value("name", "what the table is called"),
            value("task", "task that the heading names", default="", place="params.title"),
            reads("table", "CSV file"),
            writes("output", "HTML page to write"),
        ),
    ),
    "costs_page": Stage(
        "hcep.figures.costs_page:write_costs_page",
        "Complexity and run times of a task's methods as a page for the report.",
        (
            names("task"),
            reads("complexity", "complexity.csv of the task"),
            value("runs", "run folders", Path, nargs="+", place="params.folders"),
            writes("output", "HTML page to write"),
        ),
    ),
    "method_figures": Stage(
        "hcep.figures.method_figures:draw_method_figures",
        "Draw the figures of single methods: one SVG for every figure, openness and method.",
        (
            names("task"),
            value("runs", "run folders", Path, nargs="+", place="params.folders"),
            writes("output", "folder to write: FIGURE/OPENNESS/METHOD.svg"),
        ),
        code=("hcep.figures.method_figures", "hcep.figures.fig7", "hcep.figures.fig10", "hcep.figures.fig11"),
    ),
    "export": Stage(
        "hcep.verbs.inference:export",
        "Write a trained run as a folder that stands alone: weights, classes, thresholds, a model card.",
        (
            Argument(
                "run",
                "folder of the run, as results/demo/hcep/k8u2/split1/seed0",
                "params.run",
                default=None,
                positional=True,
            ),
            value("base", "base method; from the configuration when not given", default=None),
            reads(
                "index", "index.h5 of every dataset of the task; below resources/ when not given", nargs="*", default=()
            ),
            value("encoder", "encoder folder; below resources/encoders/ when not given", Path, None),
            writes("output", "folder to write"),
            option("with-encoder", "copy the encoder into it", kind=bool),
            option("configfile", "files laid over config/config.yaml, which name the method", nargs="+", default=()),
        ),
        code=("hcep.inference.export",),
    ),
    "predict": Stage(
        "hcep.verbs.inference:predict",
        "Say of clips which known class they show, or unknown: `hcep predict MODEL CLIP ... [options]`.",
        (
            option("model", "folder that `hcep export` has written", default=None, positional=True),
            option("clips", "files", default=(), nargs="*", positional=True),
            option(
                "table",
                "TSV or CSV of clips in place of files: clip, video, audio, start, end, text, ...",
                default=None,
            ),
            option("text", "words of the clip", kind=str, default=None),
            option(
                "text-kind", "transcript (what is said), caption (what is seen) or asr", kind=str, default="transcript"
            ),
            option(
                "text-asr",
                "Whisper model, a folder or a name, that listens to clips without words",
                kind=str,
                default=None,
            ),
            option("start", "part of the file, in seconds", kind=float, default=None),
            option("end", "its end, in seconds", kind=float, default=None),
            option(
                "windows", "cut each clip into parts of this length, as 5s; one answer each", kind=str, default=None
            ),
            option(
                "acceptance",
                "share of known training clips that the threshold accepts; 0.95 when not given",
                kind=float,
                default=None,
            ),
            option("format", "jsonl, tsv or table; a table on a terminal, jsonl elsewhere", kind=str, default=None),
            option("output", "file to write instead of the terminal", default=None),
            option(
                "encoder",
                "encoder folder, where it is not in the model; resources/encoders/NAME when not given",
                default=None,
            ),
            option("device", "auto, cpu, cuda or cuda:0", kind=str, default="auto"),
            option("timeout", "seconds that decoding a clip may take", kind=float, default=60.0),
            option("threads", "files decoded at a time", kind=int, default=1),
        ),
    ),
    "page": Stage(
        "hcep.verbs.inference:page",
        "Open a page on this machine where a person drops a clip and sees the answer: `hcep page MODEL [options]`.",
        (
            option("model", "folder that `hcep export` has written", default=None, positional=True),
            option(
                "encoder",
                "encoder folder, where it is not in the model; resources/encoders/NAME when not given",
                default=None,
            ),
            option("device", "auto, cpu, cuda or cuda:0", kind=str, default="auto"),
            option("port", "port of 127.0.0.1; one that is free when not given", kind=int, default=0),
            option("max-mb", "size that a clip may have, in MB", kind=float, default=200.0),
            option(
                "timeout", "seconds that a clip may take to arrive, and as many to be decoded", kind=float, default=60.0
            ),
        ),
    ),
    "verify": Stage(
        "hcep.verbs.verify:verify",
        "Compare every file below folders of results or caches with its digest; say how damaged ones are made again.",
        (option("paths", "files or folders, e.g. results resources", nargs="+", default=REQUIRED, positional=True),),
    ),
    "show": Stage(
        "hcep.verbs.show:show",
        "Print the summary of a task, or its paired comparisons, as a table: for the terminal, Markdown or LaTeX.",
        (
            option("folder", "folder of a task's results, e.g. results/mafw", default=None, positional=True),
            option("comparisons", "the paired comparisons instead of the summary", kind=bool),
            option("markdown", "as a Markdown table", kind=bool),
            option("latex", "as a LaTeX table with booktabs, laid out as the paper's", kind=bool),
            option(
                "metrics", "columns, as auroc fpr95; the usual ones when not named", kind=str, nargs="+", default=None
            ),
        ),
    ),
    "list": Stage(
        "hcep.verbs.show:list_names",
        "List the methods, datasets, tasks or figures that there are, one line each.",
        (
            option("what", "methods, datasets, tasks or figures", kind=str, default=None, positional=True),
            option("configfile", "files laid over config/config.yaml", nargs="+", default=()),
        ),
    ),
}


def shell_command(verb: str) -> str:
    """The command of a rule: ``hcep VERB`` with every argument that the rule has a value for, and its log."""
    words = ["hcep", verb]
    for argument in STAGES[verb].arguments:
        if not argument.place:
            continue
        plain = argument.place == "threads" or (argument.kind is int and argument.place.startswith("params."))
        filled = f"{{{argument.place}}}" if plain else f"{{{argument.place}:q}}"
        words += [filled] if argument.positional else [f"--{argument.name}", filled]
    return " ".join([*words, "2> {log:q}"])
