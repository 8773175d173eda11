"""Things to play with: controls whose pictures follow, for readers with a running kernel.

An explorer holds ipywidgets controls, a picture and one sentence with the numbers behind it.
Showing it as the last line of a cell is enough.  It works without Output widgets, so a test (or
a cell) can move a control and look at what came of it::

    explorer = LossSlopes()
    explorer.set(logit=-4.0)            # as if the reader had moved the slider
    explorer.numbers["minimax_slope"]   # -0.018: D is sure, and G learns nothing

On a page without a kernel the picture of its present position stands in its place.
"""

import base64
import html
import math
import re
from collections.abc import Mapping

import ipywidgets
import matplotlib as mpl
import torch
from torch.nn import functional as F

from gantut import losses, metrics, plots, toys
from gantut.errors import InputError
from gantut.metrics.kernel import unbiased_mmd
from gantut.plots.figures import new_figure
from gantut.sampling import between, images_of


class Explorer:
    """Controls above a picture; the base of all the explorers.

    A subclass makes its controls and hands them to ``__init__``, and implements
    ``draw(**values)``, which returns the figure, the numbers behind it as a dict, and a sentence
    that says them.
    """

    def __init__(self, **controls):
        self.controls = controls
        self._picture = ipywidgets.Image(format="png")
        self._sentence = ipywidgets.HTML()
        self._busy = False
        for control in controls.values():
            control.style.description_width = "initial"
            control.layout.width = "26em"
            control.observe(self._changed, names="value")
        self.box = ipywidgets.VBox([*controls.values(), self._picture, self._sentence])
        self._update()

    def draw(self, **values):
        raise NotImplementedError

    @property
    def value(self):
        """Where the controls stand, by name."""
        return {name: control.value for name, control in self.controls.items()}

    def set(self, **values):
        """Move controls by name, all at once; returns the explorer.

        Raises InputError for a control that is not there or a value out of its range.
        """
        for name in values:
            if name not in self.controls:
                raise InputError(
                    f"{type(self).__name__} has no control {name!r}; "
                    f"it has: {', '.join(self.controls)}."
                )
        before = self.value
        self._busy = True
        try:
            for name, value in values.items():
                self._move(name, value)
        except InputError:
            for name, value in before.items():
                self.controls[name].value = value
            raise
        finally:
            self._busy = False
        self._update()
        return self

    def _move(self, name, value):
        control = self.controls[name]
        low, high = getattr(control, "min", None), getattr(control, "max", None)
        try:
            inside = low is None or low <= value <= high
        except TypeError:
            inside = False
        if not inside:  # the slider itself would silently stop at its end
            raise InputError(f"{name} must lie in [{low:g}, {high:g}], not {value!r}.")
        options = getattr(control, "options", None)
        if options is not None and value not in options:
            raise InputError(f"{name} must be one of {list(options)}, not {value!r}.")
        control.value = value

    def _changed(self, change):
        if not self._busy:
            self._update()

    def _update(self):
        self.figure, self.numbers, sentence = self.draw(**self.value)
        self.sentence = _typographic(sentence)
        self.figure.alt = f"{self.figure.alt} {self.sentence}"
        self._picture.value = plots.png_bytes(self.figure)
        # aria-live: a screen reader says the new numbers when a control has moved.
        self._sentence.value = f'<p aria-live="polite">{html.escape(self.sentence)}</p>'

    def __repr__(self):
        stands = ", ".join(f"{name}={value!r}" for name, value in self.value.items())
        return f"{type(self).__name__}({stands})"

    def _repr_mimebundle_(self, include=None, exclude=None):
        data = {
            "text/plain": repr(self),
            "image/png": base64.b64encode(self._picture.value).decode("ascii"),
            "application/vnd.jupyter.widget-view+json": {
                "version_major": 2,
                "version_minor": 0,
                "model_id": self.box.model_id,
            },
        }
        return data, {"image/png": {"alt": self.figure.alt}}


