"""The published conditional networks and one round of each game, once more, from their descriptions.

Plain functions of tensors in float64: padding, transposed convolutions, normalisation, spectral norms
and Adam are written out, and nothing is imported from gantut.  Gradients are autograd's.
``p`` is a network's state by name; what a pass changes in it (running statistics, renormalised
weights) is changed in the dictionary.  What chance decides is handed in: which values dropout keeps,
in their order, and the targets of the discriminator.
"""

import torch
import torch.nn.functional as F

EPS, MOMENTUM = 1e-3, 0.01  # Keras's defaults, the momentum as torch counts it


def dense(p, name, x):
    return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]


def conv(p, name, x, stride=1, same=True):
    weight, bias = p[f"{name}.weight"], p[f"{name}.bias"]
    side, k = x.shape[-1], weight.shape[-1]
    if same:
        out = (side + stride - 1) // stride
        total = max((out - 1) * stride + k - side, 0)
        grown = x.new_zeros(*x.shape[:2], side + total, side + total)
        at = total // 2
        grown[..., at : at + side, at : at + side] = x
        x = grown
    return F.conv2d(x, weight, bias, stride)


def up(p, name, x, stride, same=True):
    """Every pixel stamps the kernel, the stamps ``stride`` apart; then the rim is cut off."""
    weight, bias = p[f"{name}.weight"], p[f"{name}.bias"]
    side, k = x.shape[-1], weight.shape[-1]
    full = x.new_zeros(len(x), weight.shape[1], *[stride * (side - 1) + k] * 2)
    for i in range(side):
        for j in range(side):
            stamp = torch.einsum("nc,couv->nouv", x[:, :, i, j], weight)
            full[:, :, stride * i : stride * i + k, stride * j : stride * j + k] += stamp
    if same:
        at = (k - stride) // 2
        full = full[:, :, at : at + stride * side, at : at + stride * side]
    return full + bias[:, None, None]


def norm(p, name, x, stored=False):
    """Batch normalisation of ``[N, C]`` or ``[N, C, H, W]``."""
    over = (0,) if x.ndim == 2 else (0, 2, 3)
    shape = (1, -1) if x.ndim == 2 else (1, -1, 1, 1)
    mean, var = p[f"{name}.running_mean"], p[f"{name}.running_var"]
    if not stored:
        n = x.numel() // x.shape[1]
        now_mean, now_var = x.mean(over), x.var(over, unbiased=False)
        with torch.no_grad():
            p[f"{name}.running_mean"] = (1 - MOMENTUM) * mean + MOMENTUM * now_mean
            p[f"{name}.running_var"] = (1 - MOMENTUM) * var + MOMENTUM * now_var * n / (n - 1)
        mean, var = now_mean, now_var
    x = (x - mean.view(shape)) / (var.view(shape) + EPS).sqrt()
    return x * p[f"{name}.weight"].view(shape) + p[f"{name}.bias"].view(shape)


def leaky(x, slope):
    return torch.where(x > 0, x, slope * x)


def dropout(x, kept, rate):
    return x * next(kept) / (1 - rate)


def spatial_dropout(x, kept, rate):
    """Of each image whole maps are kept, or none of their pixels."""
    mask = next(kept)
    assert torch.equal(mask, mask[:, :, :1, :1].expand_as(x))
    return x * mask / (1 - rate)


def renormalise(p):
    """One power iteration for each weight that has a vector u, and the weight divided for good."""
    for name in [key[:-2] for key in p if key.endswith(".u")]:
        weight, u = p[f"{name}.weight"], p[f"{name}.u"]
        with torch.no_grad():
            rows = weight.reshape(len(weight), -1)
            v = rows.T @ u
            v = v / v.norm()
            u = rows @ v
            u = u / u.norm()
            p[f"{name}.weight"] = (weight / (u @ rows @ v)).requires_grad_()
            p[f"{name}.u"] = u


def label_map(p, labels, side, slope=None, normed=True, stored=False):
    x = dense(p, "label_map.dense.0", p["label_map.embedding.weight"][labels])
    if slope is not None:
        x = leaky(x, slope)
    if normed:
        x = norm(p, f"label_map.dense.{1 if slope is None else 2}", x, stored)
    return x.reshape(len(labels), 1, side, side)


def generator(p, z, labels, system, stored=False):
    side, slope, label_slope, layers, last = system["generator"]
    x = norm(p, "project.2", leaky(dense(p, "project.0", z), slope), stored)
    x = x.reshape(len(z), -1, side, side)
    x = torch.cat([x, label_map(p, labels, side, label_slope, True, stored)], 1)
    for i, (stride, same) in enumerate(layers):
        x = norm(p, f"net.{i}.2", leaky(up(p, f"net.{i}.0", x, stride, same), slope), stored)
    return last(conv(p, f"net.{len(layers)}", x))


