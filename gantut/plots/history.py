"""Curves of what was written down during a run."""

import math

import matplotlib as mpl
import numpy as np
import torch

from gantut.errors import InputError
from gantut.plots.figures import (
    D_COLOR,
    DASHED,
    FAKE_COLOR,
    G_COLOR,
    INK,
    OTHERS,
    REAL_COLOR,
    REFERENCE,
    SOLID,
    STYLE,
    Figure,
    darker,
    new_figure,
    short_number,
)
from gantut.plots.images import show_sheet, tile, to_pixels, zoom

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
    return (key.replace("_", " "), *OTHERS[position % len(OTHERS)])


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
            color=darker(color),
            annotation_clip=False,
        )


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
        axes.axhline(value, **REFERENCE)
        ends.append((value, label, REFERENCE["color"]))
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
    figure, axes = new_figure(
        7.4, 0.6 + 2.6 * len(panels), alt or "", rows=len(panels), sharex=True
    )
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
    pixels = to_pixels(images)
    columns = max(1, min(int(columns), len(pixels)))
    panels = _panels(keys)
    history = per_epoch(history, [key for group in panels.values() for key in group])
    sheet = tile(zoom(pixels, 2, "nearest"), columns, 2)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.0, max(3.6, 2.2 * len(panels))))
        layout = figure.add_gridspec(len(panels), 2, width_ratios=(1, 1.7))
        left = figure.add_subplot(layout[:, 0])
        right = [figure.add_subplot(layout[i, 1]) for i in range(len(panels))]
        show_sheet(left, sheet)
        left.set_title(f"epoch {short_number(epoch)}")
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
        f"{len(pixels)} samples at epoch {short_number(epoch)}, beside the curves of the run with a "
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
    Raises InputError where there is no run, or one without a history or a column.
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
    figure, axes = new_figure(
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
