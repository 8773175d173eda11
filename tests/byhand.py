"""The players and their updates once more, in plain NumPy and float64, from the papers' formulas.

Nothing in here uses gantut or torch's automatic differentiation: layers, losses, gradients and Adam
are written out, so that a test which compares the two compares two independent derivations.
"""

from dataclasses import dataclass, field

import numpy as np


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def softplus(a):
    """log(1 + e^a), from two ends so that it never overflows."""
    return np.maximum(a, 0) + np.log1p(np.exp(-np.abs(a)))


def bce(logits, targets):
    """Mean cross-entropy of sigmoid(logits) against targets, and its slope in each logit.

    -t log s(a) - (1 - t) log(1 - s(a)) = t softplus(-a) + (1 - t) softplus(a); slope s(a) - t.
    """
    values = targets * softplus(-logits) + (1 - targets) * softplus(logits)
    return values.mean(), (sigmoid(logits) - targets) / len(logits)


@dataclass
class Net:
    """Dense layers with optional batch normalisation, leaky ReLU and dropout between them.

    ``parameters`` are in torch's order: weight, bias, then scale and shift where there is a batch
    normalisation, layer after layer.
    """

    parameters: list
    slope: float
    tanh: bool
    batchnorm: bool = False
    tape: list = field(default_factory=list)

    def layers(self):
        per_hidden = 4 if self.batchnorm else 2
        hidden = (len(self.parameters) - 2) // per_hidden
        places = [list(range(i * per_hidden, (i + 1) * per_hidden)) for i in range(hidden)]
        return places, list(range(hidden * per_hidden, len(self.parameters)))

    def forward(self, x, masks):
        """Output, and the tape that ``backward`` needs; ``masks`` hold 0 or 1/(1-p) each."""
        hidden, last = self.layers()
        tape = []
        for i, places in enumerate(hidden):
            p = [self.parameters[k] for k in places]
            a = x @ p[0].T + p[1]
            entry = {"x": x}
            if self.batchnorm:
                centred = a - a.mean(0)
                deviation = np.sqrt(a.var(0) + 1e-5)
                entry |= {"normal": centred / deviation, "deviation": deviation}
                a = p[2] * entry["normal"] + p[3]
            entry["slopes"] = np.where(a > 0, 1.0, self.slope)
            mask = masks[i] if masks else np.ones_like(a)
            entry["mask"] = mask
            tape.append(entry)
            x = a * entry["slopes"] * mask
        w, b = (self.parameters[k] for k in last)
        y = x @ w.T + b
        if self.tanh:
            y = np.tanh(y)
        tape.append({"x": x, "y": y})
        return y, tape

    def backward(self, slope_of_output, tape):
        """Slopes in the input and in each parameter."""
        hidden, last = self.layers()
        grads = [None] * len(self.parameters)
        d = slope_of_output * (1 - tape[-1]["y"] ** 2) if self.tanh else slope_of_output
        grads[last[0]], grads[last[1]] = d.T @ tape[-1]["x"], d.sum(0)
        d = d @ self.parameters[last[0]]
        for places, entry in zip(reversed(hidden), reversed(tape[:-1]), strict=True):
            d = d * entry["mask"] * entry["slopes"]
            if self.batchnorm:
                normal, n = entry["normal"], len(d)
                grads[places[2]], grads[places[3]] = (d * normal).sum(0), d.sum(0)
                d = d * self.parameters[places[2]]
                d = (d - d.sum(0) / n - normal * (d * normal).sum(0) / n) / entry["deviation"]
            grads[places[0]], grads[places[1]] = d.T @ entry["x"], d.sum(0)
            d = d @ self.parameters[places[0]]
        return d, grads


def adam_first_step(parameters, grads, lr, beta1, beta2, eps=1e-8):
    """Kingma & Ba 2015, algorithm 1, at t = 1."""
    moved = []
    for p, g in zip(parameters, grads, strict=True):
        m, v = (1 - beta1) * g, (1 - beta2) * g**2
        moved.append(p - lr * (m / (1 - beta1)) / (np.sqrt(v / (1 - beta2)) + eps))
    return moved


@dataclass
class Facts:
    """How a system plays, as its description says."""

    lr: float
    slope: float
    beta1: float = 0.9
    beta2: float = 0.999
    real_label: float = 1.0
    weight: float = 1.0  # of D's loss: 1 for real + fake, 1/2 for their mean
    reuse_fakes: bool = False
    simultaneous: bool = False
    batchnorm: bool = False
    minimax: bool = False
    dropout: float = 0.0


def one_round(facts, g_parameters, d_parameters, real, zs, g_masks, d_masks):
    """One update of both players.

    Args:
        real: ``[B, pixels]``; zs: the latent vectors of each pass through G, in order.
        g_masks, d_masks: the dropout masks of each pass through G and through D, in order.

    Returns:
        d_loss, g_loss, slopes for D and for G, and both players' new parameters.
    """
    g = Net(g_parameters, facts.slope, tanh=True, batchnorm=facts.batchnorm)
    d = Net(d_parameters, facts.slope, tanh=False)
    g_masks, d_masks = iter(g_masks), iter(d_masks)

    fake, fake_tape = g.forward(zs[0], next(g_masks))
    real_logits, real_d_tape = d.forward(real, next(d_masks))
    fake_logits, fake_d_tape = d.forward(fake, next(d_masks))
    on_real, slope_real = bce(real_logits, facts.real_label)
    on_fake, slope_fake = bce(fake_logits, 0.0)
    d_loss = facts.weight * (on_real + on_fake)
    _, from_real = d.backward(facts.weight * slope_real, real_d_tape)
    _, from_fake = d.backward(facts.weight * slope_fake, fake_d_tape)
    d_slopes = [a + b for a, b in zip(from_real, from_fake, strict=True)]
    adam = {"lr": facts.lr, "beta1": facts.beta1, "beta2": facts.beta2}
    new_d = adam_first_step(d_parameters, d_slopes, **adam)

    if not facts.simultaneous:
        d = Net(new_d, facts.slope, tanh=False)
        if not facts.reuse_fakes:
            fake, fake_tape = g.forward(zs[1], next(g_masks))
        fake_logits, fake_d_tape = d.forward(fake, next(d_masks))
    if facts.minimax:
        # log(1 - s(a)) = -softplus(a)
        g_loss = -softplus(fake_logits).mean()
        slope = -sigmoid(fake_logits) / len(fake_logits)
    else:
        g_loss, slope = bce(fake_logits, 1.0)
    into_images, _ = d.backward(slope, fake_d_tape)
    _, g_slopes = g.backward(into_images, fake_tape)
    new_g = adam_first_step(g_parameters, g_slopes, **adam)
    return d_loss, g_loss, d_slopes, g_slopes, new_d, new_g
