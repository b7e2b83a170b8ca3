"""A program that decodes one stream of a media file and writes in which packets FFmpeg's libraries report errors.

It decodes content of unknown origin in its own process, so it runs as a child under limits (`hcep.packet_errors`), by
the path of this file; it needs nothing but PyAV.

Usage: python list_errors.py '{"path": ..., "kind": "video" or "audio", "number": n, "end": seconds, "options": {...}}'
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import av
from av.stream import Disposition

# of a stream that was cut between its pictures: one that was to be forgotten is not there, as it need not be
HARMLESS = "mmco: unref short failure"
# so many packets in a row behind the end are no damaged time stamps
BEHIND = 100


def list_errors(path: str, kind: str, number: int, end: float, options: dict[str, str]) -> dict[str, Any]:
    """Decode a stream in one thread, packet by packet.

    Parameters
    ----------
    path : str
        The file.
    kind, number
        The stream: video or audio, and which of that kind from 0; a cover picture is no video.
    end : float
        Where to stop, in seconds of the file's clock.
    options : mapping
        Of the demuxer.

    Returns
    -------
    dict
        `opening`: how many different errors in the file's structure were reported before its first packet. `base`: unit
        of the time stamps, numerator and denominator. Of each packet, in order of decoding: `stamps`, when it is shown;
        `keys`, whether decoding can begin with it; `bad`, whether reading or decoding it reported an error.
    """
    av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)
    stamps: list[int] = []
    keys: list[bool] = []
    bad: list[bool] = []
    with av.logging.Capture(local=False) as said, av.open(f"file:{path}", options=options) as container:
        listed = [s for s in getattr(container.streams, kind) if not s.disposition & Disposition.attached_pic]
        stream = listed[number]
        codec, base, behind = stream.codec_context, stream.time_base, 0
        if codec is None:
            sys.exit("PyAV has no decoder for it")
        codec.thread_type, codec.thread_count = "NONE", 1
        codecs = {s.codec_context.name for s in container.streams if s.codec_context}
        # opening decodes the first packets of every stream, and those of this one are decoded again below
        opening = {text for _, name, text in said if name not in codecs}
        others = codecs - {codec.name}

        def reported() -> bool:
            """Whether anything was said since the last call, not counting the parsers of other streams."""
            found = any(name not in others and not text.startswith(HARMLESS) for _, name, text in said)
            said.clear()
            return found

        reported()
        for packet in _packets(container, stream):
            behind = behind + 1 if packet.dts is not None and packet.dts * float(base) > end else 0
            if behind > BEHIND:
                break
            stamp = packet.pts if packet.pts is not None else packet.dts
            stamps.append(stamp if stamp is not None else stamps[-1] if stamps else 0)
            keys.append(packet.is_keyframe)
            bad.append(_fails(codec, packet) | reported())
        else:
            # the end of the file, and what is left in the decoder
            if (_fails(codec, None) | reported()) and bad:
                bad[-1] = True
    pair = [base.numerator, base.denominator]
    return {"opening": len(opening), "base": pair, "stamps": stamps, "keys": keys, "bad": bad}


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    """Packets that hold something."""
    try:
        yield from (packet for packet in container.demux(stream) if packet.size)
    except (IndexError, BlockingIOError):  # see `hcep.demux`
        return
    except av.error.FFmpegError as error:
        av.logging.log(av.logging.ERROR, "reading", str(error))


def _fails(codec: Any, packet: Any) -> bool:
    try:
        codec.decode(packet)
    except av.error.FFmpegError as error:
        if isinstance(error, MemoryError):
            raise
        return not isinstance(error, EOFError)
    return False


if __name__ == "__main__":
    json.dump(list_errors(**json.loads(sys.argv[1])), sys.stdout)
