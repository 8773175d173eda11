"""Images: sheets, progressions, animations, histograms of their pixels."""

import math
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from gantut.errors import InputError
from gantut.plots.figures import (
    D_COLOR,
    G_COLOR,
    INK,
    STYLE,
    Figure,
    darker,
    gif,
    new_figure,
    rgb,
    shared_palette,
    short_number,
    with_palette,
)


def to_pixels(images, what="images"):
    """Check images and return them as uint8 [N, H, W, C].

    Accepts uint8 or float in [−1, 1], of shape [N, C, H, W] with C 1 or 3, [N, H, W] or one
    [C, H, W] image.
    Raises InputError for images of another shape, type or range, and for none.
    """
    if isinstance(images, torch.Tensor):
        images = images.detach().cpu()
        images = (images.float() if images.is_floating_point() else images).numpy()
    images = np.asarray(images)
    shape = list(images.shape)
    if images.ndim == 3:
        images = images[None] if images.shape[0] in (1, 3) else images[:, None]
    if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape:
        raise InputError(f"{what} must have shape [N, C, H, W] with 1 or 3 channels, not {shape}.")
    if images.dtype != np.uint8:
        if not np.issubdtype(images.dtype, np.floating):
            raise InputError(f"{what} must be uint8 or float in [−1, 1], not {images.dtype}.")
        low, high = float(images.min()), float(images.max())
        # Half a grey level of slack: float16 and the round trip through a normalisation.
        if not (low >= -1 - 1 / 255 and high <= 1 + 1 / 255):
            raise InputError(
                f"{what} must lie in [−1, 1], but run from {low:.3g} to {high:.3g}; "
                "bring them there first (gantut.data.unscale gives [0, 1]; times 2, minus 1)."
            )
        images = np.rint((images.clip(-1, 1) + 1) * 127.5).astype(np.uint8)
    return images.transpose(0, 2, 3, 1)


def _noun(pixels):
    return "grey" if pixels.shape[-1] == 1 else "colour"


def zoom(pixels, scale, interpolation):
    """Enlarge uint8 [N, H, W, C] by a whole number.

    Raises InputError for an unknown interpolation.
    """
    if interpolation == "nearest":
        return pixels.repeat(scale, axis=1).repeat(scale, axis=2)
    n, height, width, channels = pixels.shape
    size = (width * scale, height * scale)
    method = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}.get(
        interpolation
    )
    if method is None:
        raise InputError(
            f"interpolation must be nearest, bilinear or bicubic, not {interpolation!r}."
        )
    zoomed = [
        np.asarray(
            Image.fromarray(image.squeeze(-1) if channels == 1 else image).resize(size, method)
        )
        for image in pixels
    ]
    return np.stack(zoomed).reshape(n, size[1], size[0], channels)