def _typographic(text):
    """The text with a real minus before numbers, as the axes of a figure have it."""
    return re.sub(r"-(?=\d)", "−", text)


def _slider(text, low, high, value, step, digits=2):
    return ipywidgets.FloatSlider(
        description=text, min=low, max=high, value=value, step=step, readout_format=f".{digits}f"
    )


class LossSlopes(Explorer):
    """G's two losses against D's logit on a fake, and how hard each pulls there.

    Control: ``logit``, D's output on the fake; D(G(z)) is its sigmoid.
    Numbers: ``probability``; ``minimax_loss`` = log(1 − D) and ``nonsaturating_loss`` = −log D;
    their slopes in the logit, ``minimax_slope`` = −D and ``nonsaturating_slope`` = D − 1.
    Goodfellow et al. 2014, end of section 3.
    """

    def __init__(self, logit=-4.0):
        super().__init__(logit=_slider("D's logit on a fake", -8.0, 8.0, logit, 0.1, 1))

    def draw(self, logit):
        x = torch.linspace(-8, 8, 321, dtype=torch.float64)
        players = {
            "log(1 − D), minimax": (losses.Minimax(), plots.INK, plots.SOLID),
            "−log D, non-saturating": (losses.NonSaturating(), plots.G_COLOR, plots.DASHED),
        }
        series, marks, found = {}, [], []
        for name, (loss, color, style) in players.items():
            curve = torch.stack([loss.generator(value[None]) for value in x])
            here = torch.tensor([logit], dtype=torch.float64, requires_grad=True)
            height = loss.generator(here)
            (slope,) = torch.autograd.grad(height, here)
            height, slope = height.item(), slope.item()
            tangent = height + slope * (x - logit)
            tangent[(x - logit).abs() > 2] = math.nan
            series[name] = (curve, color, style)
            series[_typographic(f"slope {slope:.3f}")] = (tangent, color, (0, (1, 1)))
            marks.append((logit, height, color))
            found.append((height, slope))
        d = 1 / (1 + math.exp(-logit))
        (minimax, minimax_slope), (saturating, saturating_slope) = found
        numbers = {
            "probability": d,
            "minimax_loss": minimax,
            "minimax_slope": minimax_slope,
            "nonsaturating_loss": saturating,
            "nonsaturating_slope": saturating_slope,
        }
        figure = plots.lines(
            x, series, "D's logit on a fake", "G's loss (nats)", marks=marks, limits=(-8.5, 8.5)
        )
        sentence = (
            f"D(G(z)) = {d:.3f}: the slope of log(1 − D) is {minimax_slope:.3f}, "
            f"that of −log D is {saturating_slope:.3f}."
        )
        return figure, numbers, sentence


class SmoothingExplorer(Explorer):
    """D's loss under smoothed labels: no output makes it zero any more.

    Controls: ``real_label`` and ``fake_label``, D's targets.  For random smoothing of degree d
    they are the means of the targets, 1 − d/2 and d/2: the loss is linear in the target, so
    its mean is the loss at the mean.
    Numbers: ``floor_real`` and ``floor_fake``, the least loss on either kind of image (the entropy
    of the label, in nats), ``floor_sum`` and ``floor_mean`` of the two, which is D's least loss;
    ``best_real`` and ``best_fake``, the outputs that reach them.
    """

    def __init__(self, real_label=0.9, fake_label=0.0):
        super().__init__(
            real_label=_slider("label of the real", 0.5, 1.0, real_label, 0.01),
            fake_label=_slider("label of the fake", 0.0, 0.5, fake_label, 0.01),
        )

    def draw(self, real_label, fake_label):
        d = torch.linspace(0, 1, 501, dtype=torch.float64)
        series, marks, floors = {}, [], []
        for name, label, color, style in (
            (f"on real, label {real_label:.2f}", real_label, plots.REAL_COLOR, plots.SOLID),
            (f"on fake, label {fake_label:.2f}", fake_label, plots.FAKE_COLOR, plots.DASHED),
        ):
            target = torch.full_like(d, label)
            series[name] = (F.binary_cross_entropy(d, target, reduction="none"), color, style)
            floor = sum(t * math.log(1 / t) for t in (label, 1 - label) if t > 0)
            floors.append(floor)
            marks.append((label, floor, color))
        numbers = {
            "floor_real": floors[0],
            "floor_fake": floors[1],
            "floor_sum": sum(floors),
            "floor_mean": sum(floors) / 2,
            "best_real": real_label,
            "best_fake": fake_label,
        }
        figure = plots.lines(
            d,
            series,
            "D's output, as a probability",
            "D's loss (nats)",
            marks=marks,
            limits=(-0.1, 3.0),
        )
        sentence = (
            f"The least loss is {floors[0]:.3f} on real images, at D(x) = {real_label:.2f}, and "
            f"{floors[1]:.3f} on fakes, at D(G(z)) = {fake_label:.2f}; together {sum(floors):.3f}."
        )
        return figure, numbers, sentence


