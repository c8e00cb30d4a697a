"""Builds in parts: on any engine, killed and gone on with, divided among machines and merged; one digest everywhere."""

from __future__ import annotations

import errno
import fcntl
import json
import multiprocessing
import os
import random
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from killed_builds import counted
from launched import run as launch
from raw import write_vos
from stores import as_nobody, make_sequences

from kittimasks.loading import SAMPLE_FOLDER
from natsprites.loading import SAMPLE_FILE
from temporalpairs import merge_stores, read_attributes, read_store
from temporalpairs.builders import build_kitti_masks, build_natural_sprites, open_annotations
from temporalpairs.cli.main import main
from temporalpairs.errors import DatasetWarning, OptionError, RawDataError, StoreError, StoreExistsError
from temporalpairs.store import read_sources, writing_store
from temporalpairs.tracks import SourceFile

BUILDS = {"kitti-masks": (build_kitti_masks, SAMPLE_FOLDER), "natural-sprites": (build_natural_sprites, SAMPLE_FILE)}


def run(*words: object) -> int:
    return main([str(word) for word in words])


def digest(store: Path) -> str:
    found: str = read_attributes(store)["manifest_sha256"]
    return found


def hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("whole")
    return {name: build(folder / f"{name}.zarr", raw, progress=False) for name, (build, raw) in BUILDS.items()}


class TestParts:
    @pytest.mark.parametrize(
        ("name", "of"),
        [("kitti-masks", 1), ("kitti-masks", 3), ("natural-sprites", 3)],
    )
    def test_parts_in_any_order_give_the_store_of_one_build(
        self, tmp_path: Path, whole: dict[str, Path], name: str, of: int
    ) -> None:
        build, raw = BUILDS[name]
        suffix = (".h5", ".zarr")
        stores = [build(tmp_path / f"{i}{suffix[i % 2]}", raw, part=(i, of), progress=False) for i in range(1, of + 1)]
        random.Random(of).shuffle(stores)
        merged = merge_stores(stores, tmp_path / "merged.zarr")
        assert digest(merged) == digest(whole[name])
        assert read_sources(merged) == read_sources(whole[name])

    def test_parts_may_be_empty_where_there_are_more_than_videos(self, tmp_path: Path) -> None:
        file = SAMPLE_FOLDER / "0000.txt"
        stores = [build_kitti_masks(tmp_path / f"{i}", file, part=(i, 3), progress=False) for i in (3, 1, 2)]
        assert [len(read_store(store).sequences) > 0 for store in stores] == [True, False, False]
        merged = merge_stores(stores, tmp_path / "merged.zarr")
        assert digest(merged) == digest(build_kitti_masks(tmp_path / "one.zarr", file, progress=False))
        with pytest.raises(OptionError, match="2 of 3 parts are missing: 1, 2"):
            merge_stores(stores[:1], tmp_path / "other.zarr")

    def test_objects_keep_the_order_of_their_file_through_parts(self, tmp_path: Path) -> None:
        raw = json.loads(SAMPLE_FILE.read_text())
        random.Random(0).shuffle(raw["annotations"])
        path = tmp_path / "shuffled.json"
        path.write_text(json.dumps(raw))
        one = build_natural_sprites(tmp_path / "one.zarr", path, progress=False)
        stores = [build_natural_sprites(tmp_path / f"{i}", path, part=(i, 2), progress=False) for i in (1, 2)]
        assert digest(merge_stores(stores[::-1], tmp_path / "merged.zarr")) == digest(one)
        objects = read_store(one).sequences.objects
        assert objects is not None
        assert objects.track.tolist() == [annotation["id"] for annotation in raw["annotations"]]

    def test_the_command_line_builds_parts_and_merges_them(
        self, tmp_path: Path, whole: dict[str, Path], capsys: pytest.CaptureFixture[str]
    ) -> None:
        for i in (2, 1):
            words = ["--annotations", SAMPLE_FOLDER, "--part", f"{i}/2", "--quiet", "--out", tmp_path / f"{i}.zarr"]
            assert run("build", "kitti-masks", *words) == 0
            assert f"  part       {i} of 2\n" in capsys.readouterr().out
        assert run("merge", tmp_path / "2.zarr", tmp_path / "1.zarr", "--out", tmp_path / "all.zarr") == 0
        assert digest(tmp_path / "all.zarr") == digest(whole["kitti-masks"])
        assert run("merge", tmp_path / "2.zarr", "--out", tmp_path / "one.zarr") == 1
        assert "1 of 2 parts are missing: 1." in capsys.readouterr().err
        words = ["--annotations", SAMPLE_FOLDER, "--part", "0", "--out", tmp_path / "b.zarr"]
        assert run("build", "kitti-masks", *words) == 2

    @pytest.mark.parametrize("part", [(0, 2), (3, 2), (1, 0), "x", 3, (1, 2.5), (1,)], ids=str)
    def test_a_part_that_there_is_not_is_refused(self, tmp_path: Path, part: Any) -> None:
        with pytest.raises(OptionError, match=r"part"):
            build_kitti_masks(tmp_path / "a.zarr", SAMPLE_FOLDER, part=part, progress=False)
        assert not list(tmp_path.iterdir())


