"""One run: its split, training, scores, and what is computed from them."""

from __future__ import annotations

from pathlib import Path

from hcep.stages.entry import EVALUATION, SETTINGS, Keys, Stage, names, reads, value, writes

RUN = (
    value("base", "base method, a name in `hcep/config/methods.py`"),
    reads("split", "split JSON"),
    reads("index", "index.h5 of every dataset of the task", nargs="+"),
    reads("features", "feature shards, if it reads features", nargs="*", default=()),
    value("encoder", "encoder folder", Path),
)
WORK = value("work", "folder of resume states", Path, Path("work"))
TUNED = reads("tuned", "tuned.json, laid over the settings", nargs="*", default=())
TRAINING = (
    names("method", "name in the results"),
    names("seed", "seed of the run")._replace(kind=int),
    *RUN,
    SETTINGS,
    WORK,
)

RUNS: dict[str, Stage] = {
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
            TUNED,
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
    "run": Stage(
        "hcep.verbs.runs:run",
        "Train, score and evaluate runs of one method in one process; what is current is taken over.",
        (
            names("method", "name in the results"),
            reads("split", "split JSON of every run", nargs="+"),
            value("seeds", "seed of every run", int, nargs="+"),
            value("runs", "folder of every run", Path, nargs="+", place="params.folders"),
            *(argument for argument in RUN if argument.name != "split"),
            SETTINGS,
            TUNED,
            reads("trained", "model.safetensors and history.csv of a row with the same steps", nargs="*", default=()),
            value("evaluation", "settings of `hcep evaluate`", metavar="JSON"),
            value("posthoc", "settings of `hcep posthoc`; {} for no post-hoc scores", metavar="JSON"),
            WORK,
        ),
        code=("hcep.training.many", "hcep.training.train", "hcep.training.score", "hcep.evaluation.evaluate"),
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
}