class OptimalDiscriminator(Explorer):
    """The best discriminator between two Gaussians, and what the game is then worth.

    Controls: ``p_mean``, ``p_std`` of the real data; ``q_mean``, ``q_std`` of the fakes.
    Numbers: ``jsd``, the Jensen–Shannon divergence in nats; ``game_value`` = −log 4 + 2·jsd;
    ``best_loss``, D's least loss, which is its negative; ``d_at_p`` and ``d_at_q``, D* at the two
    means.  Goodfellow et al. 2014, proposition 1 and theorem 1.
    """

    def __init__(self, p_mean=0.0, p_std=1.0, q_mean=2.0, q_std=1.0):
        super().__init__(
            p_mean=_slider("mean of the real", -4.0, 4.0, p_mean, 0.1, 1),
            p_std=_slider("std of the real", 0.3, 3.0, p_std, 0.1, 1),
            q_mean=_slider("mean of the fakes", -4.0, 4.0, q_mean, 0.1, 1),
            q_std=_slider("std of the fakes", 0.3, 3.0, q_std, 0.1, 1),
        )

    def draw(self, p_mean, p_std, q_mean, q_std):
        p, q = toys.Gaussian(p_mean, p_std), toys.Gaussian(q_mean, q_std)
        jsd, value = toys.jensen_shannon(p, q), toys.game_value(p, q)
        means = torch.tensor([p_mean, q_mean], dtype=torch.float64)
        at_p, at_q = torch.sigmoid(toys.optimal_logit(p, q, means)).tolist()
        numbers = {
            "jsd": jsd,
            "game_value": value,
            "best_loss": -value,
            "d_at_p": at_p,
            "d_at_q": at_q,
        }
        sentence = (
            f"Jensen–Shannon divergence {jsd:.3f} nats of at most {math.log(2):.3f}; the game is "
            f"worth {value:.3f} (−log 4 is {-math.log(4):.3f})."
        )
        return plots.two_densities(p, q), numbers, sentence


