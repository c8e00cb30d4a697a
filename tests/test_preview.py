"""Pictures of stores and datasets: every kind of store, tiny ones, foreign ones, and names of all sorts."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from sequences_made import made_attributes, made_sequences
from torch.utils.data import Subset

from kittimasks import load_kitti_masks
from natsprites import SpriteOptions, load_natural_sprites, render
from natsprites.card import BUILT, attributes
from natsprites.rendering.store import render_store
from temporalpairs.errors import OptionError, WrongStoreError
from temporalpairs.report import figures, plot, plot_pairs, plot_sequences, save_animation, save_figure, save_preview
from temporalpairs.report.figures import clean, colored, fitted, spread
from temporalpairs.report.sequences import choose_sequences
from temporalpairs.report.subjects import open_subject
from temporalpairs.sequences import UNKNOWN, Sequences
from temporalpairs.store import Store, read_store, write_store

LENGTHS = [2, 3, 8, 5, 1, 7]


def walks(lengths: list[int], *, videos: int = 3, seed: int = 0) -> Sequences:
    """Centers that walk with heavy-tailed steps, and areas that grow and shrink; sequence i is of object 10 + i."""
    chance = np.random.default_rng(seed)
    n, index = sum(lengths), np.arange(len(lengths))
    y, x = np.clip(32 + np.cumsum(chance.laplace(0, 1.2, (2, n)), axis=1), 0, 63)
    unknown = np.full(len(lengths), UNKNOWN)
    return Sequences(
        frames=None,
        factors=np.stack([y, x, np.clip(300 + np.cumsum(chance.integers(-9, 10, n)), 1, 4096)], axis=1),
        start=np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        video=index % videos if videos else unknown,
        track=10 + index,
        crop=index % 3,
        first_frame=5 * index if videos else unknown,
        category=1 + index % 4,
    )


def sprite_store(path: Path, sequences: Sequences, *, name: str = "b", whole: bool = False) -> Store:
    described = attributes(
        BUILT,
        image_shape=None if whole else (64, 64),
        crop_columns=(0, 32, 64),
        categories={1: "dog", 2: "earless_seal", 3: name},
        videos=("a", name, "c"),
        sources=[],
        builder={"name": "", "options": {}},
    )
    return read_store(write_store(path, sequences, described))


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "DPI", 50)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Store]:
    folder = tmp_path_factory.mktemp("stores")
    masks = read_store(write_store(folder / "masks.h5", made_sequences(LENGTHS), made_attributes()))
    sprites = sprite_store(folder / "sprites.h5", walks(LENGTHS))
    colors = SpriteOptions(shapes=("circle", "star_5"), colors=((1, 0, 0), (0, 0.6, 1)), size=96)
    return {
        "masks": masks,
        "sprites": sprites,
        "rendered": read_store(render_store(sprites.path, folder / "gray.h5", progress=False)),
        "colored": read_store(render_store(sprites.path, folder / "colored.h5", sprites=colors, progress=False)),
        "whole": sprite_store(folder / "whole.h5", walks(LENGTHS), whole=True),
    }


def images_of(figure: Figure, place: int) -> np.ndarray:
    """The pixels of a row of pictures, [height, width, 3]."""
    shown = [ax for ax in figure.axes if ax.images][place]
    return np.asarray(shown.images[0].get_array())[:, :, :3]


@pytest.mark.parametrize("kind", ["masks", "sprites", "colored", "whole"])
def test_every_store_has_a_montage_and_an_animation(kind: str, stores: dict[str, Store], tmp_path: Path) -> None:
    store, before = stores[kind], dict(mpl.rcParams)
    (tmp_path / "montage.png").write_bytes(b"an older picture")
    with Image.open(save_preview(store, tmp_path / "montage.png")) as image:
        assert (image.format, 300 < image.width < 700) == ("PNG", True)
    with Image.open(save_preview(store.path, tmp_path / "animation.gif")) as image:
        assert (getattr(image, "n_frames", 1), image.info["duration"], image.info["loop"]) == (8, 100, 0)
        assert image.convert("RGB").getpixel((2, 2)) == (255, 255, 255)
    assert (tmp_path / "animation.gif").stat().st_size < 1_500_000
    assert len(plot_sequences(store, rows=2).axes) == 8
    assert dict(mpl.rcParams) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["animation.gif", "montage.png"]


def test_the_same_store_gives_the_same_bytes(stores: dict[str, Store], tmp_path: Path) -> None:
    for suffix in (".png", ".PDF", ".svg"):
        one, other = (
            save_figure(plot_sequences(stores["masks"], rows=1), tmp_path / f"{name}{suffix}") for name in "ab"
        )
        assert one.read_bytes() == other.read_bytes()
    one, other = (save_animation(stores["masks"], tmp_path / f"{name}.gif") for name in "ab")
    assert one.read_bytes() == other.read_bytes()


def test_a_montage_of_masks_shows_them_with_center_and_factors(stores: dict[str, Store]) -> None:
    store = stores["masks"]
    figure = plot_sequences(store, rows=2, columns=3)
    chosen = choose_sequences(open_subject(store), 2)
    for row, index in enumerate(chosen):
        sequence = open_subject(store).sequences[index]
        strip, *tracks = figure.axes[4 * row : 4 * row + 4]
        shown = [0, round((len(sequence) - 1) / 2), len(sequence) - 1]
        expected = colored(np.asarray(sequence.frames)[shown])
        pixels = images_of(figure, row)
        for place in range(3):
            np.testing.assert_array_equal(pixels[:, 68 * place : 68 * place + 64], expected[place])
        first = int(store.sequences.first_frame[index])
        assert [text.get_text() for text in strip.get_xticklabels()] == [str(first + frame) for frame in shown]
        x, y = strip.lines[0].get_data()
        np.testing.assert_allclose(x, sequence.factors[shown, 1] + [0, 68, 136], rtol=1e-6)
        np.testing.assert_allclose(y, sequence.factors[shown, 0], rtol=1e-6)
        for track, values in zip(tracks, sequence.factors.T, strict=True):
            np.testing.assert_array_equal(track.lines[0].get_ydata(), values)
    assert [ax.get_title() for ax in figure.axes[1:4]] == ["y [px]", "x [px]", "area [px²]"]


def test_a_cross_is_on_the_sprite_that_was_rendered(stores: dict[str, Store]) -> None:
    """A mask's y is down, its sprite's up; images may have another size than crops."""
    figure = plot_sequences(stores["colored"], rows=3)
    hits = 0
    for place, ax in enumerate(ax for ax in figure.axes if ax.images):
        pixels = images_of(figure, place)
        for x, y in np.rint(np.transpose(ax.lines[0].get_data())).astype(int):
            if 5 < y < 90 and 5 < x % 102 < 90:
                hits += 1
                assert pixels[y, x].any()
    assert hits > 10


def test_pairs_show_the_sprites_of_their_masks_from_stillness_to_large_steps(stores: dict[str, Store]) -> None:
    figure = plot_pairs(stores["sprites"])
    assert len(figure.axes) == 12
    ways = []
    for place, ax in enumerate(figure.axes):
        label, first, second = (text.get_text() for text in ax.get_xticklabels())
        ways.append(np.hypot(*(float(part) for part in label.replace(" x ", " ").split()[2:4])))
        shape, angle = ax.get_title(loc="left").split(", ")[-1].removesuffix("°").split(" at ")
        y, x, area = (float(word) for word in first.split()[3::2])
        drawn = render([x / 64], [y / 64], [np.sqrt(area) / 64], float(angle), shape)[0].astype(int)
        shown = images_of(figure, place)[:, 68:132, 0].astype(int)
        assert np.mean(np.abs(drawn - shown) > 128) < 0.02  # labels are rounded
        assert second.startswith(f"frame {int(first.split()[1]) + 1}")
    assert ways[0] < 1 < np.median(ways) < ways[-1]


def test_pairs_of_a_store_of_images_show_its_images(stores: dict[str, Store]) -> None:
    store = stores["rendered"]
    frames = np.asarray(store.sequences.frames).reshape(-1, 64, 64)
    figure = plot_pairs(store, pairs=3)
    for place, ax in enumerate(figure.axes):
        number = int(ax.get_title(loc="left").split(",")[0].removeprefix("sequence "))
        frame = int(ax.get_xticklabels()[1].get_text().split()[1])
        row = int(store.sequences.start[number] + frame - store.sequences.first_frame[number])
        pixels = images_of(figure, place)
        np.testing.assert_array_equal(pixels[:, 68:132, 0], frames[row])
        np.testing.assert_array_equal(pixels[:, 136:, 0], frames[row + 1])


def test_datasets_show_what_they_serve(stores: dict[str, Store]) -> None:
    sprites = load_natural_sprites(source=stores["sprites"].path, split="train", area_filter=0.0)
    figure = plot(sprites)
    number = int(figure.axes[0].get_title(loc="left").split(",")[0].removeprefix("window "))
    frames = colored(sprites[number].frames.numpy())
    np.testing.assert_array_equal(images_of(figure, 0)[:, 68:132], frames[0])
    masks = load_kitti_masks(source=stores["masks"].path)
    assert [ax.get_title() for ax in plot(masks).axes[1:4]] == ["y [px]", "x [px]", "area [px²]"]
    for draw in (plot, plot_sequences, plot_pairs):
        whole, part = (draw(data).texts[0].get_text() for data in (masks.subset([3, 1, 4]), Subset(masks, [3, 1, 4])))
        assert whole == part
    masks.store = None  # type: ignore[assignment]  # as a dataset that is made in memory
    masks.info = None  # type: ignore[assignment]
    for figure in (plot_sequences(masks, rows=2), plot_pairs(masks, pairs=2)):
        assert "KittiMasks" in figure.texts[0].get_text()


@pytest.mark.parametrize("lengths", [[2], [1, 2], [1, 1, 4, 1], [5] * 3])
def test_small_stores_are_drawn_as_far_as_they_go(lengths: list[int], tmp_path: Path) -> None:
    store = sprite_store(tmp_path / "small.h5", walks(lengths, videos=0))
    assert len([ax for ax in plot_sequences(store).axes if ax.images]) == min(8, len(lengths))
    assert len(plot_pairs(store).axes) == min(12, sum(lengths) - len(lengths))
    with Image.open(save_animation(store, tmp_path / "small.gif")) as image:
        assert getattr(image, "n_frames", 1) == max(lengths)


def test_single_frames_make_no_pair_but_a_montage(tmp_path: Path) -> None:
    store = sprite_store(tmp_path / "single.h5", walks([1, 1, 1]))
    with pytest.raises(OptionError, match="none of its 3 sequences has two frames"):
        plot(store)
    plot_sequences(store)


def test_every_number_of_transitions_gives_distinct_pairs(tmp_path: Path) -> None:
    for n in (1, 13, 145):
        figure = plot_pairs(sprite_store(tmp_path / f"{n}.h5", walks([n + 1])))
        assert len({ax.get_xticklabels()[1].get_text().split()[1] for ax in figure.axes}) == min(n, 12)


@pytest.mark.parametrize(
    "name", ["a video\nname " * 60, "W" * 300, "tab\tbell\x07 escape\x1b[31m", "$x^2$ $", "熊猫 \udcff"]
)
def test_names_of_all_sorts_stay_in_their_room(name: str, tmp_path: Path) -> None:
    store = sprite_store(tmp_path / "named.h5", walks([9, 8, 7]))
    store = Store(store.path, {**store.attributes, "videos": ["a", name, "c"], "title": name}, store.sequences)
    for figure in (plot_sequences(store, rows=3, columns=2), plot_pairs(store, pairs=2)):
        save_figure(figure, tmp_path / "named.png")
        with warnings.catch_warnings(action="ignore"):  # of letters that the font lacks
            bounds = figure.get_tightbbox()
        assert 0 <= bounds.x0 < bounds.x1 <= figure.get_size_inches()[0]


def test_stores_that_say_little_are_drawn_or_refused(stores: dict[str, Store], tmp_path: Path) -> None:
    little = {"title": "Mine", "origin": "1", "factor_names": ["speed"]}
    for sequences in (made_sequences([9, 5]), walks([9, 5])):
        plot(Store(tmp_path, little, sequences))
        plot_pairs(Store(tmp_path, little, sequences), pairs=1)
    wrong = Store(tmp_path, {**stores["rendered"].attributes, "image_shape": [32, 32]}, stores["rendered"].sequences)
    with pytest.raises(WrongStoreError, match="no images of 32 by 32 pixels"):
        plot(wrong)


def test_what_is_no_picture_or_cannot_be_written_is_told(stores: dict[str, Store], tmp_path: Path) -> None:
    store, out = stores["masks"], tmp_path / "picture.png"
    out.write_bytes(b"an older picture")
    with pytest.raises(OptionError, match=r"a picture ends in one of .*\.pdf.*\.svg"):
        save_preview(store, tmp_path / "picture.doc")
    with pytest.raises(OptionError, match=r"an animation ends in \.gif"):
        save_animation(store, tmp_path / "picture.mp4")
    with pytest.raises(OptionError, match="could not be written there"):
        save_figure(Figure(), out / "below a file.png")
    with pytest.raises(OptionError, match="3: give a store, its path, a dataset or a run"):
        plot(3)  # type: ignore[arg-type]
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("picture.png", b"an older picture")]


def test_figures_follow_style_sheets(stores: dict[str, Store]) -> None:
    with mpl.rc_context({"figure.facecolor": "black", "text.color": "white"}):
        figure = plot_pairs(stores["sprites"], pairs=2)
    assert figure.get_facecolor() == (0, 0, 0, 1)
    assert figure.texts[0].get_color() == "white"


def test_animations_prefer_long_sequences_that_move(tmp_path: Path) -> None:
    still = walks([30, 30, 30, 4, 30])
    still.factors[:60] = still.factors[0]
    subject: Any = SimpleNamespace(sequences=open_subject(sprite_store(tmp_path / "s.h5", still)).sequences)
    assert choose_sequences(subject, 2) == [2, 4]


def test_text_is_cut_to_its_room_and_cleaned() -> None:
    assert clean(" two\nlines\x00 ") == "two lines?"
    assert fitted("short", 2.0) == "short"
    cut = fitted("a video " * 60, 2.0)
    assert cut.endswith("…")
    assert 20 < len(cut) < 60
    assert [spread(n, 4) for n in (0, 2, 8)] == [[], [0, 1], [1, 3, 5, 7]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")
