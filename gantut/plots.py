"""Pictures: grids of images, curves, progressions, animations, points in the plane.

Every function takes tensors or arrays and returns a :class:`Figure`, which shows itself in a
notebook, carries a description for readers who cannot see it (``.alt``), and is saved with
``.savefig(path)``.  Nothing goes through pyplot, so nothing is shown twice or stays in memory.

The players keep their colour and line style through the whole course: D is blue and solid, G
vermilion and dashed, real data green and solid, fakes purple and dashed.  The colours are those
of Okabe and Ito (2008), the green a darker one, so that colour-blind readers can tell the lines
of a panel apart; each has a contrast of at least 3:1 to the white of the page.  Figures keep that white in dark mode too.
"""

import base64
import io
import math
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure as _Figure
from PIL import Image, ImageDraw, ImageFont

from gantut.errors import InputError
from gantut.sampling import evaluating

D_COLOR = "#0072B2"
G_COLOR = "#D55E00"
REAL_COLOR = "#006B4F"
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

_REFERENCE = {"color": "#767676", "linestyle": (0, (1, 1.5)), "linewidth": 1.2}

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
    "axes.axisbelow": True,
    "figure.constrained_layout.h_pad": 0.08,
    "figure.constrained_layout.w_pad": 0.08,
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

    The picture in the notebook has `.alt` as metadata.  It is a PNG: grey images keep their exact
    pixels, charts at most `.colors` colours.  Colour images are shown as JPEG (``.photo``).  That
    keeps pages small; ``.savefig`` loses nothing.
    """

    alt = ""
    # At most so many colours in the notebook; None keeps all of them.
    colors = None
    # Photographs are JPEG there: as PNG a sheet of them takes half of a page's 700 kB.
    photo = False

    def _repr_mimebundle_(self, include=None, exclude=None):
        mime, data = (
            ("image/jpeg", jpeg_bytes(self)) if self.photo else ("image/png", png_bytes(self))
        )
        return (
            {mime: base64.b64encode(data).decode("ascii"), "text/plain": repr(self)},
            {mime: {"alt": self.alt}},
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
    """The figure as a PNG file, with a palette where its colours are few (`Figure.colors`)."""
    picture = _render(figure)
    limit = getattr(figure, "colors", None)
    found = picture.getcolors(256)
    if found is not None:
        picture = _with_palette(picture, np.array([c for _, c in sorted(found)], dtype=np.uint8))
    elif limit is not None:
        picture = _reduce(picture, limit)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def jpeg_bytes(figure):
    """The figure as a JPEG file without colour subsampling, which would bleed over pixel edges."""
    buffer = io.BytesIO()
    _render(figure).save(buffer, "JPEG", quality=88, subsampling=0, optimize=True)
    return buffer.getvalue()


def _reduce(picture, colors):
    """An RGB picture in so many colours, without dithering, which would cost more than it saves."""
    reduced = picture.quantize(colors, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    # Averaging makes the background slightly grey; keep the white of the page white.
    palette = np.array(reduced.getpalette(), dtype=np.uint8).reshape(-1, 3)
    lightest = palette.astype(int).sum(axis=1).argmax()
    if palette[lightest].min() > 245:
        palette[lightest] = 255
        reduced.putpalette(palette.tobytes())
    return reduced


def _render(figure):
    """A figure as an opaque RGB picture."""
    with mpl.rc_context(STYLE):
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
    return Image.fromarray(np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3]))


def _with_palette(picture, palette):
    """An RGB picture in the nearest colours of palette [k, 3], stored as one byte a pixel.

    Pillow's own search is approximate and would turn the white of the page into a light grey.
    """
    pixels = np.asarray(picture).reshape(-1, 3).astype(np.int64)
    codes, where = np.unique(pixels @ [65536, 256, 1], return_inverse=True)
    found = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1)
    distance = ((found[:, None] - palette.astype(np.int64)) ** 2).sum(axis=-1)
    index = distance.argmin(axis=1).astype(np.uint8)[where]
    indexed = Image.fromarray(index.reshape(picture.height, picture.width))
    indexed.putpalette(palette.tobytes())
    return indexed


def _figure(width, height, alt, rows=1, columns=1, **options):
    """A Figure of that size in inches in the course's style, and its axes as a 2-D array."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height))
        axes = figure.subplots(rows, columns, squeeze=False, **options)
    figure.alt = alt
    figure.colors = 128
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
        np.asarray(
            Image.fromarray(image.squeeze(-1) if channels == 1 else image).resize(size, method)
        )
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
        _show(axes, sheet, aspect="auto")
    figure.alt, figure.photo = alt, pixels.shape[-1] == 3
    return figure, axes, zoomed.shape[1] + gap, zoomed.shape[2] + gap


