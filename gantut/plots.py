"""Pictures: grids of images, curves, progressions, animations, points in the plane.

Every function takes tensors or arrays and returns a :class:`Figure`, which shows itself in a
notebook, carries a description for readers who cannot see it (``.alt``), and is saved with
``.savefig(path)``.  Nothing goes through pyplot, so nothing is shown twice or stays in memory.

The players keep their colour and line style through the whole course: D is blue and solid, G
vermilion and dashed, real data green and solid, fakes purple and dashed.  The colours are those
of Okabe and Ito (2008), which colour-blind readers can tell apart; each has a contrast of at
least 3:1 to the white of the page.  Figures keep that white in dark mode too.
"""

import base64
import io
import math
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure as _Figure
from PIL import Image, ImageDraw, ImageFont

from gantut.errors import InputError

D_COLOR = "#0072B2"
G_COLOR = "#D55E00"
REAL_COLOR = "#009E73"
FAKE_COLOR = "#CC79A7"
INK = "#222222"
SOLID, DASHED = "-", (0, (4, 1.5))

# For everything that is none of the four.
_OTHERS = [
    (INK, SOLID),
    (D_COLOR, DASHED),
    (G_COLOR, SOLID),
    (REAL_COLOR, (0, (1, 1))),
    (FAKE_COLOR, (0, (4, 1, 1, 1))),
]

# D(x) as a background: purple where D says "fake", green where it says "real".
_VERDICT = LinearSegmentedColormap.from_list("verdict", ["#E3B3CE", "#FFFFFF", "#7CCBB3"])

STYLE = {
    "figure.dpi": 100,
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "savefig.dpi": 100,
    "savefig.facecolor": "white",
    "font.size": 11,
    "text.color": INK,
    "axes.facecolor": "white",
    "axes.edgecolor": "#666666",
    "axes.labelcolor": INK,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.prop_cycle": mpl.cycler(color=[c for c, _ in _OTHERS])
    + mpl.cycler(linestyle=[s for _, s in _OTHERS]),
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
}


def use_style():
    """Give pyplot figures of your own the look of the course's."""
    mpl.rcParams.update(STYLE)


class Figure(_Figure):
    """A matplotlib figure that shows itself in a notebook and carries its description, `.alt`.

    The picture in the notebook is a PNG with a palette where that loses nothing, so that pages
    stay small; `.alt` goes with it as metadata.
    """

    alt = ""

    def _repr_mimebundle_(self, include=None, exclude=None):
        data = base64.b64encode(png_bytes(self)).decode("ascii")
        return (
            {"image/png": data, "text/plain": repr(self)},
            {"image/png": {"alt": self.alt}},
        )


class Animation:
    """A GIF that shows itself in a notebook.

    `.data` are its bytes, `.frames` their number, `.size` (width, height) in pixels, `.alt` the
    description; ``.save(path)`` writes it.
    """

    def __init__(self, data, alt):
        self.data = data
        self.alt = alt
        with Image.open(io.BytesIO(data)) as gif:
            self.frames, self.size = gif.n_frames, gif.size

    def save(self, path):
        """Write the GIF to path and return the path."""
        path = Path(path)
        path.write_bytes(self.data)
        return path

    def __repr__(self):
        return f"<Animation of {self.frames} frames, {self.size[0]}×{self.size[1]} pixels>"

    def _repr_mimebundle_(self, include=None, exclude=None):
        data = base64.b64encode(self.data).decode("ascii")
        return (
            {"image/gif": data, "text/plain": repr(self)},
            {"image/gif": {"alt": self.alt}},
        )


def png_bytes(figure):
    """The figure as a PNG file.  With at most 256 different colours it is stored with a palette."""
    picture = _render(figure)
    colors = picture.getcolors(256)
    buffer = io.BytesIO()
    if colors is not None:
        picture = _with_palette(picture, np.array([c for _, c in sorted(colors)], dtype=np.uint8))
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _render(figure):
    """A figure as an opaque RGB picture."""
    buffer = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(buffer, format="raw", dpi=figure.dpi)
    # The size in pixels is truncated, as matplotlib's own renderer does.
    width, height = (int(side) for side in figure.bbox.size)
    pixels = np.frombuffer(buffer.getvalue(), dtype=np.uint8).reshape(height, width, 4)
    return Image.fromarray(np.ascontiguousarray(pixels[..., :3]))


