"""The settings of every base method, and where its class is. Equations and sections are the paper's.

A base method is one class here: its fields are exactly the settings that its runs read. What several methods read is
declared once, in a class that they inherit. docs/methods.md gives the reasons for the defaults.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from hcep.config.base import Settings, Unique, one_of
from hcep.registry import pick

Device = Annotated[str, StringConstraints(pattern="^(auto|cpu|cuda(:[0-9]+)?)$")]


class Common(Settings):
    """What every run reads, also one of a method that learns nothing and so needs no epochs."""

    batch_size: int = Field(64, ge=1, description="effective batch (not in the paper; ARPL's and HESP's)")
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="`bf16` is autocast: losses and scores stay in float32 and float64"
    )
    device: Device = Field("auto", description="`auto`, `cpu`, `cuda`, `cuda:0`, …")
    resident_gb: float = Field(
        4, ge=0, description="media of a run up to this size stays in memory, more is read from the shards again"
    )
    micro_batch: int = Field(
        0, ge=0, description="clips per backward pass, 0 = whole batch; saves memory, same gradient"
    )
    cuda_graphs: bool = Field(
        True,
        description="on a CUDA device a training step of the methods with prompts is recorded once and replayed, where "
        "memory holds two of them: the same kernels, handed over in one call; `false` hands them over one by one",
    )
    selection: Literal["last", "val_known", "best_on_test"] = Field(
        "last",
        description="epoch that is kept: the `last`; `val_known`, the best accuracy on held-out known clips (needs "
        "`val_fraction` or `val_folds`); `best_on_test`, which looks at test clips and is marked in every table",
    )

    target: ClassVar[str]
    inputs: ClassVar[Literal["media", "features"]]
    # False for methods on frames alone, which no choice of audio layers concerns
    hears: ClassVar[bool] = True
    # True for a method on cached features that also encodes words
    text_tower: ClassVar[bool] = False
    # another base whose steps are the same, for a method that differs in its score alone; not inherited
    trained_as: ClassVar[str] = ""

    @classmethod
    def code(cls) -> list[str]:
        """Modules that a run executes for this method: its own, and the encoders' where it encodes."""
        return [cls.target, *(["hcep.encoders.folder"] if cls.inputs == "media" or cls.text_tower else [])]

    @property
    def learns(self) -> bool:
        """Whether training changes anything."""
        return "epochs" in type(self).model_fields


class Learning(Common):
    """What runs read of a method that learns by steps down a gradient."""

    epochs: int = Field(150, ge=0, description="section 4.1.4; 0 only where nothing is learnt")
    lr: float = Field(0.0005, gt=0, description="rate of SGD, section 4.1.4")
    lr_step: int = Field(30, ge=1, description="epochs between decays of the rate, section 4.1.4")
    lr_decay: float = Field(0.1, gt=0, le=1, description="factor of a decay, section 4.1.4")
    momentum: float = Field(0.9, ge=0, lt=1, description="of SGD (value of ARPL and HESP)")
    weight_decay: float = Field(0.0001, ge=0, description="of SGD (value of ARPL and HESP)")


class Head(Settings):
    """Methods on the fused feature."""

    head_dim: int = Field(0, ge=0, description="width of the fused feature; 0: that of the text's feature")


class Missing(Settings):
    """Methods that fuse three modalities."""

    missing: Literal["neutral", "zero_feature"] = Field(
        "neutral", description="what stands in for an absent part: encoded neutral input, or a feature of zeros"
    )


class AudioLayers(Settings):
    """Methods on cached features that can learn weights of the audio layers."""

    audio_layers_lr: float = Field(
        0.001,
        gt=0,
        description="Adam's rate of the weights of the audio layers, where the encoder has `audio_layers: learned`",
    )


class Cosine(Settings):
    """Methods with a scaled cosine."""

    cosine_scale: float = Field(100, gt=0, description="factor on the cosine of eq. 5 (1 = as printed)")


class Score(Settings):
    """Methods whose score is read off a softmax."""

    score: Literal["log_softmax", "max_logit"] = Field(
        "log_softmax", description="log of the largest softmax probability (Algorithm 1), or the largest logit"
    )


class RivalScore(Settings):
    """Rivals with a score of their own."""

    rival_score: Literal["official", "msp"] = Field("official", description="a rival's own score, or `msp`")


