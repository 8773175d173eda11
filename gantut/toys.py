"""Data whose density is known exactly: Gaussians on a line, mixtures of them in the plane.

With images nobody can say what the real density at a point is; here everybody can.  So these
mixtures let us check what theory claims about the game (the best discriminator, the value
−log 4), and count how many modes a generator has found.
"""

import math

import torch
from torch.nn import functional as F

from gantut.errors import InputError


def _whole(name, value):
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{name} must be a whole number, at least 1, not {value!r}.")


class Mixture:
    """A mixture of Gaussians on a line or in the plane, each with equal spread in all directions.

    centers: ``[k]`` (a mixture on a line) or ``[k, 2]`` (in the plane), anything torch can read.
    std: standard deviation of every component, or one for each (``[k]``).
    weights: ``[k]`` non-negative, need not sum to 1; equal by default.

    Points on a line are tensors ``[n]``, points in the plane ``[n, 2]``.
    Raises InputError for centers of another shape, or a std or weights that make no density.
    """

    def __init__(self, centers, std=1.0, weights=None):
        centers = torch.as_tensor(centers, dtype=torch.float32)
        if centers.ndim not in (1, 2) or len(centers) == 0 or centers.shape[1:] not in ((), (2,)):
            raise InputError(
                f"centers must have shape [k] or [k, 2], not {list(centers.shape)}; "
                "give one number or one pair for each component."
            )
        k = len(centers)
        std = torch.as_tensor(std, dtype=torch.float32)
        if std.shape not in ((), (k,)) or not bool((std > 0).all() and std.isfinite().all()):
            raise InputError(f"std must be one positive number or {k} of them, not {std.tolist()}.")
        weights = torch.as_tensor([1.0] * k if weights is None else weights, dtype=torch.float32)
        if weights.shape != (k,) or not bool((weights >= 0).all() and weights.sum() > 0):
            raise InputError(
                f"weights must be {k} non-negative numbers, not all zero; got {weights.tolist()}."
            )
        self.centers = centers
        self.std = std.expand(k)
        self.weights = weights / weights.sum()

    @property
    def dim(self) -> int:
        """1 on a line, 2 in the plane."""
        return self.centers.ndim

    def sample(self, n, generator=None):
        """n independent points: ``[n]`` on a line, ``[n, 2]`` in the plane; float32.

        generator: a ``torch.Generator`` (its device is where the points are drawn), or None for
        torch's default CPU generator.
        """
        _whole("n", n)
        device = generator.device if generator is not None else self.centers.device
        component = torch.multinomial(
            self.weights.to(device), n, replacement=True, generator=generator
        )
        center = self.centers.to(device)[component]
        std = self.std.to(device)[component]
        noise = torch.randn(center.shape, generator=generator, device=device)
        return center + noise * (std if self.dim == 1 else std[:, None])

    def log_prob(self, x):
        """Natural logarithm of the density at each point of x, in x's own precision.

        x: ``[...]`` on a line, ``[..., 2]`` in the plane; returns ``[...]``.  Exact also far from
        all centers, where the density itself is 0 in floating point.
        Raises InputError for points of another dimension.
        """
        x = torch.as_tensor(x)
        if not x.is_floating_point():
            x = x.float()
        if self.dim == 2 and x.shape[-1:] != (2,):
            raise InputError(f"points in the plane have shape [..., 2], not {list(x.shape)}.")
        centers, std, weights = (t.to(x) for t in (self.centers, self.std, self.weights))
        if self.dim == 1:
            squared = (x[..., None] - centers) ** 2
        else:
            squared = ((x[..., None, :] - centers) ** 2).sum(-1)
        log_norm = self.dim * (std.log() + 0.5 * math.log(2 * math.pi))
        return torch.logsumexp(weights.log() - log_norm - squared / (2 * std**2), dim=-1)

    def prob(self, x):
        """The density itself, ``exp(log_prob(x))``."""
        return self.log_prob(x).exp()

    def __repr__(self):
        return f"{type(self).__name__}({len(self.centers)} components, {self.dim}-D)"


class Gaussian(Mixture):
    """One Gaussian on a line, a mixture of a single component.  Points are tensors ``[n]``."""

    def __init__(self, mean=0.0, std=1.0):
        super().__init__([float(mean)], float(std))
        self.mean = float(mean)

    def __repr__(self):
        return f"Gaussian(mean={self.mean:g}, std={self.std[0].item():g})"


