"""Publication: whatever kills, stops or races a build, the final name is absent or holds a whole store."""

from __future__ import annotations

import errno
import os
import random
import signal
import stat
import subprocess
import sys
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

from temporalpairs import files, store
from temporalpairs.errors import StoreCorruptError, StoreError, StoreExistsError
from temporalpairs.store import StoreFormat, hdf5, read_attributes, read_store, write_store
from temporalpairs.store import zarr as zarr_format
from temporalpairs.store.atomic import publishing, replace_file

FORMATS: tuple[StoreFormat, ...] = ("zarr", "hdf5")


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
    """What lies in a folder, private folders apart: text of files, aims of links."""
    found = {}
    for path in sorted(folder.rglob("*")):
        content = f"-> {path.readlink()}" if path.is_symlink() else "folder" if path.is_dir() else path.read_text()
        if ".building-" not in str(path):
            found[str(path.relative_to(folder))] = content
    return found


def publish(target: Path, build: Callable[[Path], object]) -> None:
    with publishing(target) as built:
        build(built)


def refuse(number: int) -> Callable[..., None]:
    def refused(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return refused


OCCUPANTS = [make_file, make_folder, Path.mkdir, make_dangling_link, make_link_to_folder]


@pytest.mark.parametrize("build", [make_file, make_folder])
class TestPublishing:
    def test_a_block_that_ends_well_puts_its_work_under_the_final_name(
        self, tmp_path: Path, build: Callable[[Path], None]
    ) -> None:
        with publishing(tmp_path / "new" / "target") as built:
            build(built)
            assert not (tmp_path / "new" / "target").exists()
        build(tmp_path / "expected")
        assert describe(tmp_path / "new") == {
            name.replace("expected", "target"): text for name, text in describe(tmp_path).items() if "new" not in name
        }
        assert [path.name for path in (tmp_path / "new").iterdir()] == ["target"]

    @pytest.mark.parametrize("occupy", OCCUPANTS)
    def test_what_is_at_the_target_or_comes_there_meanwhile_stays_as_it_is(
        self, tmp_path: Path, occupy: Callable[[Path], None], build: Callable[[Path], None]
    ) -> None:
        target, before = tmp_path / "target", {}

        def build_too_late(built: Path) -> None:
            build(built)
            occupy(target)
            before.update(describe(tmp_path))

        with pytest.raises(StoreExistsError, match="left as it is"):
            publish(target, build_too_late)
        with pytest.raises(StoreExistsError, match="left as it is"), publishing(target):
            pytest.fail("nothing may be built where something is")
        assert describe(tmp_path) == before
        assert not stores.leftovers(tmp_path)

    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
    def test_a_block_that_fails_leaves_nothing(
        self, tmp_path: Path, build: Callable[[Path], None], error: type[BaseException]
    ) -> None:
        def build_half(built: Path) -> None:
            build(built)
            raise error

        with pytest.raises(error):
            publish(tmp_path / "target", build_half)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.EACCES])
    def test_file_systems_without_hard_links_or_flushing_of_folders_will_do(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, build: Callable[[Path], None], number: int
    ) -> None:
        flush = os.fsync

        def flush_files_only(descriptor: int) -> None:
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                refuse(number)()
            flush(descriptor)

        monkeypatch.setattr(os, "fsync", flush_files_only)
        monkeypatch.setattr(os, "link", refuse(errno.EPERM))
        publish(tmp_path / "one", build)
        with pytest.raises(StoreExistsError):
            publish(tmp_path / "two", lambda built: (build(built), make_dangling_link(tmp_path / "two")))
        assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]
        assert (tmp_path / "two").is_symlink()


def test_a_live_build_loses_to_what_was_published_and_a_dead_one_is_swept(tmp_path: Path) -> None:
    target = tmp_path / "target.h5"
    with stores.running("hold-open", target) as alive, stores.running("hold-open", target) as dead:
        private = Path(stores.answer(alive))
        stores.answer(dead)
        dead.kill()
        dead.wait()
        assert len(stores.leftovers(tmp_path)) == 4
        assert stores.write(target) == ""
        assert {path.name.removesuffix(".lock") for path in stores.leftovers(tmp_path)} == {private.parent.name}
        whole = target.read_bytes()
        stores.ask(alive, "go on")
        assert stores.answer(alive) == "StoreExistsError"
        assert alive.wait() == 0
    assert target.read_bytes() == whole
    assert list(tmp_path.iterdir()) == [target]


