"""The server of the page answers as `Model` does, to its own page alone, and keeps nothing."""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote, urlsplit

import numpy as np
import pytest
from PIL import Image
from sample_page import LIMIT

from hcep.cli import main
from hcep.errors import HcepError
from hcep.inference.clips import clip_of
from hcep.page import server
from hcep.page.server import HEADERS, WORDS, prepare


def ask(address: str, name: str = "", body=None, **headers):
    """Status, headers and content of one request; a list as body is sent in pieces, without its length."""
    place = urlsplit(address)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=30)
    try:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        method = "GET" if body is None else "POST"
        pieces = iter(body) if isinstance(body, list) else body
        connection.request(method, place.path + name, pieces, named, encode_chunked=isinstance(body, list))
        reply = connection.getresponse()
        content = reply.read()
        found = json.loads(content) if reply.headers["content-type"] == "application/json" else content
        return reply.status, reply.headers, found
    finally:
        connection.close()


def test_the_answer_is_the_models_and_the_frames_are_those_it_saw(served):
    words = "we made it home; “ж” 100 %"
    (media,) = served.model.read([clip_of(served.clip, text=words)])
    (own,) = served.model.answer([media])
    status, _, found = ask(served.address, "answer", served.clip.read_bytes(), x_words=quote(words))
    assert status == 200 and found["answered"] and found["text"] == words
    assert (found["score"], found["nearest"], found["probabilities"]) == (own.score, own.nearest, own.probabilities)
    assert found["modalities"] == ["text", "vision", "audio"]
    pictures = [Image.open(io.BytesIO(base64.b64decode(one.partition(",")[2]))) for one in found["frames"]]
    assert (np.stack([np.asarray(one) for one in pictures]) == media.frames).all()
    wave = media.waveform[: media.samples] / 32768
    sound = found["sound"]
    assert sound["seconds"] == media.samples / 16000 and len(sound["low"]) == len(sound["high"]) == 480
    assert min(sound["low"]) == pytest.approx(wave.min(), abs=1e-4)
    assert max(sound["high"]) == pytest.approx(wave.max(), abs=1e-4)


def test_the_training_scores_are_those_of_the_model(served):
    _, _, found = ask(served.address, "facts")
    assert found["scores"] == sorted(served.model.training_scores, reverse=True)
    own = zip(served.model.training_scores, served.model.training_classes, strict=True)
    assert sorted(zip(found["scores"], found["labels"], strict=True)) == sorted(own)
    assert "stand in" in found["warning"] and found["unknown_classes"] == ["fear", "sadness"]
    status, _, card = ask(served.address, "card")
    assert status == 200 and card == (served.model.folder / "README.md").read_bytes()


def test_a_clip_lies_in_a_private_folder_for_as_long_as_it_is_read(served, monkeypatch):
    seen, read = [], served.model.read

    def looking(clips, **limits):
        file = Path(clips[0].video)
        seen.append((file, stat.S_IMODE(file.parent.stat().st_mode), file.read_bytes(), clips[0].clip))
        return read(clips, **limits)

    monkeypatch.setattr(served.model, "read", looking)
    for _ in range(2):
        assert ask(served.address, "answer", served.clip.read_bytes())[0] == 200
    (first, mode, content, name), (second, *_) = seen
    assert first.is_relative_to(served.temporary) and first.parent != second.parent and mode == 0o700
    assert content == served.clip.read_bytes() and name == "clip"
    assert [*served.temporary.iterdir()] == []


def test_clips_are_answered_one_at_a_time(served, monkeypatch):
    busy, most, read = [], [], served.model.read

    def counting(clips, **limits):
        busy.append(clips)
        most.append(len(busy))
        time.sleep(0.05)  # long enough for the others to come in, if they were let
        found = read(clips, **limits)
        busy.pop()
        return found

    monkeypatch.setattr(served.model, "read", counting)
    with ThreadPoolExecutor(3) as pool:
        found = [*pool.map(lambda _: ask(served.address, "answer", served.clip.read_bytes()), range(3))]
    assert most == [1, 1, 1] and len({one[2]["score"] for one in found}) == 1


def test_a_file_that_is_no_media_gets_its_reason_without_a_path(served):
    for content in (b"no film", b"", b"#EXTM3U\n/etc/passwd\n"):
        status, _, found = ask(served.address, "answer", content)
        assert status == 200 and not found["answered"] and found["score"] is None and found["frames"] == []
        assert found["notes"][0].startswith("Picture and sound: ") and str(served.temporary) not in str(found)
    assert [*served.temporary.iterdir()] == []


def test_too_large_a_body_is_refused_before_it_is_stored(served, monkeypatch):
    most = ask(served.address, "answer", [bytes(LIMIT)])
    assert most[0] == 200 and not most[2]["answered"]
    status, _, found = ask(served.address, "answer", [bytes(LIMIT), b"x"])
    assert status == 413 and "larger than 0.3 MB" in found["error"]
    assert [*served.temporary.iterdir()] == []
    made = []
    monkeypatch.setattr(server, "TemporaryDirectory", made.append)
    assert ask(served.address, "answer", bytes(LIMIT + 1))[0] == 413 and made == []


