"""Stores: equal content in both formats, the same whatever built them, and no damage that is ever read as good data."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import stores
import zarr
from zarr.codecs import Crc32cCodec

from kittimasks.loading import SAMPLE_FOLDER
from temporalpairs.builders import build_kitti_masks
from temporalpairs.cli.main import main
from temporalpairs.errors import (
    NotAStoreError,
    OptionError,
    RawDataError,
    StoreCorruptError,
    StoreError,
    StoreNotFoundError,
    StoreVersionError,
)
from temporalpairs.sequences import Sequences
from temporalpairs.store import Store, StoreFormat, read_attributes, read_store, store_path, write_store
from temporalpairs.store import zarr as zarr_format

FORMATS: tuple[StoreFormat, ...] = ("zarr", "hdf5")
SHARD_ROWS = 65_536
ERRORS = ("StoreCorruptError", "NotAStoreError", "StoreVersionError")  # that damage may be told as

# Each kind of attribute that JSON knows, and text that looks like another kind.
ODD_ATTRIBUTES: dict[str, Any] = {
    "nothing": None,
    "no": False,
    "count": -7,
    "share": 0.1,
    "text": "px² — ünïcode\nsecond line",
    "no text": "",
    "like nothing": "null",
    "like a number": "2024",
    "like a truth": "true",
    "like text": '"quoted"',
    "like a list": "[1, 2",
    "list": [1, 2.5, None, ["nested"], {}],
    "long list": [{"name": f"instances_txt/{i:04d}.txt", "sha256": "0" * 64} for i in range(2_000)],
    "table": {"z": 1, "a": {"null": None}},
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The sample in every way that the tests damage it: to copy, not to touch."""
    folder = tmp_path_factory.mktemp("built")
    paths = {fmt: folder / f"sample{stores.SUFFIXES[fmt]}" for fmt in FORMATS}
    for path in paths.values():
        build_kitti_masks(path, [SAMPLE_FOLDER], progress=False)
    # The sample fits into one chunk; smaller ones make the same store many chunks in several shards.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zarr_format, "_ROWS_PER_CHUNK", 100)
        patch.setattr(zarr_format, "_CHUNKS_PER_SHARD", 5)
        paths["sharded zarr"] = build_kitti_masks(folder / "sharded.zarr", [SAMPLE_FOLDER], progress=False)
    return paths


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sequences, dict[str, Path]]:
    """140,000 frames, three shards, the second of which holds nothing but zeros."""
    sequences = stores.make_sequences(140_000)
    assert sequences.frames is not None
    sequences.frames[SHARD_ROWS : 2 * SHARD_ROWS] = 0
    folder = tmp_path_factory.mktemp("large")
    return sequences, {fmt: write_store(folder / "large", sequences, {}, fmt) for fmt in FORMATS}


@pytest.fixture
def copied(built: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    def copy(variant: str) -> Path:
        source, target = built[variant], tmp_path / built[variant].name
        return Path(shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target))

    return copy


