"""Work through a shard's clips source by source: each media file is opened once for all its segments."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from hcep.container import MachineFault, MediaError
from hcep.datasets.manifest_file import Clip
from hcep.media.shards import Row

Rows = list[tuple[int, Row]]
# a source and the positions of its clips
Job = tuple[str, list[int]]


def read_sources(
    clips: Sequence[Clip], column: str, read: Callable[[str, list[int]], Rows], threads: int, flag: str = ""
) -> Iterator[tuple[int, Row]]:
    """Rows of all clips.

    Parameters
    ----------
    clips : sequence of Clip
        Of one shard.
    column : str
        video, audio or faces: where a clip's source stands.
    read : callable
        From a source and the positions of its clips to rows; a `MediaError` concerns all of them.
    threads : int
        Sources read at once.
    flag : str
        Of a clip that the manifest flags so there is nothing to read; no_video or no_audio, after the column.

    Raises
    ------
    MachineFault
        With the clip, when one could not be read for a reason outside it.
    """
    flag = flag or f"no_{column}"
    sources: dict[str, list[int]] = {}
    for position, clip in enumerate(clips):
        sources.setdefault(getattr(clip, column), []).append(position)
    jobs = []
    for source, positions in sources.items():
        there = [p for p in positions if source and flag not in clips[p].flags.split(";")]
        for position in sorted(set(positions) - set(there)):
            yield position, Row(None, f"absent: the manifest names no {flag.removeprefix('no_')}")
        if there:
            jobs.append((source, there))

    def guarded(job: Job) -> Rows:
        try:
            return read(*job)
        except MediaError as error:
            row = Row(None, f"{'absent' if error.absent else 'failed'}: {error.reason}")
            return [(position, row) for position in job[1]]
        except MachineFault as error:
            place = f"clip {clips[job[1][0]].clip!r}"
            raise MachineFault(error.cause, file=error.file, row=place, remedy=error.remedy) from error

    for rows in _in_order(guarded, jobs, threads):
        yield from rows


def _in_order(work: Callable[[Job], Rows], jobs: Iterable[Job], threads: int) -> Iterator[Rows]:
    """`map` over threads that never holds more than a few results, so that memory stays flat."""
    if threads <= 1:
        yield from map(work, jobs)
        return
    waiting: deque[Future[Rows]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for job in jobs:
            waiting.append(pool.submit(work, job))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