def _with_palette(picture, palette):
    """An RGB picture whose colours are all in palette [k, 3], stored as one byte a pixel."""
    weights = np.array([65536, 256, 1])
    codes = palette @ weights
    order = np.argsort(codes)
    found = np.searchsorted(codes[order], np.asarray(picture) @ weights)
    indexed = Image.fromarray(order[found].astype(np.uint8), mode="P")
    indexed.putpalette(palette.tobytes())
    return indexed


def _figure(width, height, alt, rows=1, columns=1, **options):
    """A Figure of that size in inches in the course's style, and its axes as a 2-D array."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height))
        axes = figure.subplots(rows, columns, squeeze=False, **options)
    figure.alt = alt
    return figure, axes


# ---------------------------------------------------------------------------------------------
# Images


def _pixels(images, what="images"):
    """Check images and return them as uint8 [N, H, W, C].

    Accepts uint8 or float in [−1, 1], of shape [N, C, H, W] with C 1 or 3, [N, H, W] or one
    [C, H, W] image.
    """
    if isinstance(images, torch.Tensor):
        images = images.detach().cpu()
        images = (images.float() if images.is_floating_point() else images).numpy()
    images = np.asarray(images)
    shape = list(images.shape)
    if images.ndim == 3:
        images = images[None] if images.shape[0] in (1, 3) else images[:, None]
    if images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape:
        raise InputError(
            f"{what} must have shape [N, C, H, W] with 1 or 3 channels, not {shape}."
        )
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


def _zoom(pixels, scale, interpolation):
    """Enlarge uint8 [N, H, W, C] by a whole number."""
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
        np.asarray(Image.fromarray(image.squeeze(-1) if channels == 1 else image).resize(size, method))
        for image in pixels
    ]
    return np.stack(zoomed).reshape(n, size[1], size[0], channels)


def _tile(pixels, columns, gap):
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
    zoomed = _zoom(pixels, scale, interpolation)
    gap = 2
    if line:
        zoomed = np.pad(zoomed, ((0, 0), (0, line), (0, 0), (0, 0)), constant_values=255)
    sheet = _tile(zoomed, columns, gap)
    height, width = sheet.shape[:2]
    with mpl.rc_context(STYLE | {"figure.constrained_layout.use": False}):
        edge = 4
        total_w, total_h = width + left + 2 * edge, height + top + 2 * edge
        figure = Figure(figsize=(total_w / 100, total_h / 100), dpi=100)
        axes = figure.add_axes(
            ((left + edge) / total_w, edge / total_h, width / total_w, height / total_h)
        )
        axes.imshow(
            sheet.squeeze(-1) if sheet.shape[-1] == 1 else sheet,
            cmap="gray", vmin=0, vmax=255, interpolation="nearest",
            extent=(0, width, height, 0), aspect="auto",
        )
        axes.set_axis_off()
    figure.alt = alt
    return figure, axes, zoomed.shape[1] + gap, zoomed.shape[2] + gap


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
    pixels = _pixels(images)
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
        alt = f"{n} {_noun(pixels)} images in {rows} rows of up to {columns}"
        alt += f": {title}." if title else "."
        if labels and n <= 20:
            alt += " Labels: " + ", ".join(labels) + "."
    figure, axes, pitch_y, pitch_x = _sheet(
        pixels, columns, scale, interpolation, alt,
        top=26 if title else 0, line=18 if labels else 0,
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
    pixels = flat[:, :shown].reshape(-1, *flat.shape[2:])
    left = 12 + 8 * max(len(name) for name in names)
    if scale is None:
        scale = _fitting_scale(pixels, shown, limit=760 - left)
    if alt is None:
        alt = (
            f"{shown} samples of the same noise at {count} moments of training, one row each, "
            f"from {names[0]} (top) to {names[-1]} (bottom)."
        )
    figure, axes, pitch, _ = _sheet(
        pixels, shown, int(scale), "nearest", alt, left=left, top=26 if title else 0
    )
    with mpl.rc_context(STYLE):
        if title:
            axes.set_title(title)
        for row, name in enumerate(names):
            axes.text(-6, row * pitch + (pitch - 2) / 2, name, ha="right", va="center")
    return figure


def _stages(stages, epochs, unit):
    """Check stages and epochs; returns uint8 [S, n, H, W, C], S names and S."""
    if isinstance(stages, (list, tuple)):
        stages = torch.stack([torch.as_tensor(stage) for stage in stages])
    if len(stages.shape) != 5 or 0 in stages.shape:
        raise InputError(
            f"stages must have shape [S, n, C, H, W], not {list(stages.shape)}."
        )
    count, n = stages.shape[:2]
    pixels = _pixels(stages.reshape(count * n, *stages.shape[2:]), "stages")
    if epochs is None:
        epochs, unit = range(1, count + 1), "stage"
    names = [e if isinstance(e, str) else f"{unit} {_number(e)}".strip() for e in epochs]
    if len(names) != count:
        raise InputError(f"{count} stages need {count} epochs, but {len(names)} were given.")
    return pixels.reshape(count, n, *pixels.shape[1:]), names, count


def _number(value):
    """10 for 10, 10.0 and tensor(10); 2.5 for 2.5."""
    return f"{float(value):,.6g}"


# ---------------------------------------------------------------------------------------------
# Curves

_LOSS, _PROBABILITY, _SHARE = "loss (nats)", "D's output, as a probability", "share judged rightly"

# What each column of a history is: name on the page, colour, line style, axis.
_KNOWN = {
    "d_loss": ("D's loss", D_COLOR, SOLID, _LOSS),
    "g_loss": ("G's loss", G_COLOR, DASHED, _LOSS),
    "d_real": ("D(x), real", REAL_COLOR, SOLID, _PROBABILITY),
    "d_fake": ("D(G(z)), fake", FAKE_COLOR, DASHED, _PROBABILITY),
    "acc_real": ("real called real", REAL_COLOR, SOLID, _SHARE),
    "acc_fake": ("fake called fake", FAKE_COLOR, DASHED, _SHARE),
}

_X_LABELS = {"images": "images seen", "epoch": "epoch", "iteration": "iteration", "seconds": "time"}


def _column(history, key):
    """One column of a history as a float array."""
    try:
        values = history[key]
    except (KeyError, IndexError, TypeError, ValueError):
        names = ", ".join(str(k) for k in history) if hasattr(history, "__iter__") else "none"
        raise InputError(f"the history has no column {key!r}; it has: {names}.") from None
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or len(values) == 0:
        raise InputError(f"column {key!r} of the history is empty.")
    return values


def _has(history, key):
    try:
        history[key]
    except (KeyError, IndexError, TypeError, ValueError):
        return False
    return True


def per_epoch(history, keys):
    """A history with one row for each epoch: means weighted by iterations, and the extremes.

    A row of a history covers the iterations since the row before it, so a plain mean of the rows
    would favour the short ones.  Row r belongs to the epoch it ends in.  Returns a dict of arrays:
    epoch, iteration and images (where given) at the epoch's end, and for each key its mean,
    ``key_min`` and ``key_max``.
    """
    epoch = np.ceil(_column(history, "epoch") - 1e-9)
    weight = np.ones_like(epoch)
    if _has(history, "iteration"):
        weight = np.diff(_column(history, "iteration"), prepend=0.0)
        weight[weight <= 0] = 1.0
    epochs, start = np.unique(epoch, return_index=True)
    last = np.append(start[1:], len(epoch)) - 1
    rows = {"epoch": epochs}
    for key in ("iteration", "images", "seconds"):
        if _has(history, key):
            rows[key] = _column(history, key)[last]
    for key in keys:
        values = _column(history, key)
        rows[key] = np.add.reduceat(values * weight, start) / np.add.reduceat(weight, start)
        low = _column(history, f"{key}_min") if _has(history, f"{key}_min") else values
        high = _column(history, f"{key}_max") if _has(history, f"{key}_max") else values
        rows[f"{key}_min"] = np.minimum.reduceat(low, start)
        rows[f"{key}_max"] = np.maximum.reduceat(high, start)
    return rows


def _panels(keys):
    """Keys by axis, so that nats and probabilities never share one."""
    keys = [keys] if isinstance(keys, str) else list(keys)
    if not keys:
        raise InputError("name at least one column of the history to draw.")
    panels = {}
    for key in keys:
        panels.setdefault(_KNOWN[key][3] if key in _KNOWN else key.replace("_", " "), []).append(key)
    return panels


def _look(key, panel_keys):
    """Name, colour and line style of a column."""
    if key in _KNOWN:
        return _KNOWN[key][:3]
    position = [k for k in panel_keys if k not in _KNOWN].index(key)
    return (key.replace("_", " "), *_OTHERS[position % len(_OTHERS)])


def _x_axis(histories, x):
    """Label of the x axis and the divisor that keeps its numbers short."""
    if x not in _X_LABELS:
        raise InputError(f"x must be one of {', '.join(_X_LABELS)}; not {x!r}.")
    if x == "seconds":
        return "time (s)", 1
    longest = max(_column(history, x)[-1] for history in histories)
    for divisor, word in ((1e6, "millions"), (1e3, "thousands")):
        if x != "epoch" and longest >= 2 * divisor:
            return f"{_X_LABELS[x]} ({word})", divisor
    return _X_LABELS[x], 1


def _draw_line(axes, history, key, x, divisor, band, look, width=None):
    name, color, style = look
    xs, ys = _column(history, x) / divisor, _column(history, key)
    if band and _has(history, f"{key}_min") and _has(history, f"{key}_max"):
        low, high = _column(history, f"{key}_min"), _column(history, f"{key}_max")
        axes.fill_between(xs, low, high, color=color, alpha=0.18, linewidth=0)
    marker = "o" if len(xs) == 1 else None  # a line through one point is invisible
    axes.plot(xs, ys, color=color, linestyle=style, linewidth=width, label=name, marker=marker)
    finite = ys[np.isfinite(ys)]
    return (finite[-1] if len(finite) else math.nan), name, color


def _label_ends(axes, ends, limits=None):
    """Write each line's name at its right-hand end, pushed apart where ends meet."""
    low, high = axes.get_ylim() if limits is None else limits
    axes.set_ylim(low, high)
    ends = sorted(e for e in ends if math.isfinite(e[0]))
    if not ends:
        return
    height = axes.get_figure().get_size_inches()[1] * axes.get_position().height
    step = 0.2 / height  # one line of text, as a share of the axes
    places = [(min(max(y, low), high) - low) / (high - low) for y, _, _ in ends]
    for i in range(1, len(places)):
        places[i] = max(places[i], places[i - 1] + step)
    overhang = max(0.0, places[-1] - 1.0)
    for place, (_, name, color) in zip(places, ends, strict=True):
        axes.annotate(
            name, (1.015, place - overhang), xycoords="axes fraction", va="center",
            color=_darker(color), annotation_clip=False,
        )