class TestMerging:
    def test_stores_of_different_videos_are_joined_in_the_order_given(self, tmp_path: Path) -> None:
        files = sorted(SAMPLE_FOLDER.glob("*.txt"))
        some, others = (build_kitti_masks(tmp_path / f"{i}.zarr", files[i::2], progress=False) for i in (1, 0))
        merged = merge_stores([some, others], tmp_path / "merged.h5")
        assert digest(merged) == digest(
            build_kitti_masks(tmp_path / "one.zarr", files[1::2] + files[::2], progress=False)
        )

    @pytest.mark.parametrize(
        ("other", "told"),
        [
            ({"min_pixels": 40}, r"builder\.options\.min_pixels \(40, not 30\)"),
            ({"every": 2}, r"builder\.options\.every \(2, not 1\)"),
            ({}, r"Video '0000' is in .*a\.zarr and in .*b\.zarr"),
            ({"part": (1, 2)}, r"a\.zarr is a whole store and .*b\.zarr a part"),
        ],
        ids=["option", "every", "video", "part"],
    )
    def test_stores_that_do_not_fit_are_refused_with_the_difference(
        self, tmp_path: Path, other: dict[str, Any], told: str
    ) -> None:
        file = SAMPLE_FOLDER / "0000.txt"
        stores = [
            build_kitti_masks(tmp_path / "a.zarr", file, progress=False),
            build_kitti_masks(tmp_path / "b.zarr", file, progress=False, **other),
        ]
        with pytest.raises(OptionError, match=told):
            merge_stores(stores, tmp_path / "merged.zarr")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zarr", "b.zarr"]

    def test_other_datasets_twice_the_same_part_and_two_names_of_a_category_are_refused(
        self, tmp_path: Path, whole: dict[str, Path]
    ) -> None:
        with pytest.raises(OptionError, match=r"differs from .* in arrays"):
            merge_stores(whole.values(), tmp_path / "merged.zarr")
        part = build_kitti_masks(tmp_path / "1.zarr", SAMPLE_FOLDER, part=(1, 2), progress=False)
        with pytest.raises(OptionError, match="are both part 1 of 2"):
            merge_stores([part, part], tmp_path / "merged.zarr")
        named = []
        for name, category in (("a", "ape"), ("b", "bear")):
            labels = np.zeros((3, 64, 128), np.uint16)
            labels[:, :40, :40] = 1
            top = tmp_path / name
            write_vos(top / "train" / "Annotations" / name, list(labels))
            (top / "train" / "meta.json").write_text(
                json.dumps({"videos": {name: {"objects": {"1": {"category": category}}}}})
            )
            named.append(build_kitti_masks(tmp_path / f"{name}.zarr", top, progress=False))
        with pytest.raises(OptionError, match=r"Category \d+ is 'ape' in .*a\.zarr and 'bear' in .*b\.zarr"):
            merge_stores(named, tmp_path / "merged.zarr")


