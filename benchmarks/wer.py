"""Word error rate of speech recognition on RAVDESS takes, whose two statements are known; prints one JSON line.

Usage: python benchmarks/wer.py RELEASE WHISPER [--device cpu]
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import h5py

from hcep.datasets.build import build_manifest
from hcep.media.transcribe import transcribe

STATEMENTS = {"01": "kids are talking by the door", "02": "dogs are sitting by the door"}


def words(text: str) -> list[str]:
    """Lower case, no punctuation."""
    return re.sub(r"[^a-z' ]", "", text.lower()).split()


def edits(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    """Levenshtein distance in words."""
    row = list(range(len(hypothesis) + 1))
    for i, wanted in enumerate(reference, 1):
        previous, row[0] = row[0], i
        for j, got in enumerate(hypothesis, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (wanted != got))
    return row[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("release", type=Path, help="folder with the actors' folders")
    parser.add_argument("whisper", help="Whisper model id or folder")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        manifest, output = Path(folder) / "manifest.tsv", Path(folder) / "text.h5"
        build_manifest("ravdess", args.release, "ravdess", {"text": "asr"}, manifest)
        start = time.perf_counter()
        transcribe(manifest, args.release, "000-of-001", output, source="asr", model=args.whisper, device=args.device)
        seconds = time.perf_counter() - start
        with h5py.File(output) as file:
            heard = dict(zip(file["clip"].asstr()[:], file["text"].asstr()[:], strict=True))
    pairs = [(words(STATEMENTS[clip.split("-")[4]]), words(text)) for clip, text in heard.items()]
    wrong = sum(edits(*pair) for pair in pairs)
    total = sum(len(reference) for reference, _ in pairs)
    result = {
        "benchmark": "wer",
        "model": Path(args.whisper).name,
        "device": args.device,
        "clips": len(pairs),
        "words": total,
        "word_error_rate": wrong / total,
        "clips_without_error": sum(reference == hypothesis for reference, hypothesis in pairs),
        "seconds": round(seconds, 1),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
