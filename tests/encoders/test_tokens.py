"""The tokeniser that is loaded without open_clip's package gives open_clip's tokens, whatever the text."""

from __future__ import annotations

import html
import random
import subprocess
import sys
from itertools import product

import torch
from open_clip.tokenizer import SimpleTokenizer
from small import small_encoders

from hcep.demo.corpus import plan_clips
from hcep.encoders.tokens import clip_tokenizer

MARKS = "<start_of_text>", "<end_of_text>", "<|endoftext|>", "</w>"
HOSTILE = [
    "", " ", "\n\t", "a" * 5000, "word " * 500, "ſt'S don'T I'LL we'VE 'D'RE", "naïve café ÅÅ ﬁ ǅ İ ı ß ẞ",
    "&amp;amp; &lt;b&gt; &#x1F600; &nbsp;&#0; &#xD800; &notit; &quot;", "<b>bold</b> &",
    "\x00\x01\x1b[31mred\x1b[0m\x7f",
    "âœ” No problems â€œquoteâ€\x9d", "LÃ¶we Ã¼ber ÐŸÑ€Ð¸Ð²ÐµÑ‚",
    "我赢了 これは 한국어 ไทย हिन्दी עברית العربية", "👩‍👩‍👧‍👦 🇩🇪 👍🏽 ☺️ 😀😀",
    "e\u0301 \u200b\u200d\u2060 \ufeff \u202e abc", "１２３ ½ ² Ⅷ ٣ 1,234.5", "\ud800", "a\u2028b\u2029c\x85d\u3000e",
    "“curly” ‘quotes’ — – … ´ `", "ALL CAPS! ?!?! $%^*()_+", *MARKS, *map(str.upper, MARKS), "x<end_of_text>y",
]  # fmt: skip


def texts() -> list[str]:
    """Hostile texts, the demo's transcripts, and 10,000 random strings from several scripts and kinds of characters."""
    draw = random.Random(7)
    blocks = [(32, 127), (0, 32), (0xA0, 0x250), (0x370, 0x530), (0x590, 0x700), (0x900, 0xE80), (0x2000, 0x2C00)]
    blocks += [(0x3000, 0x9FFF), (0xAC00, 0xD7A4), (0xF900, 0x10000), (0x10000, 0x1FFFF)]
    pieces = ["&lt;", "&amp;amp;", "'re", " ", "\n", "<end_of_text>", "&#128512;", "Ã©", "Qu'", "7", "’s"]
    found = []
    for _ in range(10_000):
        block = draw.choice(blocks)
        parts = [
            draw.choice(pieces) if draw.random() < 0.2 else chr(draw.randrange(*draw.choice([block, block, (97, 123)])))
            for _ in range(draw.randrange(1, 120 if draw.random() < 0.1 else 25))
        ]
        found.append("".join(parts))
    return [*HOSTILE, *(clip.sentence for clip in plan_clips(0)), *map(html.escape, HOSTILE), *found]


def test_tokens_are_open_clips():
    given, theirs, ours = texts(), SimpleTokenizer(), clip_tokenizer()
    differing = []
    for text in given:
        found = []
        for tokenizer in (theirs, ours):
            try:
                found.append(tokenizer.encode(text))
            except UnicodeEncodeError as error:  # half of a surrogate pair has no bytes
                found.append(str(error))
        if found[0] != found[1]:
            differing.append(text)
    assert not differing and len(given) > 10_000


def test_long_texts_are_cut_as_open_clip_cuts_them():
    given = ["word " * 500, "a short one", "", "house " * 75, "house " * 76, "ünïcödé " * 60]
    encoders = small_encoders()
    assert torch.equal(encoders.text.tokenize(given), SimpleTokenizer(context_length=77)(given))
    for context in (8, 77, 100):
        assert torch.equal(clip_tokenizer()(given, context), SimpleTokenizer(context_length=context)(given))
    assert encoders.text.tokenizer is clip_tokenizer()


def test_the_package_itself_is_not_imported_and_can_be_afterwards():
    code = (
        "import sys; from hcep.encoders.tokens import clip_tokenizer; t = clip_tokenizer(); "
        "assert not {'open_clip', 'torchvision', 'transformers', 'torch._dynamo'} & set(sys.modules); "
        "import open_clip; print(open_clip.tokenizer.SimpleTokenizer().encode('A man') == t.encode('A man'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def test_capitals_and_space_make_no_difference():
    encode = clip_tokenizer().encode
    for word, space in product(("Facial", "FACIAL", "facial"), (" ", "\n", "  \t ")):
        assert encode(f"{space}{word}{space}Expression") == encode("facial expression")
