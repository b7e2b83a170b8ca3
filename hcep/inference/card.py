"""The model card: ``README.md`` with the block of metadata that model hubs read, written from the run."""

from __future__ import annotations

from typing import Any

import yaml

from hcep.config.methods import base_method
from hcep.evaluation.groups import groups_note
from hcep.inference.folder import Description

# metric -> what it is called
SHOWN = {
    "auroc": "AUROC, known against unknown",
    "oscr": "OSCR",
    "accuracy": "accuracy on known clips",
    "fpr95": "FPR at 95 % TPR (lower is better)",
    "macro_f1": "macro F1 on known clips",
}


def model_card(about: Description) -> str:
    """The text of the card."""
    return "\n".join([_metadata(about), _title(about), _numbers(about), _limits(about), _use(about), _licences(about)])


def _metadata(about: Description) -> str:
    metrics = [
        {"type": name, "name": SHOWN[name], "value": round(about.metrics[name]["value"], 4)}
        for name in SHOWN
        if name in about.metrics
    ]
    result = {
        "task": {"type": "video-classification", "name": "open-set emotion recognition"},
        "dataset": {"type": about.task, "name": f"{', '.join(about.datasets)}, {about.openness}, {about.split}"},
        "metrics": metrics,
    }
    name = f"{about.task}-{about.method}-{about.openness}-{about.split}"
    values = {
        "license": "unknown",
        "library_name": "hcep",
        "pipeline_tag": "video-classification",
        "tags": ["emotion-recognition", "open-set-recognition", "multimodal", "hcep", about.method],
        "model-index": [{"name": name, "results": [result]}],
    }
    return f"---\n{yaml.safe_dump(values, sort_keys=False, allow_unicode=True)}---\n"


def _title(about: Description) -> str:
    metrics, many = about.metrics, len(about.datasets) > 1
    lines = [
        f"# {about.method} on {about.task}, {about.openness}, {about.split}, seed {about.seed}",
        "",
        "Says of a clip of a person which of the known emotions it shows, or that it shows none of them.",
        "",
    ]
    if about.stand_in:
        lines += [
            f"**Its encoder, `{about.encoder.name}`, stands in for the one of the paper. It shows that the code works; "
            "its numbers say nothing about the method, and its answers nothing about a person.**",
            "",
        ]
    lines += [
        f"- Known classes: {', '.join(about.classes)}.",
        f"- Tested against the unknown classes {', '.join(about.unknown_classes)}.",
        f"- Trained on {metrics['n_train']} clips of the dataset{'s' if many else ''} {', '.join(about.datasets)}, "
        f"{_epochs(about)}.",
        f"- Frozen encoders: `{about.encoder.name}` ({about.encoder.source}).",
        f"- A clip is {_clip(about)}.",
        f"- hcep {about.hcep}, {', '.join(f'{k} {v}' for k, v in about.versions.items() if k != 'hcep')}.",
        "",
    ]
    return "\n".join(lines)


def _epochs(about: Description) -> str:
    kept = {"last": "the last epoch is kept", "val_known": "the epoch that was best on held-out known clips is kept"}
    on_test = "**the epoch was selected on its test clips, so its numbers are too good**"
    return f"seed {about.seed}; {kept.get(about.selection, on_test)}" if about.epoch else "by fitting, without epochs"