def halving_discriminator(p, images, labels, kept, system, stored=False):
    """Strided convolutions, flattened, one sum."""
    slope, strides = system["discriminator"]
    x = torch.cat([images, label_map(p, labels, images.shape[-1], slope, True, stored)], 1)
    for i, stride in enumerate(strides):
        x = norm(p, f"net.{i}.2", leaky(conv(p, f"net.{i}.0", x, stride), slope), stored)
    x = dropout(x.flatten(1), kept, 0.4)
    return dense(p, f"net.{len(strides) + 2}", x).squeeze(1)


def pooling_discriminator(p, images, labels, kept, system, stored=False):
    """Two blocks with max pooling, then a head of four dense layers."""
    x = torch.cat([images, label_map(p, labels, 28, normed=False)], 1)
    x = norm(p, "net.0.2", leaky(conv(p, "net.0.0", x, same=False), 0.2), stored)
    x = spatial_dropout(F.max_pool2d(x, 2), kept, 0.5)
    x = conv(p, "net.3", x, same=False)
    x = norm(p, "net.4.2", leaky(conv(p, "net.4.0", x, same=False), 0.2), stored)
    x = spatial_dropout(F.max_pool2d(x, 2), kept, 0.5).flatten(1)
    for i in (8, 10, 12, 14):
        x = norm(p, f"net.{i}.2", leaky(dense(p, f"net.{i}.0", x), 0.2), stored)
        x = dropout(x, kept, 0.5)
    return dense(p, "net.16", x).squeeze(1)


SYSTEMS = {
    "cgan-mnist-published": {
        "generator": (7, 0.0, None, [(2, True), (2, True)], torch.tanh),
        "discriminator": (0.2, [2, 2]),
        "d": halving_discriminator,
        "lr": 1e-3,
        "beta1": 0.9,
    },
    "cgan-cifar10-published": {
        "generator": (4, 0.0, None, [(2, True)] * 3, torch.tanh),
        "discriminator": (0.01, [1, 2, 2, 2]),
        "d": halving_discriminator,
        "lr": 1e-4,
        "beta1": 0.9,
    },
    "sn-cgan-mnist-published": {
        "generator": (3, 0.2, 0.2, [(1, False), (2, False), (2, True)], torch.sigmoid),
        "d": pooling_discriminator,
        "lr": 1e-3,
        "beta1": 0.5,
    },
}


def cross_entropy(logits, target):
    p = 1 / (1 + torch.exp(-logits))
    return -(target * p.log() + (1 - target) * (1 - p).log()).mean()


def adam(p, loss, system, memory):
    """One step, in place; parameters are what asks for gradients.  ``memory`` starts empty."""
    names = [k for k, v in p.items() if v.requires_grad]
    grads = torch.autograd.grad(loss, [p[k] for k in names], retain_graph=True)
    b1, b2 = system["beta1"], 0.999
    t = memory["steps"] = memory.get("steps", 0) + 1
    for name, g in zip(names, grads, strict=True):
        m, v = memory.get(name, (0.0, 0.0))
        m, v = memory[name] = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        step = m / (1 - b1**t) / ((v / (1 - b2**t)).sqrt() + 1e-7)
        p[name] = (p[name] - system["lr"] * step).detach().requires_grad_()


def simultaneous_round(g, d, real, labels, z, kept, system, memories):
    """Both losses against both players as they are; then both move."""
    fake = generator(g, z, labels, system)
    real_logits = system["d"](d, real, labels, kept, system)
    fake_logits = system["d"](d, fake, labels, kept, system)
    d_loss = cross_entropy(real_logits, 1.0) + cross_entropy(fake_logits, 0.0)
    g_loss = cross_entropy(fake_logits, 1.0)
    names = [k for k, v in d.items() if v.requires_grad]
    before = {k: d[k] for k in names}
    adam(d, d_loss, system, memories[1])
    assert all(before[k] is not d[k] for k in names)
    adam(g, g_loss, system, memories[0])
    return d_loss, g_loss


def stacked_round(g, d, real, labels, passes, kept, targets, system, memories):
    """D on real images and settled fakes in one batch; then G on twice as many fresh latents.

    In G's turn D's batch normalisation uses what it has stored; its dropout goes on.
    """
    (z, y), (z2, y2) = passes
    with torch.no_grad():
        fake = generator(g, z, y, system, stored=True)
    renormalise(d)
    logits = system["d"](d, torch.cat([real, fake]), torch.cat([labels, y]), kept, system)
    d_loss = cross_entropy(logits, targets)
    adam(d, d_loss, system, memories[1])
    renormalise(g)
    fake = generator(g, z2, y2, system)
    renormalise(d)
    g_loss = cross_entropy(system["d"](d, fake, y2, kept, system, stored=True), 1.0)
    adam(g, g_loss, system, memories[0])
    return d_loss, g_loss