def test_of_many_threads_one_wins_whole(tmp_path: Path) -> None:
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
        for attempt in range(5):
            target = tmp_path / f"target{attempt}"
            won = list(pool.map(publish, [target] * threads, range(threads)))
            assert won.count(True) == 1
            text = str(won.index(True))
            assert {path.name: path.read_text() for path in target.iterdir()} == dict.fromkeys("abc", text)
    assert not stores.leftovers(tmp_path)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new" / "scores.json"
    assert replace_file(path, b"old").read_bytes() == b"old"
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse(errno.ENOSPC))
        with pytest.raises(OSError, match="No space left"):
            replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert replace_file(path, b"new").read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


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
    (zarr, "open_group"),
    (zarr.Group, "create_array"),
    (h5py.File, "create_dataset"),
    (h5py.File, "flush"),
    (os, "fsync"),
    (os, "rename"),
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
        for step in range(0, steps - 1, 3):
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
        assert list(tmp_path.iterdir()) == [target]

    def test_a_disk_that_runs_full_is_told_and_leaves_nothing(self, tmp_path: Path) -> None:
        with stores.running("write-with-little-room") as builder:
            for suffix in stores.SUFFIXES.values():
                target = tmp_path / f"store{suffix}"
                for room in (50, 700):
                    stores.ask(builder, [str(target), room])
                    told = f"StoreError: {target}: could not be written (File too large).\n  Look at"
                    assert stores.answer(builder).startswith(told)
                    assert not list(tmp_path.iterdir())
                stores.ask(builder, [str(target), 1_000_000])
                assert stores.answer(builder) == ""
                read_store(target)
                stores.delete(target)
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

    @pytest.mark.parametrize("fmt", FORMATS)
    @pytest.mark.parametrize("what", ["number", "attribute"])
    def test_what_does_not_read_back_is_not_published(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fmt: StoreFormat, what: str
    ) -> None:
        writer = (zarr_format if fmt == "zarr" else hdf5).Writer
        write, finish = writer.write, writer.finish

        def miswrite(self: Any, name: str, row: int, rows: np.ndarray) -> None:
            write(self, name, row, rows + 1 if (what, name) == ("number", "factors") else rows)

        def misfinish(self: Any, attributes: dict[str, Any]) -> None:
            finish(self, {**attributes, "title": "another"} if what == "attribute" else attributes)

        monkeypatch.setattr(writer, "write", miswrite)
        monkeypatch.setattr(writer, "finish", misfinish)
        with pytest.raises(StoreError, match="was not published, because what was written does not read back") as told:
            write_store(tmp_path / "store", stores.make_sequences(), {"title": "one"}, fmt)
        assert stores.is_helpful(told.value, tmp_path / f"store{stores.SUFFIXES[fmt]}")
        assert not isinstance(told.value, StoreCorruptError)
        assert not list(tmp_path.iterdir())

    def test_a_lock_that_is_not_to_be_had_is_no_error(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(files.FileLock, "acquire", refuse(errno.ENOLCK))
        read_store(write_store(tmp_path / "store.zarr", stores.make_sequences(), {}))
        assert [path.name for path in tmp_path.iterdir()] == ["store.zarr"]

    def test_memory_that_runs_out_is_not_taken_for_damage(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = write_store(tmp_path / "store.zarr", stores.make_sequences(), {})

        def run_out(*_: object, **__: object) -> None:
            raise MemoryError

        monkeypatch.setattr(zarr.Array, "__getitem__", run_out)
        with pytest.raises(MemoryError):
            store.read_store(path)


class TestKilled:
    @pytest.mark.parametrize(
        ("fmt", "stride"),
        [
            ("zarr", 20),
            ("hdf5", 4),
            pytest.param("zarr", 1, marks=pytest.mark.slow),
            pytest.param("hdf5", 1, marks=pytest.mark.slow),
        ],
    )
    def test_a_writer_killed_at_any_file_system_call_leaves_a_whole_store_or_none(
        self, tmp_path: Path, fmt: StoreFormat, stride: int
    ) -> None:
        kept, target = tmp_path / "kept", tmp_path / "target" / f"store{stores.SUFFIXES[fmt]}"
        kept.mkdir()
        target.parent.mkdir()
        with stores.running("die-at-later-and-later-steps", target, kept, stride) as writers:
            kills = stores.answer(writers)
        again = tmp_path / f"again{stores.SUFFIXES[fmt]}"
        assert stores.write(again) == ""
        for path in kept.iterdir():
            assert read_store(path).attributes == read_attributes(again)
        print(f"{fmt}: {kills} kills, {len(list(kept.iterdir())) - 1} of them after publication")  # pytest -s
        assert kills >= 5
        assert not list(target.parent.iterdir())

    @pytest.mark.parametrize("fmt", FORMATS)
    @pytest.mark.parametrize("kills", [2, pytest.param(16, marks=pytest.mark.slow)])
    def test_a_writer_killed_at_random_leaves_a_whole_store_or_none_and_the_next_one_succeeds(
        self, tmp_path: Path, fmt: StoreFormat, kills: int
    ) -> None:
        phases = _kill_writers(tmp_path, fmt, kills)
        print(fmt, dict(phases))  # pytest -s
        assert phases.total() == kills


def _kill_writers(folder: Path, fmt: StoreFormat, kills: int) -> Counter[str]:
    """Start writers of one target one after the other and kill each; count the moments by what was there to see."""
    target = folder / f"store{stores.SUFFIXES[fmt]}"
    rng = random.Random(fmt)
    assert stores.write(target) == ""
    digest = read_attributes(target)["manifest_sha256"]
    count = len(stores.files_of(target))
    stores.delete(target)
    phases: Counter[str] = Counter()
    for _ in range(kills):
        before = set(stores.leftovers(folder))
        process = subprocess.Popen(
            [sys.executable, stores.__file__, "write", str(target)], stdout=subprocess.DEVNULL, start_new_session=True
        )
        _wait_for_files(process, folder, before, rng.randint(0, count + 1))
        time.sleep(rng.choice([0, 0, rng.uniform(0, 0.02)]))
        with suppress(ProcessLookupError):  # it ended by itself
            os.killpg(process.pid, signal.SIGKILL)
        status = process.wait()
        if os.path.lexists(target):
            assert read_store(target).attributes["manifest_sha256"] == digest
            stores.delete(target)
            phases["after publication" if status else "after the end"] += 1
        else:
            assert status == -signal.SIGKILL
            phases["while writing" if set(stores.leftovers(folder)) - before else "before writing"] += 1
    assert stores.write(target) == ""
    assert list(folder.iterdir()) == [target]
    return phases


def _wait_for_files(process: subprocess.Popen[bytes], folder: Path, before: set[Path], count: int) -> None:
    """Wait until the build has a private folder with so many files in it, or ends."""
    while process.poll() is None:
        new = [path for path in stores.leftovers(folder) if path not in before and path.is_dir()]
        if new and sum(len(names) for _, _, names in os.walk(new[0])) >= count:
            return
        time.sleep(0.001)


@pytest.mark.parametrize("attempts", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_of_two_writers_at_once_one_wins_whole_and_the_other_is_told(tmp_path: Path, attempts: int) -> None:
    digests = set()
    with stores.running("write-on-demand") as one, stores.running("write-on-demand") as other:
        for attempt in range(attempts):
            target = tmp_path / f"store{attempt}{stores.SUFFIXES[FORMATS[attempt % 2]]}"
            for builder in (one, other):
                stores.ask(builder, str(target))
            won, lost = sorted(stores.answer(builder) for builder in (one, other))
            assert won == ""
            assert lost == (
                f"StoreExistsError: {target}: exists already and was left as it is.\n"
                "  Choose another --out, or delete it first."
            )
            digests.add(read_store(target).attributes["manifest_sha256"])
    assert len(digests) == 1
    assert not stores.leftovers(tmp_path)
