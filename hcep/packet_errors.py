"""Where in a file ffmpeg reports errors that it conceals, for files of which it reported any.

What ffmpeg prints differs from run to run: its parts run side by side, and a pass that has its frames ends somewhere
behind them. So the libraries that it consists of decode such a file once more, by PyAV, in one thread and packet by
packet: each packet that is read or decoded with an error counts once, and the number is always the same.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hcep import list_errors
from hcep.concealed import concealed_note, uncounted_note
from hcep.container import MachineFault, MediaError
from hcep.decoder import Limits, blame, run_child
from hcep.probe import FORMATS, MAX_PIXELS, PROTOCOLS

PROGRAM = Path(list_errors.__file__)


class PacketErrors(NamedTuple):
    """Errors in one stream of a file.

    In order of decoding, of each packet: when it is shown, in seconds of the file's clock, float64 (n,); whether
    decoding can begin with it; whether it had an error, bool (n,). `opening` is the number of errors in the file's
    structure, `fault` why nothing of this is known ('' = it is).
    """

    times: np.ndarray
    keys: np.ndarray
    bad: np.ndarray
    opening: int = 0
    fault: str = ""

    def between(self, first: float, last: float) -> int:
        """Errors that can bear on what is shown from `first` to `last` seconds: since the key frame before `first`."""
        begins = np.flatnonzero(self.keys & (self.times <= first))
        ends = np.flatnonzero(self.times <= last)
        begin, stop = int(begins.max(initial=0)), int(ends.max(initial=-1)) + 1
        if stop <= begin:
            return self.opening
        # pictures that are decoded behind a key frame and shown before it need what came before it
        used = self.times[begin:stop] >= self.times[begin]
        return self.opening + int((self.bad[begin:stop] & used).sum())

    def note(self, first: float, last: float, part: str) -> str:
        """What is to be told of a clip, whose `part` is picture or sound; '' where there is nothing."""
        if self.fault:
            return uncounted_note(part, self.fault)
        return concealed_note(self.between(first, last), part)


def packet_errors(path: Path, kind: str, number: int, *, end: float, limits: Limits) -> PacketErrors:
    """Decode a stream of a file up to a time and tell which of its packets have errors.

    Parameters
    ----------
    path : path
        The file.
    kind : {"video", "audio"}
        Of the stream.
    number : int
        Which of this kind, from 0, cover pictures left out.
    end : float
        Seconds of the file's clock.
    limits : Limits
        What this may use.

    Returns
    -------
    PacketErrors
        With a `fault` where the content stops this as well, as when it takes too long.

    Raises
    ------
    MachineFault
        When it was stopped from outside.
    """
    allowed = {"format_whitelist": FORMATS, "protocol_whitelist": PROTOCOLS, "max_pixels": str(MAX_PIXELS)}
    asked = {"path": str(path), "kind": kind, "number": number, "end": end, "options": allowed}
    command = [sys.executable, "-P", str(PROGRAM), json.dumps(asked)]
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        try:
            ended = run_child(command, limits, stdin=subprocess.DEVNULL, stdout=output, stderr=errors)
        except OSError as error:
            raise MachineFault(f"Python could not be started: {error}", file=command[0], remedy="run again") from error
        errors.seek(0)
        said = errors.read(65536)
        try:
            blame(ended, said, limits, path)
            if ended.status:
                last = said.decode("utf-8", "replace").strip().splitlines()[-1:]
                raise MediaError(last[0].replace(str(path), "file") if last else "no message", file=path)
        except MediaError as error:
            nothing = np.zeros(0, bool)
            return PacketErrors(np.zeros(0), nothing, nothing, fault=error.reason)
        output.seek(0)
        found = json.load(output)
    numerator, denominator = found["base"]
    times = np.array(found["stamps"], np.int64) * (numerator / denominator)
    return PacketErrors(times, np.array(found["keys"], bool), np.array(found["bad"], bool), found["opening"])