def _show(axes, sheet, aspect="equal"):
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
    pixels = flat[:, :shown].reshape(-1, *flat.shape[2:])
    left = 18 + 8 * max(len(name) for name in names)
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
        raise InputError(f"stages must have shape [S, n, C, H, W], not {list(stages.shape)}.")
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
    zoomed = [_tile(_zoom(stage, int(scale), "nearest"), columns, 2) for stage in pixels]
    frames = [
        _captioned(sheet, name, (i + 1) / count)
        for i, (sheet, name) in enumerate(zip(zoomed, names, strict=True))
    ]
    if alt is None:
        alt = f"Animation of {n} samples of the same noise, from {names[0]} to {names[-1]}."
    if pixels.shape[-1] == 1:
        # 16 grey levels, and the colour of the bar.
        greys = np.rint(np.arange(16) * 17).astype(np.uint8)
        palette = np.vstack([greys[:, None].repeat(3, axis=1), _rgb(G_COLOR)])
        frames = [_with_palette(frame, palette) for frame in frames]
    else:
        frames = _shared_palette(frames, 255)
    return _gif(frames, fps, alt, path)


def _rgb(color):
    return np.array([round(255 * c) for c in mpl.colors.to_rgb(color)], dtype=np.uint8)


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


def _shared_palette(frames, colors):
    """RGB frames in one palette for all of them, so that no colour flickers."""
    tall = Image.new("RGB", (frames[0].width, sum(f.height for f in frames)))
    for i, frame in enumerate(frames):
        tall.paste(frame, (0, i * frame.height))
    used = np.array(_reduce(tall, colors).getpalette(), dtype=np.uint8).reshape(-1, 3)
    return [_with_palette(frame, used) for frame in frames]


def _gif(frames, fps, alt, path):
    if not 0 < fps <= 50:
        raise InputError(f"fps must be above 0 and at most 50 frames a second, not {fps}.")
    step = max(20, round(100 / fps) * 10)  # GIF counts in hundredths of a second
    frames = [frames[-1], *frames]
    buffer = io.BytesIO()
    frames[0].save(
        buffer,
        "GIF",
        save_all=True,
        append_images=frames[1:],
        loop=0,
        optimize=False,
        duration=[step] * (len(frames) - 1) + [2000],
    )
    result = Animation(buffer.getvalue(), alt)
    if path is not None:
        result.save(path)
    return result


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
    figure, axes = _figure(
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
                    color=_darker(G_COLOR),
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


# ---------------------------------------------------------------------------------------------
# Curves

_LOSS, _PROBABILITY, _SHARE = "loss (nats)", "D, as a probability", "share judged rightly"

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
    history = _table(history)
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


def _table(history):
    """The columns of a history by name; a running `callbacks.History` is asked for its own."""
    return history.as_dict() if hasattr(history, "as_dict") else history


def _has(history, key):
    try:
        _table(history)[key]
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
        panels.setdefault(_KNOWN[key][3] if key in _KNOWN else key.replace("_", " "), []).append(
            key
        )
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
            name,
            (1.015, place - overhang),
            xycoords="axes fraction",
            va="center",
            color=_darker(color),
            annotation_clip=False,
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
        axes.axhline(value, **_REFERENCE)
        ends.append((value, label, _REFERENCE["color"]))
    return ends


def _summary(history, key, name):
    values = _column(history, key)
    return f"{name} goes from {values[0]:.2f} to {values[-1]:.2f}"


def curves(
    history,
    keys=("d_loss", "g_loss"),
    x="images",
    per="interval",
    band=True,
    references=None,
    limits=None,
    title=None,
    alt=None,
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
    figure, axes = _figure(7.4, 0.6 + 2.6 * len(panels), alt or "", rows=len(panels), sharex=True)
    said = _draw_panels(axes[:, 0], history, panels, x, band, references, limits)
    figure.align_ylabels()
    if title:
        axes[0, 0].set_title(title)
    if alt is None:
        figure.alt = f"Curves over {axes[-1, 0].get_xlabel()}: " + "; ".join(said) + "."
    return figure


def _draw_panels(axes, history, panels, x, band=True, references=None, limits=None):
    """Draw the columns of one run, a panel for each unit; returns what to say of each."""
    x_label, divisor = _x_axis([history], x)
    placed = _references(references, panels)
    said = []
    for i, (row, (unit, group)) in enumerate(zip(axes, panels.items(), strict=True)):
        ends = _draw_references(row, placed[unit])
        for key in group:
            look = _look(key, group)
            ends.append(_draw_line(row, history, key, x, divisor, band, look))
            said.append(_summary(history, key, look[0]))
        row.set_ylabel(unit)
        row.margins(x=0)
        window = limits if i == 0 and limits is not None else _window(unit, row)
        _label_ends(row, ends, window)
    axes[-1].set_xlabel(x_label)
    return said


def moment(history, images, epoch, keys=("d_loss", "g_loss"), columns=4, title=None, alt=None):
    """The samples of one epoch beside the curves of the run, with a line at that epoch.

    history and keys as in `curves`, drawn with one mean for each epoch; images as in `image_grid`.
    """
    pixels = _pixels(images)
    columns = max(1, min(int(columns), len(pixels)))
    panels = _panels(keys)
    history = per_epoch(history, [key for group in panels.values() for key in group])
    sheet = _tile(_zoom(pixels, 2, "nearest"), columns, 2)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.0, max(3.6, 2.2 * len(panels))))
        layout = figure.add_gridspec(len(panels), 2, width_ratios=(1, 1.7))
        left = figure.add_subplot(layout[:, 0])
        right = [figure.add_subplot(layout[i, 1]) for i in range(len(panels))]
        _show(left, sheet)
        left.set_title(f"epoch {_number(epoch)}")
        if title:
            right[0].set_title(title)
    said = _draw_panels(right, history, panels, "epoch")
    for row in right:
        row.axvline(epoch, color=INK, linewidth=1.4)
    for row in right[:-1]:
        row.tick_params(labelbottom=False)
    figure.align_ylabels(right)
    figure.colors, figure.photo = 128, pixels.shape[-1] == 3
    figure.alt = alt or (
        f"{len(pixels)} samples at epoch {_number(epoch)}, beside the curves of the run with a "
        f"line at that epoch: {'; '.join(said)}."
    )
    return figure


