"""Figures 5, 6 and 8 show the clips that their rule names, at the places and with the numbers that are in the files."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from reseal import reseal
from threadpoolctl import threadpool_info, threadpool_limits

from hcep.datasets.manifest_file import Clip, write_manifest
from hcep.errors import HcepError
from hcep.evaluation.scores import Scores, write_scores
from hcep.figures import embedding, fig5
from hcep.figures.embedding import MOST
from hcep.figures.fig5 import fig5_figure as fig5_drawing
from hcep.figures.fig6 import fig6_figure as fig6_drawing
from hcep.figures.fig8 import fig8_figure as fig8_drawing
from hcep.figures.style import draw_figure, figure_style
from hcep.files import write_table
from hcep.media.index import index_cache
from hcep.media.shards import Row, shard_names, shard_of, write_shard

CLASSES = ("anger", "fear", "joy")
# test clips of every class: joy has most of the known, shame and envy equally many of the unknown
TESTED = {"anger": 9, "fear": 8, "joy": 10, "envy": 7, "shame": 7}
TRAINED = dict.fromkeys(CLASSES, 6)
SOURCES = ("text", "vision", "audio", "fused")
LOST = "no_video;no_audio"
COLUMNS = ("acceptance", "threshold", "default")


def the_clips() -> list[tuple[str, str, str, str]]:
    """Dataset, clip, part and label of every clip; the last clips of two classes lack a modality."""
    return [
        ("two" if label == "shame" else "one", f"{label} {part} {i:02d}", part, label)
        for part, counts in (("train", TRAINED), ("test", TESTED))
        for label, count in counts.items()
        for i in range(count)
    ]


def flags_of(clip: str) -> str:
    return {"joy test 09": "no_text", "envy test 06": LOST}.get(clip, "")


def the_scores(method: str, *, features: tuple[str, ...] = SOURCES, frozen: int = 0, **changes: Any) -> Scores:
    dataset, clip, part, label = map(np.array, zip(*the_clips(), strict=True))
    known = np.isin(label, CLASSES)
    rng, same = np.random.default_rng([len(method), 5]), np.random.default_rng(frozen)
    centres = {name: same.normal(size=(5, 6)) for name in SOURCES}
    place = np.array([(*CLASSES, "envy", "shame").index(name) for name in label])
    values = {name: centres[name][place] + 0.6 * same.normal(size=(len(clip), 6)) for name in SOURCES[:3]}
    values["fused"] = centres["fused"][place] + 0.4 * rng.normal(size=(len(clip), 6))
    fields: dict[str, Any] = {
        "dataset": dataset,
        "clip": clip,
        "part": part,
        "label": label,
        "group": clip,
        "prediction": rng.choice(CLASSES, len(clip)),
        "flags": [flags_of(name) for name in clip],
        "known": known,
        "logits": rng.normal(size=(len(clip), 3)),
        "score": np.round(rng.normal(size=len(clip)) + known, 1),
        "features": {name: values[name] for name in features},
        "classes": CLASSES,
        "method": method,
        "task": "demo",
        "openness": "k3u2",
        "split": "split1",
        "seed": 0,
        "settings": {},
        "versions": {},
        "stand_in": True,
        "text_kind": "caption",
    }
    return Scores(**fields | changes)


def write_run(root: Path, scores: Scores, threshold: float = 0.5) -> Path:
    folder = root / scores.method
    write_scores(folder / "scores.h5", scores)
    rows = [(0.5, 9.0, "false"), (0.95, threshold, "true")]
    write_table(folder / "thresholds.csv", COLUMNS, [dict(zip(COLUMNS, row, strict=True)) for row in rows])
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Two methods on the same frozen features, one on others, one on vision alone."""
    made = (the_scores("hcep", frozen=1), the_scores("arpl_mm"), the_scores("linear_msp"))
    alone = the_scores("arpl", features=("vision",))
    return [write_run(tmp_path / "runs", scores) for scores in (*made, alone)]


def frames_of(clip: str) -> np.ndarray:
    return np.random.default_rng(sum(clip.encode())).integers(0, 256, (8, 12, 12, 3)).astype(np.uint8)


def words_of(clip: str) -> str:
    return {"shame": "", "envy": "他们很高兴"}.get(clip.split()[0], f"{clip} says so and " + "goes on " * 12)