def _darker(color):
    """The same hue, dark enough for text."""
    return tuple(0.72 * c for c in mpl.colors.to_rgb(color))


def _references(references, panels):
    """Reference lines by panel: {label: value} is for the first, {label: (key, value)} for key's."""
    placed = {panel: {} for panel in panels}
    for label, value in (references or {}).items():
        if isinstance(value, (tuple, list)):
            key, value = value
            panel = next((p for p, keys in panels.items() if key in keys), None)
            if panel is None:
                raise InputError(f"reference line {label!r} names {key!r}, which is not drawn.")
        else:
            panel = next(iter(panels))
        placed[panel][label] = float(value)
    return placed


def _draw_references(axes, lines):
    ends = []
    for label, value in lines.items():
        axes.axhline(value, color="#767676", linestyle=(0, (1, 1.5)), linewidth=1.2)
        ends.append((value, label, "#767676"))
    return ends


def _summary(history, key, name):
    values = _column(history, key)
    return f"{name} goes from {values[0]:.2f} to {values[-1]:.2f}"


def curves(
    history, keys=("d_loss", "g_loss"), x="images", per="interval", band=True, references=None,
    limits=None, title=None, alt=None,
):
    """What was written down during a run, drawn over the run.

    history: columns by name (a dict of lists or arrays, or a data frame).  keys: the columns to
    draw; those measured in the same unit share a panel, others get their own below.
    x: "images", "epoch", "iteration" or "seconds".
    per: "interval" draws the rows as they are, "epoch" one mean for each epoch (`per_epoch`).
    band: shade from ``key_min`` to ``key_max`` where the history has them.
    references: lines to compare with, ``{"label": value}`` in the first panel, or
    ``{"label": (key, value)}`` in that of the column key.
    limits: ``(low, high)`` of the first panel's y axis.

    Raises InputError for a column that is not there.
    """
    if per not in ("interval", "epoch"):
        raise InputError(f'per must be "interval" or "epoch", not {per!r}.')
    panels = _panels(keys)
    if per == "epoch":
        history = per_epoch(history, [key for group in panels.values() for key in group])
    x_label, divisor = _x_axis([history], x)
    placed = _references(references, panels)
    figure, axes = _figure(
        7.4, 0.6 + 2.6 * len(panels), alt or "", rows=len(panels), sharex=True
    )
    with mpl.rc_context(STYLE):
        said = []
        for i, (row, (unit, group)) in enumerate(zip(axes[:, 0], panels.items(), strict=True)):
            ends = _draw_references(row, placed[unit])
            for key in group:
                look = _look(key, group)
                ends.append(_draw_line(row, history, key, x, divisor, band, look))
                said.append(_summary(history, key, look[0]))
            row.set_ylabel(unit)
            row.margins(x=0)
            row.set_label(unit)
            window = limits if i == 0 and limits is not None else _window(unit, row)
            _label_ends(row, ends, window)
        axes[-1, 0].set_xlabel(x_label)
        if title:
            axes[0, 0].set_title(title)
    if alt is None:
        figure.alt = f"Curves over {x_label}: " + "; ".join(said) + "."
    return figure