def _window(unit, axes):
    """Probabilities and shares always show the whole of [0, 1]; losses start at 0."""
    if unit in (_PROBABILITY, _SHARE):
        return -0.03, 1.03
    low, high = axes.get_ylim()
    return (0.0, high) if unit == _LOSS and low > -0.05 * high else (low, high)


def compare_runs(
    runs,
    keys=("d_loss", "g_loss"),
    x="images",
    per="interval",
    references=None,
    limits=None,
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
        1.9 + 2.6 * len(seeds),
        0.7 + 2.3 * len(panels),
        alt or "",
        rows=len(panels),
        columns=len(seeds),
        sharex="col",
        sharey="row",
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
        figure.align_ylabels()
    if alt is None:
        figure.alt = f"{len(seeds)} runs side by side over {x_label}. " + "; ".join(said) + "."
    return figure


# ---------------------------------------------------------------------------------------------
# Functions and points


def lines(
    x,
    series,
    xlabel,
    ylabel,
    references=None,
    marks=(),
    limits=None,
    title=None,
    alt=None,
    figsize=(7.4, 3.4),
):
    """Functions of one variable.

    x: ``[n]``; series: ``{"name": y}`` with y ``[n]``, or ``{"name": (y, color, line style)}``.
    references: horizontal lines, ``{"name": value}``; marks: points to emphasise,
    ``(x, y, color)``; limits: ``(low, high)`` of the y axis.
    """
    figure, axes = _figure(*figsize, alt or "")
    axes = axes[0, 0]
    _draw_functions(axes, x, series, references, marks)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    if limits is not None:
        axes.set_ylim(limits)
    if title:
        axes.set_title(title)
    if alt is None:
        figure.alt = f"{ylabel} against {xlabel}: " + ", ".join(series) + "."
    return figure


def _draw_functions(axes, x, series, references=None, marks=()):
    x = np.asarray(torch.as_tensor(x).detach().cpu(), dtype=np.float64)
    for i, (name, entry) in enumerate(series.items()):
        y, *look = entry if isinstance(entry, tuple) else (entry, *_OTHERS[i % len(_OTHERS)])
        y = np.asarray(torch.as_tensor(y).detach().cpu(), dtype=np.float64)
        if y.shape != x.shape or x.ndim != 1:
            raise InputError(
                f"{name!r} has shape {list(y.shape)}, x has {list(x.shape)}; both must be [n]."
            )
        axes.plot(x, y, color=look[0], linestyle=look[1], linewidth=1.8, label=name)
    for name, value in (references or {}).items():
        axes.axhline(value, **_REFERENCE, label=name)
    for mark_x, mark_y, color in marks:
        axes.plot([mark_x], [mark_y], "o", color=color, markeredgecolor=INK, markersize=8, zorder=5)
    axes.margins(x=0)
    # Beside the axes: there it can hide nothing, whatever the lines do.
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), handlelength=2.2, frameon=False)