class DigitBrowser(Explorer):
    """Ten images of a class at a time, out of an `ImageSet` with labels.

    Controls: ``label``, a class or "all"; ``first``, how many images of it to skip.
    Numbers: ``indices`` of the shown images in the set, their ``labels``, and ``count``, how many
    images the class has.
    Raises InputError for images without labels.
    """

    def __init__(self, image_set, shown=10):
        if image_set.labels is None:
            raise InputError("DigitBrowser needs an ImageSet with labels.")
        self.image_set = image_set
        self.shown = shown
        self._members = {"all": torch.arange(len(image_set.labels))}
        for index, name in enumerate(image_set.classes):
            members = torch.nonzero(image_set.labels.cpu() == index).flatten()
            if len(members):
                self._members[name] = members
        longest = max(len(members) for members in self._members.values())
        super().__init__(
            label=ipywidgets.Dropdown(description="class", options=list(self._members)),
            first=ipywidgets.IntSlider(
                description="skip", min=0, max=max(1, longest - shown), continuous_update=False
            ),
        )

    def draw(self, label, first):
        members = self._members[label]
        # Classes differ in size; at the end of a small one the last images are shown.
        start = max(0, min(first, len(members) - self.shown))
        chosen = members[start : start + self.shown]
        labels = self.image_set.labels[chosen.to(self.image_set.labels.device)].tolist()
        names = [self.image_set.classes[i] for i in labels]
        numbers = {"indices": chosen.tolist(), "labels": labels, "count": len(members)}
        images = self.image_set.images[chosen.to(self.image_set.images.device)]
        figure = plots.image_grid(images, columns=5, labels=names, scale=4)
        sentence = (
            f"Images {start + 1} to {start + len(chosen)} of {len(members):,} in "
            f"{'the set' if label == 'all' else 'class ' + label}."
        )
        return figure, numbers, sentence


REACH = {"tanh, [−1, 1]": (-1.0, 1.0), "sigmoid, [0, 1]": (0.0, 1.0)}


class RangeExplorer(Explorer):
    """What a choice of mean and std does to the pixels, and how many no generator can reach.

    images: uint8 tensor of any shape (an `ImageSet`'s ``.images``).
    Controls: ``mean`` and ``std`` of (x/255 − mean)/std; ``output``, G's last layer.
    Numbers: ``low`` and ``high``, the ends of the pixels' range; ``unreachable``, the share of
    pixels outside the range of G's last layer; ``below`` and ``above``, its two parts.
    Raises InputError for images that are not uint8.
    """

    def __init__(self, images, mean=0.5, std=0.5):
        if images.dtype != torch.uint8:
            raise InputError(f"RangeExplorer needs uint8 images, not {images.dtype}.")
        # 256 counts stand for all pixels, so a slider answers at once.
        self._counts = torch.bincount(images.flatten().cpu(), minlength=256).double()
        super().__init__(
            mean=_slider("mean", 0.0, 1.0, mean, 0.0001, 4),
            std=_slider("std", 0.1, 1.0, std, 0.0001, 4),
            output=ipywidgets.Dropdown(description="G ends in", options=list(REACH)),
        )

    def draw(self, mean, std, output):
        present = self._counts > 0
        values = (torch.arange(256, dtype=torch.float64) / 255 - mean) / std
        low_end, high_end = REACH[output]
        shares = self._counts / self._counts.sum()
        # A rounding error is no unreachable pixel.
        below = shares[values < low_end - 1e-9].sum().item()
        above = shares[values > high_end + 1e-9].sum().item()
        low, high = values[present].min().item(), values[present].max().item()
        numbers = {
            "low": low,
            "high": high,
            "below": below,
            "above": above,
            "unreachable": below + above,
        }
        figure = plots.pixel_histogram(
            values.round(decimals=9)[present], self._counts[present], reach=(low_end, high_end)
        )
        sentence = (
            f"Pixels run from {low:.3f} to {high:.3f}; {below + above:.1%} of them lie outside "
            f"[{low_end:g}, {high_end:g}]."
        )
        return figure, numbers, sentence