class Ring(Mixture):
    """Gaussians evenly spaced on a circle round the origin, the first at angle 0, anticlockwise.

    Metz et al. 2017 (Unrolled GANs, section 3.1) made eight of them the standard test for mode
    collapse.
    """

    def __init__(self, modes=8, radius=2.0, std=0.05):
        _whole("modes", modes)
        angles = 2 * math.pi * torch.arange(modes, dtype=torch.float64) / modes
        super().__init__(radius * torch.stack([angles.cos(), angles.sin()], dim=1), std)


class Grid(Mixture):
    """side × side Gaussians on a square grid centred on the origin, `spacing` apart.

    The defaults are the 25 modes from −4 to 4 of Srivastava et al. 2017 (VEEGAN, section 4.1).
    """

    def __init__(self, side=5, spacing=2.0, std=0.05):
        _whole("side", side)
        line = spacing * (torch.arange(side, dtype=torch.float64) - (side - 1) / 2)
        super().__init__(torch.cartesian_prod(line, line).reshape(-1, 2), std)


def mode_coverage(samples, mixture, within=3.0, share=0.0):
    """How many modes the samples found, and how many of the samples are any good.

    A sample is of high quality when it lies within `within` standard deviations of its nearest
    center.  A mode is covered when more than `share` of all samples are of high quality and
    nearest to it; with the default 0, one such sample is enough.  This is the count of Srivastava
    et al. 2017 (VEEGAN, section 4.1), who drew 2,500 samples.

    samples: ``[n]`` or ``[n, 2]``, like ``mixture.sample(n)``.
    Returns ``(modes_covered, share_high_quality)``, an int and a float in [0, 1].  The mixture's
    own samples do not reach 1: within three standard deviations of its center lies
    1 − exp(−9/2) = 98.9% of a Gaussian in the plane, and 99.7% on a line.
    Raises InputError for samples of another dimension.
    """
    samples = torch.as_tensor(samples).detach().float()
    if samples.ndim != mixture.dim or samples.shape[1:] != mixture.centers.shape[1:]:
        expected = "[n]" if mixture.dim == 1 else "[n, 2]"
        raise InputError(f"samples for {mixture} have shape {expected}, not {list(samples.shape)}.")
    if len(samples) == 0:
        raise InputError("mode_coverage needs at least one sample.")
    k = len(mixture.centers)
    centers = mixture.centers.to(samples.device).reshape(k, mixture.dim)
    distance = (samples.reshape(-1, 1, mixture.dim) - centers).norm(dim=-1)
    # A sample that is not a number is near to nothing; argmin would still name a mode for it,
    # but the comparison below is false for NaN.
    nearest_distance, nearest = distance.min(dim=1)
    good = nearest_distance <= within * mixture.std.to(samples.device)[nearest]
    counts = torch.bincount(nearest[good], minlength=k)
    return int((counts > share * len(samples)).sum()), good.float().mean().item()


# The short name, for `toys.coverage(...)`.
coverage = mode_coverage


def optimal_logit(p, q, x):
    """Logit of the best discriminator at x: log p(x) − log q(x).

    Goodfellow et al. 2014, proposition 1: D*(x) = p/(p+q), whose logit is log p/q.
    ``torch.sigmoid`` of it is D* itself.  p: the real density, q: the generator's.
    """
    return p.log_prob(x) - q.log_prob(x)


def jensen_shannon(p, q, points=40001):
    """Jensen–Shannon divergence of two densities on a line, in nats: 0 if equal, log 2 at most.

    Goodfellow et al. 2014, theorem 1: against the best discriminator the game is worth
    −log 4 + 2·JSD.  The integral is a trapezoidal sum in float64 with `points` points over
    ± 12 standard deviations of each component.
    Raises InputError for densities in the plane.
    """
    if p.dim != 1 or q.dim != 1:
        raise InputError("jensen_shannon integrates over a line; p and q must be 1-D.")
    # A grid of its own for each component, so that a needle beside a hill is not stepped over.
    spread = torch.linspace(-12, 12, points, dtype=torch.float64)
    parts = [m.centers.double()[:, None] + m.std.double()[:, None] * spread for m in (p, q)]
    x = torch.cat(parts).flatten().sort().values
    logit = optimal_logit(p, q, x)
    # log(2p/(p+q)) = log 2 + log σ(logit): no division of one tiny number by another.
    from_p = p.prob(x) * (math.log(2) + F.logsigmoid(logit))
    from_q = q.prob(x) * (math.log(2) + F.logsigmoid(-logit))
    return 0.5 * torch.trapezoid(from_p + from_q, x).item()


def game_value(p, q):
    """Value of the minimax game when the discriminator plays its best: −log 4 + 2·JSD(p, q)."""
    return -math.log(4) + 2 * jensen_shannon(p, q)