def two_densities(p, q, verdicts=None, limits=(-6.0, 6.0), title=None, alt=None):
    """Two densities on a line, and below them what a discriminator says of every point.

    p, q: of the real data and of the fakes, with ``log_prob`` as in :mod:`gantut.toys`.
    verdicts: ``{"name": function}``, each from points ``[n]`` to probabilities ``[n]``; drawn
    beside the best discriminator D* = p/(p+q), for example a net that was trained on samples.
    """
    x = torch.linspace(*limits, 401, dtype=torch.float64)
    best = torch.sigmoid(p.log_prob(x) - q.log_prob(x))
    series = {"D* = p/(p + q)": (best, D_COLOR, SOLID)}
    for i, (name, function) in enumerate((verdicts or {}).items()):
        with torch.no_grad():
            series[name] = (function(x.float()), *_OTHERS[(0, 2)[i % 2]])
    figure, axes = _figure(7.4, 4.6, alt or "", rows=2, sharex=True)
    densities = {
        "p, real": (p.log_prob(x).exp(), REAL_COLOR, SOLID),
        "q, fake": (q.log_prob(x).exp(), FAKE_COLOR, DASHED),
    }
    top, bottom = axes[:, 0]
    _draw_functions(top, x, densities)
    _draw_functions(bottom, x, series, {"undecided": 0.5})
    top.set_ylim(0, None)
    top.set_ylabel("density")
    bottom.set_ylim(-0.03, 1.03)
    bottom.set_ylabel("probability of real")
    bottom.set_xlabel("x")
    figure.align_ylabels()
    if title:
        top.set_title(title)
    if alt is None:
        figure.alt = (
            f"Above, the densities of {p} (real) and {q} (fake); below, {' and '.join(series)} "
            f"from x = {limits[0]:g} to {limits[1]:g}."
        )
    return figure


def discriminator_field(discriminator, limits=3.0, resolution=80):
    """D's verdict everywhere in a square: probabilities ``[resolution, resolution]``.

    discriminator: takes points ``[n, 2]`` and returns logits ``[n]`` or ``[n, 1]``.  Row i,
    column j is the point (x_j, y_i), both running from −limits to limits.  A module is put in
    evaluation mode for the question and back afterwards.
    """
    line = torch.linspace(-limits, limits, resolution)
    y, x = torch.meshgrid(line, line, indexing="ij")
    points = torch.stack([x, y], dim=-1).reshape(-1, 2)
    if isinstance(discriminator, torch.nn.Module):
        parameter = next(discriminator.parameters(), points)
        with evaluating(discriminator), torch.no_grad():
            logits = discriminator(points.to(parameter))
    else:
        with torch.no_grad():
            logits = discriminator(points)
    return torch.sigmoid(logits.float()).reshape(resolution, resolution).cpu()


def _plane(samples, what):
    samples = torch.as_tensor(samples).detach().cpu().float()
    if samples.ndim != 2 or samples.shape[1] != 2:
        raise InputError(f"{what} must have shape [n, 2], not {list(samples.shape)}.")
    return samples.numpy()


def scatter2d(samples, reference=None, field=None, limits=3.0, title=None, size=4.4, alt=None):
    """Points in the plane: fakes as purple crosses over real points as green circles.

    samples: ``[n, 2]`` of a generator, or None; reference: real points ``[m, 2]``, or None.
    field: D's probabilities from `discriminator_field` with the same limits, drawn behind.
    limits: the picture shows the square from −limits to limits, whatever the points do; how many
    fakes lie outside is written in it.  size: of the square, in inches.
    """
    figure, _ = _scatter(samples, reference, field, limits, title, size, alt)
    return figure