class RivalOptimiser(Settings):
    """Rivals with an optimiser of their own."""

    rival_optimiser: Literal["official", "shared"] = Field(
        "official",
        description="of `a2d_mix`, `cpn_mm` and `momke`: their authors' (AdamW, Adam), or `shared`: SGD as everybody, "
        "with the rate and weight decay of the method's entry",
    )


class Augmentation(Settings):
    """Methods that vary the frames in training."""

    augmentation: Literal["official", "none"] = Field(
        "official", description="random variants of the training frames: each author's own, or none"
    )


class Regression(Settings):
    """Methods that fit a logistic regression."""

    logistic_c: float = Field(
        1, gt=0, description="C of scikit-learn's logistic regression: a larger one lets its weights grow"
    )


class Distance(Regression):
    """Methods that measure distances to the class means of every modality."""

    distance_power: float = Field(
        0.25,
        ge=0,
        le=1,
        description="α of the metric W^(−α/2): 0 is Euclid's distance to the class mean, 1 is Mahalanobis'",
    )
    ridge: float = Field(0.01, gt=0, description="added to the diagonal of W, in units of a standardised feature")
    score_folds: int = Field(
        3, ge=2, description="folds of whole groups of training clips whose values give the parts of the score a scale"
    )


class CssrLogits(Settings):
    """CSSR on frames and on features."""

    cssr_logits: Literal["p", "r"] = Field(
        "p", description="CSSR's variant: minus the reconstruction error (p-CSSR), or plus it (r-CSSR)"
    )


class Words(Settings):
    """Methods that put classes into sentences."""

    words: dict[str, str] = Field({}, description="class -> its word; filled from the configuration's `words`")


class PromptedClips(Learning, Cosine, Missing):
    """Prompts, losses and points of the paper's method."""

    inputs = "media"

    losses: Annotated[list[Literal["emo", "osr"]], Field(min_length=1), Unique] = Field(
        ["emo", "osr"],
        description="L_emo (eq. 5) and L_osr (eq. 8), or one of them (Table 5); without `osr` the cosines of eq. 5 "
        "classify and score; ARPL's margin joins `osr` with `points: free_negative`",
    )
    sample_prompts: bool = Field(True, description="false: no δ of eq. 1 to 3 inside the clips (Table 5, `cuep_osr`)")
    guide: Literal["text", "vision", "audio", "none"] = Field(
        "text",
        description="modality whose prompts are learned and mapped to the others (Fig. 4a), or `none` for three free "
        "prompts",
    )
    prompt_words: str = Field("facial expression", description="start of δ_T, eq. 1")
    prompt_tokens: int = Field(2, ge=1, description="m, number of prompts, eq. 1 and Fig. 4b")
    text_prompt: Literal["embedding", "mlp"] = Field(
        "embedding", description='"MLP" of eq. 1: the token embedding, or `mlp` = a 512-512-512 network on top'
    )
    vision_prompt: Literal["shallow", "deep"] = Field(
        "shallow", description="δ_V before the first block only (eq. 3), or `deep`: fresh ones before every block"
    )
    audio_prompt: Literal["prepend", "append"] = Field(
        "prepend", description="side of the waveform where δ_A stands (eq. 3)"
    )
    audio_pool: Literal["all", "clip"] = Field(
        "all", description="average over all hidden states, or `clip`: only as many as the bare clip has"
    )
    class_prompts: Literal["media", "tokens"] = Field(
        "media",
        description="δ^± of eq. 4: an image and a waveform per class and sign, or `tokens`: a few vectors in the token "
        "space of each tower (in the text before the class's sentence), N(0, 0.02²) at the start",
    )
    class_tokens: int = Field(
        4, ge=1, le=32, description="with `class_prompts: tokens`: tokens per class and sign in each tower"
    )
    prompt_lr_tokens: float = Field(0.02, gt=0, description="their rate of SGD, in place of `lr`")
    class_text: Literal["fixed", "tokens_label", "tokens_no_label"] = Field(
        "fixed",
        description="sentences of the classes; `tokens_label`: 16 learned tokens per sign and the word; "
        "`tokens_no_label`: 16 learned tokens per class and sign (Table 6)",
    )
    class_text_prompted: bool = Field(False, description="δ_T inside the class sentences too (eq. 4 has it outside)")
    pixel_normalisation: bool = Field(
        False, description="CLIP's mean and deviation applied to the image prompts δ_V^± (eq. 4)"
    )
    points: Literal["prompted", "prompted_negative", "free", "free_negative"] = Field(
        "prompted",
        description="p_k, n_k of eq. 6 and 7 from prompts; `prompted_negative`: n_k alone; `free`: free vectors; "
        "`free_negative`: ARPL's reciprocal points with its margin (Table 6)",
    )
    point_features: Literal["head", "modality_sum", "text"] = Field(
        "head",
        description="distances on the fused feature; `modality_sum`: summed over the modalities; `text`: the class "
        "texts themselves (Table 7)",
    )
    emo_features: Literal["fused", "modality_mean"] = Field(
        "fused", description="what eq. 5 compares with the sentence: the fused feature, or `modality_mean`"
    )
    emo_points: Literal["text", "head"] = Field(
        "text", description="what eq. 5 compares with: the class text's feature, or `head`: the fused F_M^+ (Table 7)"
    )
    normalise_features: bool = Field(False, description="unit-length features before the head")
    loss_reduction: Literal["mean", "sum"] = Field(
        "mean", description="Σ_i of eq. 5 and 8 as mean or sum over the batch"
    )
    prompts: Literal["learned", "frozen"] = Field("learned", description="`frozen`: prompts stay where they start")
    prompt_step: Literal["sgd", "adam", "normalised"] = Field(
        "sgd",
        description="SGD for all, `adam` for prompts and projections, or `normalised`: besides SGD, a step of fixed "
        "size along each class's gradient for δ_V^± and δ_A^±",
    )
    prompt_step_rms: float = Field(0.129, gt=0, description="RMS of a normalised step (HESP's norm of 50 on an image)")
    prompt_lr_pixels: float = Field(0.01, gt=0, description="Adam's rate of image and waveform prompts")
    prompt_lr_semantic: float = Field(0.001, gt=0, description="Adam's rate of δ_T with N_V, N_A")
    inference: Literal["osr", "average"] = Field(
        "osr", description="logits of eq. 8 alone (Algorithm 1), or `average` with those of eq. 5"
    )