@pytest.fixture(scope="module")
def indexes(tmp_path_factory) -> list[Path]:
    """Two datasets in shards; the clips of shame are those of the second."""
    found = []
    for dataset in ("one", "two"):
        root = tmp_path_factory.mktemp(dataset)
        clips = [Clip(c, d, f"{c}.mp4", f"{c}.mp4", group=c, label=lab, labels=lab) for d, c, _, lab in the_clips()]
        clips = [clip._replace(fold="test") for clip in clips if clip.dataset == dataset]
        write_manifest(root / "manifest.tsv", clips)
        shards: dict[str, list[Path]] = {"frames": [], "audio": [], "text": []}
        for name in shard_names(2):
            ids = [clip.clip for clip in clips if shard_of(clip, 2) == name]
            sound = [np.full(1600, 100, np.int16) for _ in ids]
            for kind, values, shape, dtype in (
                (
                    "frames",
                    [Row(frames_of(c) if flags_of(c) != LOST else None) for c in ids],
                    (8, 12, 12, 3),
                    "u1",
                ),
                ("audio", [Row(value, samples=800) for value in sound], (1600,), "i2"),
                ("text", [Row((words_of(c), "caption") if words_of(c) else None) for c in ids], (), None),
            ):
                rows = [row if row.value is not None else Row(None, "absent: none") for row in values]
                path = root / kind / f"{name}.h5"
                path.parent.mkdir(exist_ok=True)
                write_shard(path, kind, ids, enumerate(rows), {}, shape=shape, dtype=dtype and np.dtype(dtype))
                shards[kind].append(path)
        index_cache(root / "manifest.tsv", shards, root / "index.h5", root / "qc.tsv")
        found.append(root / "index.h5")
    return found


@pytest.fixture
def sources(runs: list[Path], indexes: list[Path]) -> dict[str, list[Path]]:
    return {"fig5": [*runs, *indexes], "fig6": runs, "fig8": runs}


def fig5_figure(sources: list[Path], task: str = "") -> Figure:
    return fig5_drawing(sources, task)[0]


def fig6_figure(sources: list[Path], task: str = "") -> Figure:
    return fig6_drawing(sources, task)[0]


def fig8_figure(sources: list[Path], task: str = "") -> Figure:
    return fig8_drawing(sources, task)[0]


def fig5_rows(sources: list[Path]) -> list[dict[str, Any]]:
    return fig5_drawing(sources)[1]


def fig6_rows(sources: list[Path]) -> list[dict[str, Any]]:
    return fig6_drawing(sources)[1]


def fig8_rows(sources: list[Path]) -> list[dict[str, Any]]:
    return fig8_drawing(sources)[1]


DRAWING = {"fig5": fig5_drawing, "fig6": fig6_drawing, "fig8": fig8_drawing}
DRAW = {"fig5": fig5_figure, "fig6": fig6_figure, "fig8": fig8_figure}
ROWS = {"fig5": fig5_rows, "fig6": fig6_rows, "fig8": fig8_rows}


def texts(figure: Figure) -> list[Text]:
    return [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]


# --- all three -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(DRAW))
def test_same_bytes_on_every_run(name: str, sources: dict[str, list[Path]], tmp_path: Path) -> None:
    for folder, threads in (("one", 1), ("two", 2)):
        with threadpool_limits(threads):
            draw_figure(DRAWING[name], sources[name], tmp_path / folder / "f.svg", title="demo")
    for ending in ("svg", "png", "pdf", "csv"):
        assert (tmp_path / "one" / f"f.{ending}").read_bytes() == (tmp_path / "two" / f"f.{ending}").read_bytes()
    assert ROWS[name](sources[name]) == ROWS[name](sources[name])


