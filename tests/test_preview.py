"""Pictures of stores: both datasets, both kinds, tiny stores, and stores of which there is no picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sequences_made import made_attributes, made_sequences

from natsprites import SpriteOptions, render
from natsprites.rendering.store import render_store
from temporalpairs.errors import NotAStoreError, OptionError
from temporalpairs.report import preview, preview_style, sprite_panel, sprite_preview
from temporalpairs.report.preview import save_preview
from temporalpairs.sequences import UNKNOWN, Sequences
from temporalpairs.store import Store, read_store, write_store
from temporalpairs.store.manifest import Edition

MANY = [2, 3, 60, 9, 55, 1, 48, 20, 51, 70, 49, 2, 80]


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
        window=index % 3,
        first_frame=5 * index if videos else unknown,
        category=1 + index % 4,
    )


def sprite_store(
    path: Path, sequences: Sequences, *, names: tuple[str, ...] = ("a", "b", "c"), whole: bool = False
) -> Store:
    attributes = facts.attributes(
        Edition("made by a test", "none"),
        image_shape=None if whole else (64, 64),
        window_columns=(0,) if whole else (0, 32, 64),
        categories={1: "dog", 2: "earless_seal", 3: "a category whose name is far too long for the room " * 4},
        videos=names if (sequences.video >= 0).any() else (),
        sources=[],
        builder={"name": "", "options": {}},
    )
    return read_store(write_store(path, sequences, attributes))


@pytest.fixture(scope="module")
def sprites(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return sprite_store(tmp_path_factory.mktemp("sprites") / "many.zarr", walks(MANY))


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory) -> Store:
    out = tmp_path_factory.mktemp("masks") / "many.zarr"
    return read_store(write_store(out, made_sequences(MANY), made_attributes()))


@pytest.fixture(scope="module")
def rendered(sprites: Store, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return read_store(render_store(sprites.path, tmp_path_factory.mktemp("rendered") / "r.zarr", progress=False))


@pytest.fixture(scope="module")
def colored(sprites: Store, tmp_path_factory: pytest.TempPathFactory) -> Store:
    options = SpriteOptions(
        shapes=("dart", "circle"),
        colors=((1, 0, 0), (0, 0.6, 1)),
        size=96,
        polygons={"dart": [[-0.5, -0.5], [0.5, -0.5], [0, 0.9]]},
    )
    out = tmp_path_factory.mktemp("rendered") / "colored.zarr"
    return read_store(render_store(sprites.path, out, sprites=options, progress=False))


STORES = ["masks", "sprites", "rendered", "colored"]


@pytest.mark.parametrize("name", STORES)
def test_a_store_has_a_montage_and_an_animation(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    store = request.getfixturevalue(name)
    with Image.open(save_preview(store, tmp_path / "montage.png")) as image:
        assert image.format == "PNG"
        assert 1000 < image.width < 1400
        assert 800 < image.height < 1800
    with Image.open(save_preview(store, tmp_path / "animation.gif")) as image:
        assert image.format == "GIF"
        assert getattr(image, "n_frames", 1) == 48
        assert image.info["duration"] == 100
        assert image.info["loop"] == 0
        assert 500 < image.width < 1000
    assert (tmp_path / "animation.gif").stat().st_size < 1_500_000
    assert (tmp_path / "montage.png").stat().st_size < 500_000


@pytest.mark.parametrize("name", ["masks", "sprites"])
def test_the_same_store_gives_the_same_bytes_in_place_of_an_older_picture(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    store = request.getfixturevalue(name)
    for suffix in (".png", ".gif"):
        out = tmp_path / f"picture{suffix}"
        out.write_bytes(b"an older picture")
        assert save_preview(store, out) == out
        again = save_preview(read_store(store.path), tmp_path / f"again{suffix}")
        assert out.read_bytes() == again.read_bytes()
    assert len(list(tmp_path.iterdir())) == 4, "nothing else is left there"


def test_an_older_picture_stays_where_the_new_one_cannot_be_drawn_or_written(
    sprites: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "picture.png"
    out.write_bytes(b"an older picture")
    with pytest.raises(NotAStoreError):
        save_preview(Store(sprites.path, {**sprites.attributes, "dataset": "another"}, sprites.sequences), out)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(preview.Path, "replace", fail)
        with pytest.raises(OptionError, match=r"the picture could not be written there \(No space left"):
            save_preview(sprites, out)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("picture.png", b"an older picture")]
    with pytest.raises(OptionError, match="could not be written there"):
        save_preview(sprites, out / "below a file.png")


@pytest.mark.parametrize("name", STORES)
def test_a_wrong_suffix_is_refused(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"a preview is a \.png \(a montage\) or a \.gif"):
        save_preview(request.getfixturevalue(name), tmp_path / "picture.jpg")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("lengths", "videos"), [([2], 0), ([2], 1), ([1, 2], 2), ([1, 1, 1, 4, 1], 0), ([2] * 5, 2), ([13], 1), ([100], 0)]
)
def test_small_stores_have_pictures_without_empty_cells(lengths: list[int], videos: int, tmp_path: Path) -> None:
    store = sprite_store(tmp_path / "small.zarr", walks(lengths, videos=videos))
    pairs = sum(length - 1 for length in lengths)
    with Image.open(save_preview(store, tmp_path / "small.png")) as image:
        assert (image.width > 700) == (pairs > 1)
    longest = min(max(lengths), 48)
    with Image.open(save_preview(store, tmp_path / "small.gif")) as image:
        assert getattr(image, "n_frames", 1) == longest
        assert (image.width > 300) == (sum(length > 1 for length in lengths) > 1)
    if videos:
        drawn = read_store(render_store(store.path, tmp_path / "rendered.zarr", progress=False))
        assert sprite_preview.montage(drawn).width == sprite_preview.montage(store).width


def test_small_stores_of_masks_have_pictures(tmp_path: Path) -> None:
    for lengths in ([1], [2], [1, 3]):
        out = write_store(tmp_path / f"{len(lengths)}-{lengths[0]}.zarr", made_sequences(lengths), made_attributes())
        for suffix in (".png", ".gif"):
            save_preview(read_store(out), out.with_suffix(suffix))


def test_single_frames_make_no_pair(tmp_path: Path) -> None:
    store = sprite_store(tmp_path / "single.zarr", walks([1, 1, 1]))
    for suffix in (".png", ".gif"):
        with pytest.raises(OptionError, match="none of its 3 sequences has two frames, so there is no pair to draw"):
            save_preview(store, tmp_path / f"single{suffix}")


def test_masks_measured_in_whole_images_have_no_sprites(tmp_path: Path) -> None:
    store = sprite_store(tmp_path / "whole.zarr", walks([5, 6]), whole=True)
    for suffix in (".png", ".gif"):
        with pytest.raises(OptionError, match="whole images, which do not make sprites"):
            save_preview(store, tmp_path / f"whole{suffix}")


def test_a_store_of_something_else_is_refused(sprites: Store, masks: Store, rendered: Store, tmp_path: Path) -> None:
    for dataset in ({"dataset": "another"}, {"dataset": None}):
        with pytest.raises(NotAStoreError, match="of which there is no picture"):
            save_preview(Store(sprites.path, {**sprites.attributes, **dataset}, sprites.sequences), tmp_path / "a.png")
    without = Store(masks.path, masks.attributes, walks(MANY))
    with pytest.raises(NotAStoreError, match="no frames to draw"):
        save_preview(without, tmp_path / "a.png")
    for attributes, sequences in (
        (rendered.attributes, sprites.sequences),
        ({**rendered.attributes, "image_shape": [32, 32]}, rendered.sequences),
    ):
        with pytest.raises(NotAStoreError, match="not those that it states"):
            save_preview(Store(rendered.path, attributes, sequences), tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def sprites_in(picture: Image.Image, place: int, pairs: int) -> np.ndarray:
    """The two sprites of a pair of a montage: uint8 [2, 64, 64, 3], each pixel once."""
    pixels = np.asarray(picture)
    column, row = divmod(place, -(-pairs // min(pairs, 2)))
    # Rows of cells are 18 + 192 + 28 + 6 + 6 apart, from the bottom up; cells of three panels of 192, 18 apart.
    down = -(-pairs // min(pairs, 2)) - row
    top, left = len(pixels) - 250 * down + 18, 6 + column * (3 * 192 + 2 * 6 + 18)
    cells = [pixels[top : top + 192, left + i * 198 : left + i * 198 + 192] for i in (1, 2)]
    for cell in cells:
        np.testing.assert_array_equal(cell, np.repeat(np.repeat(cell[::3, ::3], 3, axis=0), 3, axis=1))
    return np.stack([cell[::3, ::3] for cell in cells])


def test_pairs_show_the_renderers_pixels(sprites: Store) -> None:
    picture = sprite_preview.montage(sprites)
    transitions = sprite_preview.find_transitions(sprites.sequences)
    chosen = transitions[sprite_preview._from_still_to_fast(transitions)]
    for place in range(12):
        look = sprite_preview._look(sprites, place, 0)
        x, y, area = chosen.x[place], chosen.y[place], chosen.area[place]
        drawn = render(x / 64, y / 64, np.sqrt(area / 64**2), np.full(2, look.angle), np.full(2, look.shape))
        shown = sprites_in(picture, place, 12)
        assert drawn.any()
        np.testing.assert_array_equal(shown, np.stack([drawn] * 3, axis=3))


def test_a_store_of_images_shows_its_images(rendered: Store) -> None:
    picture = sprite_preview.montage(rendered)
    transitions = sprite_preview.find_transitions(rendered.sequences)
    chosen = transitions[sprite_preview._from_still_to_fast(transitions)]
    frames = rendered.sequences.frames
    assert frames is not None
    for place, row in enumerate(chosen.row):
        stored = frames[row : row + 2].reshape(2, 64, 64)
        np.testing.assert_array_equal(sprites_in(picture, place, 12), np.stack([stored] * 3, axis=3))


def test_a_montage_goes_from_stillness_to_large_steps_of_different_objects(sprites: Store) -> None:
    transitions = sprite_preview.find_transitions(sprites.sequences)
    chosen = sprite_preview._from_still_to_fast(transitions)
    assert len(np.unique(chosen)) == 12
    changes = np.sqrt(
        sum(np.diff(v, axis=1)[:, 0] ** 2 for v in (transitions.x, transitions.y, np.sqrt(transitions.area)))
    )
    assert np.all(np.diff(changes[chosen]) >= 0)
    ranks = np.searchsorted(np.sort(changes), changes[chosen]) / len(changes)
    assert ranks[0] < 0.25
    assert ranks[-1] > 0.95
    assert len(np.unique(transitions.track[chosen])) > 8
    assert len(np.unique(transitions.category[chosen])) == 4


def test_every_number_of_transitions_gives_distinct_pairs() -> None:
    for n in (*range(1, 40), 143, 144, 145):
        transitions = sprite_preview.find_transitions(walks([n + 1]))
        chosen = sprite_preview._from_still_to_fast(transitions)
        assert len(chosen) == len(np.unique(chosen)) == min(n, 12)


def test_an_animation_takes_long_sequences_of_different_objects(sprites: Store) -> None:
    chosen = sprite_preview._longest(sprites)
    assert len(set(chosen)) == 6
    assert min(MANY[index] for index in chosen) >= 48
    one_object = Store(sprites.path, sprites.attributes, walks([5, 6, 7]))
    one_object.sequences.track[:] = 3
    one_object.sequences.video[:] = 0
    assert sorted(sprite_preview._longest(one_object)) == [0, 1, 2]


def test_looks_differ_and_are_named(sprites: Store, colored: Store) -> None:
    looks = [sprite_preview._look(sprites, place, 0) for place in range(40)]
    assert [look.name for look in looks[:4]] == list(SpriteOptions().shapes)
    assert len({look.angle for look in looks}) == 40
    assert str(looks[0]) == "square at 27°"
    row = int(colored.sequences.start[3])
    look = sprite_preview._look(colored, 0, row)
    assert look.angle == colored.sequences.factors[row, 3]
    assert look.name == ("dart", "circle")[look.shape]


def test_labels_say_what_is_known(sprites: Store, tmp_path: Path) -> None:
    assert sprite_preview._names(sprites, 1) == ["earless_seal", "object 11", "columns 32 to 95", "video b"]
    assert sprite_preview._names(sprites, 3)[0] == "category 4"
    assert sprite_preview._frame(sprites, 2, int(sprites.sequences.start[2]) + 4) == "frame 14"
    unknown = sprite_store(tmp_path / "unknown.zarr", walks([5, 6], videos=0))
    assert sprite_preview._names(unknown, 0) == ["dog", "object 10", "columns 0 to 63"]
    assert sprite_preview._frame(unknown, 1, 7) == "frame 2"


def test_text_is_cut_and_wrapped_to_its_room() -> None:
    font = preview_style.small_font()
    for text in ("short", "a video " * 60, "v" * 500, "two\nlines", ""):
        line = preview_style.cut(text, 100)
        assert "\n" not in line
        assert font.getlength(line.replace(" ", "  ")) <= 100
        assert line == text.replace("\n", " ") or line.endswith("…")
        assert all(font.getlength(part.replace(" ", "  ")) <= 100 for part in preview_style.wrap(text, 100))
    assert " ".join(preview_style.wrap("a video " * 60, 100)) == ("a video " * 60).strip()


def test_long_names_stay_in_their_cells(tmp_path: Path) -> None:
    """A picture with long names differs from one with short names only in the lines of the names."""
    pictures = []
    for name, label in (("short", "b"), ("long", "a video\nname " * 90)):
        store = sprite_store(tmp_path / f"{name}.zarr", walks([30, 30], videos=1), names=(label,))
        pictures.append(np.asarray(sprite_preview.montage(store)).astype(int))
    rows, columns = np.nonzero(np.abs(pictures[0] - pictures[1]).max(axis=2))
    assert 0 < len(np.unique(rows)) <= 6 * preview_style.LINE
    assert columns.max() < pictures[0].shape[1] - preview_style.GAP


def test_a_panel_shows_center_and_area_with_y_down() -> None:
    at = np.array([[16.0, 40.0, 100.0], [48.0, 40.0, 400.0]])
    pixels = np.asarray(sprite_panel.panel(at, 3, arrow=True)).astype(int)
    orange = np.abs(pixels - preview_style.CENTRE).max(axis=2) < 60
    pale = np.abs(pixels - preview_style.BODY).max(axis=2) < 60
    assert pixels.shape == (192, 192, 3)
    # The bottom of the second circle lies at 48.5 + sqrt(400 / pi) = 59.8 pixels; the top of the first at 10.9.
    assert np.nonzero(orange.any(axis=1))[0].max() == pytest.approx(59.8 * 3, abs=3)
    assert np.nonzero(pale.any(axis=1))[0].min() == pytest.approx(10.9 * 3, abs=3)
    assert np.nonzero(orange)[1].mean() == pytest.approx(40.5 * 3, abs=1.5)
    trail = np.asarray(sprite_panel.panel(at, 2)).astype(int)
    assert trail.shape == (128, 128, 3)
    still = np.asarray(sprite_panel.panel(at[[0, 0]], 2, arrow=True))
    assert still.shape == (128, 128, 3)


@pytest.mark.parametrize("size", [1, 48, 64, 100, 192, 200, 512])
@pytest.mark.parametrize("channels", [1, 3])
def test_sprites_of_any_size_fill_their_room(size: int, channels: int) -> None:
    pixels = np.zeros((channels, size, size), np.uint8)
    pixels[0, : (size + 1) // 2] = 255
    image = sprite_panel.enlarged(pixels, 192)
    assert image.size == (192, 192)
    assert image.getpixel((0, 0)) == ((255, 255, 255) if channels == 1 else (255, 0, 0))
    assert image.getpixel((0, 191)) == ((0, 0, 0) if size > 1 else image.getpixel((0, 0)))


def test_an_animation_has_one_palette(sprites: Store) -> None:
    pictures = sprite_preview.animation(sprites)
    assert {picture.size for picture in pictures} == {pictures[0].size}
    assert {bytes(picture.getpalette() or ()) for picture in pictures} == {bytes(pictures[0].getpalette() or ())}
    colors = {color for _, color in pictures[0].convert("RGB").getcolors() or ()}
    assert {preview_style.PAPER, preview_style.NIGHT, (0, 0, 0)} <= colors
