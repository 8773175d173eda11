"""Pictures: grids of images, curves, progressions, animations, points in the plane.

Every function takes tensors or arrays and returns a :class:`Figure`, which shows itself in a
notebook, carries a description for readers who cannot see it (``.alt``), and is saved with
``.savefig(path)``.  Nothing goes through pyplot, so nothing is shown twice or stays in memory.

The players keep their colour and line style through the whole course: D is blue and solid, G
vermilion and dashed, real data green and solid, fakes purple and dashed.  The colours are those
of Okabe and Ito (2008), the green a darker one, so that colour-blind readers can tell the lines
of a panel apart; each has a contrast of at least 3:1 to the white of the page.  Figures keep that white in dark mode too.
"""

from gantut.plots.figures import (
    D_COLOR,
    DASHED,
    FAKE_COLOR,
    G_COLOR,
    INK,
    REAL_COLOR,
    SOLID,
    STYLE,
    Animation,
    Figure,
    jpeg_bytes,
    png_bytes,
)
from gantut.plots.history import (
    compare_runs,
    curves,
    moment,
    per_epoch,
)
from gantut.plots.images import (
    animation,
    class_grid,
    image_grid,
    pixel_histogram,
    progression,
    share_outside,
)
from gantut.plots.networks import architecture
from gantut.plots.plane import (
    clouds,
    discriminator_field,
    lines,
    scatter,
    scatter2d,
    scatter_animation,
    two_densities,
)

__all__ = [
    "DASHED",
    "D_COLOR",
    "FAKE_COLOR",
    "G_COLOR",
    "INK",
    "REAL_COLOR",
    "SOLID",
    "STYLE",
    "Animation",
    "Figure",
    "animation",
    "architecture",
    "class_grid",
    "clouds",
    "compare_runs",
    "curves",
    "discriminator_field",
    "image_grid",
    "jpeg_bytes",
    "lines",
    "moment",
    "per_epoch",
    "pixel_histogram",
    "png_bytes",
    "progression",
    "scatter",
    "scatter2d",
    "scatter_animation",
    "share_outside",
    "two_densities",
]
