"""What people type and no rule has to: trained models, checks, tables on a terminal."""

from __future__ import annotations

from pathlib import Path

from hcep.stages.entry import REQUIRED, Argument, Stage, option, reads, value, writes

PEOPLE: dict[str, Stage] = {
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
            option("timeout", "seconds of processor time that decoding a clip may take", kind=float, default=60.0),
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
    "check_cluster": Stage(
        "hcep.cluster:check_cluster",
        "Ask Slurm whether it takes the jobs of a profile, and say what to do where it does not.",
        (
            option("profile", "folder of the profile; profiles/slurm when not given", default=Path("profiles/slurm")),
            option("wait", "seconds that a job of a moment may wait for a node", kind=int, default=120),
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