def tile(pixels, columns, gap):
    """Lay uint8 [N, H, W, C] out row by row on white: [rows·(H+gap)−gap, …, C]."""
    n, height, width, channels = pixels.shape
    rows = math.ceil(n / columns)
    sheet = np.full((rows, height + gap, columns, width + gap, channels), 255, dtype=np.uint8)
    for i, image in enumerate(pixels):
        sheet[i // columns, :height, i % columns, :width] = image
    sheet = sheet.reshape(rows * (height + gap), columns * (width + gap), channels)
    return sheet[: rows * (height + gap) - gap, : columns * (width + gap) - gap]


def _fitting_scale(pixels, columns, limit=760):
    """The largest whole enlargement, at most 4, that keeps a row within `limit` pixels."""
    return max(1, min(4, limit // (columns * (pixels.shape[2] + 2))))


def _sheet(pixels, columns, scale, interpolation, alt, left=0, top=0, line=0):
    """A figure that shows uint8 [N, H, W, C] pixel for pixel, and its single axes.

    left and top are margins and line the room under each row, in pixels.  Each image pixel covers
    exactly scale × scale screen pixels, so nothing blurs and no pixel is wider than its neighbour.
    Data coordinates are screen pixels from the top left image.
    """
    zoomed = zoom(pixels, scale, interpolation)
    gap = 2
    if line:
        zoomed = np.pad(zoomed, ((0, 0), (0, line), (0, 0), (0, 0)), constant_values=255)
    sheet = tile(zoomed, columns, gap)
    height, width = sheet.shape[:2]
    with mpl.rc_context(STYLE | {"figure.constrained_layout.use": False}):
        edge = 4
        total_w, total_h = width + left + 2 * edge, height + top + 2 * edge
        figure = Figure(figsize=(total_w / 100, total_h / 100), dpi=100)
        axes = figure.add_axes(
            ((left + edge) / total_w, edge / total_h, width / total_w, height / total_h)
        )
        show_sheet(axes, sheet, aspect="auto")
    figure.alt, figure.photo = alt, pixels.shape[-1] == 3
    return figure, axes, zoomed.shape[1] + gap, zoomed.shape[2] + gap


def show_sheet(axes, sheet, aspect="equal"):
    """Show uint8 [H, W, C] with data coordinates in its pixels, from the top left corner."""
    height, width = sheet.shape[:2]
    axes.imshow(
        sheet.squeeze(-1) if sheet.shape[-1] == 1 else sheet,
        cmap="gray",
        vmin=0,
        vmax=255,
        interpolation="nearest",
        extent=(0, width, height, 0),
        aspect=aspect,
    )
    axes.set_axis_off()


def image_grid(
    images, columns=10, labels=None, title=None, scale=None, interpolation="nearest", alt=None
):
    """A sheet of images, row by row.

    images: float in [−1, 1] or uint8, ``[N, C, H, W]`` (C 1 or 3), ``[N, H, W]`` or one
    ``[C, H, W]``.
    labels: N texts or numbers, written under the images.
    scale: screen pixels for each image pixel, a whole number; by default as large as the page
    allows, at most 4.
    interpolation: "nearest" shows the pixels as they are; "bilinear" and "bicubic" smooth the
    enlargement, which is kinder to photographs of 32×32 pixels and hides what a net produced.

    Raises InputError for images outside [−1, 1] or of another shape, and for labels that are not
    as many as the images.
    """
    pixels = to_pixels(images)
    n = len(pixels)
    columns = max(1, min(int(columns), n))
    scale = _fitting_scale(pixels, columns) if scale is None else int(scale)
    if scale < 1:
        raise InputError(f"scale must be a whole number of pixels, at least 1, not {scale}.")
    if labels is not None:
        labels = [str(v.item() if hasattr(v, "item") else v) for v in labels]
        if len(labels) != n:
            raise InputError(f"{n} images need {n} labels, but {len(labels)} were given.")
    rows = math.ceil(n / columns)
    if alt is None:
        alt = f"{n} {_noun(pixels)} images in {rows} row{'s' * (rows > 1)} of up to {columns}"
        alt += f": {title}." if title else "."
        if labels and n <= 20:
            alt += " Labels: " + ", ".join(labels) + "."
    figure, axes, pitch_y, pitch_x = _sheet(
        pixels,
        columns,
        scale,
        interpolation,
        alt,
        top=26 if title else 0,
        line=18 if labels else 0,
    )
    with mpl.rc_context(STYLE):
        if title:
            axes.set_title(title)
        for i, text in enumerate(labels or []):
            x = (i % columns) * pitch_x + (pitch_x - 2) / 2
            y = (i // columns) * pitch_y + pixels.shape[1] * scale + 2
            room = pitch_x / max(1, len(text))
            axes.text(x, y, text, ha="center", va="top", fontsize=min(10, 1.2 * room))
    return figure


def progression(stages, epochs=None, unit="epoch", columns=10, scale=None, title=None, alt=None):
    """The same samples while training goes on: one row for each stage, one column for each sample.

    stages: ``[S, n, C, H, W]``, float in [−1, 1] or uint8: n images of the same fixed noise at
    each of S moments.  epochs: S numbers or texts for the rows ("epoch 10" with the default unit).
    At most `columns` samples are shown.
    """
    flat, names, count = _stages(stages, epochs, unit)
    shown = min(int(columns), flat.shape[1])
    if alt is None:
        alt = (
            f"{shown} samples of the same noise at {count} moments of training, one row each, "
            f"from {names[0]} (top) to {names[-1]} (bottom)."
        )
    return _table(flat[:, :shown], names, [], scale, title, alt)


def class_grid(images, classes=None, rows=None, scale=None, title=None, alt=None):
    """One column for each class, under its name.

    images: ``[R, K, C, H, W]``, float in [−1, 1] or uint8, as
    `gantut.sampling.under_every_class` returns them.  classes: K names; the numbers from 0 if
    None.  rows: R texts before the rows, none if None.

    Raises InputError for images of another shape or range, and for names that are not as many.
    """
    if len(images.shape) != 5 or 0 in images.shape:
        raise InputError(f"images must have shape [R, K, C, H, W], not {list(images.shape)}.")
    count, k = images.shape[:2]
    pixels = to_pixels(images.reshape(count * k, *images.shape[2:]))
    names = [str(name) for name in (range(k) if classes is None else classes)]
    before = [] if rows is None else [str(row) for row in rows]
    if len(names) != k or len(before) not in (0, count):
        raise InputError(
            f"{k} columns and {count} rows need as many names, not {len(names)} and {len(before)}."
        )
    if alt is None:
        alt = f"{count * k} {_noun(pixels)} images, {count} of each class; the columns are "
        alt += ", ".join(names) + "."
    return _table(pixels.reshape(count, k, *pixels.shape[1:]), before, names, scale, title, alt)


def _table(pixels, rows, columns, scale, title, alt):
    """Rows of images, uint8 [R, n, H, W, C], with names before rows and above columns."""
    shown = pixels.shape[1]
    flat = pixels.reshape(-1, *pixels.shape[2:])
    left = 18 + 8 * max(len(name) for name in rows) if rows else 0
    if scale is None:
        scale = _fitting_scale(flat, shown, limit=760 - left)
    heading = 18 if columns else 0
    figure, axes, pitch_y, pitch_x = _sheet(
        flat, shown, int(scale), "nearest", alt, left=left, top=heading + (26 if title else 0)
    )
    with mpl.rc_context(STYLE):
        if title:
            axes.set_title(title, pad=6 + heading)
        for row, name in enumerate(rows):
            axes.text(-6, row * pitch_y + (pitch_y - 2) / 2, name, ha="right", va="center")
        for column, name in enumerate(columns):
            x = column * pitch_x + (pitch_x - 2) / 2
            room = min(10, 1.2 * pitch_x / max(1, len(name)))
            axes.text(x, -4, name, ha="center", va="bottom", fontsize=room)
    return figure


def _stages(stages, epochs, unit):
    """Check stages and epochs; returns uint8 [S, n, H, W, C], S names and S."""
    if isinstance(stages, (list, tuple)):
        stages = [torch.as_tensor(stage) for stage in stages]
        shapes = sorted({tuple(stage.shape) for stage in stages})
        if len(shapes) != 1:
            found = " and ".join(map(str, shapes)) or "none"
            raise InputError(f"stages must be images of one shape, not {found}.")
        stages = torch.stack(stages)
    if len(stages.shape) != 5 or 0 in stages.shape:
        raise InputError(f"stages must have shape [S, n, C, H, W], not {list(stages.shape)}.")
    count, n = stages.shape[:2]
    pixels = to_pixels(stages.reshape(count * n, *stages.shape[2:]), "stages")
    if epochs is None:
        epochs, unit = range(1, count + 1), "stage"
    names = [e if isinstance(e, str) else f"{unit} {short_number(e)}".strip() for e in epochs]
    if len(names) != count:
        raise InputError(f"{count} stages need {count} epochs, but {len(names)} were given.")
    return pixels.reshape(count, n, *pixels.shape[1:]), names, count


def animation(
    stages, epochs=None, path=None, fps=4, unit="epoch", samples=16, columns=None, scale=3, alt=None
):
    """A GIF of the same samples while training goes on.

    stages, epochs and unit as in `progression`; samples: show at most so many of them (noise
    compresses badly: 16 digits at 13 stages make 200 kB); columns: images in a row (a square by
    default); scale: screen pixels for each image pixel; path: where to write the file, if anywhere.

    The first frame is the last stage, so that a reader whose pictures stand still (on paper, say)
    sees the result; then the story runs from the beginning and rests on its end for two seconds.
    The same stages give the same bytes.  Grey images are stored in 16 grey levels, colour images
    in 255 colours for all frames together.
    """
    pixels, names, count = _stages(stages, epochs, unit)
    pixels = pixels[:, : int(samples)]
    n = pixels.shape[1]
    columns = math.ceil(math.sqrt(n)) if columns is None else max(1, min(int(columns), n))
    zoomed = [tile(zoom(stage, int(scale), "nearest"), columns, 2) for stage in pixels]
    frames = [
        _captioned(sheet, name, (i + 1) / count)
        for i, (sheet, name) in enumerate(zip(zoomed, names, strict=True))
    ]
    if alt is None:
        alt = f"Animation of {n} samples of the same noise, from {names[0]} to {names[-1]}."
    if pixels.shape[-1] == 1:
        # 16 grey levels, and the colour of the bar.
        greys = np.rint(np.arange(16) * 17).astype(np.uint8)
        palette = np.vstack([greys[:, None].repeat(3, axis=1), rgb(G_COLOR)])
        frames = [with_palette(frame, palette) for frame in frames]
    else:
        frames = shared_palette(frames, 255)
    return gif(frames, fps, alt, path)


def _captioned(sheet, text, progress):
    """RGB picture of a sheet of images under a caption and a bar that shows how far we are."""
    height, width = sheet.shape[:2]
    bar, head = 3, 24
    frame = Image.new("RGB", (max(width, 96), height + head + bar), "white")
    grey = sheet.shape[-1] == 1
    frame.paste(Image.fromarray(sheet.squeeze(-1) if grey else sheet), (0, head + bar))
    draw = ImageDraw.Draw(frame)
    # Matplotlib's own font, so that the caption looks the same everywhere.
    font = ImageFont.truetype(str(Path(mpl.get_data_path(), "fonts/ttf/DejaVuSans.ttf")), 14)
    draw.text((4, 3), text, fill=INK, font=font)
    draw.rectangle((0, head, frame.width * progress - 1, head + bar - 2), fill=G_COLOR)
    return frame


def share_outside(values, low=-1.0, high=1.0):
    """Share of the values below low or above high, a float in [0, 1].

    With the range of tanh, the share of pixels that no generator ending in tanh can produce.
    """
    values = torch.as_tensor(values)
    return ((values < low) | (values > high)).double().mean().item()


def pixel_histogram(values, counts=None, bins=64, reach=(-1.0, 1.0), title=None, alt=None):
    """How often each pixel value occurs, as a share of all pixels, on a logarithmic axis.

    values: pixels of any shape and range, or ``{"name": pixels}`` for one panel each on the same
    axis; uint8 or float.  counts: how often each of the values occurs, of the same shape, where
    they are given once each.  reach: the range a generator's last layer can produce (tanh: −1 to 1);
    what lies outside is shaded and its share written there.  None, or uint8 pixels, shade nothing.
    Raises InputError for no pixels, for some that are not finite, and for counts of another shape.
    """
    panels = values if isinstance(values, dict) else {"": values}
    arrays = {
        name: np.asarray(torch.as_tensor(v).detach().cpu()).ravel() for name, v in panels.items()
    }
    if not arrays or any(a.size == 0 for a in arrays.values()):
        raise InputError("pixel_histogram needs at least one pixel for each name.")
    whole = all(a.dtype == np.uint8 for a in arrays.values())
    if not whole and not all(np.isfinite(a).all() for a in arrays.values()):
        raise InputError("pixel values must be finite; some are not numbers or infinite.")
    if counts is None:
        shares = {name: np.full(a.size, 1 / a.size) for name, a in arrays.items()}
    else:
        weights = np.asarray(torch.as_tensor(counts).detach().cpu(), dtype=np.float64).ravel()
        if any(weights.shape != a.shape for a in arrays.values()) or weights.sum() <= 0:
            raise InputError("counts must have the shape of the values, and not all be zero.")
        shares = {name: weights / weights.sum() for name in arrays}
    # Half a grey level of margin: then every bin holds equally many of the 256 levels, and no
    # spike is an artefact of the bins.
    edges = {}
    for name, a in arrays.items():
        low, high = (0.0, 255.0) if whole else (float(a.min()), float(a.max()))
        margin = (high - low) / 510 or 0.5
        edges[name] = np.linspace(low - margin, high + margin, bins + 1)
    left, right = min(e[0] for e in edges.values()), max(e[-1] for e in edges.values())
    if reach is not None and not whole:
        left, right = min(left, reach[0] - 0.02), max(right, reach[1] + 0.02)
    figure, axes = new_figure(
        7.4, 0.7 + 1.9 * len(arrays), alt or "", rows=len(arrays), sharex=True, sharey=True
    )
    said = []
    with mpl.rc_context(STYLE):
        for row, (name, array) in zip(axes[:, 0], arrays.items(), strict=True):
            cuts, share = edges[name], shares[name]
            heights, _ = np.histogram(array, cuts, weights=share)
            row.bar(cuts[:-1], heights, np.diff(cuts), align="edge", color=D_COLOR)
            row.set_yscale("log")
            row.set_ylabel("share of pixels")
            row.set_title(name or title or "")
            row.grid(axis="x", visible=False)
            text = f"{name or 'pixels'} from {array.min():.3g} to {array.max():.3g}"
            if reach is not None and not whole:
                outside = float(share[(array < reach[0]) | (array > reach[1])].sum())
                span = f"[{reach[0]:g}, {reach[1]:g}]".replace("-", "−")
                for start, stop in ((left, reach[0]), (reach[1], right)):
                    if stop - start > 0.03:
                        row.axvspan(
                            start,
                            stop,
                            facecolor=G_COLOR,
                            alpha=0.15,
                            hatch="//",
                            edgecolor=G_COLOR,
                            linewidth=0,
                            zorder=0,
                        )
                row.text(
                    0.99,
                    0.93,
                    f"outside {span}: {outside:.1%}",
                    transform=row.transAxes,
                    ha="right",
                    va="top",
                    color=darker(G_COLOR),
                    bbox={"facecolor": "white", "edgecolor": "none", "pad": 2},
                )
                text += f", {outside:.1%} of them outside {span}"
            row.set_xlim(left, right)
            said.append(text)
        axes[-1, 0].set_xlabel("pixel value (0–255)" if whole else "pixel value after scaling")
        if len(arrays) > 1 and title:
            figure.suptitle(title)
    if alt is None:
        figure.alt = "Histogram of pixel values: " + "; ".join(said) + "."
    return figure
