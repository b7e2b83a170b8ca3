"""What the rules from a release to a cache ask."""

from __future__ import annotations

import functools
import json
import zlib
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hcep import registry
from hcep.config.entries import Dataset
from hcep.config.whole import Config
from hcep.datasets.faces import picture_paths
from hcep.datasets.manifest_file import Clip, read_manifest
from hcep.errors import HcepError
from hcep.files import sha256_file
from hcep.media.shards import shard_names, shard_of
from hcep.planning.contents import Contents
from hcep.planning.engine import Engine, Wildcards, settings_text, to_be_read
from hcep.planning.foreign import check_shard_count, check_shard_settings
from hcep.planning.rows import Rows
from hcep.provenance import stage_digest

KINDS = ("frames", "audio", "text")
# Snakemake looks at each input of each job; above so many files a shard of a release, their digest stands for them. No
# dataset of config/ has so many: shards whose inputs are others than before would be decoded again
MOST_INPUTS = 500


@functools.cache
def _clips_by_shard(path: str, stamp: int, shards: int) -> dict[str, list[Clip]]:
    groups: dict[str, list[Clip]] = {name: [] for name in shard_names(shards)}
    for clip in read_manifest(path):
        groups[shard_of(clip, shards)].append(clip)
    return groups


class ClipPlan:
    """Input and parameter functions of the rules that make manifests, shards, indices and features."""

    def __init__(self, config: Config, engine: Engine) -> None:
        self.config, self.engine = config, engine
        self._contents: dict[tuple[str, str], Contents] = {}
        self._rows: dict[tuple[str, str], Rows] = {}
        self._code = stage_digest("decode_frames")

    def dataset(self, wildcards: Wildcards) -> Dataset:
        """The dataset entry of a job."""
        return self.config.dataset(wildcards.dataset)

    def root(self, wildcards: Wildcards) -> str:
        """Folder of the release."""
        return self.dataset(wildcards).root

    def root_of_job(self, wildcards: Wildcards, input: Sequence[str]) -> str:
        """Folder of the release for a job: what a rule has made lies where the other inputs are."""
        root = self.root(wildcards)
        for known in (self.manifest(wildcards), *self._release_files(wildcards)):
            for path in input if self._is_made(self.dataset(wildcards)) else ():
                if path.endswith(known):
                    return path.removesuffix(known) + root
        return root

    def settings(self, *keys: str) -> Callable[[Wildcards], str]:
        """Params function: these keys of the dataset entry."""
        return lambda wildcards: settings_text({key: getattr(self.dataset(wildcards), key) for key in keys})

    def release_settings(self, *keys: str) -> Callable[[Wildcards], str]:
        """Params function: these keys, and `follow_links` where it is set, which was not always there."""
        read = self.settings(*keys)
        linked = self.settings(*keys, "follow_links")
        return lambda wildcards: (linked if self.dataset(wildcards).follow_links else read)(wildcards)

    def adapter_code(self, verb: str) -> Callable[[Wildcards], str]:
        """Params function: digest of a stage together with the adapter of the dataset."""
        return lambda wildcards: stage_digest(verb, registry.dataset(self.dataset(wildcards).adapter))

    def expected_counts(self, wildcards: Wildcards) -> list[Any]:
        """The published counts of a dataset, where the config folder has them."""
        path = f"config/expected/{wildcards.dataset}.yaml"
        return [self.engine.local(path)] if Path(path).is_file() else []

    def watch(self, wildcards: Wildcards) -> str | int:
        """What lies in the release: a digest that changes when a label file or the list of media changes."""
        entry = self.dataset(wildcards)
        adapter = registry.load(registry.dataset(entry.adapter))
        root = Path(entry.root)
        # a table that a rule makes is compared by Snakemake, one of the user by its cells
        listed, there = self._is_made(entry) and self._release_files(wildcards), root.is_dir()
        if not there and not listed:
            return "no release"
        reader = adapter(root, entry.options)
        faces = reader.watch_faces() if there and hasattr(reader, "watch_faces") else []
        if listed and not faces:
            return "the table itself is an input"
        return zlib.crc32("\n".join([*(reader.watch() if not listed else []), *faces]).encode())

    @staticmethod
    def _is_made(entry: Dataset) -> bool:
        """Whether a rule makes the release."""
        return entry.root.startswith("resources/")

    def _release_files(self, wildcards: Wildcards) -> list[str]:
        """The table that the manifest is made from."""
        entry = self.dataset(wildcards)
        if entry.adapter != "manifest":
            return []
        path = f"{entry.root}/{entry.options.get('file', 'clips.tsv')}"
        # a missing table that no rule makes is left to `hcep manifest`, which says what to do about it
        return [path] if self._is_made(entry) or Path(path).is_file() else []

    def manifest_files(self, wildcards: Wildcards) -> list[Any]:
        """What the manifest is made from; of a user's table the cells count (`watch`), not the bytes."""
        output = f"resources/{wildcards.dataset}/manifest.tsv"
        paths = to_be_read(self._release_files(wildcards), output, self.engine)
        if self._is_made(self.dataset(wildcards)):
            # listing looks whether each clip is there
            return [*paths, f"{self.root(wildcards)}/video"] if self.engine.stores else paths
        return [self.engine.ancient(self.engine.local(path)) for path in paths]

    def names_of_tasks(self, wildcards: Wildcards) -> str:
        """What every task over a dataset calls its classes and folds."""
        tasks = [name for name, task in self.config.task_definitions.items() if wildcards.dataset in task.dataset]
        return settings_text({name: self.config.names_of_task(name) for name in tasks})

    @staticmethod
    def last_failed_check(wildcards: Wildcards) -> int:
        """When the check failed last; Snakemake takes it for done where it put the earlier file back."""
        path = Path(f"logs/check_tasks/{wildcards.dataset}.failed.log")
        return path.stat().st_mtime_ns if path.is_file() else 0

    @staticmethod
    def manifest(wildcards: Wildcards) -> str:
        """Path of the manifest."""
        return f"resources/{wildcards.dataset}/manifest.tsv"

    def wait_for_manifests(self, datasets: Collection[str]) -> None:
        """Leave the input function that calls this until these manifests are there.

        Asking the engine costs a second look at every job that asks; where the file is there, so was the release.
        """
        for dataset in datasets:
            if not Path(f"resources/{dataset}/manifest.tsv").is_file():
                self.engine.manifest(dataset)

    def clips(self, wildcards: Wildcards) -> Rows:
        """What is known of the clips of a job's shard, or of all, shard after shard, for a job without one."""
        path, shards = self.engine.manifest(wildcards.dataset), self.dataset(wildcards).shards
        shard = getattr(wildcards, "shard", "all")
        status = Path(path).stat()
        made_of: list[str | int] = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, shards, self._code]

        def read() -> list[Clip]:
            groups = _clips_by_shard(path, status.st_mtime_ns, shards)
            if shard == "all":
                return [clip for name in sorted(groups) for clip in groups[name]]
            if shard not in groups:
                raise ValueError(f"{wildcards.dataset} has no shard {shard}")
            return groups[shard]

        known = self._rows.get((wildcards.dataset, shard))
        if known is None or known.made_of != made_of:
            memory = Path(f".snakemake/hcep/{wildcards.dataset}/{shard}.rows.json")
            known = Rows(memory, made_of, read, keep=self.engine.is_main)
            self._rows[wildcards.dataset, shard] = known
        return known

    def media_files(self, column: str, kind: str) -> Callable[[Wildcards], list[Any]]:
        """Input function: media files of a shard that can be read, but for paths that Snakemake cannot hold.

        For frames, these are what the manifest takes them from; of a folder of face pictures Snakemake sees that
        pictures come and go, not that one is overwritten. What cannot be read is the failure of its clips: Snakemake,
        which reads its inputs, would end with it. Of a release with many clips a shard, the digest of `contents` alone
        tells a change.
        """

        def read(wildcards: Wildcards) -> list[Any]:
            made = self._is_made(self.dataset(wildcards))
            files = self._media_paths(wildcards, column, kind)
            if made and self.engine.stores:
                return files
            if not made and len(files) > MOST_INPUTS:
                # nor do their dates matter then, which it compares of inputs alone
                return []
            output = f"resources/{wildcards.dataset}/{kind}/{wildcards.shard}.h5"
            found = self._digests(wildcards, column, kind)
            paths = [path for path, content in found.items() if content and not set(path) & set("{}\n\r")]
            to_be_read(paths, output, self.engine)
            return paths if made else [self.engine.local(path) for path in paths]

        return read

    def contents(self, column: str, kind: str) -> Callable[[Wildcards], int]:
        """Params function: digest of what the media files of a shard hold; Snakemake sees later dates only."""
        return lambda wildcards: zlib.crc32(json.dumps(self._digests(wildcards, column, kind)).encode())

    def _media_paths(self, wildcards: Wildcards, column: str, kind: str) -> list[str]:
        """Path of each media file of a shard."""
        root, rows = Path(self.root(wildcards)), self.clips(wildcards)
        if kind == "frames":
            # where an archive lies is not for the manifest to say
            sources = rows.ask("pictures", lambda clips: sorted({(clip.video, clip.faces) for clip in clips}))
            parts = (picture_paths(root, Clip("", video=video, faces=faces)) for video, faces in sources)
            names = {name for part in parts for name in part}
        else:
            names = rows.ask(column, lambda clips: sorted({getattr(clip, column) for clip in clips} - {""}))
        # a million names are joined as Path would join them, at a tenth of the time
        beside = str(root / "name").removesuffix("name")
        return [str(root / name) if "//" in name or "./" in name else beside + name for name in sorted(names)]

    def _digests(self, wildcards: Wildcards, column: str, kind: str) -> dict[str, str]:
        """Path of each media file of a shard to a digest of its content, '' where it cannot be read."""
        shard = wildcards.dataset, wildcards.shard
        if shard not in self._contents:
            memory = Path(f".snakemake/hcep/{wildcards.dataset}/{wildcards.shard}.json")
            self._contents[shard] = Contents(memory, keep=self.engine.is_main)
        return self._contents[shard].digests(self._media_paths(wildcards, column, kind))

    def listens(self, *, wanted: bool) -> list[str]:
        """Datasets whose words are recognised in their sound, or are not."""
        return [name for name, entry in self.config.datasets.items() if (entry.text == "asr") is wanted]

    @staticmethod
    def of_dataset(dataset: str, function: Callable[[Wildcards], Any]) -> Callable[[Wildcards], Any]:
        """The function of a job that has this dataset as a wildcard, for a rule that has none."""
        return lambda wildcards: function(SimpleNamespace(dataset=dataset))

    def once_listed(self, wildcards: Wildcards) -> Any:
        """Input function: the manifest, once it is there; a job compares only the rows that it reads of it."""
        self.engine.manifest(wildcards.dataset)
        return self.engine.ancient(self.manifest(wildcards))

    def rows(self, *columns: str) -> Callable[[Wildcards], int]:
        """Params function: digest of what a job reads from the manifest, of its shard or of all clips."""

        def digest_of(clips: list[Clip]) -> int:
            # a dataset of whole pictures keeps the digest that it had before there were faces
            faced = any(clip.faces for clip in clips)
            used = [Clip._fields.index(name) for name in ("clip", *columns) if name != "faces" or faced]
            return zlib.crc32(json.dumps([[clip[place] for place in used] for clip in clips]).encode())

        return lambda wildcards: self.clips(wildcards).ask(f"rows {' '.join(columns)}", digest_of)

    def all_shards(self, kind: str) -> Callable[[Wildcards], list[str]]:
        """Input function: the files of one modality of a dataset, in order."""

        def read(wildcards: Wildcards) -> list[str]:
            shards = self.shards_of(wildcards.dataset, kind)
            self._check_foreign(wildcards, kind, shards)
            return shards

        return read

    def _check_foreign(self, wildcards: Wildcards, kind: str, shards: Sequence[str]) -> None:
        """Refuse files of other settings, made elsewhere, which Snakemake would take as they are."""
        if not self.engine.is_main or self.engine.stores:
            return
        entry, index = self.dataset(wildcards), f"resources/{wildcards.dataset}/index.h5"
        # a folder makes its shards alike, so one stands for all
        shard = next((path for path in shards if Path(path).is_file()), None)
        if shard is not None:
            check_shard_settings(Path(shard), kind, entry, self.engine.recorded(shard))
        if Path(index).is_file() and self.engine.recorded(index) is None:
            check_shard_count(Path(index), entry)

    def shards_of(self, dataset: str, kind: str) -> list[str]:
        """Paths of all shards of a kind."""
        return [f"resources/{dataset}/{kind}/{name}.h5" for name in shard_names(self.config.dataset(dataset).shards)]

    def shard_media(self, wildcards: Wildcards) -> list[Any]:
        """The three files of a shard; the index holds their digests."""
        return [self.engine.ancient(f"resources/{wildcards.dataset}/{kind}/{wildcards.shard}.h5") for kind in KINDS]

    def shard_encoder(self, wildcards: Wildcards) -> str:
        """The encoder that encodes a shard, wanted once the clips are listed."""
        self.wait_for_manifests([wildcards.dataset])
        path = f"resources/encoders/{wildcards.encoder}/encoder.json"
        to_be_read(
            [path], f"resources/{wildcards.dataset}/features/{wildcards.encoder}/{wildcards.shard}.h5", self.engine
        )
        return path

    def weights_of(self, encoder: str) -> list[Any]:
        """The weights of an encoder, whose digests are in its encoder.json."""
        if self.config.encoder(encoder).source == "import":
            return []
        folder = f"resources/encoders/{encoder}"
        return [self.engine.ancient(f"{folder}/{name}.safetensors") for name in ("clip", "audio")]

    def shard_weights(self, wildcards: Wildcards) -> list[Any]:
        """The weights that encode a shard, wanted as late as their encoder.json."""
        self.wait_for_manifests([wildcards.dataset])
        return self.weights_of(wildcards.encoder)

    def encoders(self, *sources: str) -> str:
        """The names of the encoders from these sources, as a constraint of a wildcard that may match none."""
        names = [name for name, entry in self.config.encoders.items() if entry.source in sources]
        return "|".join(names) or "(?!)"

    def features_file(self, wildcards: Wildcards) -> Any:
        """The user's file of features of an imported encoder."""
        path = self.config.features_file(wildcards.dataset, wildcards.encoder)
        if not Path(path).is_file():
            remedy = "put it there or name it in the dataset's `features_files`, or leave this method out"
            raise HcepError(f"the features of {wildcards.encoder} are missing", file=path, remedy=remedy)
        output = f"resources/{wildcards.dataset}/features/{wildcards.encoder}/{wildcards.shard}.h5"
        to_be_read([path], output, self.engine)
        return self.engine.local(path)

    def declared_settings(self, wildcards: Wildcards) -> str:
        """What is declared of an encoder whose features are imported."""
        entry = self.config.encoder(wildcards.encoder)
        return settings_text({"width": entry.width, "stand_in": entry.stand_in})

    def encode_settings(self, wildcards: Wildcards) -> str:
        """Of `training`, what encoding reads; the small encoders of the package always run on the CPU."""
        values = {key: getattr(self.config.training, key) for key in ("precision", "device")}
        if self.config.encoder(wildcards.encoder).source == "package":
            values["device"] = "cpu"
        return settings_text(values | {"batch_size": 16})

    def encode_gpus(self, wildcards: Wildcards) -> int:
        """Encoding takes an accelerator unless it is told to use the CPU."""
        return int(json.loads(self.encode_settings(wildcards))["device"] != "cpu")

    def package_weights(self, wildcards: Wildcards) -> str:
        """The weights that come with the package, for the encoder that is a copy of them."""
        copied = self.config.encoder(wildcards.encoder).source == "package"
        return package_data("demo/weights/encoder.json") if copied else "none"

    def encoder_settings(self, wildcards: Wildcards) -> str:
        """The encoder entry; the usual choice of audio layers is left out, as before there was a choice."""
        entry = self.config.encoder(wildcards.encoder)
        usual = {"audio_layers"} if entry.audio_layers == "last" else set()
        return settings_text(entry.model_dump(exclude={"width", "stand_in"} | usual))


def package_data(name: str) -> str:
    """Digest of a data file of the package, which no digest of code covers."""
    path = Path(registry.__file__).parent / name
    return sha256_file(path) if path.is_file() else "none"
