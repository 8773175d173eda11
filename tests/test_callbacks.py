"""What is written down: the bounded history, CSV, sheets of samples, TensorBoard, progress."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gantut import grids, weights
from gantut.callbacks import (
    Callback,
    CSVLog,
    History,
    Progress,
    SampleGrid,
    TensorBoard,
    read_csv,
)
from gantut.data import to_uint8
from gantut.errors import DataError, InputError
from gantut.models.mlp import Generator
from tests.small import trainer


def positions(start: int, k: int) -> np.ndarray:
    i = np.arange(start + 1, start + k + 1, dtype=float)
    return np.stack([i, i / 10, i * 3, i * 0.5], axis=1)


def filled(values: np.ndarray, max_rows: int, pieces: list[int]) -> History:
    """A history that got the values in pieces."""
    history, start = History(max_rows), 0
    for k in [*pieces, len(values)]:
        part = values[start : start + k]
        if len(part):
            history.add(positions(start, len(part)), {"loss": part[:, 0], "other": part[:, 1]})
        start += len(part)
    return history


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 300), st.sampled_from([2, 4, 8, 50]), st.lists(st.integers(0, 40), max_size=5)
)
def test_a_history_is_bounded_and_loses_nothing_but_resolution(n, max_rows, pieces):
    values = np.random.default_rng(n).normal(size=(n, 2))
    history = filled(values, max_rows, pieces)
    table = history.as_dict()
    assert 0 < len(history) == len(table["iteration"]) <= max_rows
    interval = history.interval
    assert interval & (interval - 1) == 0
    ends = table["iteration"].astype(int).tolist()
    assert ends == [*range(interval, n + 1, interval), *([n] if n % interval else [])]
    for name, column in (("loss", 0), ("other", 1)):
        groups = np.split(values[:, column], ends[:-1])
        assert np.allclose(table[name], [g.mean() for g in groups])
        assert table[f"{name}_min"].tolist() == [g.min() for g in groups]
        assert table[f"{name}_max"].tolist() == [g.max() for g in groups]
    assert np.allclose(table["epoch"], np.array(ends) / 10)
    assert np.allclose(table["images"], np.array(ends) * 3)
    assert np.allclose(table["seconds"], np.array(ends) * 0.5)


def test_the_bound_is_2000_rows_however_long_the_run():
    history = History()
    assert history.max_rows == 2000
    noise = np.random.default_rng(0).normal(size=100_000)
    noise[54_321] = 99.0
    for start in range(0, 100_000, 5000):
        history.add(positions(start, 5000), {"loss": noise[start : start + 5000]})
    table = history.as_dict()
    assert len(history) <= 2000
    assert history.interval == 64
    assert table["loss_max"].max() == 99.0
    assert table["loss_min"].min() == noise.min()


@pytest.mark.parametrize("max_rows", [2, 3, 5, 7])
def test_any_bound_holds(max_rows):
    values = np.random.default_rng(0).normal(size=(100, 2))
    history = filled(values, max_rows, [13, 30])
    table = history.as_dict()
    assert len(history) <= max_rows
    assert table["iteration"][-1] == 100
    assert table["loss_max"].max() == values[:, 0].max()
    counts = np.diff(table["iteration"], prepend=0)
    assert (table["loss"] * counts).sum() / 100 == pytest.approx(values[:, 0].mean())


def test_rows_are_as_fine_as_the_bound_allows():
    values = np.arange(20.0).reshape(10, 2)
    table = filled(values, 100, []).as_dict()
    assert table["loss"].tolist() == table["loss_min"].tolist() == values[:, 0].tolist()


@pytest.mark.parametrize("rows", [4, 5, 7, 250])
def test_a_coarser_copy_keeps_the_extremes_and_leaves_the_original(rows):
    values = np.random.default_rng(1).normal(size=(777, 2))
    history = filled(values, 2000, [])
    before = history.as_dict()
    copy = history.coarsened(rows)
    table = copy.as_dict()
    assert len(copy) <= rows
    assert table["iteration"][-1] == 777
    assert table["loss_min"].min() == values[:, 0].min()
    assert table["loss_max"].max() == values[:, 0].max()
    starts = np.concatenate([[0], table["iteration"][:-1]]).astype(int)
    ends = table["iteration"].astype(int)
    for i, (a, b) in enumerate(zip(starts, ends, strict=True)):
        assert table["loss_max"][i] == values[a:b, 0].max()
        assert table["loss"][i] == pytest.approx(values[a:b, 0].mean(), abs=1e-12)
    for name in before:
        assert np.array_equal(before[name], history.as_dict()[name])


def test_a_history_goes_on_from_its_state():
    values = np.random.default_rng(2).normal(size=(50, 2))
    whole = filled(values, 8, [])
    first = filled(values[:23], 8, [])
    second = History(8)
    second.load_state_dict(first.state_dict())
    second.add(positions(23, 27), {"loss": values[23:, 0], "other": values[23:, 1]})
    assert second.rows() == whole.rows()
    assert second.columns == [
        *("iteration", "epoch", "images", "seconds"),
        *("loss", "loss_min", "loss_max", "other", "other_min", "other_max"),
    ]


def test_csv_gives_back_what_was_written(tmp_path):
    values = np.random.default_rng(3).normal(size=(30, 2))
    history = filled(values, 100, [])
    table = read_csv(history.write_csv(tmp_path / "history.csv"))
    original = history.as_dict()
    assert list(table) == list(original)
    for name in table:
        assert np.allclose(table[name], original[name], rtol=1e-4)
    header = (tmp_path / "history.csv").read_text().splitlines()[0]
    assert (
        header == "iteration,epoch,images,seconds,loss,loss_min,loss_max,other,other_min,other_max"
    )


def test_a_run_s_csv_has_the_columns_of_a_gan(tmp_path):
    trainer(run_dir=tmp_path).fit(epochs=2)
    table = read_csv(tmp_path / "history.csv")
    keys = ("d_loss", "g_loss", "d_real", "d_fake", "acc_real", "acc_fake")
    expected = ["iteration", "epoch", "images", "seconds"]
    for key in keys:
        expected += [key, f"{key}_min", f"{key}_max"]
    assert list(table) == expected
    assert table["iteration"].tolist() == list(range(1, 9))
    for key in keys[2:]:
        assert (table[key] >= 0).all()
        assert (table[key] <= 1).all()


def test_callbacks_are_called_at_their_moments():
    calls = []

    class Note(Callback):
        def start(self, trainer):
            calls.append(("start", trainer.iteration))

        def read(self, trainer):
            calls.append(("read", trainer.iteration))

        def epoch(self, trainer):
            calls.append(("epoch", trainer.iteration))

        def end(self, trainer):
            calls.append(("end", trainer.iteration))

    one = trainer("train.batch_size=1", n=130)
    one.callbacks.append(Note())
    one.fit(iterations=250)
    assert calls == [
        ("start", 0),
        ("read", 100),
        ("read", 130),
        ("epoch", 130),
        ("read", 230),
        ("end", 250),
    ]


def test_end_is_called_also_when_the_run_is_interrupted():
    class Interrupt(Callback):
        ended = False

        def epoch(self, trainer):
            raise KeyboardInterrupt

        def end(self, trainer):
            self.ended = True

    one, note = trainer(), Interrupt()
    one.callbacks.append(note)
    with pytest.raises(KeyboardInterrupt):
        one.fit(epochs=1)
    assert note.ended


def test_sheets_of_the_same_z_before_and_after_each_epoch(tmp_path):
    one = trainer("log.samples=8", run_dir=tmp_path)
    before = to_uint8(one.sample(8))
    one.fit(epochs=2)
    files = sorted(f.name for f in (tmp_path / "samples").iterdir())
    assert files == ["epoch-0000.png", "epoch-0001.png", "epoch-0002.png"]
    assert torch.equal(grids.load(tmp_path / "samples/epoch-0000.png", (1, 28, 28)), before)
    after = grids.load(tmp_path / "samples/epoch-0002.png", (1, 28, 28))
    assert torch.equal(after, to_uint8(one.sample(8)))
    assert not torch.equal(after, before)


def test_weights_are_kept_after_chosen_epochs(tmp_path):
    one = trainer("log.snapshots=[2]", "train.ema_half_life=100", run_dir=tmp_path)
    one.fit(epochs=2)
    kept = Generator(latent_dim=4, hidden=(8,), latent="uniform", dropout=0.3)
    weights.load(kept, tmp_path / "snapshots/epoch-0002.safetensors")
    for mine, theirs in zip(kept.parameters(), one.ema.parameters(), strict=True):
        assert torch.equal(mine, theirs.half().float())
    one.fit(epochs=3)
    assert [f.name for f in (tmp_path / "snapshots").iterdir()] == ["epoch-0002.safetensors"]


def test_tensorboard_gets_scalars_rates_and_images(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    one = trainer("log.tensorboard=true", "log.samples=4", run_dir=tmp_path)
    one.callbacks = [c for c in one.callbacks if type(c).__name__ == "TensorBoard"]
    one.fit(epochs=3)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    names = ("d_loss", "g_loss", "d_real", "d_fake", "acc_real", "acc_fake")
    rates = {"learning_rate/generator", "learning_rate/discriminator"}
    assert set(tags["scalars"]) == {f"scalars/{n}" for n in names} | rates
    steps = [event.step for event in events.Scalars("scalars/g_loss")]
    assert steps == [4, 8, 12]
    assert events.Scalars("scalars/g_loss")[-1].value == pytest.approx(one.latest["g_loss"])
    assert events.Scalars("learning_rate/generator")[0].value == pytest.approx(2e-3)
    assert set(tags["images"]) == {"images/real", "images/fake"}


def test_tensorboard_has_each_rate_and_each_picture_under_its_own_name(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    rates = {"generator": 1e-3, "discriminator": 4e-3}
    one = trainer(*(f"{k[0]}_optimizer.lr={rate}" for k, rate in rates.items()), run_dir=tmp_path)
    one.callbacks = [TensorBoard(8)]
    one.fit(epochs=1)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    for name, rate in rates.items():
        assert events.Scalars(f"learning_rate/{name}")[0].value == pytest.approx(rate)
    for name, images in (("real", one.real_images(8)), ("fake", one.sample(8))):
        with Image.open(io.BytesIO(events.Images(f"images/{name}")[-1].encoded_image_string)) as p:
            found = torch.from_numpy(np.array(p.convert("L")))[None]
        assert torch.equal(found, grids.tile(to_uint8(images), 8))


def test_progress_prints_plain_lines_where_there_is_no_terminal():
    out = io.StringIO()
    one = trainer()
    one.callbacks.append(Progress(out))
    one.fit(epochs=2)
    first, last = out.getvalue().splitlines()
    assert first.startswith("iteration 4 of 8, epoch 1.00: d_loss ")
    assert last.startswith("iteration 8 of 8, epoch 2.00: d_loss ")
    assert last.endswith(f"acc_fake {one.latest['acc_fake']:.3f}")


def test_progress_shows_a_bar_on_a_terminal():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    out = Terminal()
    one = trainer()
    one.callbacks.append(Progress(out))
    one.fit(epochs=2)
    assert "8/8" in out.getvalue()
    assert "d_loss" in out.getvalue()


# --- sheets of images --------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_a_sheet_gives_its_images_back(channels, tmp_path):
    images = torch.randint(0, 256, (12, channels, 5, 7), dtype=torch.uint8)
    path = grids.save(images, tmp_path / "folder" / "sheet.png", columns=4)
    assert torch.equal(grids.load(path, (channels, 5, 7)), images)
    sheet = grids.tile(images, 4)
    assert sheet.shape == (channels, 15, 28)
    assert torch.equal(sheet[:, 5:10, 7:14], images[5])


def test_a_last_row_that_is_not_full_ends_in_black(tmp_path):
    images = torch.full((5, 1, 4, 4), 200, dtype=torch.uint8)
    back = grids.load(grids.save(images, tmp_path / "a.png", columns=3), (1, 4, 4))
    assert back.shape == (6, 1, 4, 4)
    assert (back[:5] == 200).all()
    assert (back[5] == 0).all()
    assert torch.equal(grids.load(tmp_path / "a.png", (1, 4, 4), count=5), images)
    for count in (0, 7):
        with pytest.raises(InputError, match=f"a.png has places for 6 images, not for {count}"):
            grids.load(tmp_path / "a.png", (1, 4, 4), count)


def test_files_that_hold_no_sheet_are_named(tmp_path):
    with pytest.raises(DataError, match=r"a\.png cannot be read as a sheet .*: No such file"):
        grids.load(tmp_path / "a.png", (1, 4, 4))
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(DataError, match=r"a\.png cannot be read as a sheet .*: it is damaged, or"):
        grids.load(tmp_path / "a.png", (1, 4, 4))


def test_floats_are_rounded_to_the_nearest_byte(tmp_path):
    bytes_ = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    floats = bytes_.float() / 127.5 - 1
    assert torch.equal(grids.load(grids.save(floats, tmp_path / "a.png"), (1, 16, 16))[:1], bytes_)


def test_sheets_that_cannot_be(tmp_path):
    with pytest.raises(InputError, match=r"does not hold 1x5x5 images"):
        grids.untile(torch.zeros(1, 8, 10), (1, 5, 5))
    with pytest.raises(InputError, match=r"picture\.tiff must end in \.png"):
        grids.save(torch.zeros(1, 1, 4, 4), tmp_path / "picture.tiff")
    (tmp_path / "file").write_text("")
    with pytest.raises(
        DataError, match=r"Cannot write .*a\.png \(Not a directory\)|\(File exists\)"
    ):
        grids.save(torch.zeros(1, 1, 4, 4), tmp_path / "file" / "a.png")


def test_the_csv_log_writes_at_the_end_of_an_unfinished_epoch(tmp_path):
    one = trainer()
    one.run_dir = tmp_path
    one.callbacks = [CSVLog()]
    one.fit(iterations=5)
    assert read_csv(tmp_path / "history.csv")["iteration"].tolist() == [1, 2, 3, 4, 5]


def test_a_resumed_run_makes_no_second_first_sheet(tmp_path):
    one = trainer(run_dir=tmp_path).fit(epochs=1)
    sheet = tmp_path / "samples/epoch-0000.png"
    sheet.unlink()
    SampleGrid(4).start(one)
    assert not sheet.exists()
