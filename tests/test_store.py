"""Stores: equal content in both formats, and no damage that is ever read as good data."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import stores
import zarr
from zarr.codecs import Crc32cCodec

from temporalpairs import store
from temporalpairs.cli.main import main
from temporalpairs.errors import (
    NotAStoreError,
    OptionError,
    StoreCorruptError,
    StoreError,
    StoreNotFoundError,
    StoreVersionError,
)
from temporalpairs.sequences import Sequences
from temporalpairs.store import Store, StoreFormat, read_attributes, read_store, store_path, write_store
from temporalpairs.store import zarr as zarr_format

FORMATS: tuple[StoreFormat, ...] = ("zarr", "hdf5")
VARIANTS = ("zarr", "sharded zarr", "hdf5")
ERRORS = ("StoreCorruptError", "NotAStoreError", "StoreVersionError")  # that damage may be told as
UNHARMED = 0.1  # share of bits that carry nothing, in zarr.json of the group `sequence`

# Each kind of attribute that JSON knows, and text that looks like another kind.
ATTRIBUTES: dict[str, Any] = {
    "title": "Made by a test",
    "nothing": None,
    "no": False,
    "count": -7,
    "share": 0.1,
    "text": "px² — ünïcode\nsecond line",
    "no text": "",
    "like nothing": "null",
    "like a number": "2024",
    "like text": '"quoted"',
    "like a list": "[1, 2",
    "list": [1, 2.5, None, ["nested"], {}],
    "table": {"z": 1, "a": {"null": None}},
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A store in every way that the tests damage it: to copy, not to touch."""
    folder = tmp_path_factory.mktemp("built")
    sequences = stores.make_sequences(1500)
    paths = {fmt: write_store(folder / "made", sequences, ATTRIBUTES, fmt) for fmt in FORMATS}
    # It fits into one chunk; smaller ones make the same store many chunks in several shards.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zarr_format, "_ROWS_PER_CHUNK", 100)
        patch.setattr(zarr_format, "_CHUNKS_PER_SHARD", 5)
        return {**paths, "sharded zarr": write_store(folder / "sharded.zarr", sequences, ATTRIBUTES)}


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
        many = [{"name": f"instances_txt/{i:04d}.txt", "sha256": "0" * 64} for i in range(2_000)]  # over 64 KiB
        read = read_store(write_store(tmp_path / "store", sequences, {**ATTRIBUTES, "sources": many}, fmt))
        assert stores.equal_arrays(stores.arrays_of(read.sequences), stores.arrays_of(sequences))
        assert {name: read.attributes[name] for name in ATTRIBUTES} == ATTRIBUTES
        assert read.attributes["sources"] == many

    def test_all_variants_state_the_same_and_the_digests_are_those_of_the_array_bytes(
        self, built: dict[str, Path]
    ) -> None:
        first, *others = (read_store(built[variant]) for variant in VARIANTS)
        assert all(stores.equal_stores(first, other) for other in others)
        digests = {name: array["sha256"] for name, array in first.attributes["arrays"].items()}
        arrays = stores.arrays_of(first.sequences)
        assert digests == {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in arrays.items()}

    @pytest.mark.parametrize("variant", ["zarr", "sharded zarr"])
    def test_plain_zarr_reads_a_store(self, built: dict[str, Path], variant: str) -> None:
        expected = stores.arrays_of(read_store(built[variant]).sequences)
        group = zarr.open_group(built[variant], mode="r")
        members = dict(group.members(max_depth=None))
        found = {name: member[...] for name, member in members.items() if isinstance(member, zarr.Array)}
        assert stores.equal_arrays(found, expected)
        assert group.attrs["title"] == ATTRIBUTES["title"]
        assert all(any(isinstance(codec, Crc32cCodec) for codec in group[name].compressors) for name in expected)

    def test_plain_h5py_reads_a_store(self, built: dict[str, Path]) -> None:
        expected = stores.arrays_of(read_store(built["hdf5"]).sequences)
        with h5py.File(built["hdf5"]) as file:
            found = {name: file[name][...] for name in expected}
            assert set(file) == {"factors", "frames", "sequence"}
            assert (file.attrs["title"], file.attrs["schema_version"]) == (ATTRIBUTES["title"], 1)
            assert all(file[name].fletcher32 for name in expected)
        assert stores.equal_arrays(found, expected)

    @pytest.mark.parametrize("locking", [True, False])
    def test_a_store_that_is_open_elsewhere_in_the_process_is_read(
        self, copied: Callable[[str], Path], locking: bool
    ) -> None:
        path = copied("hdf5")
        with h5py.File(path, locking=locking) as file:
            assert np.array_equal(read_store(path).sequences.factors, file["factors"])
        with h5py.File(path, "r+", locking=locking), pytest.raises(StoreCorruptError, match="open for writing"):
            read_store(path)  # HDF5 marks the file while it is
        read_store(path)

    @pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
    def test_too_little_memory_is_never_damage(self, tmp_path: Path) -> None:
        """In HDF5, whose filters fail then without saying why; zarr may wait for a thread that it could not start."""
        path = write_store(tmp_path / "large.h5", stores.make_sequences(40_000), ATTRIBUTES)
        code = (
            "import os, resource, sys; from pathlib import Path; import h5py\n"
            "from temporalpairs.store import read_store\n"
            "pages = int(Path('/proc/self/statm').read_text().split()[0])\n"
            "for room in (1, 8, 20, 22, 24, 30):\n"
            "    limit = pages * resource.getpagesize() + (room << 20)\n"
            "    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))\n"
            "    try:\n"
            "        print('read', read_store(sys.argv[1]).path)\n"
            "    except MemoryError:\n"
            "        print('too little')\n"
            "    sys.stdout.flush()\n"
            "os._exit(0)"
        )
        done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, timeout=120)
        assert "too little" in done.stdout
        assert done.returncode == 0, done.stderr

    def test_the_counts_are_those_of_the_arrays(self, built: dict[str, Path]) -> None:
        read = read_store(built["hdf5"])
        table, lengths = read.sequences, read.sequences.lengths
        tracks = {(v, t) for v, t in zip(table.video.tolist(), table.track.tolist(), strict=True) if t >= 0}
        assert read.attributes["counts"] == {
            "videos": len(set(table.video.tolist()) - {-1}),
            "tracks": len(tracks),
            "sequences": len(lengths),
            "frames": lengths.sum(),
            "pairs": (lengths - 1).sum(),
        }

    @pytest.mark.parametrize("fmt", FORMATS)
    def test_what_was_read_cannot_be_changed_by_accident(self, built: dict[str, Path], fmt: StoreFormat) -> None:
        for name, array in stores.arrays_of(read_store(built[fmt]).sequences).items():
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0
            assert array.flags.owndata or array.base is not None, name

    def test_a_shard_of_zeros_is_written_whatever_zarr_is_configured_to_do(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(zarr_format, "_ROWS_PER_CHUNK", 10)
        monkeypatch.setattr(zarr_format, "_CHUNKS_PER_SHARD", 2)
        sequences = stores.make_sequences(60)
        assert sequences.frames is not None
        sequences.frames[20:40] = 0
        with zarr.config.set({"array.write_empty_chunks": False, "codec_pipeline.path": "nowhere.Pipeline"}):
            path = write_store(tmp_path / "store.zarr", sequences, {})
            assert np.array_equal(read_store(path).sequences.frames, sequences.frames)
        shards = path / "frames" / "c"
        assert stores.files_of(shards) == [shards / f"{i}" / "0" for i in range(3)]
        (shards / "1" / "0").unlink()
        with pytest.raises(StoreCorruptError, match="shard c/1/0 of array 'frames' is missing"):
            read_store(path)


class TestWhatIsRefused:
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

    @pytest.mark.parametrize(
        ("out", "fmt", "told"),
        [
            ("m.h5", "zarr", "ends in .h5, but format='zarr'"),
            ("m.zarr", "hdf5", "ends in .zarr, but format='hdf5'"),
            ("m", "netcdf", "format='netcdf' is unknown; give 'zarr' or 'hdf5'"),
            ("m", 3, "format=3 is unknown"),
            ("m.hdf5", None, r"ends in .hdf5; a store is a NAME.zarr folder or a NAME.h5 file"),
            ("masks.png", None, r"ends in .png"),
            (".", None, "is a folder; give the path of the new store"),
            ("", None, "is a folder"),
            ("/", None, "is a folder"),
            (None, None, "out=None is no path"),
        ],
    )
    def test_a_path_that_cannot_be_that_of_a_new_store_is_refused(self, out: Any, fmt: Any, told: str) -> None:
        with pytest.raises(OptionError, match=told):
            store_path(out, fmt)

    @pytest.mark.parametrize("attributes", [{"x": np.int64(3)}, {"x": float("nan")}, {"x": {3}}, {(): 1}, None, 3])
    def test_attributes_that_are_no_json_are_refused(self, tmp_path: Path, attributes: Any) -> None:
        with pytest.raises(OptionError, match="not a mapping of JSON values"):
            write_store(tmp_path / "store.h5", stores.make_sequences(), attributes)
        assert not list(tmp_path.iterdir())

    def test_sequences_that_could_not_be_read_again_are_refused(self, tmp_path: Path) -> None:
        whole = stores.make_sequences()
        start = whole.start.copy()
        start[-1] -= 1
        columns = {name.removeprefix("sequence/"): array for name, array in stores.arrays_of(whole).items()}
        for sequences, told in [(Sequences(**{**columns, "start": start}), "do not fit together"), (3, "of the class")]:
            with pytest.raises(OptionError, match=told):
                write_store(tmp_path / "store.h5", sequences, {})  # type: ignore[arg-type]
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("path", [None, 3, b"store.zarr", ["a"]])
    def test_what_is_no_path_is_refused(self, path: Any) -> None:
        for read in (read_store, read_attributes):
            with pytest.raises(OptionError, match="is no path"):
                read(path)


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


def few_and_many(few: int, many: int) -> list[Any]:
    return [few, pytest.param(many, marks=pytest.mark.slow)]


class TestDamage:
    @pytest.mark.parametrize("flips", few_and_many(20, 400))
    @pytest.mark.parametrize("variant", VARIANTS)
    def test_no_flipped_bit_is_read_as_good_data(self, copied: Callable[[str], Path], variant: str, flips: int) -> None:
        outcomes = count_outcomes(copied(variant), flips, lambda _: stores.flip_a_bit)
        assert outcomes.total() == flips
        assert outcomes.keys() <= {*ERRORS, "unharmed"}
        if variant == "hdf5":
            assert outcomes == {"StoreCorruptError": flips}
        assert outcomes["unharmed"] <= max(5, UNHARMED * flips)

    @pytest.mark.parametrize("stride", few_and_many(97, 1))
    def test_every_flipped_bit_of_the_block_that_guards_an_hdf5_store_is_found(
        self, copied: Callable[[str], Path], stride: int
    ) -> None:
        path = copied("hdf5")
        block = path.read_bytes()[:512]
        for place in range(0, 512 * 8, stride):
            damaged = bytearray(block)
            damaged[place // 8] ^= 1 << place % 8
            with path.open("r+b") as file:
                file.write(damaged)
            with pytest.raises(StoreCorruptError):
                read_attributes(path)

    @pytest.mark.parametrize("faults", few_and_many(20, 400))
    @pytest.mark.parametrize("variant", VARIANTS)
    def test_nothing_cut_off_appended_zeroed_swapped_or_overwritten_is_read_as_good_data(
        self, copied: Callable[[str], Path], variant: str, faults: int
    ) -> None:
        outcomes = count_outcomes(copied(variant), faults, lambda rng: rng.choice(stores.OTHER_DAMAGE))
        assert outcomes.keys() <= {*ERRORS, "unharmed"}
        assert outcomes["unharmed"] <= max(5, UNHARMED * faults)
        assert variant != "hdf5" or not outcomes["unharmed"]

    def test_no_file_of_a_zarr_store_can_be_missing(self, copied: Callable[[str], Path]) -> None:
        path = copied("sharded zarr")
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

    def test_a_missing_chunk_within_a_shard_is_found(self, copied: Callable[[str], Path]) -> None:
        path = copied("sharded zarr")
        with zarr.config.set({"array.write_empty_chunks": False}):
            zarr.open_group(path, mode="r+")["frames"][:100] = 0  # zarr drops the chunk and keeps its checksums right
        with pytest.raises(StoreCorruptError, match="array 'frames' is damaged"):
            read_store(path)

    def test_an_hdf5_store_that_another_program_wrote_to_is_found(self, copied: Callable[[str], Path]) -> None:
        path = copied("hdf5")
        with h5py.File(path, "r+") as file:
            file["factors"][5, 1] = 0.0
        with pytest.raises(StoreCorruptError, match="its bytes are damaged") as told:
            read_store(path)
        assert "Delete it and make it again: temporal-pairs build" in str(told.value)

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
        deep = json.loads(json.dumps(attributes))
        deep["arrays"]["frames"]["sha256"] = "0" * 64
        for name, value in attributes.items():
            edited = {**attributes, name: "public domain" if isinstance(value, str) else 4}
            for changed in (edited, {key: kept for key, kept in attributes.items() if key != name}, deep):
                stores.replace_attributes(path, changed)
                with pytest.raises(StoreError):
                    read_attributes(path)
        stores.replace_attributes(path, attributes)
        assert read_store(path).attributes == attributes

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


class TestOtherVersions:
    @pytest.mark.parametrize("fmt", FORMATS)
    @pytest.mark.parametrize("without", [(), ("arrays", "counts", "title")], ids=["same layout", "other layout"])
    def test_a_newer_schema_is_refused_with_the_way_to_upgrade(
        self, copied: Callable[[str], Path], fmt: StoreFormat, without: tuple[str, ...]
    ) -> None:
        path = copied(fmt)
        attributes = {name: value for name, value in read_attributes(path).items() if name not in without}
        for changed in (stores.sign({**attributes, "schema_version": 2}), {**attributes, "schema_version": 2}):
            stores.replace_attributes(path, changed)
            with pytest.raises(StoreVersionError) as told:
                read_store(path)
            assert "schema version 2" in str(told.value)
            assert "pip install --upgrade temporal-pairs" in str(told.value)

    @pytest.mark.parametrize("fmt", FORMATS)
    def test_todays_stores_are_read_when_the_schema_is_newer(
        self, built: dict[str, Path], monkeypatch: pytest.MonkeyPatch, fmt: StoreFormat
    ) -> None:
        today = read_store(built[fmt])
        monkeypatch.setattr(store, "SCHEMA_VERSION", 3)
        assert stores.equal_stores(read_store(built[fmt]), today)

    @pytest.mark.parametrize("version", [0, -1, True, 1.0, "1", None])
    def test_a_version_that_there_never_was_is_damage(self, copied: Callable[[str], Path], version: Any) -> None:
        path = copied("zarr")
        stores.replace_attributes(path, stores.sign({**read_attributes(path), "schema_version": version}))
        with pytest.raises(StoreCorruptError):
            read_store(path)


def text_file(path: Path) -> None:
    path.write_text("frame id class height width rle\n" * 40)


def zarr_array(path: Path) -> None:
    zarr.create_array(path, shape=(3,), dtype="int8")


def zarr_group_of_others(path: Path) -> None:
    group = zarr.open_group(path, mode="w", attributes={"schema_version": "1.2", "arrays": "frames"})
    group.create_array("frames", shape=(3, 512), dtype="uint8")


def zarr_v2_group(path: Path) -> None:
    zarr.open_group(path, mode="w", zarr_format=2)


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
            zarr_v2_group,
            hdf5_file_of_others,
            matlab_file,
        ],
        ids=lambda make: make.__name__,
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

    @pytest.mark.parametrize("text", ["", "[", "[]", "3", "\xff", "[" * 100_000, None])
    def test_a_folder_whose_zarr_json_is_none_is_told_so(self, tmp_path: Path, text: str | None) -> None:
        path = tmp_path / "broken.zarr"
        path.mkdir()
        if text is None:
            (path / "zarr.json").mkdir()
        else:
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

    def test_a_store_is_read_as_what_it_is_whatever_its_name(self, built: dict[str, Path], tmp_path: Path) -> None:
        renamed = Path(shutil.copy(built["hdf5"], tmp_path / "renamed.zarr"))
        assert isinstance(read_store(renamed), Store)

    @pytest.mark.parametrize("since", ["3.13", "3.14"])
    @pytest.mark.parametrize(
        ("variant", "locked"),
        [("zarr", "."), ("zarr", "made.zarr"), ("zarr", "made.zarr/frames"), ("hdf5", "."), ("hdf5", "made.h5")],
    )
    def test_a_store_without_permission_is_called_neither_damaged_nor_missing(
        self, built: dict[str, Path], monkeypatch: pytest.MonkeyPatch, variant: str, locked: str, since: str
    ) -> None:
        if since == "3.14":  # since when pathlib says that what nobody may look at is not there
            for name in ("exists", "is_dir", "is_file"):
                monkeypatch.setattr(Path, name, getattr(os.path, name.replace("is_", "is")))
        with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to others
            os.chmod(folder, 0o755)  # noqa: PTH101
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
    def test_info_as_json_is_all_attributes(
        self, built: dict[str, Path], capsys: pytest.CaptureFixture[str], fmt: StoreFormat
    ) -> None:
        assert main(["info", str(built[fmt]), "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == read_attributes(built[fmt])

    def test_verify_tells_the_digest_of_every_array_the_same_in_both_formats(
        self, built: dict[str, Path], capsys: pytest.CaptureFixture[str]
    ) -> None:
        arrays = stores.arrays_of(read_store(built["zarr"]).sequences)
        digests = {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in arrays.items()}
        for fmt in FORMATS:
            assert main(["verify", str(built[fmt]), "--json"]) == 0
            report = json.loads(capsys.readouterr().out)
            assert (report["ok"], report["arrays"]) == (True, digests)
            assert main(["verify", str(built[fmt])]) == 0
            said = capsys.readouterr().out
            assert all(name in said and digest in said for name, digest in digests.items())

    @pytest.mark.parametrize("command", ["info", "verify"])
    @pytest.mark.parametrize("fmt", FORMATS)
    def test_a_damaged_store_fails_in_one_line_and_a_remedy(
        self, copied: Callable[[str], Path], capsys: pytest.CaptureFixture[str], fmt: StoreFormat, command: str
    ) -> None:
        path = copied(fmt)
        file = path / "zarr.json" if path.is_dir() else path
        file.write_bytes(file.read_bytes().replace(b"Made by a test", b"Made by a TEST"))
        assert main([command, str(path)]) == 1
        said = capsys.readouterr()
        assert not said.out
        assert said.err.startswith(f"StoreCorruptError: {path}: ")
        assert "temporal-pairs build" in said.err
        assert said.err.count("\n") == 2

    def test_verify_finds_what_info_does_not_read(
        self, copied: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = copied("zarr")
        (path / "frames" / "c" / "0" / "0").unlink()
        assert main(["info", str(path), "--json"]) == 0
        assert main(["verify", str(path)]) == 1
        assert "shard c/0/0 of array 'frames' is missing" in capsys.readouterr().err