@pytest.mark.parametrize(
    "headers, status",
    [
        ({"host": "example.org"}, 421),
        ({"host": "127.0.0.1"}, 421),
        ({"origin": "http://example.org"}, 403),
        ({"origin": "null"}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
    ],
)
def test_another_site_gets_nothing(served, headers, status, monkeypatch):
    monkeypatch.setattr(server, "TemporaryDirectory", None)
    found = ask(served.address, "answer", b"x", **headers)
    assert found[0] == status and found[2]["error"]
    assert all(found[1][name] == value for name, value in HEADERS.items())


def test_only_the_address_that_was_printed_is_answered(served):
    base, word = re.fullmatch(r"(http://127\.0\.0\.1:\d+/)([\w-]{24})/", served.address).groups()
    for wrong in (base, f"{base}{word[:-1]}/", f"{base}{word}x/", f"{base}%00/", f"{base}../{word[::-1]}/"):
        for name in ("", "facts", "card", "page.js"):
            status, headers, found = ask(wrong, name)
            assert status == 404 and b"hcep" not in (found if isinstance(found, bytes) else b"")
            assert all(headers[key] == value for key, value in HEADERS.items())
    for name in ("..%2Fserver.py", "../server.py", "page.py", "%2e%2e/model.json"):
        assert ask(served.address, name)[0] == 404
    assert ask(served.address, "answer")[0] == 405
    status, headers, found = ask(served.address)
    assert status == 200 and b"<script src" in found and headers["content-type"].startswith("text/html")
    assert all(headers[key] == value for key, value in HEADERS.items()) and "server" not in headers


def test_words_that_cannot_be_are_told(served):
    content = served.clip.read_bytes()
    status, _, found = ask(served.address, "answer", content, x_words="no", x_words_kind="subtitle")
    assert status == 400 and "text_kind" in found["error"]
    status, _, found = ask(served.address, "answer", content, x_words="a" * (WORDS + 1))
    assert status == 400 and f"{WORDS} characters" in found["error"]
    _, _, found = ask(served.address, "answer", content, x_words="no", x_words_kind="caption")
    assert found["notes"][0].startswith("Its words are a caption; the model was trained with words of the kind")


def test_an_error_of_the_program_is_told_and_the_page_goes_on(served, monkeypatch, caplog):
    with monkeypatch.context() as patched:
        patched.setattr(served.model, "answer", lambda media: 1 / 0)
        status, headers, found = ask(served.address, "answer", served.clip.read_bytes())
    assert status == 500 and found["error"].startswith("ZeroDivisionError") and "nosniff" in str(headers)
    assert [*served.temporary.iterdir()] == []
    end = time.monotonic() + 30
    while "ZeroDivisionError: division" not in caplog.text:  # written behind the response
        assert time.monotonic() < end
        time.sleep(0.02)
    assert ask(served.address, "answer", served.clip.read_bytes())[0] == 200


def test_what_cannot_be_served_is_refused(served, trained, capsys, monkeypatch):
    taken = urlsplit(served.address).port
    with pytest.raises(HcepError, match=f"port {taken} cannot be used"):
        prepare(served.model, port=taken)
    with pytest.raises(HcepError, match="port 70000 cannot be used"):
        prepare(served.model, port=70000)
    for limits in ({"max_mb": 0}, {"timeout": -1}, {"max_mb": float("inf")}):
        with pytest.raises(HcepError, match="give a number above 0"):
            prepare(served.model, **limits)
    assert main(["page"]) == 1
    assert "hcep page model/" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["page", str(trained.model("hcep"))]) == 1
    assert "needs uvicorn, which is not installed. Remedy: run `pip install 'hcep[page]'`" in capsys.readouterr().err


def start(trained, temporary: Path, *more: str) -> tuple[subprocess.Popen, str]:
    """`hcep page` as a program of its own, and its address."""
    command = [sys.executable, "-m", "hcep.cli", "page", str(trained.model("arpl_mm")), "--device", "cpu", *more]
    started = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": str(temporary)}
    )
    return started, started.stdout.readline().split()[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_end_of_the_program_leaves_nothing(trained, tmp_path, number):
    program, address = start(trained, tmp_path)
    assert ask(address, "answer", trained.media("fear_4").read_bytes())[2]["answered"]
    # a clip of which half has come
    place = urlsplit(address)
    connection = http.client.HTTPConnection(place.hostname, place.port)
    connection.putrequest("POST", f"{place.path}answer")
    connection.putheader("Content-Length", "1000")
    connection.endheaders(b"x" * 500)
    end = time.monotonic() + 30
    while not [*tmp_path.glob("hcep-page-*/clip")] and time.monotonic() < end:
        time.sleep(0.02)
    assert len([*tmp_path.iterdir()]) == 1
    program.send_signal(number)
    out, said = program.communicate(timeout=30)
    connection.close()
    assert (program.returncode, out) == (0, "") and "Traceback" not in said
    assert [*tmp_path.iterdir()] == []


def test_a_clip_that_does_not_arrive_is_given_up(trained, tmp_path):
    program, address = start(trained, tmp_path, "--timeout", "0.3")
    try:
        place = urlsplit(address)
        connection = http.client.HTTPConnection(place.hostname, place.port, timeout=30)
        connection.putrequest("POST", f"{place.path}answer")
        connection.putheader("Content-Length", "1000")
        connection.endheaders(b"x" * 500)
        reply = connection.getresponse()
        assert reply.status == 408 and "longer than 0.3 s to arrive" in json.load(reply)["error"]
        connection.close()
        assert [*tmp_path.iterdir()] == []
    finally:
        program.send_signal(signal.SIGINT)
        program.communicate(timeout=30)