def _scatter(samples, reference, field, limits, title, size, alt=None):
    """The figure of `scatter2d`, and a function that redraws it for other fakes and another D."""
    figure, axes = _figure(size + (0.9 if field is not None else 0), size, alt or "")
    axes = axes[0, 0]
    fakes = picture = None
    with mpl.rc_context(STYLE):
        if field is not None:
            picture = axes.imshow(
                _probabilities(field),
                origin="lower",
                cmap=_VERDICT,
                vmin=0,
                vmax=1,
                extent=(-limits, limits, -limits, limits),
                interpolation="bilinear",
                zorder=0,
            )
            bar = figure.colorbar(picture, ax=axes, shrink=0.8, ticks=[0, 0.5, 1])
            bar.set_label("D's output, as a probability")
        if reference is not None:
            axes.plot(
                *_plane(reference, "reference").T,
                "o",
                markersize=4.5,
                markerfacecolor="none",
                linestyle="none",
                markeredgecolor=REAL_COLOR,
                markeredgewidth=0.9,
                label="real",
            )
        if samples is not None:
            (fakes,) = axes.plot(
                [],
                [],
                "x",
                markersize=4,
                color=_darker(FAKE_COLOR),
                markeredgewidth=1.1,
                linestyle="none",
                label="fake",
            )
        note = axes.text(
            0.98,
            0.02,
            "",
            transform=axes.transAxes,
            ha="right",
            color=_darker(FAKE_COLOR),
            fontsize=10,
        )
        axes.set(xlim=(-limits, limits), ylim=(-limits, limits), aspect="equal")
        axes.set_xlabel("$x_1$")
        axes.set_ylabel("$x_2$")
        axes.grid(field is None)
        if samples is not None or reference is not None:
            axes.legend(
                loc="upper right",
                frameon=True,
                framealpha=0.9,
                edgecolor="none",
                fontsize=10,
                handletextpad=0.2,
                borderpad=0.2,
            )

    def redraw(samples, field, title):
        said = [] if reference is None else [f"{len(reference)} real points"]
        if fakes is not None:
            points = _plane(samples, "samples")
            fakes.set_data(*points.T)
            # "Not inside" also counts points that are not numbers.
            outside = int((~(np.abs(points) <= limits).all(axis=1)).sum())
            note.set_text(f"fakes outside: {outside}" if outside else "")
            said.append(f"{len(points)} fakes, {outside} of them outside the picture")
        if picture is not None:
            picture.set_data(_probabilities(field))
            said.append("behind them D's output, green where it says real")
        if title:
            with mpl.rc_context(STYLE):
                axes.set_title(title)
        if alt is None:
            figure.alt = f"{title or 'Points in the plane'}: " + "; ".join(said) + "."

    redraw(samples, field, title)
    return figure, redraw


def _probabilities(field):
    field = torch.as_tensor(field).detach().cpu().float()
    if field.ndim != 2 or not bool(((field >= 0) & (field <= 1)).all()):
        raise InputError(
            "field must be a table of probabilities, as discriminator_field returns it."
        )
    return field.numpy()


# The short name, for `plots.scatter(...)`.
scatter = scatter2d


def scatter_animation(
    frames,
    reference=None,
    iterations=None,
    fields=None,
    path=None,
    fps=6,
    limits=3.0,
    size=3.6,
    alt=None,
):
    """A GIF of a generator's points while it learns.

    frames: S tensors ``[n, 2]`` (or ``[S, n, 2]``); iterations: S numbers or texts for the title;
    fields: S results of `discriminator_field`, or None; the rest as in `scatter2d` and
    `animation`, whose order of frames it shares.
    """
    frames = list(frames)
    if not frames:
        raise InputError("scatter_animation needs at least one frame.")
    iterations = list(range(len(frames)) if iterations is None else iterations)
    fields = [None] * len(frames) if fields is None else list(fields)
    if not len(frames) == len(iterations) == len(fields):
        raise InputError(
            f"{len(frames)} frames need as many iterations and fields, not {len(iterations)} "
            f"and {len(fields)}."
        )
    names = [i if isinstance(i, str) else f"iteration {_number(i)}" for i in iterations]
    figure, redraw = _scatter(frames[0], reference, fields[0], limits, names[0], size)
    pictures = []
    for frame, field, name in zip(frames, fields, names, strict=True):
        redraw(frame, field, name)
        pictures.append(_render(figure))
        # The layout of the first frame holds for all: nothing jumps, and drawing is quicker.
        figure.set_layout_engine("none")
    if alt is None:
        alt = f"Animation of {len(frames[0])} fakes in the plane, from {names[0]} to {names[-1]}."
    return _gif(_shared_palette(pictures, 48), fps, alt, path)
