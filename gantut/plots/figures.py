"""The look that all pictures share, and how they show themselves in a notebook."""

import base64
import io
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure as _Figure
from PIL import Image

from gantut.errors import InputError

D_COLOR = "#0072B2"
G_COLOR = "#D55E00"
REAL_COLOR = "#006B4F"
FAKE_COLOR = "#CC79A7"
INK = "#222222"
SOLID, DASHED = "-", (0, (4, 1.5))

# For everything that is none of the four.
OTHERS = [
    (INK, SOLID),
    (D_COLOR, DASHED),
    (G_COLOR, SOLID),
    (REAL_COLOR, (0, (1, 1))),
    (FAKE_COLOR, (0, (4, 1, 1, 1))),
]

REFERENCE = {"color": "#767676", "linestyle": (0, (1, 1.5)), "linewidth": 1.2}

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
    "axes.prop_cycle": mpl.cycler(color=[c for c, _ in OTHERS])
    + mpl.cycler(linestyle=[s for _, s in OTHERS]),
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
}


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
    picture = render(figure)
    limit = getattr(figure, "colors", None)
    found = picture.getcolors(256)
    if found is not None:
        picture = with_palette(picture, np.array([c for _, c in sorted(found)], dtype=np.uint8))
    elif limit is not None:
        picture = reduce_colors(picture, limit)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def jpeg_bytes(figure):
    """The figure as a JPEG file without colour subsampling, which would bleed over pixel edges."""
    buffer = io.BytesIO()
    # Not optimised: for that Pillow wants room for all of it, and has too little for noise.
    render(figure).save(buffer, "JPEG", quality=88, subsampling=0)
    return buffer.getvalue()


def reduce_colors(picture, colors):
    """An RGB picture in so many colours, without dithering, which would cost more than it saves."""
    reduced = picture.quantize(colors, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    # Averaging makes the background slightly grey; keep the white of the page white.
    palette = np.array(reduced.getpalette(), dtype=np.uint8).reshape(-1, 3)
    lightest = palette.astype(int).sum(axis=1).argmax()
    if palette[lightest].min() > 245:
        palette[lightest] = 255
        reduced.putpalette(palette.tobytes())
    return reduced


def render(figure):
    """A figure as an opaque RGB picture."""
    with mpl.rc_context(STYLE):
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
    return Image.fromarray(np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3]))


def with_palette(picture, palette):
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


def new_figure(width, height, alt, rows=1, columns=1, **options):
    """A Figure of that size in inches in the course's style, and its axes as a 2-D array."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height))
        axes = figure.subplots(rows, columns, squeeze=False, **options)
    figure.alt = alt
    figure.colors = 128
    return figure, axes


def darker(color):
    """The same hue, dark enough for text."""
    return tuple(0.72 * c for c in mpl.colors.to_rgb(color))


def short_number(value):
    """10 for 10, 10.0 and tensor(10); 2.5 for 2.5."""
    return f"{float(value):,.6g}"


def rgb(color):
    """A colour by its name or its code as red, green and blue, uint8 [3]."""
    return np.array([round(255 * c) for c in mpl.colors.to_rgb(color)], dtype=np.uint8)


def shared_palette(frames, colors):
    """RGB frames in one palette for all of them, so that no colour flickers."""
    tall = Image.new("RGB", (frames[0].width, sum(f.height for f in frames)))
    for i, frame in enumerate(frames):
        tall.paste(frame, (0, i * frame.height))
    used = np.array(reduce_colors(tall, colors).getpalette(), dtype=np.uint8).reshape(-1, 3)
    return [with_palette(frame, used) for frame in frames]


def gif(frames, fps, alt, path):
    """Pillow images as an `Animation` that begins and rests at the last; also a file if path is given.

    Raises InputError for a rate of frames that GIF does not know.
    """
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
