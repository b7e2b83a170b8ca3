"""The clips in the middle of every cluster of rejected clips, and unknowns.csv of the task, as a page to look at."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hcep.errors import HcepError
from hcep.evaluation.scores import FEATURES
from hcep.evaluation.unknowns_summary import Found, read_unknowns
from hcep.figures.page import html_page, html_table, html_text
from hcep.figures.run_files import check_any, openness_title, read_rows
from hcep.figures.summary_table import common_notes, with_interval
from hcep.files import read_table, write_text
from hcep.media.shards import ABSENT
from hcep.media.store import Store, open_stores

# frames of a clip, and the side of a frame in pixels
FRAMES, SIDE = 3, 96
LETTERS = 160
COUNTS = ("rejected", "wrongly_rejected", "unknown_classes", "clusters", "cut")
SHOWN = ("unknown_chosen", "unknown_given", "all_chosen")
METRICS = ("ari", "nmi")
NEEDED = (
    *("openness", "method", *COUNTS, "ari_group", "note", "stand_in"),
    *(f"{place}_{metric}{part}" for place in SHOWN for metric in METRICS for part in ("", "_lo", "_hi")),
    *(f"{place}_ami" for place in SHOWN),
)
WARNING = "This is exploration, not a result: it may show what is in the rejected clips, and is no measure of a method."
DOUBTS = (
    "Every algorithm that cuts data into clusters finds some, also where there are none. So the clips are compared "
    "with single clouds of the same shape; where these look as clustered, one cluster is found, and the pieces below "
    "are only places to look at. The comparison finds clusters too seldom where there are few clips.",
    "Clips may lie together because of the speaker, the place or the recording, not the emotion: see the agreement "
    "with the groups of the clips. Those that lack the same modality lie together too.",
    "What is rejected depends on the threshold. Known clips are among it, wrongly rejected; unknown clips that were "
    "accepted are not. Two methods reject different clips, so their numbers are not to be compared.",
    "The features were made or trained for the known classes and may not hold what tells unknown ones apart.",
    "NMI grows with the number of clusters, also by chance, and with clips drawn twice: its interval lies too high. "
    "ARI and AMI are about 0 by chance. One label over several clusters lowers all three. An interval without width "
    "says that every draw gave the same, not that the value is certain.",
)
CSS = """
.warning { border-left: .3rem solid #D55E00; padding: .1rem .8rem; }
details { border-top: 1px solid #8886; padding: .2rem 0 1rem; } summary b { font-size: 1.05rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .2rem; }
.cards { display: flex; flex-wrap: wrap; gap: .8rem; margin-top: .6rem; }
.card { border: 1px solid #8886; border-radius: .4rem; padding: .5rem; width: 18.5rem; max-width: 100%;
  box-sizing: border-box; font-size: .85rem; overflow-wrap: anywhere; }
.strip { display: flex; gap: 2px; } .strip img { flex: 1 1 0; min-width: 0; width: 0; height: auto; }
.empty { border: 1px dashed #8888; text-align: center; padding: 1.6rem 0; opacity: .7; }
.card p { margin: .35rem 0 0; } .words { font-style: italic; }
.truth { border-top: 1px solid #8886; padding-top: .3rem; }
""".strip()


def write_unknowns_page(
    table: str | Path, runs: Sequence[str | Path], index: Sequence[str | Path], output: str | Path, *, task: str
) -> None:
    """Write the page for one task; the page loads nothing from elsewhere and shows the clips' frames and words.

    Parameters
    ----------
    table : path
        ``unknowns.csv`` of the task.
    runs : sequence of path
        Run folders with ``unknowns.csv``, ``unknowns.h5`` and ``scores.h5``: one a method, of one openness level, split
        and seed.
    index : sequence of path
        ``index.h5`` of every dataset of the task, each beside its shards.

    Raises
    ------
    HcepError
        A file is missing, unusable or stale, the runs are not of one level, split and seed, or a clip is not in the
        cache.
    """
    check_any(runs)
    folders = [Path(folder) for folder in runs]
    found = [read_unknowns(folder) for folder in folders]
    first = found[0].content
    for one, folder in zip(found, folders, strict=True):
        for name in ("task", "openness", "split", "seed"):
            if one.content[name] != first[name]:
                cause = f"{name} is {one.content[name]!r}, but {first[name]!r} in {folders[0]}"
                remedy = "name one run per method, all of one openness level, split and seed"
                raise HcepError(cause, file=folder / "unknowns.h5", remedy=remedy)
    store = open_stores([Path(path) for path in index])
    sections = [
        _method(one, _rows(folder / "unknowns.csv", one), store, opened=not place)
        for place, (one, folder) in enumerate(zip(found, folders, strict=True))
    ]
    where = f"{openness_title(first['openness'])}, {first['split']}, seed {first['seed']}"
    parts = [
        f"<h1>What is rejected in {html_text(task)}, in clusters</h1>",
        f'<p class="warning"><b>{html_text(WARNING)}</b></p>',
        f"<ul>{''.join(f'<li>{html_text(doubt)}</li>' for doubt in DOUBTS)}</ul>",
        "<h2>All runs</h2>",
        *_all_runs([row for _, row in read_rows(Path(table), NEEDED)]),
        f"<h2>Exemplars: {html_text(where)}</h2>",
        "<p>Of every cluster the clips nearest to its mean, of different groups as far as there are. The nearest known "
        "class is that of the nearest mean of training clips, feature by feature. True labels were seen neither by the "
        "method nor by the clustering.</p>",
        *sections,
    ]
    write_text(output, html_page(f"{task}: rejected clips", parts, css=CSS))


def _rows(file: Path, found: Found) -> list[dict[str, str]]:
    """The rejected clips of a run; a run may reject none."""
    if not file.is_file():
        raise HcepError("the file does not exist", file=file, remedy="run the unknowns step of this run again")
    rows = read_table(file)
    if len(rows) != found.content["n_rejected"]:
        cause = f"{len(rows)} rejected clips, but {found.content['n_rejected']} in unknowns.h5"
        raise HcepError(cause, file=file, remedy="run the unknowns step of this run again")
    return rows


def _all_runs(rows: Sequence[Mapping[str, str]]) -> list[str]:
    levels = list(dict.fromkeys(row["openness"] for row in rows))
    common, notes = common_notes(rows)
    head = ["openness", "method", *(name.replace("_", " ") for name in COUNTS)]
    head += ["ARI", "NMI", "AMI", "ARI, number given", "NMI, number given", "ARI, all rejected", "ARI with groups"]
    body = []
    for row, own in sorted(zip(rows, notes, strict=True), key=lambda item: levels.index(item[0]["openness"])):
        cells = [with_interval(row, f"unknown_chosen_{metric}") for metric in METRICS] + [row["unknown_chosen_ami"]]
        cells += [with_interval(row, f"unknown_given_{metric}") for metric in METRICS]
        cells += [with_interval(row, "all_chosen_ari"), row["ari_group"]]
        cells.append(own)
        body.append([row["openness"], row["method"], *(row[name] for name in COUNTS), *cells])
    facts = (
        "Means over splits and seeds; in brackets the bootstrap interval over groups of test clips, with the clusters "
        "as they are. Clusters: how many were found, 1 where one cloud looks as clustered; cut: into how many pieces "
        "the clips are cut at the largest mean silhouette, both without labels. ARI, NMI and AMI: agreement of these "
        "pieces with the true labels, over the rejected clips of unknown classes; number given: cut into as many "
        "pieces as these have labels; all rejected: wrongly rejected known clips as well. ARI with groups: agreement "
        "of the pieces with speakers or sources."
    )
    facts += "".join(f" All rows: {text}." for text in common)
    if any(row["stand_in"] == "true" for row in rows):
        facts += " Stand-in encoders or composite data: not comparable with published results."
    return [f"<p>{html_text(facts)}</p>", html_table([*head, "reason"], body, stay=2)]


def _method(found: Found, rows: Sequence[Mapping[str, str]], store: Store, *, opened: bool) -> str:
    """One method: what it rejects, and a block for every cluster."""
    content = found.content
    wrongly = content["wrongly_rejected"]
    text = f"{content['n_rejected']} of {content['n_known'] + content['n_unknown']} test clips rejected, "
    text += f"{content['n_rejected_unknown']} of {content['n_unknown']} of unknown classes. "
    text += f"Wrongly rejected: {_tally(wrongly)}. " if wrongly else ""
    if "clusters" not in content:
        text += f"Not clustered: {content['note']}."
    elif content["clusters"] > 1:
        text += f"{content['clusters']} clusters, more distinct than pieces of one cloud (p = {content['p']:.3f})."
    elif content["cut"] > 1:
        text += f"One cluster: the {content['cut']} pieces below are not more distinct than pieces of one cloud "
        text += f"(p = {content['p']:.3f})."
    else:
        text += "One cluster: every cut leaves single clips."
    blocks = [_cluster(entry, content, rows, store) for entry in content.get("of_clusters", [])]
    head = f"<summary><b>{html_text(content['method'])}</b></summary><p>{html_text(text)}</p>"
    return f"<details{' open' if opened else ''}>{head}{''.join(blocks)}</details>"


def _cluster(
    entry: Mapping[str, Any], content: Mapping[str, Any], rows: Sequence[Mapping[str, str]], store: Store
) -> str:
    word = "Cluster" if content["clusters"] > 1 else "Piece"
    groups = f"{entry['groups']} group{'s' * (entry['groups'] != 1)}"
    title = f"{word} {entry['cluster']} of {content['cut']}: {entry['clips']} clips of {groups}"
    lack = f" Flags: {_tally(entry['flags'])}." if entry["flags"] else ""
    near = [f"{name}: {_tally(entry[f'nearest_{name}'])}" for name in FEATURES if entry.get(f"nearest_{name}")]
    truth = f"{_tally(entry['labels'])} (purity {entry['purity']:.2f})" if entry["labels"] else "none"
    own = [row for row in rows if row["cluster"] == str(entry["cluster"]) and row["exemplar"] == "true"]
    return (
        f"<h3>{html_text(title)}</h3>"
        f'<p class="caption">Nearest known class by {html_text("; ".join(near))}.{html_text(lack)}<br>'
        f"True labels (not seen): {html_text(truth)}.</p>"
        f'<div class="cards">{"".join(_card(row, store) for row in own)}</div>'
    )


def _tally(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _card(row: Mapping[str, str], store: Store) -> str:
    """One exemplar."""
    clip = row["clip"]
    absent = store.flags([clip])[0].split(";")
    words = " ".join(store.texts([clip])[0].split())
    words = f"“{words if len(words) <= LETTERS else words[:LETTERS] + ' …'}”" if words else "no words"
    picture = '<div class="empty">no video</div>'
    if ABSENT["frames"] not in absent:
        picture = f'<div class="strip">{"".join(_pictures(store.frames([clip])[0], clip))}</div>'
    near = ", ".join(f"{row[f'nearest_{name}']} ({name})" for name in FEATURES if row[f"nearest_{name}"])
    truth = f"{row['label']}, a known class: wrongly rejected" if row["known"] == "true" else row["label"] or "none"
    silent = " No sound." if ABSENT["audio"] in absent else ""
    return (
        f'<div class="card">{picture}<p class="words">{html_text(words)}</p>'
        f"<p>{html_text(clip)}, group {html_text(row['group'])}.{silent} Would be {html_text(row['prediction'])}; "
        f"nearest: {html_text(near or 'none')}.</p>"
        f'<p class="truth">True label (not seen): <b>{html_text(truth)}</b></p></div>'
    )


def _pictures(frames: NDArray[np.uint8], clip: str) -> list[str]:
    """Frames (F, S, S, 3) of a clip as images within the page, evenly from the first to the last."""
    found = []
    for number in np.unique(np.linspace(0, len(frames) - 1, FRAMES).round().astype(int)).tolist():
        image, held = Image.fromarray(frames[number]), io.BytesIO()
        image.thumbnail((SIDE, SIDE))
        image.save(held, "JPEG", quality=85)
        data = base64.b64encode(held.getvalue()).decode()
        name = html_text(f"frame {number + 1} of {clip}")
        found.append(
            f'<img src="data:image/jpeg;base64,{data}" alt="{name}" width="{image.width}" height="{image.height}">'
        )
    return found