class LatentWalk(Explorer):
    """From one latent vector to another, and a step aside along two coordinates.

    generator: a net with ``sample_z``, ``latent_dim`` and ``num_classes``.  mean, std: the space it
    works in, as in `gantut.sampling.sample`.  classes: names for its labels, the
    numbers from 0 if None.
    Controls: ``pair``, the seed of the two ends; ``position``, 0 at the first end and 1 at the
    second; ``first`` and ``second``, what is added to the first two coordinates of z on the whole
    way; for a conditional generator also ``label``, one of its ``classes``.
    Numbers: ``norm``, the length of z at the position; ``change``, the mean absolute difference of
    its image's pixels (in [−1, 1]) from those at position 0.  The way is that of
    `gantut.sampling.between`.
    Raises InputError for names of more or fewer classes than the generator has.
    """

    STEPS = 7

    def __init__(self, generator, mean=0.5, std=0.5, classes=None):
        self.generator, self.mean, self.std = generator, mean, std
        controls = {
            "pair": ipywidgets.IntSlider(description="pair of ends", min=0, max=99),
            "position": _slider("position", 0.0, 1.0, 0.0, 0.05),
            "first": _slider("first coordinate +", -3.0, 3.0, 0.0, 0.25),
            "second": _slider("second coordinate +", -3.0, 3.0, 0.0, 0.25),
        }
        if generator.latent_dim < 2:
            del controls["second"]
        if generator.num_classes:
            options = list(range(generator.num_classes) if classes is None else classes)
            if len(options) != generator.num_classes:
                raise InputError(
                    f"The generator has {generator.num_classes} classes, not {len(options)}."
                )
            controls["label"] = ipywidgets.Dropdown(description="label", options=options)
        super().__init__(**controls)

    def between(self, pair, position):
        """Latent vectors ``[n, latent_dim]`` at positions ``[n]`` between the ends of a pair."""
        start, stop = self.generator.sample_z(2, generator=torch.Generator().manual_seed(pair))
        normal = getattr(self.generator, "latent", "normal") == "normal"
        return between(start, stop, position, normal)

    def draw(self, pair, position, first, second=0.0, label=None):
        stops = [i / (self.STEPS - 1) for i in range(self.STEPS)]
        z = self.between(pair, [position, *stops])
        z[:, 0] += first
        if z.shape[1] > 1:
            z[:, 1] += second
        labels = None
        if label is not None:
            labels = torch.full((len(z),), self.controls["label"].options.index(label))
        images = images_of(self.generator, z, labels, self.mean, self.std).cpu()
        norm = z[0].norm().item()
        change = (images[0] - images[1]).abs().mean().item()
        names = [f"here: {position:.2f}", *(f"{stop:.2f}" for stop in stops)]
        figure = plots.image_grid(images, columns=4, labels=names, scale=4)
        sentence = (
            f"At position {position:.2f} z has length {norm:.2f}, and its image differs from that "
            f"at 0 by {change:.3f} a pixel."
        )
        return figure, {"norm": norm, "change": change}, sentence


