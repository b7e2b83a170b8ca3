"""The sections of a configuration: dataset entries, encoders, methods, tasks and the evaluation."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, create_model

from hcep.config.base import Name, Openness, Settings, SplitName, Unique
from hcep.config.methods import Changes, DistanceMM

# the baseline, the control, and the whole model, from which an ablation leaves a part out; methods with tuned learning
# rates are compared with tuned references, class prompts that are tokens with their own frozen ones
REFERENCES = ("arpl_mm", "frozen_prompts", "hcep", "arpl_mm_tuned", "frozen_prompts_tuned", "frozen_tokens")


class Dataset(Settings):
    """A corpus on disk at one size."""

    adapter: str = Field(
        description="how the release is read: `manifest`, `ravdess`, `mafw`, `cmu_mosei`, `ov_merd`, `meld` or "
        "`crema_d`"
    )
    root: str = Field(description="folder of the release, relative to the working directory or absolute")
    options: dict[str, Any] = Field({}, description="settings of the adapter, below")
    follow_links: bool = Field(
        False,
        description="whether clips and face pictures may lie behind links that leave `root`, as on another disk; "
        "otherwise such links are an error (`root` itself may be a link)",
    )
    frames: int = Field(8, ge=1, description="F, frames per clip, taken at the centres of F equal segments")
    frame_sampling: Literal["time", "index"] = Field(
        "time",
        description="whether these segments are equal in `time` or in number of frames (`index`); at a constant rate "
        "both are the same frames",
    )
    size: int = Field(224, ge=16, description="S, side of a frame in pixels; must be the encoder's (demo: 64)")
    samples: int = Field(80000, ge=400, description="A, samples at 16 kHz per clip (5 s; demo: 16000)")
    audio_window: Literal["centre", "start"] = Field(
        "centre",
        description="which A samples of a longer sound; a shorter one is padded with zeros at its end, which count "
        "neither for its mean nor for its variance",
    )
    text: Literal["manifest", "none", "asr"] = Field(
        "manifest",
        description="words: `manifest` (those of the table), `none`, or `asr` (Whisper listens to the first 30 s of "
        "every clip; words in the table are then not used)",
    )
    asr_model: str = Field(
        "openai/whisper-tiny.en",
        description="a Whisper model's name on the hub (downloaded on first use) or its local folder",
    )
    shards: int = Field(
        64,
        ge=1,
        le=999,
        description="files per modality, and so the number of jobs that can decode at once; another number rebuilds "
        "the cache",
    )
    timeout: float = Field(
        60,
        gt=0,
        description="seconds of processor time that ffmpeg may take for one clip, which has failed when it needs more; "
        "where ten times as long goes by on the clock, the machine is taken to be stuck and the job ends",
    )
    decoder_memory: float = Field(
        4.0,
        ge=0.5,
        description="GiB of address space that one ffmpeg may take (2160p takes 0.4); a clip that needs more "
        "has failed",
    )
    features_files: dict[Name, str] = Field(
        {},
        description="encoder with `source: import` → HDF5 file of features that you supply; "
        "`resources/{dataset}/{encoder}.h5` when not named",
    )
    max_failures: float = Field(
        0.01,
        ge=0,
        le=1,
        description="share of clips with a part that is there but unreadable, above which `index_cache` stops the "
        "workflow; after a change build `resources/{dataset}/index.h5` by itself, and as the index is the same nothing "
        "behind it runs again",
    )


def _layers(value: Any) -> Any:
    """One of the three words, or a list of different numbers from 0 on."""
    numbers = isinstance(value, list) and value and all(type(one) is int and one >= 0 for one in value)
    if value not in ("last", "mean", "learned") and not (numbers and len({*value}) == len(value)):
        raise ValueError(f"{value!r} is none of last, mean and learned, and no list of different layers, as [6, 12]")
    return value


class Encoder(Settings):
    """Frozen encoders, or the name of features that a user supplies."""

    source: Literal["package", "hub", "random", "import"] = Field(
        description="`package` (small, pretrained on generated faces and voices), `hub` (download), `random` (the "
        "architecture without training, for counts and speed), `import` (features that you supply, below)"
    )
    clip: str = Field(
        "ViT-B-32-quickgelu",
        description="open_clip model name; OpenAI's weights need the `-quickgelu` one, and plain `ViT-B-32` is refused",
    )
    pretrained: str = Field("openai", description="tag of open_clip's weights")
    audio: str = Field(
        "facebook/wav2vec2-base",
        description="wav2vec 2.0, HuBERT or WavLM on the Hugging Face hub, or a local folder",
    )
    revision: str | None = Field(None, description="commit of the audio model")
    audio_layers: Annotated[str | list[int], BeforeValidator(_layers)] = Field(
        "last",
        description="hidden states of the audio model that give a clip's feature: the `last` (the paper's reading); "
        "the `mean` over all, what enters the first block included; the mean over a list as `[6, 12]` (0: what enters "
        "the first block); or `learned`: methods that read `audio_layers_lr` learn a weight for each of them",
    )
    width: int = Field(0, ge=0, description="with `source: import`: size of every feature, which the file must have")
    stand_in: bool = Field(
        False,
        description="with `source: import`: whether tables mark results on these features as stand-ins",
    )
    sha256: dict[str, str] = Field(
        {},
        description="file name → digest that the fetched file must have; copy them from `encoder.json` to pin the "
        "weights",
    )


class Method(Changes):
    """A row of the results: a base method and the settings that it changes."""

    base: str = Field(description="a base method of `hcep/config/methods.py`")
    encoder: Name | None = Field(
        None, description="for methods on cached features: an encoder of its own in place of the task's"
    )
    tune: dict[str, Annotated[list[Any], Field(min_length=2)]] = Field(
        {},
        description="setting → values to try; the best on held-out known clips is used, of equal ones the first. "
        "Name such a method <method>_tuned where the untuned one is a row too",
    )

    def changes(self) -> dict[str, Any]:
        """The settings that the method changes."""
        return {name: value for name, value in self.given().items() if name not in ("base", "encoder", "tune")}


def _listed(value: Any) -> Any:
    """One dataset may be written without the brackets of a list."""
    return [value] if isinstance(value, str) else value


class Task(Settings):
    """What is compared on what."""

    dataset: Annotated[list[str], Field(min_length=1), Unique, BeforeValidator(_listed)] = Field(
        description="a dataset entry, or a list of several whose clips are pooled (`cross`); their sizes must agree "
        "and their clip ids differ"
    )
    encoder: str = Field(description="an encoder entry")
    labels: Annotated[list[str], Field(min_length=2), Unique] = Field(description="all classes in label-id order")
    other_labels: Annotated[list[str], Unique] = Field(
        [],
        description="labels of the data that are no class of the task on purpose, however near their name is to one",
    )
    openness: Annotated[list[Openness], Field(min_length=1), Unique] = Field(
        description="levels such as `k8u2` (section 4.1.2), at least 2 known and 1 unknown; K + U may be fewer than "
        "the labels"
    )
    methods: Annotated[list[str], Field(min_length=1), Unique] = Field(description="rows of the table")
    splits: Annotated[list[SplitName], Field(min_length=1), Unique] = Field(
        ["split1", "split2", "split3", "split4"],
        description="draws of known classes, from the file of class splits",
    )
    class_splits: str | None = Field(None, description="that file; `config/splits/{task}.yaml` when not named")
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1), Unique] = Field(
        [0], description="training seeds"
    )
    series: bool = Field(
        False,
        description="true: the job that takes all runs of a method makes their post-hoc scores, too; for tasks whose "
        "methods are all on cached features and without `tune`",
    )
    references: Annotated[list[str], Unique] = Field(
        list(REFERENCES), description="methods that `comparisons.csv` compares with, where the task has them"
    )
    test_folds: Annotated[list[str], Field(min_length=1)] = Field(["test"], description="folds that are tested")
    train_folds: list[str] | None = Field(
        None,
        description="folds that are trained on, every other one when not named; clips of folds that are named nowhere "
        "are left out and counted in the split file",
    )
    val_folds: list[str] = Field([], description="folds whose known clips are held out for validation")
    min_train: int = Field(
        1,
        ge=1,
        description="known classes with fewer training clips are left out of K, with their test clips, and named in "
        "the table (`left_out`); 1: such a class is an error",
    )
    val_fraction: float = Field(0, ge=0, le=0.5, description="share of known training clips held out, in whole groups")
    val_seed: int = Field(0, ge=0, description="which groups those are")
    training: Changes = Field(Changes(), description="settings of this task")
    method_settings: dict[str, Changes] = Field({}, description="settings of this task for one method")


# what `make_split` and `check_tasks` read: fields of `Task`, and the words of its classes
_OF_TASK = ("labels", "other_labels", "test_folds", "train_folds", "val_folds", "min_train", "val_fraction", "val_seed")
_FIELDS: dict[str, Any] = {name: (Task.model_fields[name].annotation, Task.model_fields[name]) for name in _OF_TASK}
SplitSettings: type[Settings] = create_model(
    "SplitSettings", __base__=Settings, words=(dict[str, str], Field({}, description="class → its word")), **_FIELDS
)


class Evaluation(Settings):
    """Bootstrap and thresholds."""

    replicates: int = Field(2000, ge=100, description="bootstrap replicates")
    confidence: float = Field(0.95, gt=0, lt=1, description="of the intervals")
    seed: int = Field(0, ge=0, description="of the bootstrap")
    acceptance: list[Annotated[float, Field(gt=0, lt=1)]] = Field(
        [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.99],
        description="shares of known training clips to accept, for `thresholds.csv` (section 4.4.6); the row of 0.95 "
        "is marked as default",
    )


_Share = Annotated[float, Field(ge=0, le=1)]
_Decibel = Annotated[float, Field(ge=-60, le=60)]


class Robustness(Settings):
    """Disturbances of the test clips, each with levels from mild to hard."""

    white_noise_db: Annotated[list[_Decibel], Unique] = Field(
        [20, 10, 0], description="white noise on the sound: its signal-to-noise ratio in dB"
    )
    babble_db: Annotated[list[_Decibel], Unique] = Field(
        [20, 10, 0], description="voices of four training clips behind the sound: the ratio in dB"
    )
    dropped_frames: Annotated[list[_Share], Unique] = Field(
        [0.25, 0.5, 0.75], description="share of the frames that show the frame before them instead"
    )
    blur: Annotated[list[Annotated[float, Field(ge=0, le=0.5)]], Unique] = Field(
        [0.01, 0.03, 0.1], description="Gaussian blur: its sigma as a share of the frame's side"
    )
    shift_ms: Annotated[list[Annotated[float, Field(ge=-10000, le=10000)]], Unique] = Field(
        [100, 200, 400], description="milliseconds by which the sound is late against the picture; below 0: early"
    )
    word_errors: Annotated[list[_Share], Unique] = Field(
        [0.1, 0.3, 0.5],
        description="chance of every word to be recognised wrongly: replaced, lost, or followed by another",
    )
    missing: Annotated[list[Literal["text", "vision", "audio"]], Unique] = Field(
        ["text", "vision", "audio"], description="modalities that are taken away, one at a time"
    )
    disturbance_seed: int = Field(0, ge=0, description="of noise, frames and words")


class Unknowns(Settings):
    """What a run rejects, in clusters."""

    acceptance: float = Field(
        0.95,
        gt=0,
        lt=1,
        description="share of known training clips to accept; test clips below that threshold are rejected",
    )
    most_clusters: int = Field(10, ge=2, description="at most so many clusters of rejected clips")
    exemplars: int = Field(3, ge=1, description="clips shown of every cluster: the nearest to its mean")


# what `posthoc` reads: the bootstrap's settings, and those of `distance_mm` that its distance needs
OF_BOOTSTRAP, OF_DISTANCE = ("replicates", "confidence", "seed"), ("distance_power", "ridge", "score_folds")
_READ: dict[str, Any] = {
    name: (model.model_fields[name].annotation, model.model_fields[name])
    for model, names in ((Evaluation, OF_BOOTSTRAP), (DistanceMM, OF_DISTANCE))
    for name in names
}
PosthocSettings: type[Settings] = create_model("PosthocSettings", __base__=Settings, **_READ)
# what `unknowns` and `robustness` read: the bootstrap's settings beside their own
_BOOTSTRAP: dict[str, Any] = {name: _READ[name] for name in OF_BOOTSTRAP}
UnknownsSettings: type[Settings] = create_model("UnknownsSettings", __base__=Unknowns, **_BOOTSTRAP)
RobustnessSettings: type[Settings] = create_model("RobustnessSettings", __base__=Robustness, **_BOOTSTRAP)