class TestGoingOn:
    def test_a_build_that_failed_goes_on_where_it_was(self, tmp_path: Path) -> None:
        annotations, log = counted(tmp_path)
        bad = annotations.videos[-1].path  # type: ignore[attr-defined]
        good = bad.read_bytes()
        bad.write_bytes(good + b"no annotation\n")
        out = tmp_path / "a.zarr"
        with pytest.raises(RawDataError, match=rf"{bad.name}, line"):
            build_kitti_masks(out, annotations, jobs=1, progress=False)
        assert not out.exists()
        assert log.read_text().split() == [video.name for video in annotations.videos]
        with pytest.warns(DatasetWarning, match="was left out"):  # with all the others' parts
            build_kitti_masks(tmp_path / "a.zarr", annotations, on_error="skip", jobs=1, progress=False)
        assert log.read_text().split()[8:] == [annotations.videos[-1].name]
        assert read_attributes(out)["videos_left_out"][0]["video"] == annotations.videos[-1].name
        assert hidden(tmp_path) == []

    def test_parts_of_other_files_or_options_and_damaged_ones_are_made_again(self, tmp_path: Path) -> None:
        annotations, log = counted(tmp_path)
        bad = annotations.videos[-1].path  # type: ignore[attr-defined]
        good = bad.read_bytes()
        bad.write_bytes(good + b"no annotation\n")
        out = tmp_path / "a.zarr"
        for options, read in (({}, 8), ({}, 1), ({"crops": 2}, 8)):
            log.unlink(missing_ok=True)
            with pytest.raises(RawDataError):
                build_kitti_masks(out, annotations, jobs=1, progress=False, **options)
            assert len(log.read_text().split()) == read
        bad.write_bytes(good)
        first = annotations.videos[0].path  # type: ignore[attr-defined]
        first.write_bytes(first.read_bytes() + b"\n")
        for part in sorted((tmp_path / ".a.zarr.parts").glob("*.zip"))[:4]:
            part.write_bytes(part.read_bytes()[:-100] + bytes(100))
        log.unlink()
        build_kitti_masks(out, annotations, jobs=1, progress=False)
        assert {annotations.videos[0].name, annotations.videos[-1].name} <= set(log.read_text().split())
        again = build_kitti_masks(tmp_path / "b.zarr", sorted((tmp_path / "raw").iterdir()), progress=False)
        assert digest(out) == digest(again)

    def test_what_is_done_is_not_done_again(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        annotations, log = counted(tmp_path)
        out = build_kitti_masks(tmp_path / "a.zarr", annotations, progress=False)
        log.unlink()
        assert build_kitti_masks(tmp_path / "a.zarr", annotations, progress=False) == out
        assert not log.exists()
        for other in ({"crops": 3}, {"every": 2}, {"part": (1, 2)}):
            with pytest.raises(StoreExistsError):
                build_kitti_masks(out, annotations, progress=False, **other)  # type: ignore[arg-type]
        words = ["build", "kitti-masks", "--annotations", tmp_path / "raw", "--quiet", "--out"]
        assert run(*words, out) == 0
        assert capsys.readouterr().out.startswith("done already, from the same inputs with the same options\n")
        os.utime(tmp_path / "raw" / "0000000.txt")
        assert run(*words, out) == 1
        assert "exists already" in capsys.readouterr().err

    def test_left_out_videos_give_the_exit_status_3_again(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        _, _ = counted(tmp_path)
        (tmp_path / "raw" / "0000003.txt").write_text("no annotation\n")
        words = ["build", "kitti-masks", "--annotations", tmp_path / "raw", "--on-error", "skip", "--quiet", "--out"]
        for _ in range(2):
            assert run(*words, tmp_path / "a.zarr") == 3
            assert "left out   0000003: " in capsys.readouterr().out

    @pytest.mark.parametrize(
        "moments",
        [[0.25, 0.5], pytest.param([random.Random(5).uniform(0, 1.2) for _ in range(20)], marks=pytest.mark.slow)],
        ids=["two moments", "20 random moments"],
    )
    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    def test_a_build_killed_at_any_moment_goes_on(
        self, tmp_path: Path, whole: dict[str, Path], moments: list[float]
    ) -> None:
        script = Path(__file__).with_name("killed_builds.py")
        told = launch([sys.executable, script, tmp_path, SAMPLE_FOLDER, *map(str, moments)], tmp_path)
        found = [json.loads(line) for line in told.splitlines()]
        assert [entry["status"] for entry in found] == [0] * len(moments)
        assert {digest(path) for path in tmp_path.glob("*.zarr")} == {digest(whole["kitti-masks"])}
        assert hidden(tmp_path) == []


class TestTarget:
    def test_a_target_that_cannot_be_written_fails_before_anything_is_read(self, tmp_path: Path) -> None:
        annotations, log = counted(tmp_path)
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o500)
        with as_nobody(), pytest.raises(StoreError, match="could not be written"):
            build_kitti_masks(closed / "a.zarr", annotations, progress=False)
        assert not log.exists()

    @pytest.mark.parametrize("suffix", [".zarr", ".h5"])
    def test_a_full_disk_fails_before_anything_is_read(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
    ) -> None:
        annotations, log = counted(tmp_path)

        def refuse(*_: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(Path, "write_bytes", refuse)
        with pytest.raises(StoreError, match="No space left"):
            build_kitti_masks(tmp_path / f"a{suffix}", annotations, progress=False)
        assert not log.exists()
        assert hidden(tmp_path) == []

    def test_a_file_system_without_locks_will_do(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: dict[str, Path]
    ) -> None:
        def flock(_: int, operation: int) -> None:
            if not operation & fcntl.LOCK_UN:
                raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

        monkeypatch.setattr(fcntl, "flock", flock)
        store = build_kitti_masks(tmp_path / "a.zarr", SAMPLE_FOLDER, progress=False)
        assert digest(store) == digest(whole["kitti-masks"])
        assert hidden(tmp_path) == []

    def test_a_target_that_another_process_builds_is_told(self, tmp_path: Path) -> None:
        folder = tmp_path / ".a.zarr.parts"
        folder.mkdir()
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with pytest.raises(StoreError, match="is being built by another process"):
                build_kitti_masks(tmp_path / "a.zarr", SAMPLE_FOLDER, progress=False)
        build_kitti_masks(tmp_path / "a.zarr", SAMPLE_FOLDER, progress=False)


@contextmanager
def spawned() -> Iterator[tuple[Executor, Callable[[], list[int]]]]:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool, lambda: list(pool._processes)


@contextmanager
def loky() -> Iterator[tuple[Executor, Callable[[], list[int]]]]:
    with pytest.importorskip("loky").ProcessPoolExecutor(2) as pool:
        yield pool, lambda: list(pool._processes)


@contextmanager
def dask() -> Iterator[tuple[Executor, Callable[[], list[int]]]]:
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client.get_executor(), lambda: list(client.run(os.getpid).values())


ENGINES = {"spawned": spawned, "loky": loky, "dask": dask}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # those of the engines
@pytest.mark.parametrize("engine", ENGINES)
class TestEngines:
    def test_any_engine_gives_the_same_store(self, tmp_path: Path, whole: dict[str, Path], engine: str) -> None:
        with ENGINES[engine]() as (executor, _):
            for name, (build, raw) in BUILDS.items():
                store = build(tmp_path / f"{name}.zarr", raw, executor=executor, progress=False)
                assert digest(store) == digest(whole[name])

    def test_bad_files_name_themselves_and_warnings_arrive(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str
    ) -> None:
        monkeypatch.chdir(tmp_path)  # the workers of some engines work elsewhere
        with ENGINES[engine]() as (executor, _):
            write_vos(tmp_path / "vos" / "a", list(np.ones((5, 64, 128), np.uint16)))
            (tmp_path / "vos" / "a" / "00002.png").unlink()
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                build_natural_sprites("vos.zarr", "vos", executor=executor, progress=False)
            assert any("have no image" in str(warning.message) for warning in caught)
            (tmp_path / "bad.txt").write_text("no annotation\n")
            with pytest.raises(RawDataError, match=r"bad\.txt, line 1"):
                build_kitti_masks("a.zarr", "bad.txt", reader="mots", executor=executor, progress=False)

    def test_a_worker_that_is_killed_does_not_lose_the_build(self, tmp_path: Path, engine: str) -> None:
        annotations, log = counted(tmp_path, copies=5, wait=0.1)
        one = build_kitti_masks(tmp_path / "one.zarr", sorted((tmp_path / "raw").iterdir()), progress=False)
        out = tmp_path / "out.zarr"
        with ENGINES[engine]() as (executor, workers):
            victims = workers() if engine == "dask" else []

            def kill() -> None:
                while not log.exists() or len(log.read_text().split()) < 10:
                    time.sleep(0.02)
                os.kill((victims or workers())[0], signal.SIGKILL)

            killer = threading.Thread(target=kill)
            killer.start()
            if engine == "dask":  # starts another worker by itself
                build_kitti_masks(out, annotations, executor=executor, progress=False)
            else:
                with pytest.raises(Exception, match="a worker process died"):
                    build_kitti_masks(out, annotations, executor=executor, progress=False)
            killer.join()
        done = len(log.read_text().split())
        build_kitti_masks(out, annotations, jobs=2, progress=False)
        assert digest(out) == digest(one)
        again = len(log.read_text().split()) - done
        assert again == 0 if engine == "dask" else 0 < again < 35


class TestSources:
    def test_many_files_cost_a_store_no_attributes(self, tmp_path: Path) -> None:
        files = [SourceFile(f"vidéo/{i:07d}\ud800.png", i, f"{i:064x}") for i in range(20_000)]
        path = tmp_path / "a.zarr"
        with writing_store(path, "zarr") as writer:
            writer.sources.add(files[:15_000])
            writer.sources.add(files)  # each once
            writer.add(make_sequences(20))
            writer.finish({"title": "made"})
        assert read_sources(path) == tuple(files)
        assert read_attributes(path)["sources"] == {"files": 20_000, "bytes": sum(range(20_000))}
        assert (path / "zarr.json").stat().st_size < 10_000

    def test_a_list_names_many_paths(self, tmp_path: Path) -> None:
        _, _ = counted(tmp_path)
        listed = tmp_path / "list.txt"
        listed.write_text("raw/0000003.txt\n\n" + str(tmp_path / "raw" / "0000001.txt") + "\n")
        assert [video.name for video in open_annotations(f"@{listed}").videos] == ["0000003", "0000001"]
        for words, error in (([f"@{tmp_path / 'nowhere'}"], RawDataError), ([f"@{tmp_path}"], RawDataError)):
            with pytest.raises(error, match="a text file with a path a line"):
                open_annotations(words)