class TestRoundTrip:
    @pytest.mark.parametrize("fmt", FORMATS)
    @pytest.mark.parametrize("frames", [True, False])
    def test_arrays_and_attributes_come_back_equal(self, tmp_path: Path, fmt: StoreFormat, frames: bool) -> None:
        sequences = stores.make_sequences(frames=frames)
        read = read_store(write_store(tmp_path / "store", sequences, ODD_ATTRIBUTES, fmt))
        assert stores.equal_arrays(stores.arrays_of(read.sequences), stores.arrays_of(sequences))
        assert {name: read.attributes[name] for name in ODD_ATTRIBUTES} == ODD_ATTRIBUTES

    def test_both_formats_state_the_same_and_the_digests_are_those_of_the_array_bytes(
        self, built: dict[str, Path]
    ) -> None:
        zarr_store, hdf5_store = read_store(built["zarr"]), read_store(built["hdf5"])
        assert stores.equal_stores(zarr_store, hdf5_store)
        digests = {name: array["sha256"] for name, array in zarr_store.attributes["arrays"].items()}
        arrays = stores.arrays_of(zarr_store.sequences)
        assert digests == {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in arrays.items()}

    def test_plain_zarr_reads_a_store(self, built: dict[str, Path]) -> None:
        expected = stores.arrays_of(read_store(built["zarr"]).sequences)
        group = zarr.open_group(built["zarr"], mode="r")
        members = dict(group.members(max_depth=None))
        found = {name: member[...] for name, member in members.items() if isinstance(member, zarr.Array)}
        assert stores.equal_arrays(found, expected)
        assert group.attrs["title"] == "KITTI Masks"
        assert all(any(isinstance(codec, Crc32cCodec) for codec in group[name].compressors) for name in expected)

    def test_plain_h5py_reads_a_store(self, built: dict[str, Path]) -> None:
        expected = stores.arrays_of(read_store(built["hdf5"]).sequences)
        with h5py.File(built["hdf5"]) as file:
            found = {name: file[name][...] for name in expected}
            assert set(file) == {"factors", "frames", "sequence"}
            assert file.attrs["title"] == "KITTI Masks"
            assert file.attrs["schema_version"] == 1
            assert all(file[name].fletcher32 for name in expected)
        assert stores.equal_arrays(found, expected)

    def test_every_source_file_is_named_with_its_size_and_sha256(self, built: dict[str, Path]) -> None:
        files = sorted(SAMPLE_FOLDER.glob("*.txt"))
        assert read_attributes(built["zarr"])["sources"] == [
            {
                "name": f"instances_txt/{file.name}",
                "size": file.stat().st_size,
                "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            }
            for file in files
        ]

    def test_the_counts_are_those_of_the_arrays(self, built: dict[str, Path]) -> None:
        read = read_store(built["hdf5"])
        lengths = read.sequences.lengths
        assert read.attributes["counts"] == {
            "videos": 8,
            "tracks": len(set(zip(read.sequences.video.tolist(), read.sequences.track.tolist(), strict=True))),
            "sequences": len(lengths),
            "frames": lengths.sum(),
            "pairs": (lengths - 1).sum(),
        }

    @pytest.mark.parametrize("fmt", FORMATS)
    def test_a_store_of_several_shards_comes_back_equal(
        self, large: tuple[Sequences, dict[str, Path]], fmt: StoreFormat
    ) -> None:
        sequences, paths = large
        assert stores.equal_arrays(stores.arrays_of(read_store(paths[fmt]).sequences), stores.arrays_of(sequences))

    def test_a_shard_of_zeros_is_written(self, large: tuple[Sequences, dict[str, Path]]) -> None:
        shards = large[1]["zarr"] / "frames" / "c"
        assert sorted(stores.files_of(shards)) == [shards / f"{i}" / "0" for i in range(3)]

    def test_several_shards_have_equal_digests_in_both_formats(self, large: tuple[Sequences, dict[str, Path]]) -> None:
        zarr_store, hdf5_store = (read_attributes(large[1][fmt]) for fmt in FORMATS)
        assert zarr_store["manifest_sha256"] == hdf5_store["manifest_sha256"]

    @pytest.mark.parametrize(
        ("out", "fmt", "name"),
        [
            ("masks", None, "masks.zarr"),
            ("masks", "hdf5", "masks.h5"),
            ("m.h5", None, "m.h5"),
            ("v1.2", None, "v1.2.zarr"),
        ],
    )
    def test_a_missing_suffix_is_added(self, out: str, fmt: StoreFormat | None, name: str) -> None:
        assert store_path(out, fmt)[0] == Path(name)

    @pytest.mark.parametrize(("out", "fmt"), [("m.h5", "zarr"), ("m.zarr", "hdf5"), ("m", "netcdf")])
    def test_a_format_that_is_unknown_or_contradicts_the_suffix_is_refused(self, out: str, fmt: Any) -> None:
        with pytest.raises(OptionError, match=fmt):
            store_path(out, fmt)

    def test_sequences_that_could_not_be_read_again_are_not_written(self, tmp_path: Path) -> None:
        whole = stores.make_sequences()
        start = whole.start.copy()
        start[-1] -= 1
        columns = {name.removeprefix("sequence/"): array for name, array in stores.arrays_of(whole).items()}
        with pytest.raises(OptionError, match="do not fit together"):
            write_store(tmp_path / "store.h5", Sequences(**{**columns, "start": start}), {})
        assert not list(tmp_path.iterdir())


class LastFirst(Executor):
    """Runs what it was given only when a result is asked for, and the last task first."""

    def __init__(self) -> None:
        self.tasks: list[Callable[[], None]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        executor = self

        class Waited(Future[Any]):
            def result(self, timeout: float | None = None) -> Any:
                while executor.tasks:
                    executor.tasks.pop()()
                return super().result(timeout)

        future = Waited()
        self.tasks.append(lambda: future.set_result(fn(*args, **kwargs)))
        return future


class TestDeterminism:
    @pytest.mark.parametrize("jobs", [1, 2, 5])
    @pytest.mark.parametrize("fmt", FORMATS)
    def test_the_number_of_jobs_changes_no_byte(
        self, built: dict[str, Path], tmp_path: Path, fmt: StoreFormat, jobs: int
    ) -> None:
        path = build_kitti_masks(tmp_path / "store", [SAMPLE_FOLDER], format=fmt, jobs=jobs, progress=False)
        assert [file.read_bytes() for file in stores.files_of(path)] == [
            file.read_bytes() for file in stores.files_of(built[fmt])
        ]

    @pytest.mark.parametrize("make", [lambda: ThreadPoolExecutor(3), LastFirst], ids=["threads", "last first"])
    def test_an_executor_of_the_callers_changes_nothing(
        self, built: dict[str, Path], tmp_path: Path, make: Callable[[], Executor]
    ) -> None:
        with make() as executor:
            path = build_kitti_masks(tmp_path / "store.h5", [SAMPLE_FOLDER], executor=executor, progress=False)
        assert read_store(path).attributes["manifest_sha256"] == read_attributes(built["zarr"])["manifest_sha256"]

    def test_spawned_processes_change_nothing(self, built: dict[str, Path], tmp_path: Path) -> None:
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as executor:
            path = build_kitti_masks(tmp_path / "store.zarr", [SAMPLE_FOLDER], executor=executor, progress=False)
        assert read_store(path).attributes["manifest_sha256"] == read_attributes(built["hdf5"])["manifest_sha256"]

    @pytest.mark.parametrize(
        "executor",
        [
            ThreadPoolExecutor,
            ProcessPoolExecutor,
        ],
    )
    def test_bad_annotations_are_reported_from_any_executor(
        self, tmp_path: Path, executor: Callable[..., Executor]
    ) -> None:
        mots = tmp_path / "instances_txt"
        shutil.copytree(SAMPLE_FOLDER, mots)
        with (mots / "0003.txt").open("a") as text:
            text.write("no annotation\n")
        spawn = {"mp_context": multiprocessing.get_context("spawn")} if executor is ProcessPoolExecutor else {}
        with executor(1, **spawn) as pool, pytest.raises(RawDataError, match=r"0003\.txt, line"):
            build_kitti_masks(tmp_path / "store.zarr", [mots], executor=pool, progress=False)
        assert [path.name for path in tmp_path.iterdir()] == ["instances_txt"]


def count_outcomes(path: Path, faults: int, damage: Callable[[random.Random], stores.Damage]) -> Counter[str]:
    """Damage one file of the store at a time and count how it reads; the store is whole again afterwards."""
    original = read_store(path)
    files = stores.files_of(path)
    outcomes: Counter[str] = Counter()
    for seed in range(faults):
        rng = random.Random(seed)  # a fault can be made again from its number
        file = stores.pick_file(files, rng)
        data = file.read_bytes()
        damaged = damage(rng)(data, rng)
        if damaged == data:
            continue
        file.write_bytes(damaged)
        outcomes[stores.outcome_of_reading(path, original)] += 1
        file.write_bytes(data)
    assert stores.outcome_of_reading(path, original) == "unharmed"
    print(path.name, dict(outcomes))  # pytest -s
    return outcomes


class TestDamage:
    @pytest.mark.parametrize(("variant", "flips"), [("zarr", 200), ("sharded zarr", 150)])
    def test_no_flipped_bit_of_a_zarr_store_is_read_as_good_data(
        self,
        copied: Callable[[str], Path],
        variant: str,
        flips: int,
    ) -> None:
        outcomes = count_outcomes(copied(variant), flips, lambda _: stores.flip_a_bit)
        assert outcomes.total() == flips
        assert outcomes.keys() <= {*ERRORS, "unharmed"}
        assert outcomes["unharmed"] < 0.1 * flips  # bits that carry nothing, in zarr.json of the group `sequence`

    def test_every_flipped_bit_of_an_hdf5_store_is_found(self, copied: Callable[[str], Path]) -> None:
        outcomes = count_outcomes(copied("hdf5"), 1000, lambda _: stores.flip_a_bit)
        assert outcomes == {"StoreCorruptError": 1000}

    def test_every_flipped_bit_of_the_block_that_guards_an_hdf5_store_is_found(
        self, copied: Callable[[str], Path]
    ) -> None:
        path = copied("hdf5")
        data = path.read_bytes()
        for place in range(512 * 8):
            damaged = bytearray(data[:512])
            damaged[place // 8] ^= 1 << place % 8
            with path.open("r+b") as file:
                file.write(damaged)
            with pytest.raises(StoreCorruptError):
                read_attributes(path)

    @pytest.mark.parametrize(("variant", "faults"), [("zarr", 60), ("sharded zarr", 60), ("hdf5", 300)])
    def test_nothing_cut_off_appended_zeroed_swapped_or_overwritten_is_read_as_good_data(
        self,
        copied: Callable[[str], Path],
        variant: str,
        faults: int,
    ) -> None:
        outcomes = count_outcomes(copied(variant), faults, lambda rng: rng.choice(stores.OTHER_DAMAGE))
        assert outcomes.keys() <= {*ERRORS, "unharmed"}
        assert outcomes["unharmed"] < 0.1 * faults
        assert variant != "hdf5" or not outcomes["unharmed"]

    @pytest.mark.parametrize("variant", ["zarr", "sharded zarr"])
    def test_no_file_of_a_zarr_store_can_be_missing(self, copied: Callable[[str], Path], variant: str) -> None:
        path = copied(variant)
        original = read_store(path)
        for file in stores.files_of(path):
            data = file.read_bytes()
            file.unlink()
            outcome = stores.outcome_of_reading(path, original)
            file.write_bytes(data)
            if file == path / "zarr.json":
                assert outcome == "NotAStoreError"
            elif file == path / "sequence" / "zarr.json":
                assert outcome == "unharmed"  # says only that the folder is a group
            else:
                assert outcome == "StoreCorruptError", file

    @pytest.mark.parametrize(
        ("one", "other"),
        [("frames/c/0/0", "frames/c/1/0"), ("sequence/crop/c/0", "sequence/category/c/0"), ("frames", "factors")],
    )
    def test_exchanged_shards_chunks_and_arrays_are_found(
        self, copied: Callable[[str], Path], one: str, other: str
    ) -> None:
        path = copied("sharded zarr")
        (path / one).rename(path / "aside")
        (path / other).rename(path / one)
        (path / "aside").rename(path / other)
        with pytest.raises(StoreCorruptError):
            read_store(path)

    def test_a_missing_shard_of_zeros_is_named(self, large: tuple[Sequences, dict[str, Path]], tmp_path: Path) -> None:
        path = Path(shutil.copytree(large[1]["zarr"], tmp_path / "large.zarr"))
        (path / "frames" / "c" / "1" / "0").unlink()
        with pytest.raises(StoreCorruptError, match="shard c/1/0 of array 'frames' is missing"):
            read_store(path)

    def test_a_missing_chunk_within_a_shard_is_found(
        self, large: tuple[Sequences, dict[str, Path]], tmp_path: Path
    ) -> None:
        path = Path(shutil.copytree(large[1]["zarr"], tmp_path / "large.zarr"))
        with zarr.config.set({"array.write_empty_chunks": False}):
            zarr.open_group(path, mode="r+")["frames"][:8192] = 0  # zarr drops the chunk and keeps its checksums right
        with pytest.raises(StoreCorruptError, match="array 'frames' is damaged"):
            read_store(path)

    def test_an_hdf5_store_that_another_program_wrote_to_is_found(self, copied: Callable[[str], Path]) -> None:
        path = copied("hdf5")
        with h5py.File(path, "r+") as file:
            file["factors"][5, 1] = 0.0
        with pytest.raises(StoreCorruptError, match="its bytes are damaged"):
            read_store(path)

    @pytest.mark.parametrize("fmt", FORMATS)
    def test_a_number_that_changed_under_matching_checksums_is_found(
        self, copied: Callable[[str], Path], fmt: StoreFormat
    ) -> None:
        path = copied(fmt)
        attributes = read_attributes(path)
        if fmt == "zarr":
            zarr.open_group(path, mode="r+")["factors"][5, 1] = 0.0
        else:
            with h5py.File(path, "r+") as file:
                file["factors"][5, 1] = 0.0
        stores.replace_attributes(path, attributes)  # and the digest of an HDF5 file with them
        with pytest.raises(StoreCorruptError, match="array 'factors' is damaged"):
            read_store(path)

    @pytest.mark.parametrize("fmt", FORMATS)
    def test_every_attribute_that_was_edited_or_taken_out_is_found(
        self, copied: Callable[[str], Path], fmt: StoreFormat
    ) -> None:
        path = copied(fmt)
        attributes = read_attributes(path)
        for name, value in attributes.items():
            edited = {**attributes, name: "public domain" if isinstance(value, str) else 0}
            for changed in (edited, {key: kept for key, kept in attributes.items() if key != name}):
                stores.replace_attributes(path, changed)
                with pytest.raises(StoreError):
                    read_store(path)
        stores.replace_attributes(path, attributes)
        assert read_store(path).attributes == attributes

    @pytest.mark.parametrize(
        ("keys", "value"),
        [
            (["counts", "frames"], 1910),
            (["arrays", "frames", "sha256"], "0" * 64),
            (["sources", 3, "sha256"], "0" * 64),
            (["builder", "options", "min_pixels"], 31),
            (["factor_units", 2], "m²"),
        ],
    )
    def test_an_edit_deep_in_the_attributes_is_found(
        self, copied: Callable[[str], Path], keys: list[Any], value: object
    ) -> None:
        path = copied("zarr")
        attributes = read_attributes(path)
        place: Any = attributes
        for key in keys[:-1]:
            place = place[key]
        assert place[keys[-1]] != value
        place[keys[-1]] = value
        stores.replace_attributes(path, attributes)
        with pytest.raises(StoreCorruptError, match="attributes are damaged"):
            read_store(path)

    @pytest.mark.parametrize("fmt", FORMATS)
    def test_a_store_that_lacks_an_array_on_purpose_is_refused(
        self, copied: Callable[[str], Path], fmt: StoreFormat
    ) -> None:
        path = copied(fmt)
        attributes = read_attributes(path)
        del attributes["arrays"]["sequence/track"]
        stores.replace_attributes(path, stores.sign(attributes))
        with pytest.raises(StoreCorruptError, match="missing from its manifest"):
            read_store(path)

    @pytest.mark.parametrize("fmt", FORMATS)
    @pytest.mark.parametrize("without", [(), ("arrays", "counts", "title")], ids=["same layout", "other layout"])
    def test_a_newer_schema_is_refused_with_the_way_to_upgrade(
        self, copied: Callable[[str], Path], fmt: StoreFormat, without: tuple[str, ...]
    ) -> None:
        path = copied(fmt)
        attributes = {name: value for name, value in read_attributes(path).items() if name not in without}
        stores.replace_attributes(path, stores.sign({**attributes, "schema_version": 2}))
        with pytest.raises(StoreVersionError) as told:
            read_store(path)
        assert str(path) in str(told.value)
        assert "schema version 2" in str(told.value)
        assert "pip install --upgrade temporal-pairs" in str(told.value)

    @pytest.mark.parametrize("fmt", FORMATS)
    def test_a_damaged_store_is_told_by_name_with_the_way_to_make_it_again(
        self, copied: Callable[[str], Path], fmt: StoreFormat
    ) -> None:
        path = copied(fmt)
        file = path / "frames" / "c" / "0" / "0" if path.is_dir() else path
        file.write_bytes(file.read_bytes()[:-1])
        with pytest.raises(StoreCorruptError) as told:
            read_store(path)
        assert str(told.value).startswith(f"{path}: ")
        assert "Delete it and make it again: temporal-pairs build" in str(told.value)
        assert told.value.path == path
        assert path.is_dir() is False or "array 'frames'" in str(told.value)


def text_file(path: Path) -> None:
    path.write_text("frame id class height width rle\n" * 40)


def zarr_array(path: Path) -> None:
    zarr.create_array(path, shape=(3,), dtype="int8")


def zarr_group_of_others(path: Path) -> None:
    group = zarr.open_group(path, mode="w", attributes={"schema_version": "1.2", "arrays": "frames"})
    group.create_array("frames", shape=(3, 512), dtype="uint8")


def hdf5_file_of_others(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["frames"] = np.zeros((3, 512), np.uint8)
        file.attrs["schema_version"] = 1


def matlab_file(path: Path) -> None:
    with h5py.File(path, "w", userblock_size=512) as file:
        file["frames"] = np.zeros((3, 512), np.uint8)
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(128, b" "))


class TestSomethingElse:
    @pytest.mark.parametrize(
        "make",
        [
            text_file,
            Path.touch,
            Path.mkdir,
            os.mkfifo,
            zarr_array,
            zarr_group_of_others,
            lambda path: zarr.open_group(path, mode="w"),
            lambda path: zarr.open_group(path, mode="w", zarr_format=2),
            hdf5_file_of_others,
            matlab_file,
        ],
        ids=[
            "text file",
            "empty file",
            "empty folder",
            "named pipe",
            "zarr array",
            "zarr group of others",
            "empty zarr group",
            "zarr v2 group",
            "HDF5 of others",
            "MATLAB file",
        ],
    )
    def test_what_is_no_store_is_told_so_and_not_to_be_deleted(
        self, tmp_path: Path, make: Callable[[Path], object]
    ) -> None:
        path = tmp_path / "something"
        make(path)
        with pytest.raises(NotAStoreError) as told:
            read_store(path)
        assert str(told.value).startswith(f"{path}: is not a temporal-pairs store")
        assert "Give the path of a NAME.zarr folder or a NAME.h5 file" in str(told.value)
        assert "delete" not in str(told.value).lower()

    @pytest.mark.parametrize("text", ["", "[", "[]", "3", "\xff", "[" * 100_000])
    def test_a_folder_whose_zarr_json_is_none_is_told_so(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "broken.zarr"
        path.mkdir()
        (path / "zarr.json").write_text(text, encoding="latin-1")
        with pytest.raises(StoreError) as told:
            read_store(path)
        assert stores.is_helpful(told.value, path)

    @pytest.mark.parametrize("name", ["nothing.zarr", "file/store.zarr", "dangling"])
    def test_a_missing_path_is_told_with_what_to_give_instead(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "file").touch()
        (tmp_path / "dangling").symlink_to("nowhere")
        with pytest.raises(StoreNotFoundError, match="temporal-pairs build --help") as told:
            read_store(tmp_path / name)
        assert str(told.value).startswith(str(tmp_path / name))

    @pytest.mark.parametrize(
        ("variant", "locked"),
        [("zarr", "."), ("zarr", "sample.zarr"), ("zarr", "sample.zarr/frames"), ("hdf5", "."), ("hdf5", "sample.h5")],
    )
    def test_a_store_without_permission_is_not_called_damaged(
        self, built: dict[str, Path], variant: str, locked: str
    ) -> None:
        with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to others
            Path(folder).chmod(0o755)
            path = Path(folder, built[variant].name)
            shutil.copytree(built[variant], path) if path.suffix == ".zarr" else shutil.copy(built[variant], path)
            Path(folder, locked).chmod(0)
            try:
                with stores.as_nobody(), pytest.raises(StoreError, match="Permission denied") as told:
                    read_store(path)
            finally:
                Path(folder, locked).chmod(0o755)
        assert type(told.value) is StoreError
        assert stores.is_helpful(told.value, path)
        assert "delete" not in str(told.value).lower()


class TestCommandLine:
    @pytest.mark.parametrize("fmt", FORMATS)
    def test_info_tells_what_a_store_holds(
        self, built: dict[str, Path], capsys: pytest.CaptureFixture[str], fmt: StoreFormat
    ) -> None:
        assert main(["info", str(built[fmt])]) == 0
        said = capsys.readouterr()
        attributes = read_attributes(built[fmt])
        for telling in (
            "KITTI Masks",
            "122 sequences, 1,911 frames, 1,789 pairs",
            "y [px], x [px], area [px²]",
            "8 files, 395,910 bytes: instances_txt/0000.txt … instances_txt/0007.txt",
            "min_pixels=30",
            attributes["license"],
            attributes["manifest_sha256"],
            str(built[fmt]),
        ):
            assert telling in said.out
        assert not said.err

    @pytest.mark.parametrize("fmt", FORMATS)
    def test_info_as_json_is_all_attributes(
        self, built: dict[str, Path], capsys: pytest.CaptureFixture[str], fmt: StoreFormat
    ) -> None:
        assert main(["info", str(built[fmt]), "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == read_attributes(built[fmt])

    @pytest.mark.parametrize("fmt", FORMATS)
    def test_verify_tells_the_digest_of_every_array(
        self, built: dict[str, Path], capsys: pytest.CaptureFixture[str], fmt: StoreFormat
    ) -> None:
        assert main(["verify", str(built[fmt])]) == 0
        *lines, last = capsys.readouterr().out.splitlines()
        arrays = stores.arrays_of(read_store(built[fmt]).sequences)
        assert [line.split() for line in lines] == [
            ["intact", name, hashlib.sha256(array.tobytes()).hexdigest()] for name, array in arrays.items()
        ]
        assert last.startswith(f"{built[fmt]} is intact")

    def test_verify_as_json_has_the_same_digests_in_both_formats(
        self, built: dict[str, Path], capsys: pytest.CaptureFixture[str]
    ) -> None:
        reports = []
        for fmt in FORMATS:
            assert main(["verify", str(built[fmt]), "--json"]) == 0
            reports.append(json.loads(capsys.readouterr().out))
            assert reports[-1].pop("store") == str(built[fmt])
        assert reports[0] == reports[1]
        assert reports[0]["ok"] is True

    @pytest.mark.parametrize("command", ["info", "verify"])
    @pytest.mark.parametrize("fmt", FORMATS)
    def test_a_damaged_store_fails_in_one_line_and_a_remedy(
        self, copied: Callable[[str], Path], capsys: pytest.CaptureFixture[str], fmt: StoreFormat, command: str
    ) -> None:
        path = copied(fmt)
        file = path / "zarr.json" if path.is_dir() else path
        file.write_bytes(file.read_bytes().replace(b"KITTI Masks", b"KITTY Masks"))
        assert main([command, str(path)]) == 1
        said = capsys.readouterr()
        assert not said.out
        assert said.err.startswith(f"StoreCorruptError: {path}: ")
        assert "temporal-pairs build" in said.err
        assert said.err.count("\n") == 2

        assert main([command, str(path), "--json"]) == 1
        said = capsys.readouterr()
        report = json.loads(said.out)
        assert (report["ok"], report["error"]) == (False, "StoreCorruptError")
        assert said.err == f"StoreCorruptError: {report['message']}\n"

    def test_verify_finds_what_info_does_not_read(
        self, copied: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = copied("zarr")
        (path / "frames" / "c" / "0" / "0").unlink()
        assert main(["info", str(path)]) == 0
        assert main(["verify", str(path)]) == 1
        assert "shard c/0/0 of array 'frames' is missing" in capsys.readouterr().err

    @pytest.mark.parametrize("command", ["info", "verify"])
    def test_a_missing_store_fails_with_the_way_to_make_one(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
    ) -> None:
        assert main([command, str(tmp_path / "none.zarr")]) == 1
        said = capsys.readouterr()
        assert said.err.startswith(f"StoreNotFoundError: {tmp_path / 'none.zarr'}: ")
        assert "temporal-pairs build --help" in said.err


def test_a_store_is_read_as_what_it_is_whatever_its_name(built: dict[str, Path], tmp_path: Path) -> None:
    renamed = Path(shutil.copy(built["hdf5"], tmp_path / "renamed.zarr"))
    assert isinstance(read_store(renamed), Store)