@pytest.mark.parametrize("name", sorted(DRAW))
def test_a_column_wide_nothing_cut_nothing_over_another(name: str, sources: dict[str, list[Path]]) -> None:
    with figure_style(), warnings.catch_warnings():
        # a letter that the font lacks is a warning of matplotlib
        warnings.simplefilter("error")
        figure = DRAW[name](sources[name], "a_task_of_many_words")
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        boxes = [(text.get_text(), text.get_window_extent(canvas.get_renderer())) for text in texts(figure)]
    assert figure.get_figwidth() == pytest.approx(85 / 25.4, abs=0.01)
    assert "stand-in" in figure.get_suptitle() and "a_task_of_many_words" in figure.get_suptitle()
    assert all(text.get_fontsize() >= 6 for text in texts(figure))
    for place, (text, box) in enumerate(boxes):
        assert box.x0 >= 0 and box.x1 <= figure.bbox.width and box.y0 >= 0 and box.y1 <= figure.bbox.height, text
        for other, its in boxes[place + 1 :]:
            apart = box.x0 >= its.x1 or its.x0 >= box.x1 or box.y0 >= its.y1 - 1 or its.y0 >= box.y1 - 1
            assert apart, (text, other)


@pytest.mark.parametrize("name", sorted(DRAW))
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": "split2"}, r"other/scores\.h5: split is split2, but split1 in .*hcep.*one run per method"),
        ({"method": "hcep"}, r"other/scores\.h5: a second run of hcep"),
        ({"classes": ("fear", "anger", "joy")}, "known classes or the test clips differ"),
    ],
)
def test_runs_that_do_not_belong_together(
    name: str, change: dict[str, Any], message: str, sources: dict[str, list[Path]], tmp_path: Path
) -> None:
    write_scores(tmp_path / "other/scores.h5", the_scores("other")._replace(**change))
    with pytest.raises(HcepError, match=message):
        DRAW[name]([*sources[name], tmp_path / "other"])


@pytest.mark.parametrize("name", sorted(DRAW))
def test_no_unknown_test_clip(name: str, sources: dict[str, list[Path]], indexes: list[Path], tmp_path: Path) -> None:
    whole = the_scores("hcep")
    columns = ("dataset", "clip", "part", "label", "group", "prediction", "flags", "known", "logits", "score")
    kept = {key: np.asarray(getattr(whole, key))[whole.known] for key in columns}
    features = {key: value[whole.known] for key, value in whole.features.items()}
    folder = write_run(tmp_path / "closed", whole._replace(**kept, features=features))
    with pytest.raises(HcepError, match="no test clip of an unknown class in k3u2, split1"):
        DRAW[name]([folder, *indexes] if name == "fig5" else [folder])


@pytest.mark.parametrize("name", sorted(DRAW))
def test_no_run(name: str, indexes: list[Path]) -> None:
    with pytest.raises(HcepError, match="no run to draw"):
        DRAW[name](indexes if name == "fig5" else [])


# --- t-SNE ---------------------------------------------------------------------------------------------------------


def by_hand(run: Scores, feature: str, clips: np.ndarray, clustered: np.ndarray) -> tuple[float, float]:
    """Silhouette and AUROC clip by clip, as they are defined."""
    unit = run.features[feature] / np.linalg.norm(run.features[feature], axis=1, keepdims=True)
    widths = []
    for at in clips[clustered]:
        others = [i for i in clips[clustered] if i != at]
        away = {label: [1 - unit[at] @ unit[i] for i in others if run.label[i] == label] for label in set(run.label)}
        own = float(np.mean(away[run.label[at]]))
        near = min(float(np.mean(found)) for label, found in away.items() if found and label != run.label[at])
        widths.append((near - own) / max(near, own))
    lacking = {"text": "no_text", "vision": "no_video", "audio": "no_audio"}.get(feature, "nothing")
    trained = np.array([lacking not in flags for flags in run.flags]) & (np.asarray(run.part) == "train")
    means = [unit[trained & (run.label == label)].mean(axis=0) for label in CLASSES]
    score = [max(unit[at] @ mean / np.linalg.norm(mean) for mean in means) for at in clips]
    pairs = [
        float(a > b) + 0.5 * float(a == b)
        for a, i in zip(score, clips, strict=True)
        for b, j in zip(score, clips, strict=True)
        if run.known[i] and not run.known[j]
    ]
    return float(np.mean(widths)), 100 * float(np.mean(pairs))


def panel_of(rows: list[dict[str, Any]], method: str, feature: str) -> list[dict[str, Any]]:
    return [row for row in rows if (row["method"], row["feature"]) == (method, feature)]


