"""The page of rejected clips: what it says and shows, and that a browser asks nobody for anything."""

from __future__ import annotations

import base64
import html
import io
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from browser import Browser
from PIL import Image
from reseal import reseal
from sample_scores import make_scores

from hcep.datasets.manifest_file import Clip, write_manifest
from hcep.errors import HcepError
from hcep.evaluation import clusters as clusters_module
from hcep.evaluation.scores import write_scores
from hcep.evaluation.unknowns import unknowns
from hcep.evaluation.unknowns_summary import unknowns_summary
from hcep.figures.unknowns_page import write_unknowns_page
from hcep.files import read_table
from hcep.media.index import index_cache
from hcep.media.shards import Row, write_shard

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SHARD = "000-of-001"


def frames_of(number):
    """Four frames of one colour, a shade darker each."""
    return np.stack([np.full((128, 128, 3), 40 + number - 10 * i, np.uint8) for i in range(4)])


def scores_of(method, apart, **fields):
    """A run whose unknown clips lie in two places, or all in one; every seventh clip lacks its picture."""
    scores = make_scores(n=20)
    random = np.random.default_rng(1)
    side = np.array([{"disgust": 1, "shame": -1}.get(name, 0) for name in scores.label.tolist()])
    values = random.normal(size=(60, 12)) + apart * side[:, None]
    score = np.where(scores.known | (scores.part == "train"), 1.0, -1.0)
    flags = np.where(np.arange(60) % 7 == 3, "no_video", "")
    features = {"text": values.astype(np.float32)}
    return scores._replace(method=method, features=features, score=score, flags=flags, **fields)


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """The cache of the clips; words that look like HTML, and none for every fifth clip."""
    root, scores = tmp_path_factory.mktemp("cache"), scores_of("hcep", 3)
    ids = scores.clip.tolist()
    clips = [Clip(c, "corpus", f"{c}.mp4", f"{c}.mp4", group=c, label="x", labels="x", fold="test") for c in ids]
    write_manifest(root / "manifest.tsv", clips)
    absent, shards = Row(None, "absent: none"), {}
    no_video = scores.flags == "no_video"
    words = [(f"<b>words</b> of {i} " + "on and " * 40, "caption") if i % 5 else None for i in range(60)]
    parts = {
        "frames": ([absent if no_video[i] else Row(frames_of(i)) for i in range(60)], (4, 128, 128, 3), np.uint8),
        "audio": ([Row(np.full(800, 9, np.int16), samples=800) for _ in ids], (800,), np.int16),
        "text": ([Row(pair) if pair else absent for pair in words], (), None),
    }
    for kind, (rows, shape, dtype) in parts.items():
        path = root / kind / f"{SHARD}.h5"
        path.parent.mkdir()
        write_shard(path, kind, ids, enumerate(rows), {}, shape=shape, dtype=dtype and np.dtype(dtype))
        shards[kind] = [path]
    index_cache(root / "manifest.tsv", shards, root / "index.h5", root / "qc.tsv")
    return root / "index.h5"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run with two clear clusters, one with a single cloud, one that rejects nothing; and their table."""
    root, folders = tmp_path_factory.mktemp("runs"), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clusters_module, "REFERENCES", 39)
        for scores in (scores_of("hcep", 3), scores_of("arpl_mm", 0), scores_of("<i>calm</i>", 3)):
            folder = root / str(len(folders))
            if scores.method == "<i>calm</i>":
                scores = scores._replace(score=np.ones(60))
            write_scores(folder / "scores.h5", scores)
            files = [folder / f"unknowns.{ending}" for ending in ("csv", "json", "h5")]
            unknowns(folder / "scores.h5", *files, replicates=20)
            folders.append(folder)
    unknowns_summary(folders, "demo", root / "unknowns.csv")
    return folders


@pytest.fixture(scope="module")
def page(runs, index):
    path = runs[0].parent / "unknowns.html"
    write_unknowns_page(runs[0].parent / "unknowns.csv", runs, [index], path, task="demo")
    return path


def text_of(page):
    return html.unescape(re.sub("<.*?>", " ", page.read_text(encoding="utf-8").partition("</style>")[2]))


def test_it_says_what_it_is_and_what_to_doubt(page):
    text = text_of(page)
    assert text.index("exploration, not a result") < text.index("All runs")
    assert "speaker" in text and "Stand-in encoders or composite data: not comparable" in text
    source = page.read_text(encoding="utf-8")
    assert "<script" not in source and "&lt;i&gt;calm&lt;/i&gt;" in source and "<b>words</b>" not in source


def test_every_cluster_shows_its_exemplars(page, runs):
    text = text_of(page)
    assert "2 clusters, more distinct than pieces of one cloud" in text and "Cluster 2 of 2" in text
    assert re.search(r"One cluster: .* not more distinct than pieces|One cluster: every cut leaves single clips", text)
    assert "0 of 40 test clips rejected, 0 of 20 of unknown classes. Not clustered: 0 rejected clips, too few" in text
    shown = [row for run in runs for row in read_table(run / "unknowns.csv") if row["exemplar"] == "true"]
    source = page.read_text(encoding="utf-8")
    cards = source.split('<div class="card">')[1:]
    assert len(cards) == len(shown) >= 9
    for card, row in zip(cards, shown, strict=True):
        number = int(row["clip"].split()[1])
        assert row["clip"] in card and f"True label (not seen): <b>{row['label']}</b>" in card
        assert f"nearest: {row['nearest_text']} (text)." in card
        assert ("no words" in card) == (number % 5 == 0) and ("no video" in card) == (row["flags"] == "no_video")
        pictures = re.findall(r'src="data:image/jpeg;base64,(.*?)"', card)
        assert len(pictures) == (0 if row["flags"] else 3)
        for held, place in zip(pictures, (0, 2, 3), strict=False):
            image = Image.open(io.BytesIO(base64.b64decode(held)))
            assert max(image.size) <= 96
            assert abs(int(np.asarray(image)[40, 40, 0]) - int(frames_of(number)[place, 0, 0, 0])) <= 2


def test_the_table_has_the_numbers_of_the_task(page, runs):
    (row, *_), text = read_table(runs[0].parent / "unknowns.csv"), text_of(page)
    value = "{unknown_chosen_ari} [{unknown_chosen_ari_lo}, {unknown_chosen_ari_hi}]".format(**row)
    assert float(row["unknown_chosen_ari"]) > 0.9 and value in text


def test_it_can_be_read_on_a_narrow_screen_and_asks_nobody(page, tmp_path):
    if CHROMIUM is None:
        pytest.skip("no Chromium on PATH")
    browser = Browser(CHROMIUM, tmp_path)
    try:
        browser.open(page.as_uri())
        for width in (390, 1280):
            browser.call(
                "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False
            )
            assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert browser.evaluate("[...document.images].every(image => image.complete && image.naturalWidth === 96)")
        assert browser.evaluate("document.images.length") > 10
        asked = [url for url in browser.requests() if not url.startswith("data:image/jpeg;base64,")]
        assert asked == [page.as_uri()] and browser.complaints() == []
    finally:
        browser.close()


def test_runs_that_do_not_belong_together_and_stale_tables_are_refused(runs, index, tmp_path):
    table, output = runs[0].parent / "unknowns.csv", tmp_path / "unknowns.html"
    folder = Path(shutil.copytree(runs[0], tmp_path / "other"))
    rows = (folder / "unknowns.csv").read_text().splitlines()
    (folder / "unknowns.csv").write_text("\n".join(rows[:-1]) + "\n")
    with pytest.raises(HcepError, match="does not match its digest"):
        write_unknowns_page(table, [folder], [index], output, task="demo")
    reseal(folder / "unknowns.csv")
    with pytest.raises(HcepError, match=rf"{len(rows) - 2} rejected clips, but {len(rows) - 1} in unknowns\.h5"):
        write_unknowns_page(table, [folder], [index], output, task="demo")
    (folder / "unknowns.csv").unlink()
    with pytest.raises(HcepError, match=r"unknowns\.csv: the file does not exist"):
        write_unknowns_page(table, [folder], [index], output, task="demo")
    write_scores(folder / "scores.h5", scores_of("linear_msp", 3, split="split2"))
    unknowns(folder / "scores.h5", *(folder / f"unknowns.{e}" for e in ("csv", "json", "h5")), replicates=20)
    with pytest.raises(HcepError, match="split is 'split2', but 'split1'"):
        write_unknowns_page(table, [runs[0], folder], [index], output, task="demo")
    assert not output.exists()