class ConvolutionExplorer(Explorer):
    """What kernel, stride and padding make of the size, and how often they touch each pixel.

    Controls: ``kind``, ``"convolution"`` or ``"transposed"``; ``side`` of the square input;
    ``kernel``, ``stride``, ``padding`` and, for the transposed kind only, ``output_padding``.
    Numbers: ``output``, the side of the result, 0 where there is none; ``low`` and ``high``, the
    least and the largest number of kernel windows over a pixel of the larger grid, which is the
    input of a convolution and the output of a transposed one; ``uneven``, ``high`` over ``low``
    where no border is near, 1 without a checkerboard and infinite where pixels are left out.

    Dumoulin & Visin 2016, "A guide to convolution arithmetic for deep learning"; Odena, Dumoulin
    & Olah 2016, "Deconvolution and checkerboard artifacts".
    """

    def __init__(self, kind="convolution", side=8, kernel=4, stride=2, padding=1):
        def whole(text, low, high, value):
            return ipywidgets.IntSlider(description=text, min=low, max=high, value=value)

        super().__init__(
            kind=ipywidgets.Dropdown(
                description="kind", options=["convolution", "transposed"], value=kind
            ),
            side=whole("input side", 2, 12, side),
            kernel=whole("kernel", 1, 7, kernel),
            stride=whole("stride", 1, 4, stride),
            padding=whole("padding", 0, 3, padding),
            output_padding=whole("output padding", 0, 3, 0),
        )

    def draw(self, kind, side, kernel, stride, padding, output_padding):
        transposed = kind == "transposed"
        if transposed:
            output = stride * (side - 1) + kernel - 2 * padding + output_padding
            rule = f"{stride}·({side} - 1) + {kernel} - 2·{padding} + {output_padding}"
        else:
            output = (side + 2 * padding - kernel) // stride + 1
            rule = f"⌊({side} + 2·{padding} - {kernel})/{stride}⌋ + 1"
        problem = None
        if transposed and output_padding >= stride:
            problem = "output padding must be smaller than the stride"
        elif output < 1:
            problem = "the kernel does not fit" if not transposed else "nothing is left of it"
        if problem:
            figure, axes = new_figure(7.0, 3.4, f"No output: {problem}.")
            axes[0, 0].text(0.5, 0.5, f"No output:\n{problem}.", ha="center", va="center")
            axes[0, 0].set_axis_off()
            nothing = {"output": 0, "low": 0, "high": 0, "uneven": math.nan}
            return figure, nothing, f"No output: {problem}."

        windows, small = (side, output) if not transposed else (output, side)
        line = _windows_over(windows, small, kernel, stride, padding)
        low, high = int(line.min()) ** 2, int(line.max()) ** 2
        # Far from every border the counts repeat with the stride.
        inside = _windows_over(10 * stride + kernel, 10, kernel, stride, 0)[kernel : 9 * stride]
        uneven = (inside.max() / inside.min()).item() ** 2 if inside.min() else math.inf
        numbers = {"output": output, "low": low, "high": high, "uneven": uneven}
        touched = "written" if transposed else "read"
        figure = _count_grid(
            torch.outer(line, line),
            f"how often each {'output' if transposed else 'input'} pixel is {touched}",
        )
        even = f"from {low} to {high} times" if low < high else f"{low} time{'s' * (low != 1)}"
        sentence = (
            f"{'Transposed convolution' if transposed else 'Convolution'} of {side}×{side}: "
            f"{rule} = {output}, so {output}×{output}; each pixel of the "
            f"{'output is written' if transposed else 'input is read'} {even}."
        )
        return figure, numbers, sentence


def _windows_over(large, small, kernel, stride, padding):
    """How many of ``small`` windows lie over each of ``large`` places in a row; float ``[large]``."""
    place = torch.arange(large)[:, None] + padding
    start = stride * torch.arange(small)[None]
    return ((start <= place) & (place < start + kernel)).sum(1).double()


def _count_grid(counts, title):
    """A square grid of whole numbers, shaded by size, with the numbers in it where they fit."""
    n = len(counts)
    figure, axes = new_figure(4.6, 4.6, f"A grid of {n} by {n} pixels: {title}.")
    axes = axes[0, 0]
    with mpl.rc_context(plots.STYLE):
        axes.imshow(counts.numpy(), cmap="Blues", vmin=0, vmax=1.6 * counts.max().item())
        axes.set_title(title)
        axes.grid(False)
        axes.set(xlabel="column", ylabel="row")
        if n <= 16:
            for i, row in enumerate(counts.tolist()):
                for j, count in enumerate(row):
                    axes.text(j, i, f"{count:g}", ha="center", va="center", fontsize=8)
    return figure