class Hcep(PromptedClips, Score, Words):
    """The paper's method and its ablations."""

    target = "hcep.methods.hcep:HCEP"


class HcepDistance(PromptedClips, Distance, Words):
    """The paper's method with the score of `distance_mm`."""

    target = "hcep.methods.hcep_distance:HCEPDistance"
    trained_as = "hcep"


class ArplMM(Learning, AudioLayers, Head, Missing, RivalScore):
    """The paper's multimodal baseline: ARPL on the fused feature."""

    target = "hcep.methods.arpl_mm:ArplMM"
    inputs = "features"


class Linear(Learning, AudioLayers, Head, Missing, Score):
    """A linear softmax on the fused feature."""

    target = "hcep.methods.linear:Linear"
    inputs = "features"


class Logistic(Common, Regression):
    """A logistic regression on standardised features, solved to convergence."""

    target = "hcep.methods.logistic:Logistic"
    inputs = "features"


class DistanceMM(Common, Distance):
    """Distances to the class means of every modality, beside the logistic regression."""

    target = "hcep.methods.distance_mm:DistanceMM"
    inputs = "features"


class DistanceLexicon(Common, Distance, Words):
    """`distance_mm`, which also weighs the words of the known classes against other emotion words."""

    target = "hcep.methods.distance_lexicon:DistanceLexicon"
    inputs = "features"
    text_tower = True

    lexicon: Literal["all", "outside"] = Field(
        "all",
        description="words that the known classes are weighed against: `all` of a fixed list, whatever the corpus, or "
        "those `outside` its classes, known or not; either marks the row in every table",
    )
    lexicon_scale: float = Field(100, gt=0, description="factor on the cosine of word and picture (CLIP's own)")


class CpnMM(Learning, AudioLayers, Head, Missing, RivalOptimiser, RivalScore):
    """CPN on the fused feature."""

    target = "hcep.methods.cpn_mm:CpnMM"
    inputs = "features"

    cpn_delta: Annotated[float, one_of(0.5, -0.95)] = Field(
        0.5,
        description="δ in CPN's score min(1 − P(ood), max P − δ): with 0.5, as in the authors' recipe for frozen "
        "features, the posterior of the likeliest class ranks; with -0.95, as for their CIFAR-10 networks, that of any",
    )