def _window(unit, axes):
    """Probabilities and shares always show the whole of [0, 1]; losses start at 0."""
    if unit in (_PROBABILITY, _SHARE):
        return -0.03, 1.03
    low, high = axes.get_ylim()
    return (0.0, high) if unit == _LOSS and low > -0.05 * high else (low, high)


def compare_runs(
    runs, keys=("d_loss", "g_loss"), x="images", per="interval", references=None, limits=None,
    alt=None,
):
    """Several runs side by side, one column each, on the same axes; every seed is a thin line.

    runs: ``{"name": history}`` or ``{"name": [history of seed 0, history of seed 1, …]}``.
    keys, x, per and references as in `curves`; limits: ``(low, high)`` of the first row.
    """
    if not runs:
        raise InputError("compare_runs needs at least one run.")
    panels = _panels(keys)
    flat = [key for group in panels.values() for key in group]
    seeds = {name: h if isinstance(h, (list, tuple)) else [h] for name, h in runs.items()}
    if any(len(histories) == 0 for histories in seeds.values()):
        raise InputError("every run needs at least one history.")
    if per == "epoch":
        seeds = {name: [per_epoch(h, flat) for h in hs] for name, hs in seeds.items()}
    x_label, divisor = _x_axis([h for hs in seeds.values() for h in hs], x)
    placed = _references(references, panels)
    figure, axes = _figure(
        1.9 + 2.6 * len(seeds), 0.7 + 2.3 * len(panels), alt or "",
        rows=len(panels), columns=len(seeds), sharex="col", sharey="row",
    )
    said = []
    with mpl.rc_context(STYLE):
        for row, (unit, group) in zip(axes, panels.items(), strict=True):
            row[0].set_ylabel(unit)
            for cell, (name, histories) in zip(row, seeds.items(), strict=True):
                ends = _draw_references(cell, placed[unit])
                for key in group:
                    look = _look(key, group)
                    lasts = [
                        _draw_line(cell, h, key, x, divisor, False, look, width=1.1)
                        for h in histories
                    ]
                    mean = float(np.mean([last[0] for last in lasts]))
                    ends.append((mean, *look[:2]))
                    said.append(f"{name}: {look[0]} ends at {mean:.2f}")
                cell.margins(x=0)
            window = limits if row is axes[0] and limits is not None else _window(unit, row[0])
            row[0].set_ylim(window)
            _label_ends(row[-1], ends, window)
        for cell, (name, histories) in zip(axes[0], seeds.items(), strict=True):
            many = f" ({len(histories)} seeds)" if len(histories) > 1 else ""
            cell.set_title(name + many)
        for cell in axes[-1]:
            cell.set_xlabel(x_label)
    if alt is None:
        figure.alt = f"{len(seeds)} runs side by side over {x_label}. " + "; ".join(said) + "."
    return figure