class PowerIteration(Explorer):
    """What a matrix of the plane does to the unit circle, and how power iteration finds its norm.

    Controls: ``longer`` and ``shorter``, the half-axes of the ellipse that the circle becomes (in
    either order); ``start``, the angle in degrees between the first vector u and the first axis;
    ``rounds`` of power iteration, in each of which v = Wᵀu and u = Wv, made unit vectors.
    Numbers: ``norm``, the spectral norm; ``estimate``, the stretch uᵀWv that was found; ``divided``,
    the norm of the matrix after division by the estimate; ``angle`` in degrees between u and the
    longest axis, from 0 to 90.

    Miyato et al. 2018, "Spectral Normalization for Generative Adversarial Networks", algorithm 1.
    """

    def __init__(self, longer=2.0, shorter=1.2, start=75.0, rounds=1):
        super().__init__(
            longer=_slider("first half-axis", 0.5, 3.0, longer, 0.1),
            shorter=_slider("second half-axis", 0.1, 3.0, shorter, 0.1),
            start=_slider("first vector, degrees from the first axis", 0.0, 90.0, start, 5.0, 0),
            rounds=ipywidgets.IntSlider(
                description="rounds of power iteration", min=1, max=10, value=rounds
            ),
        )

    def draw(self, longer, shorter, start, rounds):
        turn = math.radians(30)  # so that the axes are not those of the page
        out = torch.tensor(
            [[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]],
            dtype=torch.float64,
        )
        W = out @ torch.diag(torch.tensor([longer, shorter], dtype=torch.float64))
        angle = math.radians(start)
        u = out @ torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
        for _ in range(rounds):
            v = F.normalize(W.T @ u, dim=0)
            u = F.normalize(W @ v, dim=0)
        estimate, norm = (u @ W @ v).item(), max(longer, shorter)
        axis = out[:, 0] if longer >= shorter else out[:, 1]
        numbers = {
            "norm": norm,
            "estimate": estimate,
            "divided": norm / estimate,
            "angle": math.degrees(math.acos(min(1.0, abs((u @ axis).item())))),
        }
        t = torch.linspace(0, 2 * math.pi, 181, dtype=torch.float64)
        circle = torch.stack([t.cos(), t.sin()])
        ellipse, found = W @ circle, W @ v
        figure, axes = new_figure(
            4.6, 4.6, "A unit circle, the ellipse a matrix makes of it, and an arrow to its rim."
        )
        axes = axes[0, 0]
        with mpl.rc_context(plots.STYLE):
            axes.plot(*circle, color=plots.INK, linestyle="--", linewidth=1.2, label="circle")
            axes.plot(*ellipse, color=plots.D_COLOR, linewidth=1.8, label="W · circle")
            axes.annotate(
                "",
                xy=found.tolist(),
                xytext=(0, 0),
                arrowprops={"arrowstyle": "->", "color": plots.G_COLOR, "linewidth": 2},
            )
            axes.set(xlim=(-3.2, 3.2), ylim=(-3.2, 3.2), aspect="equal", xlabel="x₁", ylabel="x₂")
            axes.legend(loc="upper left", frameon=False)
        sentence = (
            f"After {rounds} round{'s' * (rounds != 1)} the estimate is {estimate:.2f} of a norm of "
            f"{norm:.2f}; divided by it, the matrix still stretches by {norm / estimate:.2f}."
        )
        return figure, numbers, sentence


