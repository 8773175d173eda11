"""Functions of one variable, and points in the plane."""

import matplotlib as mpl
import numpy as np
import torch

from gantut.errors import InputError
from gantut.plots.figures import (
    _VERDICT,
    D_COLOR,
    DASHED,
    FAKE_COLOR,
    INK,
    OTHERS,
    REAL_COLOR,
    REFERENCE,
    SOLID,
    STYLE,
    darker,
    gif,
    new_figure,
    render,
    shared_palette,
    short_number,
)
from gantut.sampling import evaluating


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
    figure, axes = new_figure(*figsize, alt or "")
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
        y, *look = entry if isinstance(entry, tuple) else (entry, *OTHERS[i % len(OTHERS)])
        y = np.asarray(torch.as_tensor(y).detach().cpu(), dtype=np.float64)
        if y.shape != x.shape or x.ndim != 1:
            raise InputError(
                f"{name!r} has shape {list(y.shape)}, x has {list(x.shape)}; both must be [n]."
            )
        axes.plot(x, y, color=look[0], linestyle=look[1], linewidth=1.8, label=name)
    for name, value in (references or {}).items():
        axes.axhline(value, **REFERENCE, label=name)
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
            series[name] = (function(x.float()), *OTHERS[(0, 2)[i % 2]])
    figure, axes = new_figure(7.4, 4.6, alt or "", rows=2, sharex=True)
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
    figure, axes = new_figure(size + (0.9 if field is not None else 0), size, alt or "")
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
                color=darker(FAKE_COLOR),
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
            color=darker(FAKE_COLOR),
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


def clouds(samples, reference=None, limits=3.0, columns=3, size=2.4, alt=None):
    """Clouds of fakes side by side, each over the same real points; looks as in `scatter2d`.

    samples: ``{"name": points [n, 2]}``, at least one; reference: real points ``[m, 2]``, or None.
    limits: every panel shows the square from −limits to limits; size: of a panel, in inches.
    Raises InputError for no samples, and for some that are no points of the plane.
    """
    if not samples:
        raise InputError("clouds needs at least one set of samples.")
    columns = min(columns, len(samples))
    rows = -(-len(samples) // columns)
    figure, axes = new_figure(
        columns * size, rows * (size + 0.2), alt or "", rows, columns, sharex=True, sharey=True
    )
    panels = axes.ravel()
    with mpl.rc_context(STYLE):
        for panel, (name, points) in zip(panels, samples.items()):
            if reference is not None:
                panel.plot(
                    *_plane(reference, "reference").T,
                    "o",
                    markersize=2.5,
                    markerfacecolor="none",
                    markeredgecolor=REAL_COLOR,
                    markeredgewidth=0.6,
                )
            panel.plot(
                *_plane(points, name).T,
                "x",
                markersize=2.5,
                color=darker(FAKE_COLOR),
                markeredgewidth=0.7,
            )
            panel.set_title(name, fontsize=10)
            panel.set(xlim=(-limits, limits), ylim=(-limits, limits), aspect="equal")
        for panel in panels[len(samples) :]:
            panel.set_axis_off()
        for panel in axes[-1]:
            panel.set_xlabel("$x_1$")
        for panel in axes[:, 0]:
            panel.set_ylabel("$x_2$")
    if alt is None:
        over = "" if reference is None else f" over {len(reference)} real points"
        figure.alt = f"Fakes in the plane{over}, a panel each: {', '.join(samples)}."
    return figure


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
    Raises InputError for no frames, and for iterations or fields that are not as many.
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
    names = [i if isinstance(i, str) else f"iteration {short_number(i)}" for i in iterations]
    figure, redraw = _scatter(frames[0], reference, fields[0], limits, names[0], size)
    pictures = []
    for frame, field, name in zip(frames, fields, names, strict=True):
        redraw(frame, field, name)
        pictures.append(render(figure))
        # The layout of the first frame holds for all: nothing jumps, and drawing is quicker.
        figure.set_layout_engine("none")
    if alt is None:
        alt = f"Animation of {len(frames[0])} fakes in the plane, from {names[0]} to {names[-1]}."
    return gif(shared_palette(pictures, 48), fps, alt, path)