class A2dMix(Learning, AudioLayers, Head, Missing, RivalOptimiser, Score):
    """A2D with Feature Mixing: heads that disagree, and outliers made of the clips."""

    target = "hcep.methods.a2d_mix:A2dMix"
    inputs = "features"

    swap_share: float = Field(
        0.5, gt=0, lt=1, description="share of the embedding's dimensions that the modalities of an outlier swap"
    )
    outlier_start: int = Field(10, ge=0, description="epochs before the first with outliers")
    a2d_weight: float = Field(
        0.5, ge=0, description="of the disagreement on the training clips, where their own class is left out"
    )
    outlier_weight: float = Field(0.5, ge=0, description="of the disagreement on outliers")
    entropy_weight: float = Field(0.5, ge=0, description="of the entropy on outliers")


class LplMM(Learning, AudioLayers, Head, Missing, RivalScore):
    """LPL on the fused feature."""

    target = "hcep.methods.lpl_mm:LplMM"
    inputs = "features"


class CssrMM(Learning, AudioLayers, CssrLogits, Head, Missing, RivalScore):
    """CSSR on the fused feature."""

    target = "hcep.methods.cssr_mm:CssrMM"
    inputs = "features"


class Momke(Learning, AudioLayers, RivalOptimiser, Score):
    """MoMKE: experts per modality."""

    target = "hcep.methods.momke:Momke"
    inputs = "features"


class Arpl(Learning, Augmentation, RivalScore):
    """ARPL on frames, with its authors' network."""

    target = "hcep.methods.arpl:Arpl"
    inputs = "media"
    hears = False


class Cssr(Learning, Augmentation, CssrLogits, RivalScore):
    """CSSR on frames, with its authors' network."""

    target = "hcep.methods.cssr:Cssr"
    inputs = "media"
    hears = False

    cssr_depth: Literal[10, 16, 22, 28, 34, 40] = Field(40, description="layers of CSSR's wide residual network")
    cssr_widen: int = Field(4, ge=1, description="width of that network")


class Hesp(Learning, Augmentation, Cosine, RivalScore, Words):
    """HESP on frames, with CLIP."""

    target = "hcep.methods.hesp:HESP"
    inputs = "media"
    hears = False

    hesp_defects: bool = Field(False, description="HESP as released, with its three defects")
    hesp_step_norm: float = Field(
        50,
        ge=0,
        description="L2 norm of HESP's steps of fixed size on its patch and negative images (as on an image of 224 "
        "pixels); 0: SGD alone",
    )


class NegPromptMM(Learning, Cosine, RivalScore, Words):
    """NegPrompt: positive and negative contexts of the class's word, with CLIP."""

    target = "hcep.methods.negprompt_mm:NegPromptMM"
    inputs = "media"
    hears = False

    negative_epochs: int = Field(
        15, ge=1, description="the last epochs of a run, which move NegPrompt's negative contexts alone"
    )
    negative_lr: float = Field(0.1, gt=0, description="rate of its negative contexts, plain SGD")


class OpenVclip(Learning, Augmentation, Cosine, Score, Words):
    """Open-VCLIP on frames, with CLIP."""

    target = "hcep.methods.open_vclip:OpenVclip"
    inputs = "media"
    hears = False

    fine_tune: bool = Field(True, description="Open-VCLIP; false: zero-shot CLIP, with `epochs: 0`")

    @property
    def learns(self) -> bool:
        """Zero-shot CLIP learns nothing."""
        return self.fine_tune


METHODS: dict[str, type[Common]] = {
    "hcep": Hcep,
    "hcep_distance": HcepDistance,
    "arpl_mm": ArplMM,
    "linear": Linear,
    "logistic": Logistic,
    "distance_mm": DistanceMM,
    "distance_lexicon": DistanceLexicon,
    "cpn_mm": CpnMM,
    "a2d_mix": A2dMix,
    "lpl_mm": LplMM,
    "cssr_mm": CssrMM,
    "arpl": Arpl,
    "cssr": Cssr,
    "hesp": Hesp,
    "negprompt_mm": NegPromptMM,
    "open_vclip": OpenVclip,
    "momke": Momke,
}


# settings that change no step of a method on media: rows that differ in these alone are trained once
SCORING = frozenset([*Score.model_fields, *RivalScore.model_fields, *Distance.model_fields])


def base_method(base: str) -> type[Common]:
    """The settings of a base method, which also say where its class is."""
    return pick("base method", base, METHODS)


def readable(base: str) -> list[str]:
    """The settings that runs of a base method read, sorted."""
    return sorted(base_method(base).model_fields)


class Changes(*METHODS.values()):  # type: ignore[misc]
    """Any settings of any method, as they may stand in `training`, in a task and in a method."""

    words: ClassVar[None]  # type: ignore[misc, assignment]  # the configuration has them in a place of their own
