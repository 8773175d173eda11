"""How the players take turns: who moves, when, against whom, and what is left behind."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gantut.errors import InputError
from gantut.losses import NonSaturating
from gantut.models.mlp import Discriminator, Generator
from gantut.steps import Game, alternating, simultaneous

SHAPE = (1, 4, 4)


def game(seed: int = 0, dropout: float = 0.0, loss=None, **options) -> Game:
    torch.manual_seed(seed)
    g = Generator(latent_dim=3, hidden=(8,), image_shape=SHAPE)
    d = Discriminator(hidden=(8,), image_shape=SHAPE, dropout=dropout)
    rng = torch.Generator().manual_seed(seed)
    g_adam = torch.optim.Adam(g.parameters(), 0.01)
    d_adam = torch.optim.Adam(d.parameters(), 0.01)
    return Game(g, d, g_adam, d_adam, loss or NonSaturating(), z_rng=rng, **options)


def source(batch: int = 6, labels: bool = False):
    """A ``next_batch`` that counts its calls."""
    rng = torch.Generator().manual_seed(9)

    def next_batch():
        next_batch.calls += 1
        images = torch.rand(batch, *SHAPE, generator=rng) * 2 - 1
        return images, torch.arange(batch) if labels else None

    next_batch.calls = 0
    return next_batch


def weights(network: nn.Module) -> list[torch.Tensor]:
    return [p.detach().clone() for p in network.parameters()]


def same(a, b) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


class Watching(NonSaturating):
    """Looks at the game whenever a loss is asked for."""

    def __init__(self):
        super().__init__()
        self.turns = []

    def discriminator(self, real_logits, fake_logits):
        self.turns.append(("D", len(real_logits), len(fake_logits)))
        return super().discriminator(real_logits, fake_logits)

    def generator(self, fake_logits, real_logits=None):
        g, d = self.game.generator, self.game.discriminator
        self.turns.append(("G", len(fake_logits)))
        self.g_grads = [p.grad for p in g.parameters()]
        self.d_grads = [p.grad.clone() for p in d.parameters() if p.grad is not None]
        self.d_weights = weights(d)
        return super().generator(fake_logits, real_logits)


def watched(**options) -> Game:
    loss = Watching()
    loss.game = game(loss=loss, **options)
    return loss.game


@pytest.mark.parametrize("reuse", [False, True])
@pytest.mark.parametrize("stack", [False, True])
def test_the_discriminator_s_turn_leaves_no_gradient_in_the_generator(reuse, stack):
    g = watched(reuse_fakes=reuse, stack=stack)
    alternating(g, source())
    assert g.loss.turns == [("D", 6, 6), ("G", 6)]
    assert all(grad is None for grad in g.loss.g_grads)
    assert len(g.loss.d_grads) == 4


@pytest.mark.parametrize("play", [alternating, simultaneous])
def test_the_generator_s_turn_leaves_the_discriminator_s_gradients_alone(play):
    g = watched()
    play(g, source())
    if play is alternating:
        assert same(g.loss.d_grads, [p.grad for p in g.discriminator.parameters()])
        # And it is against the discriminator that has just moved, which it does not move.
        assert same(g.loss.d_weights, weights(g.discriminator))
    assert all(p.grad is not None for p in g.generator.parameters())


def test_both_players_move_once_a_round():
    for play in (alternating, simultaneous):
        g = game()
        before = weights(g.generator), weights(g.discriminator)
        play(g, source())
        assert not same(before[0], weights(g.generator))
        assert not same(before[1], weights(g.discriminator))
        steps = {int(s["step"]) for o in g.optimizers.values() for s in o.state.values()}
        assert steps == {1}


def test_each_optimiser_moves_its_own_player_only():
    for frozen in ("generator", "discriminator"):
        g = game()
        for group in g.optimizers[frozen].param_groups:
            group["lr"] = 0.0
        other = "generator" if frozen == "discriminator" else "discriminator"
        before = {name: weights(m) for name, m in g.modules.items()}
        alternating(g, source())
        assert same(before[frozen], weights(g.modules[frozen]))
        assert not same(before[other], weights(g.modules[other]))


@pytest.mark.parametrize("n_dis", [1, 2, 3])
def test_n_dis_updates_of_the_discriminator_with_a_batch_each(n_dis):
    g = watched(n_dis=n_dis)
    batches = source()
    alternating(g, batches)
    assert g.loss.turns == [("D", 6, 6)] * n_dis + [("G", 6)]
    assert batches.calls == n_dis
    assert {int(s["step"]) for s in g.d_optimizer.state.values()} == {n_dis}
    assert {int(s["step"]) for s in g.g_optimizer.state.values()} == {1}


def passes(g: Game, play) -> int:
    """How often the generator is asked for images in a round."""
    calls = []
    g.generator.register_forward_hook(lambda *_: calls.append(1))
    play(g, source())
    return len(calls)


def test_fresh_or_reused_fakes():
    assert passes(game(), alternating) == 2
    assert passes(game(n_dis=2), alternating) == 3
    assert passes(game(reuse_fakes=True), alternating) == 1
    assert passes(game(), simultaneous) == 1


def test_reused_fakes_are_those_that_the_discriminator_saw():
    g = game(reuse_fakes=True)
    seen = []
    g.discriminator.register_forward_pre_hook(lambda m, inputs: seen.append(inputs[0].detach()))
    alternating(g, source())
    _, for_d, for_g = seen
    assert torch.equal(for_d, for_g)
    g, seen = game(), []
    g.discriminator.register_forward_pre_hook(lambda m, inputs: seen.append(inputs[0].detach()))
    alternating(g, source())
    assert not torch.equal(seen[1], seen[2])


@pytest.mark.parametrize("reuse", [False, True])
def test_one_stacked_pass_equals_two_for_a_discriminator_without_batch_statistics(reuse):
    apart, together = game(reuse_fakes=reuse), game(reuse_fakes=reuse, stack=True)
    calls = []
    together.discriminator.register_forward_hook(lambda m, i, out: calls.append(len(out)))
    for g in (apart, together):
        batches = source()
        g.last = [alternating(g, batches) for _ in range(3)]
    assert calls == [12, 6] * 3
    for a, b in zip(apart.last, together.last, strict=True):
        for key in a:
            assert torch.allclose(a[key], b[key], atol=1e-6)
    for name in apart.modules:
        for a, b in zip(weights(apart.modules[name]), weights(together.modules[name]), strict=True):
            assert torch.allclose(a, b, atol=1e-5)


def test_a_stacked_pass_gives_real_and_fake_their_own_logits():
    g = game(stack=True)
    real, _ = source()()
    fake = torch.full((4, *SHAPE), 0.5)
    r, f = g.judge(real, fake, None, None)
    assert torch.allclose(r, g.discriminator(real), atol=1e-6)
    assert torch.allclose(f, g.discriminator(fake), atol=1e-6)


def test_simultaneous_players_answer_the_other_s_state_before_the_round():
    g = game()
    frozen = copy.deepcopy(g.discriminator)
    z_state = g.z_rng.get_state()
    batches = source()
    before = weights(g.generator)
    seen = simultaneous(g, batches)
    # The same step of the generator, against a copy of D that did not move.
    other = game()
    other.z_rng.set_state(z_state)
    fake = other.generator(other.generator.sample_z(6, other.z_rng))
    logits = frozen(fake)
    assert torch.equal(seen["fake_logits"], logits)
    loss = NonSaturating().generator(logits)
    assert seen["g_loss"] == loss
    other.g_optimizer.zero_grad()
    loss.backward()
    other.g_optimizer.step()
    assert same(weights(other.generator), weights(g.generator))
    assert not same(before, weights(g.generator))


def test_a_round_says_what_it_saw_without_its_graph():
    for play in (alternating, simultaneous):
        g = game()
        real, _ = source()()
        with torch.no_grad():
            before = g.discriminator(real)
        seen = play(g, source())
        assert set(seen) == {"d_loss", "g_loss", "real_logits", "fake_logits"}
        assert not any(value.requires_grad for value in seen.values())
        assert torch.equal(seen["real_logits"], before)
        loss = NonSaturating().discriminator(seen["real_logits"], seen["fake_logits"])
        assert seen["d_loss"] == loss


def test_scalars_are_probabilities_and_thresholded_accuracies():
    rounds = [
        {
            "d_loss": torch.tensor(1.5),
            "g_loss": torch.tensor(0.5),
            "real_logits": torch.tensor([2.0, -1.0, 3.0, 4.0]),
            "fake_logits": torch.tensor([-2.0, 1.0]),
        },
        {
            "d_loss": torch.tensor(2.5),
            "g_loss": torch.tensor(1.5),
            "real_logits": torch.tensor([2.0, -1.0]),
            "fake_logits": torch.tensor([-2.0, -1.0]),
        },
    ]
    scalars = Game.scalars(rounds)
    assert list(scalars) == ["d_loss", "g_loss", "d_real", "d_fake", "acc_real", "acc_fake"]
    assert scalars["d_loss"].tolist() == [1.5, 2.5]
    assert scalars["g_loss"].tolist() == [0.5, 1.5]
    s = lambda *logits: torch.sigmoid(torch.tensor(logits)).mean().item()  # noqa: E731
    assert scalars["d_real"].tolist() == pytest.approx([s(2.0, -1.0, 3.0, 4.0), s(2.0, -1.0)])
    assert scalars["d_fake"].tolist() == pytest.approx([s(-2.0, 1.0), s(-2.0, -1.0)])
    assert scalars["acc_real"].tolist() == [0.75, 0.5]
    assert scalars["acc_fake"].tolist() == [0.5, 1.0]


def test_impossible_games_are_refused():
    with pytest.raises(InputError, match="n_dis must be at least 1, not 0"):
        game(n_dis=0)
    with pytest.raises(InputError, match="Fakes can be reused only"):
        game(n_dis=2, reuse_fakes=True)
    turns = ({"n_dis": 2}, {"g_batch": 8}, {"frozen_norm": True}, {"settled_fakes": True})
    for setting in turns:
        with pytest.raises(InputError, match="in simultaneous ones nobody has a turn"):
            simultaneous(game(**setting), lambda: None)


# --- labels ------------------------------------------------------------------------------------


class Conditional(nn.Module):
    """Writes down in which mode and with which labels it was called."""

    def __init__(self, name: str, inputs: int, outputs: int):
        super().__init__()
        self.name, self.num_classes, self.calls = name, 10, []
        self.net = nn.Sequential(nn.Linear(inputs, 4), nn.BatchNorm1d(4), nn.Linear(4, outputs))

    def sample_z(self, n, generator=None, device=None):
        return torch.randn(n, 3, generator=generator)

    def forward(self, x, labels):
        norm = self.net[1]
        self.calls.append((len(x), labels.tolist(), self.training, norm.training))
        out = self.net(x.flatten(1)) + labels[:, None]
        return out.view(-1, *SHAPE) if self.name == "G" else out.squeeze(1)


def conditional(num_classes: int | None = None, **options) -> Game:
    torch.manual_seed(0)
    g, d = Conditional("G", 3, 16), Conditional("D", 16, 1)
    if num_classes is not None:
        g.num_classes = d.num_classes = num_classes
    adam = [torch.optim.Adam(net.parameters(), 0.01) for net in (g, d)]
    return Game(g, d, *adam, NonSaturating(), z_rng=torch.Generator().manual_seed(5), **options)


@pytest.mark.parametrize(
    ("step", "stack"), [(alternating, False), (alternating, True), (simultaneous, False)]
)
def test_both_players_get_the_labels_of_the_real_batch(step, stack):
    one = conditional(stack=stack)
    step(one, source(labels=True))
    labels = list(range(6))
    assert all(call[1] == labels for call in one.generator.calls)
    shown = [call[1] for call in one.discriminator.calls]
    assert all(seen in (labels, labels + labels) for seen in shown)
    assert (labels + labels in shown) == stack


@pytest.mark.parametrize("stack", [True, False])
@pytest.mark.parametrize("step", [alternating, simultaneous])
def test_fakes_of_every_class_as_likely(step, stack):
    one = conditional(fake_labels="uniform", stack=stack)
    drawn = []
    for _ in range(200):
        one.generator.calls.clear(), one.discriminator.calls.clear()
        step(one, source(labels=True))
        of_fakes = one.generator.calls[0][1]
        shown = [label for call in one.discriminator.calls[: 2 - stack] for label in call[1]]
        assert shown == [*range(6), *of_fakes]
        if step is alternating:  # G's turn has labels of its own
            assert one.generator.calls[1][1] == one.discriminator.calls[-1][1]
            drawn += one.generator.calls[1][1]
        drawn += of_fakes
    counts = torch.bincount(torch.tensor(drawn), minlength=10)
    assert len(counts) == 10
    assert (counts - len(drawn) / 10).abs().max() < 5 * (len(drawn) * 0.09) ** 0.5


def test_a_batch_of_its_own_in_the_generator_s_turn():
    one = conditional(fake_labels="uniform", g_batch=11)
    alternating(one, source(labels=True))
    assert [call[0] for call in one.generator.calls] == [6, 11]
    assert [call[0] for call in one.discriminator.calls] == [6, 6, 11]


def test_stored_statistics_where_they_are_asked_for():
    one = conditional(frozen_norm=True, settled_fakes=True)
    before = one.discriminator.net[1].running_mean.clone()
    alternating(one, source(labels=True))
    # In D's turn G is in evaluation mode; in its own it trains, and D's statistics rest.
    assert [call[2:] for call in one.generator.calls] == [(False, False), (True, True)]
    turns = [call[2:] for call in one.discriminator.calls]
    assert turns == [(True, True), (True, True), (True, False)]
    assert one.generator.training
    assert one.discriminator.net[1].training
    assert not torch.equal(one.discriminator.net[1].running_mean, before)
    plain = conditional()
    alternating(plain, source(labels=True))
    assert all(call[2:] == (True, True) for call in plain.generator.calls)
    assert all(call[2:] == (True, True) for call in plain.discriminator.calls)


@pytest.mark.parametrize("step", [alternating, simultaneous])
def test_real_images_under_wrong_labels_count_as_fakes(step):
    one, plain = conditional(mismatched=0.5), conditional()
    shifts = []
    for _ in range(300):
        one.discriminator.calls.clear()
        step(one, source(labels=True))
        # Real images, fakes, and the same real images again, no label its own.
        _, fake, wrong = one.discriminator.calls[:3]
        assert fake[1] == list(range(6))
        shifts += [(w - y) % 10 for y, w in zip(range(6), wrong[1])]
    counts = torch.bincount(torch.tensor(shifts), minlength=10)
    assert counts[0] == 0
    assert (counts[1:] - len(shifts) / 9).abs().max() < 5 * (len(shifts) / 9) ** 0.5

    one = conditional(mismatched=0.2)
    real, labels = source(labels=True)()
    real_logits, fake_logits = torch.full((6,), 1.5), torch.full((6,), -0.5)
    found = one.discriminator_loss(real, labels, real_logits, fake_logits)
    shown = torch.tensor(one.discriminator.calls[-1][1])
    assert one.discriminator.calls[-1][0] == 6
    wrong = one.discriminator(real, shown)
    expected = F.softplus(-real_logits).mean()
    expected += 0.8 * F.softplus(fake_logits).mean() + 0.2 * F.softplus(wrong).mean()
    torch.testing.assert_close(found, expected)
    # Without it, D is not asked again, and chance is not drawn upon.
    state = plain.z_rng.get_state()
    found = plain.discriminator_loss(real, labels, real_logits, fake_logits)
    torch.testing.assert_close(
        found, F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()
    )
    assert not plain.discriminator.calls
    assert torch.equal(plain.z_rng.get_state(), state)


def test_a_game_of_labels_that_cannot_be_played():
    with pytest.raises(InputError, match=r"mismatched must lie in \[0, 1\), not 1"):
        conditional(mismatched=1)
    with pytest.raises(InputError, match="in passes of their own"):
        conditional(mismatched=0.5, stack=True)
    with pytest.raises(InputError, match="need players that know about labels"):
        game(mismatched=0.5)
    with pytest.raises(InputError, match="Where there is one class, no label is wrong"):
        conditional(mismatched=0.5, num_classes=1)
    with pytest.raises(InputError, match="fake_labels must be real or uniform, not 'random'"):
        conditional(fake_labels="random")
    with pytest.raises(InputError, match=r"drawn by chance .* need players that know"):
        game(fake_labels="uniform")
    with pytest.raises(InputError, match="needs fresh fakes, with labels drawn by chance"):
        conditional(g_batch=8)
    with pytest.raises(InputError, match="needs fresh fakes"):
        conditional(g_batch=8, fake_labels="uniform", reuse_fakes=True)
    one = conditional()
    with pytest.raises(InputError, match="Either both players know about labels"):
        Game(one.generator, game().discriminator, None, None, NonSaturating())