def _clip(about: Description) -> str:
    read = about.preprocessing
    faces = {
        "none": "of whole pictures",
        "boxes": "cut to a face by boxes",
        "release": "of faces that the release ships",
    }
    picture = f"{read.frames} frames of {read.size} x {read.size} {faces[read.faces]}"
    if not base_method(about.base).hears:
        return f"{picture}; sound and words are not read"
    words = "without words" if read.text_kinds == ["none"] else f"words ({', '.join(read.text_kinds)})"
    sound = f"{read.samples / 16000:g} s of sound at 16 kHz ({read.audio_window})"
    return f"{picture}, {sound}, {words}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def _numbers(about: Description) -> str:
    metrics = about.metrics
    confidence = f"{100 * metrics['confidence']:g} %"
    lines = [
        "## What it did on its own test clips",
        "",
        f"{metrics['n_known']} known and {metrics['n_unknown']} unknown clips of {metrics['n_groups']} groups (such as "
        "speakers), none of which was trained on. In per cent, "
        f"with {confidence} intervals of a bootstrap over groups.",
        "",
        "| metric | value | interval |",
        "|---|---|---|",
    ]
    for name, title in SHOWN.items():
        if isinstance(own := metrics.get(name), dict):
            lines.append(f"| {title} | {_percent(own['value'])} | {_percent(own['lo'])} to {_percent(own['hi'])} |")
    if note := groups_note(metrics["n_groups"]):
        lines += ["", f"**{note}.**"]
    lines += [
        "",
        "A clip is accepted where its score reaches a threshold, which is chosen on the training clips alone:",
        "",
        "| accepts of training clips | threshold | known test clips accepted | unknown ones accepted |",
        "|---|---|---|---|",
    ]
    for row in about.thresholds:
        default = " (default)" if row["acceptance"] == about.acceptance else ""
        cells = f"{row['threshold']:.6g} | {_percent(row['test_tpr'])} | {_percent(row['test_fpr'])}"
        lines.append(f"| {_percent(row['acceptance'])}{default} | {cells} |")
    return "\n".join([*lines, ""])


def _limits(about: Description) -> str:
    lines = [
        "## What was tested, and what was not",
        "",
        f"- Tested: clips of {', '.join(about.datasets)} alone, one draw of known classes ({about.split}), one seed.",
        "- Not tested: any other corpus, recordings in the wild, other languages, other cameras and microphones, "
        "groups of people by age, sex or origin.",
        f"- Unknown means the classes {', '.join(about.unknown_classes)}; how it takes others is not known.",
        "- The probability of a class divides 1 among the known classes. It is no measure of how sure the answer is.",
        "- What a clip shows is not what a person feels. Decisions about people are no use for this model.",
    ]
    return "\n".join([*lines, *(f"- {remark[:1].upper()}{remark[1:]}." for remark in about.remarks), ""])


def _use(about: Description) -> str:
    where = "" if about.encoder.included else f" --encoder {about.encoder.name}/"
    more = "" if about.encoder.included else f', encoder="{about.encoder.name}/"'
    wordless = about.preprocessing.text_kinds == ["none"] or not base_method(about.base).hears
    text = "" if wordless else ', text="the words of the clip"'
    digests = [f"- `{name}`: {value}" for name, value in about.encoder.made_by.items()]
    lines = [
        "## Use",
        "",
        "```sh",
        "pip install hcep",
        f"hcep predict . clip.mp4{where}",
        "```",
        "",
        "```python",
        "import hcep",
        "",
        f'answer = hcep.load("."{more}).predict("clip.mp4"{text})',
        "print(answer.label, answer.score, answer.threshold)",
        "```",
        "",
        "`sha256sum --check SHA256SUMS` tells whether the files are whole; loading looks as well.",
    ]
    if not about.encoder.included:
        lines += ["", f"The encoder is not here: {about.encoder.source}. It must have these digests:", "", *digests]
    return "\n".join([*lines, ""])


def _licences(about: Description) -> str:
    lines = [
        "## Licences",
        "",
        "- hcep, which made and reads this folder: MIT.",
        f"- Encoder {about.encoder.name} ({about.encoder.source}): not known to hcep; ask its makers.",
        *(
            f"- Corpus {name}: not known to hcep; its terms may forbid passing on what was trained on it."
            for name in about.datasets
        ),
    ]
    return "\n".join([*lines, ""])


def as_yaml(card: str) -> dict[str, Any]:
    """The block of metadata of a card."""
    return yaml.safe_load(card.split("---\n")[1])
