"""From a release on disk, or clips of one's own, to the cache and to encoders."""

from __future__ import annotations

from pathlib import Path

from hcep.stages.entry import DATASET, SETTINGS, Argument, Keys, Stage, names, option, reads, value, writes

SHARD = (
    reads("manifest", "manifest.tsv of the dataset"),
    value("root", "folder of the release", Path),
    names("shard", "which shard, as 007-of-064", metavar="III-of-NNN"),
    SETTINGS,
    Argument("threads", "files decoded at a time", "threads", int, 1),
    writes("output", "HDF5 file to write"),
)

DATA: dict[str, Stage] = {
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
        Keys(DATASET, ("adapter", "options", "text"), ("follow_links",)),
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
    "words": Stage(
        "hcep.verbs.data:words",
        "Collect the words of all clips of a dataset from its manifest, or write that it has none.",
        (
            reads("manifest", "manifest.tsv of the dataset"),
            SETTINGS,
            writes("output", "HDF5 file of every shard to write")._replace(nargs="+"),
        ),
        Keys(DATASET, ("text",)),
        ("hcep.media.words",),
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
}
