"""Publication: whatever kills, stops or races a build, the final name is absent or holds a whole store."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import pytest
import stores
import zarr

from kittimasks.loading import SAMPLE_FOLDER
from temporalpairs.builders import build_kitti_masks
from temporalpairs.errors import StoreError, StoreExistsError
from temporalpairs.store import StoreFormat, read_attributes, read_store, write_store
from temporalpairs.store.atomic import publishing

FORMATS: tuple[StoreFormat, ...] = ("zarr", "hdf5")
KILLS = 16  # of each format
COMMAND = shutil.which("temporal-pairs", path=Path(sys.executable).parent) or "temporal-pairs"


def make_file(path: Path) -> None:
    path.write_text("mine")


def make_folder(path: Path) -> None:
    path.mkdir()
    (path / "file").write_text("mine")


def make_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


def make_link_to_folder(path: Path) -> None:
    make_folder(path.parent / "elsewhere")
    path.symlink_to("elsewhere")


def describe(folder: Path) -> dict[str, str]:
    """What lies in a folder: text of files, aims of links."""
    found = {}
    for path in sorted(folder.rglob("*")):
        content = f"-> {path.readlink()}" if path.is_symlink() else "folder" if path.is_dir() else path.read_text()
        found[str(path.relative_to(folder))] = content
    return found


def publish(target: Path, build: Callable[[Path], None]) -> None:
    with publishing(target) as built:
        build(built)


OCCUPANTS = [make_file, make_folder, make_dangling_link, make_link_to_folder]


class TestPublishing:
    @pytest.mark.parametrize("build", [make_file, make_folder])
    def test_a_block_that_ends_well_puts_its_work_under_the_final_name(
        self, tmp_path: Path, build: Callable[[Path], None]
    ) -> None:
        with publishing(tmp_path / "new" / "target") as built:
            build(built)
            assert not (tmp_path / "new" / "target").exists()
        build(tmp_path / "expected")
        found = describe(tmp_path)
        assert {name for name in found if "building" in name} == set()
        assert found["new/target"] == found["expected"]
        assert found.get("new/target/file") == found.get("expected/file")

    @pytest.mark.parametrize("occupy", OCCUPANTS)
    def test_what_is_at_the_target_before_stays_as_it_is(self, tmp_path: Path, occupy: Callable[[Path], None]) -> None:
        occupy(tmp_path / "target")
        before = describe(tmp_path)
        with pytest.raises(StoreExistsError, match="left as it is"), publishing(tmp_path / "target"):
            pytest.fail("nothing may be built where something is")
        assert describe(tmp_path) == before

    @pytest.mark.parametrize("build", [make_file, make_folder])
    @pytest.mark.parametrize("occupy", OCCUPANTS)
    def test_what_comes_to_the_target_meanwhile_stays_as_it_is(
        self, tmp_path: Path, occupy: Callable[[Path], None], build: Callable[[Path], None]
    ) -> None:
        target, before = tmp_path / "target", {}

        def build_too_late(built: Path) -> None:
            build(built)
            occupy(target)
            before.update({name: text for name, text in describe(tmp_path).items() if ".building-" not in name})

        with pytest.raises(StoreExistsError, match="left as it is"):
            publish(target, build_too_late)
        assert describe(tmp_path) == before

    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
    def test_a_block_that_fails_leaves_nothing(self, tmp_path: Path, error: type[BaseException]) -> None:
        def build_half(built: Path) -> None:
            make_folder(built)
            raise error

        with pytest.raises(error):
            publish(tmp_path / "target", build_half)
        assert not list(tmp_path.iterdir())

    def test_a_file_system_without_hard_links_will_do(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

        monkeypatch.setattr(os, "link", refuse)
        publish(tmp_path / "one", make_file)
        with pytest.raises(StoreExistsError):
            publish(tmp_path / "two", lambda built: (make_file(built), make_dangling_link(tmp_path / "two"))[0])
        assert describe(tmp_path) == {"one": "mine", "two": "-> nowhere"}

    @pytest.mark.parametrize("build", [make_file, make_folder])
    def test_a_file_system_that_cannot_flush_folders_will_do(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, build: Callable[[Path], None]
    ) -> None:
        flush = os.fsync

        def flush_files_only(descriptor: int) -> None:
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            flush(descriptor)

        monkeypatch.setattr(os, "fsync", flush_files_only)
        publish(tmp_path / "target", build)
        assert [path.name for path in tmp_path.iterdir()] == ["target"]

    @pytest.mark.parametrize("name", ["target.zarr", "masks [v1] *?.zarr"])
    def test_what_dead_builds_of_this_target_left_is_swept_and_nothing_else(self, tmp_path: Path, name: str) -> None:
        dead = [tmp_path / f".{name}.building-{mark}" for mark in ("killed", "killed-before-its-lock")]
        make_folder(dead[0])
        (dead[0] / "lock").touch()
        dead[1].mkdir()
        others = [tmp_path / f".{name}.building-by-hand", tmp_path / ".another.zarr.building-x"]
        others.append(tmp_path / f"{name}.building-x")
        for folder in others:
            make_folder(folder)
        (tmp_path / f".{name}.building-file").touch()
        with publishing(tmp_path / name) as built:
            assert not any(folder.exists() for folder in dead)
            make_file(built)
        assert sorted(tmp_path.iterdir()) == sorted([tmp_path / name, tmp_path / f".{name}.building-file", *others])

    def test_a_live_build_of_another_process_is_not_swept_and_loses_to_what_was_published(self, tmp_path: Path) -> None:
        target = tmp_path / "target.h5"
        with stores.running("hold-open", target) as holder:
            private = Path(stores.answer(holder))
            write_store(target, stores.make_sequences(), {})
            whole = target.read_bytes()
            assert private.read_text() == "held"
            stores.ask(holder, "go on")
            assert stores.answer(holder) == "StoreExistsError"
            assert holder.wait() == 0
        assert target.read_bytes() == whole
        assert list(tmp_path.iterdir()) == [target]

    def test_a_build_is_swept_once_its_process_is_killed(self, tmp_path: Path) -> None:
        target = tmp_path / "target.h5"
        with stores.running("hold-open", target) as holder:
            private = Path(stores.answer(holder))
            holder.kill()
            holder.wait()
            assert private.read_text() == "held"
            write_store(target, stores.make_sequences(), {})
        assert list(tmp_path.iterdir()) == [target]

    def test_of_many_threads_one_wins_whole(self, tmp_path: Path) -> None:
        threads = 8
        gate = threading.Barrier(threads)

        def publish(target: Path, number: int) -> bool:
            gate.wait()
            try:
                with publishing(target) as built:
                    built.mkdir()
                    for name in "abc":
                        (built / name).write_text(str(number))
            except StoreExistsError:
                return False
            return True

        with ThreadPoolExecutor(threads) as pool:
            for attempt in range(20):
                target = tmp_path / f"target{attempt}"
                won = list(pool.map(publish, [target] * threads, range(threads)))
                assert won.count(True) == 1
                assert {path.name: path.read_text() for path in target.iterdir()} == dict.fromkeys(
                    "abc", str(won.index(True))
                )
        assert not stores.leftovers(tmp_path)


class Tripwire:
    """Lets calls of some functions pass and raises in place of one of them.

    Only the main thread's calls count: no interrupt reaches the threads of zarr, and one that did would end them.
    """

    def __init__(self, patch: pytest.MonkeyPatch, functions: list[tuple[Any, str]]) -> None:
        self.calls = 0
        self.last = -1
        self.error: BaseException | None = None
        for owner, name in functions:
            patch.setattr(owner, name, self._guard(getattr(owner, name)))

    def arm(self, last: int, error: BaseException) -> None:
        self.calls, self.last, self.error = 0, last, error

    def _guard(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **kwargs: Any) -> Any:
            if threading.current_thread() is not threading.main_thread():
                return function(*args, **kwargs)
            call, self.calls = self.calls, self.calls + 1
            if call == self.last and self.error is not None:
                raise self.error
            return function(*args, **kwargs)

        return guarded


STEPS = [
    (tempfile, "mkdtemp"),
    (fcntl, "flock"),
    (zarr, "open_group"),
    (zarr.Group, "create_array"),
    (h5py.File, "create_dataset"),
    (h5py.File, "flush"),
    (os, "fsync"),
    (os, "rename"),
    (os, "link"),
]


class TestFailures:
    @pytest.mark.parametrize("error", [stores.disk_full(), KeyboardInterrupt()], ids=["disk full", "interrupted"])
    @pytest.mark.parametrize("fmt", FORMATS)
    def test_a_build_that_fails_at_any_step_leaves_nothing_and_the_next_one_succeeds(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fmt: StoreFormat, error: BaseException
    ) -> None:
        target = tmp_path / f"store{stores.SUFFIXES[fmt]}"
        sequences = stores.make_sequences(40)
        tripwire = Tripwire(monkeypatch, STEPS)
        write_store(target, sequences, {})
        steps = tripwire.calls
        assert steps > 10
        stores.delete(target)
        for step in range(steps - 1):
            tripwire.arm(step, error)
            with pytest.raises((StoreError, KeyboardInterrupt)) as told:
                write_store(target, sequences, {})
            assert not list(tmp_path.iterdir())
            if isinstance(told.value, StoreError):
                assert stores.is_helpful(told.value, target)
                assert "No space left on device" in str(told.value)
        # The last step flushes the folder that has the new name by then: what is there is whole.
        tripwire.arm(steps - 1, error)
        with pytest.raises((StoreError, KeyboardInterrupt)):
            write_store(target, sequences, {})
        read_store(target)
        stores.delete(target)

        tripwire.arm(-1, error)
        read_store(write_store(target, sequences, {}))
        assert list(tmp_path.iterdir()) == [target]

    def test_a_disk_that_runs_full_is_told_and_leaves_nothing(self, tmp_path: Path) -> None:
        with stores.running("build-with-little-room") as builder:
            for room in (50, 700, 10_000, 40_000):
                for suffix in stores.SUFFIXES.values():
                    target = tmp_path / f"store{suffix}"
                    stores.ask(builder, [str(target), room])
                    status, said = stores.answer(builder)
                    assert status == 1
                    assert said.startswith(f"StoreError: {target}: could not be written (File too large).\n  Look at")
                    assert not list(tmp_path.iterdir())
            for suffix in stores.SUFFIXES.values():
                stores.ask(builder, [str(tmp_path / f"store{suffix}"), 1_000_000])
                assert stores.answer(builder) == [0, ""]
                read_store(tmp_path / f"store{suffix}")
            assert builder.stdin is not None
            builder.stdin.close()
            assert builder.wait() == 0  # a file that HDF5 itself failed to write would crash it here

    @pytest.mark.parametrize("fmt", FORMATS)
    def test_a_folder_without_permission_is_told(self, tmp_path: Path, fmt: StoreFormat) -> None:
        tmp_path.chmod(0o555)
        try:
            with stores.as_nobody(), pytest.raises(StoreError, match="Permission denied") as told:
                write_store(tmp_path / "store", stores.make_sequences(), {}, fmt)
        finally:
            tmp_path.chmod(0o755)
        assert stores.is_helpful(told.value, tmp_path / f"store{stores.SUFFIXES[fmt]}")
        assert not list(tmp_path.iterdir())


class TestKilled:
    @pytest.mark.parametrize(("fmt", "stride"), [("zarr", 5), ("hdf5", 1)])
    def test_a_writer_killed_at_any_file_system_call_leaves_a_whole_store_or_none(
        self, tmp_path: Path, fmt: StoreFormat, stride: int
    ) -> None:
        kept, target = tmp_path / "kept", tmp_path / "target" / f"store{stores.SUFFIXES[fmt]}"
        kept.mkdir()
        target.parent.mkdir()
        with stores.running("die-at-later-and-later-steps", target, kept, stride) as writers:
            kills = stores.answer(writers)
        expected = {name: array["sha256"] for name, array in _manifest(tmp_path / "again", fmt)["arrays"].items()}
        for path in kept.iterdir():
            arrays = read_store(path).attributes["arrays"]
            assert {name: array["sha256"] for name, array in arrays.items()} == expected
        print(f"{fmt}: {kills} kills, {len(list(kept.iterdir())) - 1} of them after publication")  # pytest -s
        assert kills >= 20
        assert not stores.leftovers(target.parent)

    def test_a_build_killed_at_random_leaves_a_whole_store_or_none_and_the_next_one_succeeds(
        self, tmp_path: Path
    ) -> None:
        with ThreadPoolExecutor(2) as pool:  # two chains of builds, each to one target
            chains = [pool.submit(_kill_builds, tmp_path / fmt, fmt, KILLS) for fmt in FORMATS]
            phases = {fmt: chain.result() for fmt, chain in zip(FORMATS, chains, strict=True)}
        for fmt, counted in phases.items():
            print(fmt, dict(counted))  # pytest -s
            assert counted.total() == KILLS
            assert counted["while writing"] >= 4


def _manifest(path: Path, fmt: StoreFormat) -> dict[str, Any]:
    return read_attributes(write_store(path, stores.make_sequences(60), {"title": "killed"}, fmt))


def _kill_builds(folder: Path, fmt: StoreFormat, kills: int) -> Counter[str]:
    """Start builds of one target one after the other and kill each; count the moments by what was there to see."""
    folder.mkdir()
    target = folder / f"store{stores.SUFFIXES[fmt]}"
    rng = random.Random(fmt)
    began = time.monotonic()
    subprocess.run([COMMAND, *stores.build_command(target)], check=True, capture_output=True)
    duration = time.monotonic() - began
    files = len(stores.files_of(target))
    digest = read_attributes(target)["manifest_sha256"]
    stores.delete(target)

    phases: Counter[str] = Counter()
    for number in range(kills):
        before = set(stores.leftovers(folder))
        process = subprocess.Popen(
            [COMMAND, *stores.build_command(target)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        if number % 4 == 0:
            time.sleep(rng.uniform(0, 0.9 * duration))
        else:
            _wait_for_files(process, folder, before, rng.randint(0, files + 1))
            time.sleep(rng.choice([0, 0, rng.uniform(0, 0.02)]))
        with suppress(ProcessLookupError):  # it ended by itself
            os.killpg(process.pid, signal.SIGKILL)
        status = process.wait()
        _wait_for_the_end_of(process.pid)  # no worker outlives its build
        if os.path.lexists(target):
            assert read_store(target).attributes["manifest_sha256"] == digest
            stores.delete(target)
            phases["after publication" if status else "after the end"] += 1
        else:
            assert status == -signal.SIGKILL
            phases["while writing" if set(stores.leftovers(folder)) - before else "before writing"] += 1
    build_kitti_masks(target, [SAMPLE_FOLDER], progress=False)
    assert read_store(target).attributes["manifest_sha256"] == digest
    assert list(folder.iterdir()) == [target]
    return phases


def _wait_for_the_end_of(group: int) -> None:
    """Wait until a killed process group is gone; the system may take a moment to bury what its leader had started."""
    for _ in range(1000):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)
    raise AssertionError(f"process group {group} outlives its build by ten seconds")


def _wait_for_files(process: subprocess.Popen[bytes], folder: Path, before: set[Path], count: int) -> None:
    """Wait until the build has a private folder with so many files in it, or ends."""
    while process.poll() is None:
        new = [path for path in stores.leftovers(folder) if path not in before]
        if new and sum(len(files) for _, _, files in os.walk(new[0])) >= count:
            return
        time.sleep(0.001)


class TestTwoBuildsAtOnce:
    def test_one_wins_whole_and_the_other_is_told(self, tmp_path: Path) -> None:
        digests = set()
        with stores.running("build-on-demand") as one, stores.running("build-on-demand") as other:
            for attempt in range(12):
                target = tmp_path / f"store{attempt}{stores.SUFFIXES[FORMATS[attempt % 2]]}"
                for builder in (one, other):
                    stores.ask(builder, str(target))
                (won, _), (lost, said) = sorted(stores.answer(builder) for builder in (one, other))
                assert (won, lost) == (0, 1)
                assert said == (
                    f"StoreExistsError: {target}: exists already and was left as it is.\n"
                    "  Choose another --out, or delete it first.\n"
                )
                digests.add(read_store(target).attributes["manifest_sha256"])
        assert len(digests) == 1
        assert not stores.leftovers(tmp_path)