def test_fig8_numbers_are_those_of_the_features(runs: list[Path]) -> None:
    rows, run = fig8_rows(runs), the_scores("hcep", frozen=1)
    tested = np.flatnonzero(run.part == "test")
    silhouette, auroc = by_hand(run, "fused", tested, run.known[tested])
    own = panel_of(rows, "hcep", "fused")
    assert [row["clip"] for row in own] == run.clip[tested].tolist()
    assert own[0]["silhouette"] == pytest.approx(silhouette, abs=1e-4)
    assert (own[0]["auroc"], own[0]["clips"]) == (pytest.approx(auroc, abs=0.01), len(tested))
    assert set(own[0]) == set(embedding.COLUMNS)


def test_fig8_draws_the_table(runs: list[Path]) -> None:
    figure, rows = fig8_figure(runs, "demo"), fig8_rows(runs)
    drawn = {ax.get_title(): ax for ax in figure.axes}
    assert list(drawn) == ["hcep", "arpl_mm", "linear_msp", "arpl (vision)"]
    own = panel_of(rows, "arpl_mm", "fused")
    for name, points in zip(drawn["arpl_mm"].get_legend_handles_labels()[1], drawn["arpl_mm"].collections, strict=True):
        wanted = [(row["x"], row["y"]) for row in own if name in (row["label"], {"false": "unknown"}.get(row["known"]))]
        assert np.asarray(points.get_offsets()) == pytest.approx(np.array(wanted), abs=1e-3)
    assert drawn["arpl_mm"].get_xlabel() == f"silhouette {own[0]['silhouette']:.2f}, AUROC {own[0]['auroc']:.1f}"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [*CLASSES, "unknown"]
    # the clip without video has no vision feature
    assert "envy test 06" not in [row["clip"] for row in panel_of(rows, "arpl", "vision")]


def test_fig8_known_classes_differ_in_colour_or_shape_and_unknown_keeps_its_own(tmp_path: Path) -> None:
    names = tuple(f"class {i:02d}" for i in range(10))
    label = np.array([*names * 2, *names * 2, *["other"] * 6])
    part = np.array(["train"] * 20 + ["test"] * 26)
    count = len(label)
    blank = the_scores("m")._asdict() | {
        "dataset": ["one"] * count,
        "clip": [f"c{i}" for i in range(count)],
        "part": part,
        "label": label,
        "group": ["g"] * count,
        "prediction": ["class 00"] * count,
        "flags": [""] * count,
        "known": label != "other",
        "logits": np.zeros((count, 10)),
        "score": np.arange(count),
        "classes": names,
        "features": {"fused": np.random.default_rng(0).normal(size=(count, 4))},
    }
    figure = fig8_figure([write_run(tmp_path, Scores(**blank))])
    unknown, *known = figure.axes[0].collections
    looks = {(tuple(found.get_facecolor()[0]), found.get_paths()[0].vertices.tobytes()) for found in known}
    assert len(looks) == 10 and len(known) == 10
    assert tuple(unknown.get_facecolor()[0]) not in {color for color, _ in looks}


def test_fig6_shows_the_largest_classes_and_shares_rows(runs: list[Path]) -> None:
    figure, rows = fig6_figure(runs, "demo"), fig6_rows(runs)
    # of envy and shame, equally large, the first by name
    assert {(row["label"], row["known"]) for row in rows} == {("joy", "true"), ("envy", "false")}
    assert [block.get_suptitle() for block in figure.subfigs] == ["hcep", "arpl_mm, linear_msp"]
    assert [ax.get_title() for ax in figure.subfigs[0].axes] == ["text", "vision", "audio"]
    assert "without features of every modality: arpl" in figure.get_suptitle().replace("\n", " ")
    assert [row | {"method": ""} for row in panel_of(rows, "arpl_mm", "text")] == [
        row | {"method": ""} for row in panel_of(rows, "linear_msp", "text")
    ]
    run = the_scores("hcep", frozen=1)
    for feature, lacks in (("text", "joy test 09"), ("vision", "envy test 06"), ("audio", "envy test 06")):
        clips = np.flatnonzero((run.part == "test") & np.isin(run.label, ["joy", "envy"]) & (run.clip != lacks))
        silhouette, auroc = by_hand(run, feature, clips, np.ones(len(clips), bool))
        own = panel_of(rows, "hcep", feature)
        assert [row["clip"] for row in own] == run.clip[clips].tolist()
        assert (own[0]["silhouette"], own[0]["auroc"]) == (
            pytest.approx(silhouette, abs=1e-4),
            pytest.approx(auroc, abs=0.01),
        )