class CloudMetrics(Explorer):
    """Six metrics of a cloud of fakes in the plane, next to one that is known exactly.

    The real points are of two equal blobs, at (−2, 0) and (2, 0), of standard deviation 1/2.
    Controls: ``shift`` of the fakes to the right; ``spread``, the standard deviation of their
    blobs; ``dropped``, the share of the right blob's points that are missing, from 0 to 1.
    Numbers: ``exact``, the squared Fréchet distance of the two distributions; of as many points
    each as ``samples``, ``frechet``, ``kernel`` (`gantut.metrics.kernel.unbiased_mmd`),
    ``precision``, ``recall``, ``density``, ``coverage``.
    """

    def __init__(self, samples=500):
        self.samples = samples
        self.real = self.cloud(seed=0)
        super().__init__(
            shift=_slider("shift", 0.0, 4.0, 0.0, 0.1),
            spread=_slider("spread", 0.1, 2.0, 0.5, 0.1),
            dropped=_slider("right blob dropped", 0.0, 1.0, 0.0, 0.1),
        )

    def cloud(self, seed, shift=0.0, spread=0.5, dropped=0.0):
        """Points ``[samples, 2]``, float64."""
        weights = [1.0, 1.0 - dropped]
        blobs = toys.Mixture([[shift - 2, 0.0], [shift + 2, 0.0]], spread, weights)
        return blobs.sample(self.samples, torch.Generator().manual_seed(seed)).double()

    def draw(self, shift, spread, dropped):
        fakes = self.cloud(1, shift, spread, dropped)
        right = (1 - dropped) / (2 - dropped)
        # Both covariances are diagonal: along the blobs' line their distance of 4 counts too.
        along = math.sqrt(spread**2 + 16 * right * (1 - right)) - math.sqrt(0.25 + 4)
        exact = (shift + 4 * right - 2) ** 2 + along**2 + (spread - 0.5) ** 2
        numbers = {
            "exact": exact,
            "frechet": metrics.frechet_distance(fakes, self.real),
            "kernel": unbiased_mmd(fakes, self.real),
            **metrics.precision_recall(fakes, self.real)._asdict(),
            **metrics.density_coverage(fakes, self.real)._asdict(),
        }
        figure = plots.scatter2d(fakes, self.real, limits=6.5)
        shares = ", ".join(
            f"{key} {numbers[key]:.2f}" for key in ("precision", "recall", "density", "coverage")
        )
        sentence = (
            f"Fréchet distance {numbers['frechet']:.2f}, exactly {exact:.2f}; "
            f"kernel distance {numbers['kernel']:.2f}; {shares}."
        )
        return figure, numbers, sentence


class RunReader(Explorer):
    """Finished runs, stage by stage: the samples, and where on the curves they were made.

    runs: ``{"name": run}`` or one run; a run has ``.history`` (columns by name, as in
    `gantut.plots.curves`) and ``.progress``: the epochs and images ``[stages, n, C, H, W]`` of a
    `gantut.runs.Run`, or ``{epoch: images [n, C, H, W]}``.
    keys: columns to draw.
    Controls: ``run``; ``stage``, the number of the stage (a run with fewer shows its last).
    Numbers: ``epoch`` of the stage, and each key's mean in that epoch.
    Raises InputError for no run, and for one without stages.
    """

    def __init__(self, runs, keys=("d_loss", "g_loss"), samples=20):
        self.runs = dict(runs) if isinstance(runs, Mapping) else {"run": runs}
        self._stages = {name: _stages(run.progress) for name, run in self.runs.items()}
        if not self.runs or any(not stages for stages in self._stages.values()):
            raise InputError("RunReader needs at least one run, each with stages of samples.")
        self.keys, self.samples = list(keys), samples
        self._per_epoch = {n: plots.per_epoch(r.history, self.keys) for n, r in self.runs.items()}
        longest = max(len(stages) for stages in self._stages.values())
        super().__init__(
            run=ipywidgets.Dropdown(description="run", options=list(self.runs)),
            stage=ipywidgets.IntSlider(description="stage", min=0, max=max(1, longest - 1)),
        )

    def draw(self, run, stage):
        stages = self._stages[run]
        epoch = list(stages)[min(stage, len(stages) - 1)]
        table = self._per_epoch[run]
        # Epoch 0 shows samples from before training; its row is that of the first epoch.
        row = int(abs(table["epoch"] - max(epoch, 1)).argmin())
        numbers = {"epoch": float(epoch), **{key: float(table[key][row]) for key in self.keys}}
        figure = plots.moment(
            self.runs[run].history, stages[epoch][: self.samples], epoch, self.keys, title=run
        )
        said = ", ".join(f"{key} {numbers[key]:.2f}" for key in self.keys)
        return figure, numbers, f"{run} at epoch {epoch:g}: {said}."


def _stages(progress):
    """Images by epoch, from a mapping or from the pair that a `gantut.runs.Run` has."""
    return dict(progress) if isinstance(progress, Mapping) else dict(zip(*progress, strict=True))