def test_t_sne_takes_one_thread_a_fixed_seed_and_the_principal_components(
    runs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = []

    class Noting(embedding.TSNE):
        def fit_transform(self, values: Any, y: Any = None) -> Any:
            noted.append((max(pool["num_threads"] for pool in threadpool_info()), self.random_state, self.init))
            return super().fit_transform(values, y)

    monkeypatch.setattr(embedding, "TSNE", Noting)
    with threadpool_limits(2):
        fig8_rows(runs[:1])
        assert max(pool["num_threads"] for pool in threadpool_info()) == 2
    assert noted == [(1, 0, "pca")]


def test_many_clips_are_thinned_for_the_picture_not_for_the_numbers(
    runs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fig8_rows(runs[:1])
    monkeypatch.setattr(embedding, "MOST", 20)
    few = fig8_rows(runs[:1])
    assert MOST > len(whole) == sum(TESTED.values()) and len(few) == 20
    assert {row["clip"] for row in few} < {row["clip"] for row in whole}
    for name in ("silhouette", "auroc", "clips"):
        assert few[0][name] == whole[0][name]
    assert (few[0]["perplexity"], whole[0]["perplexity"]) == (round(19 / 3, 2), round((len(whole) - 1) / 3, 2))


def test_features_that_are_all_the_same_are_one_point(tmp_path: Path) -> None:
    scores = the_scores("m")
    flat = {name: np.ones_like(value) for name, value in scores.features.items()}
    rows = fig8_rows([write_run(tmp_path, scores._replace(features=flat))])
    assert {(row["x"], row["y"], row["auroc"]) for row in rows} == {(0, 0, 50)}


def test_a_feature_that_is_not_finite_names_the_clip(tmp_path: Path) -> None:
    scores = the_scores("m")
    at = scores.clip.tolist().index("fear test 03")
    scores.features["fused"][at, 2] = np.nan
    with pytest.raises(HcepError, match="clip fear test 03: a fused feature of m is not finite"):
        fig8_figure([write_run(tmp_path, scores)])


@pytest.mark.parametrize(
    ("name", "kept"), [("fig8", ("text", "audio")), ("fig8", ()), ("fig6", ()), ("fig6", ("fused",))]
)
def test_runs_without_the_features(name: str, kept: tuple[str, ...], runs: list[Path], tmp_path: Path) -> None:
    poor = write_run(tmp_path, the_scores("poor", features=kept))
    with pytest.raises(HcepError, match=r"no run of k3u2, split1 has (fused features|features of text, vision, audio)"):
        DRAW[name]([poor])
    # beside others, it is named and left out
    figure = DRAW[name]([*runs[:1], poor])
    assert "poor" in figure.get_suptitle()
    assert {row["method"] for row in ROWS[name]([*runs[:1], poor])} == {"hcep"}


def test_a_modality_that_no_clip_has_takes_no_panel(tmp_path: Path) -> None:
    scores = the_scores("m")
    folder = write_run(tmp_path, scores._replace(flags=["no_text"] * len(scores.clip)))
    assert [ax.get_title() for ax in fig6_figure([folder]).subfigs[0].axes] == ["vision", "audio"]
    folder = write_run(tmp_path, scores._replace(flags=["no_text;no_video;no_audio"] * len(scores.clip)))
    with pytest.raises(HcepError, match="has features of at least 4 test clips of joy and envy"):
        fig6_figure([folder])


# --- example clips -------------------------------------------------------------------------------------------------


def test_fig5_takes_the_clip_nearest_to_the_median(runs: list[Path], indexes: list[Path]) -> None:
    rows, run = fig5_rows([*runs, *indexes]), the_scores("hcep", frozen=1)
    shown = dict.fromkeys((row["label"], row["clip"]) for row in rows)
    assert [label for label, _ in shown] == ["joy", "anger", "fear", "envy", "shame"]
    for label, clip in shown:
        own = {name: score for name, score, its, part in zip(run.clip, run.score, run.label, run.part, strict=True)
               if (its, part) == (label, "test")}  # fmt: skip
        middle = float(np.median(list(own.values())))
        assert clip == min(own, key=lambda name: (round(abs(own[name] - middle), 9), name))
    assert {row["dataset"] for row in rows if row["label"] == "shame"} == {"two"}
    assert set(rows[0]) == set(fig5.COLUMNS)


def test_fig5_decides_by_the_default_threshold(runs: list[Path], indexes: list[Path]) -> None:
    rows = fig5_rows([*runs, *indexes])
    assert [row["method"] for row in rows[:4]] == ["hcep", "arpl_mm", "linear_msp", "arpl"]
    for row in rows:
        run = the_scores(row["method"], frozen=int(row["method"] == "hcep"))
        at = run.clip.tolist().index(row["clip"])
        assert (row["prediction"], row["score"]) == (run.prediction[at], run.score[at])
        assert row["decision"] == (run.prediction[at] if run.score[at] >= 0.5 else "unknown")
        assert row["right"] == str(row["decision"] == (row["label"] if run.known[at] else "unknown")).lower()
    assert {row["right"] for row in rows} == {"true", "false"}


def test_fig5_shows_frames_words_and_decisions_of_the_clip(runs: list[Path], indexes: list[Path]) -> None:
    figure, rows = fig5_figure([*runs, *indexes], "demo"), fig5_rows([*runs, *indexes])
    # the first is a strip of six frames with a white line between two
    strip = np.asarray(figure.axes[0].images[0].get_array())
    assert strip.shape == (12, 6 * 12 + 5, 3)
    frames = frames_of(rows[0]["clip"])
    assert rows[0]["frames"] == "0 1 3 4 6 7"
    assert all(np.array_equal(strip[:, 13 * i : 13 * i + 12], frames[at]) for i, at in enumerate((0, 1, 3, 4, 6, 7)))
    written = [text.get_text() for text in texts(figure)]
    assert "joy (known)" in written and "shame (unknown)" in written and "no words" in written
    assert "words in a script that the font lacks: see the table beside" in written
    assert {row["words"] for row in rows if row["label"] == "envy"} == {"他们很高兴"}
    cut = next(text for text in written if text.startswith(f"“{rows[0]['clip']} says"))
    assert cut.endswith(" …”") and len(cut) <= fig5.WIDTH and len(rows[0]["words"]) > fig5.WIDTH
    assert {row["seconds"] for row in rows} == {0.05}
    marks = "\n".join(written)
    for row in rows:
        assert f"{'✓' if row['right'] == 'true' else '✗'} {row['decision']}: " in marks


def test_fig5_of_a_clip_without_picture_and_sound(indexes: list[Path], tmp_path: Path) -> None:
    scores = the_scores("m")
    score = np.where(scores.clip == "envy test 06", 0.0, np.where(scores.clip < "envy test 03", -1.0, 1.0))
    folder = write_run(tmp_path, scores._replace(score=score))
    assert "envy test 06" in {row["clip"] for row in fig5_rows([folder, *indexes])}
    written = [text.get_text() for text in texts(fig5_figure([folder, *indexes]))]
    assert written.count("no video") == 1


def test_fig5_faulty_sources(runs: list[Path], indexes: list[Path], tmp_path: Path) -> None:
    with pytest.raises(HcepError, match=r"no index\.h5 to read clips from"):
        fig5_figure(runs)
    with pytest.raises(HcepError, match=r"clip 'shame test \d\d' is not in the index"):
        fig5_figure([*runs, indexes[0]])
    with pytest.raises(HcepError, match=r"scores\.h5: is missing\. Remedy: run the score step"):
        fig5_figure([tmp_path / "none", *indexes])
    (runs[0] / "thresholds.csv").write_text("acceptance,threshold,default\n0.5,1,false\n")
    with pytest.raises(HcepError, match=r"hcep/thresholds\.csv: its content does not match its digest"):
        fig5_figure([*runs, *indexes])
    reseal(runs[0] / "thresholds.csv")
    with pytest.raises(HcepError, match=r"hcep/thresholds\.csv: 0 default thresholds.*put 0\.95 into"):
        fig5_figure([*runs, *indexes])


def test_fig5_without_a_shard(runs: list[Path], indexes: list[Path]) -> None:
    folder = indexes[0].parent / "frames"
    hidden = folder.rename(folder.with_name("away"))
    try:
        with pytest.raises(HcepError, match=r"frames/\d{3}-of-002\.h5: is missing. Remedy: run the workflow"):
            fig5_figure([*runs, *indexes])
    finally:
        hidden.rename(folder)
