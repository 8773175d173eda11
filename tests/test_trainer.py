"""The loop: what it counts, what it keeps, and that a stopped run goes on as if it had not been."""

import copy
import math

import numpy as np
import pytest
import torch

from gantut import build, recipes, runs
from gantut.callbacks import Callback
from gantut.errors import CheckpointError, DataError, InputError, TrainingError
from gantut.sampling import sample
from gantut.trainer import Trainer
from tests.small import images, recipe, same, trainer, weights

EVERYTHING = [
    "data.shuffle=true",
    "generator.batchnorm=true",
    "loss.real_label=1",
    "loss.smoothing=0.1",
    "step.n_dis=2",
    "train.ema_half_life=200",
    "train.epochs=20",
    "g_optimizer.schedule={kind: cosine}",
    "d_optimizer.schedule={kind: step, factor: 0.5, every: 1}",
]


def everything(one: Trainer) -> dict:
    """All that a run is, but for the time that it took."""
    state = one.state_dict()
    state.pop("seconds")
    history = state["history"]
    for rows in (history["rows"], history["open"]):
        for row in rows:
            row[3] = 0.0
    return state


def assert_equal(a, b, where="state") -> None:
    """Bit for bit."""
    assert type(a) is type(b), where
    if isinstance(a, dict):
        assert list(a) == list(b), where
        for key in a:
            assert_equal(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_equal(x, y, f"{where}[{i}]")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    else:
        assert a == b, where


# --- stop and resume -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        EVERYTHING,
        [],
        ["step.order=simultaneous", "data.shuffle=true"],
        ["step.reuse_fakes=true", "step.stack=true", "train.ema_half_life=100"],
    ],
    ids=["everything", "published", "simultaneous", "reused"],
)
@pytest.mark.parametrize("stop", [5, 8])
def test_a_run_resumed_from_a_file_equals_the_one_never_stopped(settings, stop, tmp_path):
    # 70 images in batches of 16: five batches a pass, the last one smaller; 5 and 8 lie mid-pass
    # or between passes, for one batch a round and for two.
    whole = trainer(*settings, n=70).fit(iterations=20)
    first = trainer(*settings, n=70).fit(iterations=stop)
    path = first.save(tmp_path / "checkpoint.pt")
    torch.manual_seed(999)
    second = trainer(*settings, n=70).load(path)
    assert second.iteration == stop
    second.fit(iterations=20)
    assert_equal(everything(whole), everything(second))
    assert torch.equal(whole.sample(5), second.sample(5))


def test_a_state_taken_in_the_middle_of_a_fit_goes_on_the_same_way():
    class Keep(Callback):
        def epoch(self, trainer):
            if trainer.epoch == 1:
                self.state = copy.deepcopy(trainer.state_dict())

    whole = trainer(*EVERYTHING)
    keep = Keep()
    whole.callbacks.append(keep)
    whole.fit(iterations=9)
    other = trainer(*EVERYTHING)
    other.load_state_dict(keep.state)
    other.fit(iterations=9)
    assert_equal(everything(whole), everything(other))


def test_the_classifier_resumes_as_exactly(tmp_path):
    chosen = recipes.load("classifier-mnist", ["classifier.width=2", "train.batch_size=16"])
    make = lambda: build.trainer(chosen, device="cpu", images=images(40, labels=True))  # noqa: E731
    whole = make().fit(iterations=7)
    path = make().fit(iterations=4).save(tmp_path / "checkpoint.pt")
    assert_equal(everything(whole), everything(make().load(path).fit(iterations=7)))


def test_fit_counts_what_was_done_before():
    one = trainer().fit(epochs=1)
    assert (one.iteration, one.epoch, one.images_seen) == (4, 1, 64)
    one.fit(epochs=1)
    assert one.iteration == 4
    one.fit(epochs=2.5)
    assert (one.iteration, one.epoch, one.exact_epoch) == (10, 2, 2.5)
    with pytest.raises(InputError, match="either epochs or iterations"):
        one.fit()
    with pytest.raises(InputError, match="either epochs or iterations"):
        one.fit(epochs=1, iterations=1)


def test_the_seconds_go_on_where_the_run_was_left(tmp_path):
    one = trainer().fit(iterations=2)
    one.seconds = 1000.0
    one.fit(iterations=4)
    assert 1000 < one.seconds < 1500
    other = trainer().load(one.save(tmp_path / "checkpoint.pt")).fit(iterations=6)
    seconds = other.history.as_dict()["seconds"]
    assert seconds[1] < 500
    assert 1000 < seconds[2] == seconds[3] == one.seconds < seconds[4] < 1500


def test_networks_train_in_training_mode_whatever_mode_they_were_left_in():
    one, other = trainer("generator.batchnorm=true"), trainer("generator.batchnorm=true")
    for network in one.game.modules.values():
        network.eval()
    one.fit(iterations=2)
    assert all(network.training for network in one.game.modules.values())
    assert_equal(everything(one), everything(other.fit(iterations=2)))


@pytest.mark.parametrize(("seconds", "kept"), [(0, [4, 8]), (1000, [])])
def test_checkpoints_are_written_on_the_way_and_not_too_often(seconds, kept, tmp_path):
    found = []

    class Look(Callback):
        def epoch(self, trainer):
            # The checkpoint of an epoch is written after its callbacks: this sees the one before.
            if (tmp_path / "checkpoint.pt").is_file():
                found.append(torch.load(tmp_path / "checkpoint.pt")["iteration"])

    one = trainer(f"log.checkpoint_seconds={seconds}", run_dir=tmp_path)
    one.callbacks = [Look()]
    one.fit(epochs=3)
    assert found == kept
    assert torch.load(tmp_path / "checkpoint.pt")["iteration"] == 12


def test_slow_rounds_are_read_by_the_clock(monkeypatch, tmp_path):
    """A hundred rounds of a large network on a processor take a quarter of an hour: that is too
    long without a sign of life, a checkpoint or a look at the deadline."""
    now = [0.0]
    monkeypatch.setattr("gantut.trainer.time.monotonic", lambda: now[0])
    read = []

    class Look(Callback):
        def read(self, trainer):
            saved = tmp_path / "checkpoint.pt"
            before = torch.load(saved)["iteration"] if saved.is_file() else None
            read.append((trainer.iteration, before))

    one = trainer("log.checkpoint_seconds=20", run_dir=tmp_path)
    play = one.step

    def slow(game, next_batch):
        now[0] += 4.0
        return play(game, next_batch)

    one.step, one.callbacks = slow, [Look()]
    one.fit(iterations=11)
    # Epochs are over after rounds 4 and 8.  In between, three rounds pass ten seconds; the first
    # reading after twenty is followed by a checkpoint.
    assert read == [(3, None), (4, None), (7, None), (8, 7), (11, 7)]


def test_a_request_to_stop_that_comes_before_the_first_iteration_counts():
    one = trainer()
    one.stop_requested = True
    one.fit(iterations=5)
    assert one.iteration == 0
    one.fit(iterations=5)
    assert one.iteration == 5


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path):
    path = trainer().fit(iterations=2).save(tmp_path / "checkpoint.pt")
    with pytest.raises(
        CheckpointError, match=r"checkpoint\.pt cannot .* of another recipe.*--fresh"
    ):
        trainer("g_optimizer.lr=1e-3").load(path)
    with pytest.raises(CheckpointError, match="of another recipe"):
        trainer("seed=1").load(path)
    # What changes no number is no other recipe: more epochs, another name for it, more pictures.
    trainer("train.epochs=200", "log.samples=3", "name=mine").load(path)


def test_a_longer_budget_is_another_recipe_where_the_learning_rate_falls_to_its_end(tmp_path):
    falling = "g_optimizer.schedule={kind: linear}"
    path = trainer(falling).fit(iterations=2).save(tmp_path / "checkpoint.pt")
    with pytest.raises(CheckpointError, match="of another recipe"):
        trainer(falling, "train.epochs=200").load(path)


@pytest.mark.parametrize(
    "part", ["optimizers", "modules", "batches", "history", "random", "game_random", "iteration"]
)
def test_a_checkpoint_that_lacks_a_part_is_noticed(part, tmp_path):
    one = trainer().fit(iterations=2)
    state = one.state_dict()
    del state[part]
    torch.save(state, tmp_path / "checkpoint.pt")
    with pytest.raises(CheckpointError, match=f"it lacks '{part}'; remove it to start anew"):
        trainer().load(tmp_path / "checkpoint.pt")


def test_a_checkpoint_without_one_optimiser_is_noticed(tmp_path):
    one = trainer().fit(iterations=2)
    state = one.state_dict()
    del state["optimizers"]["generator"]
    torch.save(state, tmp_path / "checkpoint.pt")
    with pytest.raises(CheckpointError, match="it lacks 'generator'"):
        trainer().load(tmp_path / "checkpoint.pt")


def test_a_checkpoint_of_other_networks_is_noticed(tmp_path):
    one = trainer().fit(iterations=2)
    other = trainer("generator.hidden=[9]")
    other.fingerprint = one.fingerprint
    with pytest.raises(CheckpointError, match="it is of other networks or optimisers"):
        other.load(one.save(tmp_path / "checkpoint.pt"))


def test_a_run_goes_on_on_another_kind_of_device():
    """The state of a GPU's random numbers has another size; here z's and the targets' do."""
    one = trainer("loss.real_label=1", "loss.smoothing=0.1").fit(iterations=2)
    state = one.state_dict()
    gone_on = []
    for number in (1, 1, 2):
        moved = {k: torch.full((16,), number, dtype=torch.uint8) for k in ("z", "targets")}
        other = trainer("loss.real_label=1", "loss.smoothing=0.1")
        other.load_state_dict(copy.deepcopy(state | {"game_random": moved}))
        gone_on.append(weights(other.fit(iterations=4).generator))
        assert other.iteration == 4
    one, again, another = gone_on
    assert same(one, again)
    assert not same(one, another)


@pytest.mark.parametrize("damage", ["cut", "bit", "empty", "text", "other"])
def test_a_damaged_checkpoint_is_never_used(damage, tmp_path):
    path = trainer().fit(iterations=2).save(tmp_path / "checkpoint.pt")
    raw = bytearray(path.read_bytes())
    if damage == "cut":
        raw = raw[: len(raw) // 2]
    elif damage == "bit":
        # In the bytes of a weight, where nothing but a checksum can see it.
        raw[len(raw) // 3] ^= 0x10
    elif damage == "empty":
        raw = b""
    elif damage == "text":
        raw = b"not a checkpoint\n"
    path.write_bytes(raw)
    if damage == "other":
        torch.save([1, 2], path)
    with pytest.raises(
        CheckpointError, match=r"checkpoint\.pt is damaged; remove it to start anew\."
    ):
        trainer().load(path)


def test_a_checkpoint_runs_no_code_of_its_own(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("run",))

    path = tmp_path / "checkpoint.pt"
    torch.save({"fingerprint": Evil()}, path)
    with pytest.raises(CheckpointError, match="is damaged"):
        trainer().load(path)


def test_no_checkpoint_and_nowhere_to_put_one(tmp_path):
    with pytest.raises(CheckpointError, match=r"There is no checkpoint .*nothing\.pt\."):
        trainer().load(tmp_path / "nothing.pt")
    with pytest.raises(InputError, match="Give a path: this trainer has no run folder"):
        trainer().save()


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    one = trainer(run_dir=tmp_path).fit(iterations=2)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    # What is to be written now differs from what is there.
    one.callbacks, one.run_dir = [], None
    one.fit(iterations=3)
    one.run_dir = tmp_path
    for failure in (OSError(28, "No space left on device"), KeyboardInterrupt()):

        def refuse(_, failure=failure):
            raise failure

        with monkeypatch.context() as patch:
            patch.setattr("os.fsync", refuse)
            expected = CheckpointError if isinstance(failure, OSError) else KeyboardInterrupt
            with pytest.raises(expected) as caught:
                one.save()
        if expected is CheckpointError:
            assert str(caught.value) == (
                f"Cannot write {tmp_path / 'checkpoint.pt'} (No space left on device). The one from "
                "before is whole: make room and run the same command again."
            )
        assert (tmp_path / "checkpoint.pt").read_bytes() == before
        assert not list(tmp_path.glob("*.part"))


# --- seeds and other people's randomness --------------------------------------------------------


def test_the_same_seed_gives_the_same_run_and_another_seed_another():
    first, again, other = trainer(), trainer(), trainer("seed=1")
    assert not same(weights(first.game.generator), weights(other.game.generator))
    for one in (first, again, other):
        one.fit(iterations=3)
    assert_equal(everything(first), everything(again))
    assert first.latest != other.latest
    assert not torch.equal(first.sample(4), other.sample(4))


def test_every_random_part_of_a_run_follows_its_seed():
    """The seed moves the first weights, the order of the images, z, the targets and the dropout."""
    made = [trainer(*EVERYTHING, "seed=7"), trainer(*EVERYTHING, "seed=8")]
    parts = {}
    for one in made:
        game = one.game
        draws = {
            "weights": weights(game.discriminator)[0],
            "z": game.generator.sample_z(2, game.z_rng),
            "order": one.batches.next()[0],
            "targets": game.loss.targets(torch.zeros(4), torch.zeros(4))[0],
            "torch": one._random["cpu"],
        }
        for name, value in draws.items():
            parts.setdefault(name, []).append(value)
    for name, (a, b) in parts.items():
        assert not torch.equal(a, b), name


def test_the_parts_of_a_run_draw_unrelated_numbers():
    seeds = build.seeds_of(0)
    assert len(set(seeds.values())) == len(seeds) == 4
    assert set(seeds.values()).isdisjoint(build.seeds_of(1).values())
    assert seeds == build.seeds_of(0)


@pytest.mark.parametrize("moment", ["build", "fit", "sample", "save"])
def test_the_caller_s_random_numbers_are_left_alone(moment, tmp_path):
    if moment != "build":
        one = trainer(*EVERYTHING)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    if moment == "build":
        trainer(*EVERYTHING)
    elif moment == "fit":
        one.fit(iterations=3)
    elif moment == "sample":
        one.sample(3)
    else:
        one.save(tmp_path / "c.pt")
    assert torch.equal(torch.get_rng_state(), before)


def test_the_caller_s_random_numbers_do_not_change_the_run():
    runs_ = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        runs_.append(trainer(*EVERYTHING).fit(iterations=3))
    assert_equal(everything(runs_[0]), everything(runs_[1]))


def test_threads_are_the_run_s_own_and_restored():
    seen = []

    class Look(Callback):
        def epoch(self, trainer):
            seen.append(torch.get_num_threads())

    before = torch.get_num_threads()
    one = trainer("train.threads=3")
    one.callbacks.append(Look())
    one.fit(epochs=1)
    assert seen == [3]
    assert torch.get_num_threads() == before


def test_watching_a_run_does_not_change_it(tmp_path):
    plain = trainer(*EVERYTHING).fit(iterations=8)
    watched = trainer(*EVERYTHING, "log.tensorboard=true", "log.samples=4", run_dir=tmp_path)
    watched.fit(iterations=8)
    assert_equal(everything(plain), everything(watched))


# --- the average ------------------------------------------------------------------------------


@pytest.mark.parametrize("n_dis", [1, 2])
def test_the_averaged_generator_follows_its_formula(n_dis):
    """Half of an old weight is left once so many images were seen, in however many turns of D."""
    chosen = ["generator.batchnorm=true", "train.ema_half_life=160", f"step.n_dis={n_dis}"]
    one = trainer(*chosen)
    expected = [p.detach().double().clone() for p in one.game.generator.parameters()]
    decay = 0.5 ** (16 * n_dis / 160)
    assert one.ema_decay == pytest.approx(decay)
    for i in range(1, 41):
        one.fit(iterations=i)
        d = min(decay, (1 + i) / (10 + i))
        now = one.game.generator.parameters()
        expected = [
            d * e + (1 - d) * p.detach().double() for e, p in zip(expected, now, strict=True)
        ]
    for e, p in zip(expected, one.ema.parameters(), strict=True):
        assert torch.allclose(e.float(), p, atol=1e-6)
        assert not p.requires_grad
    for mine, theirs in zip(one.ema.buffers(), one.game.generator.buffers(), strict=True):
        assert torch.equal(mine, theirs)


def test_samples_come_from_the_average_where_there_is_one():
    one = trainer("train.ema_half_life=1000").fit(iterations=4)
    assert one.generator is one.ema
    assert torch.equal(one.sample(3), images_of(one.ema, one))
    assert not torch.equal(one.sample(3), images_of(one.game.generator, one))
    plain = trainer().fit(iterations=4)
    assert plain.ema is None
    assert torch.equal(plain.sample(3), images_of(plain.game.generator, plain))


def images_of(network, one) -> torch.Tensor:
    """Three images of a network from the run's fixed z, without dropout."""
    z = network.sample_z(3, torch.Generator().manual_seed(one.seed))
    with torch.no_grad():
        was = network.training
        made = network.eval()(z)
        network.train(was)
    return made.mul(0.5).add(0.5).clamp(0, 1).mul(2).sub(1)


def test_the_average_does_not_change_the_training():
    plain, averaged = trainer(), trainer("train.ema_half_life=100")
    for one in (plain, averaged):
        one.fit(iterations=5)
    assert same(weights(plain.game.generator), weights(averaged.game.generator))
    assert plain.latest == averaged.latest


# --- samples -----------------------------------------------------------------------------------


def test_samples_are_fixed_without_dropout_and_leave_training_mode_as_it_was():
    one = trainer().fit(iterations=2)
    first, again = one.sample(6), one.sample(6)
    assert torch.equal(first, again)
    assert one.game.generator.training
    # The first few of a seed are the same, however many are asked for.
    assert torch.allclose(one.sample(3), first[:3], atol=1e-6)
    assert not torch.equal(one.sample(6, seed=123), first)
    assert first.min() >= -1
    assert first.max() <= 1


def test_samples_are_given_in_the_common_range_whatever_the_run_s_own():
    one = trainer(name="mlp-minimal-mnist-misnormalised")
    z = one.generator.sample_z(16, torch.Generator().manual_seed(one.seed))[:5]
    with torch.no_grad():
        made = one.generator(z)
    expected = ((made * 0.3081 + 0.1307).clamp(0, 1) - 0.5) / 0.5
    assert torch.allclose(one.sample(5), expected, atol=1e-6)


def test_real_images_are_in_the_common_range():
    one = trainer(name="mlp-minimal-mnist-misnormalised")
    expected = one.batches.image_set.images[:4].float() / 127.5 - 1
    assert torch.allclose(one.real_images(4), expected, atol=1e-6)


def test_labels_stay_with_their_samples_over_all_passes():
    class Conditional(torch.nn.Module):
        num_classes = 10

        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(()))

        def sample_z(self, n, generator=None, device=None):
            return torch.zeros(n)

        def forward(self, z, labels):
            return ((z + labels) / 10).reshape(-1, 1, 1, 1)

    labels = torch.tensor([3, 1, 4, 1, 5, 9, 2])
    drawn = sample(Conditional(), 7, labels, batch_size=3)
    assert torch.allclose(drawn.flatten(), labels / 10, atol=1e-6)


def test_no_samples_is_an_error():
    with pytest.raises(InputError, match="The number of samples must be at least 1, not 0"):
        trainer().sample(0)


# --- what it counts ----------------------------------------------------------------------------


@pytest.mark.parametrize(("n_dis", "n"), [(1, 64), (1, 70), (2, 64), (3, 70)])
def test_each_row_says_which_iteration_epoch_and_image_it_is_at(n_dis, n):
    one = trainer(f"step.n_dis={n_dis}", n=n)
    counted, per_batch = [], []
    draw = one.batches.next

    def drawing():
        batch = draw()
        per_batch.append(len(batch[0]))
        return batch

    one.batches.next = drawing
    step = one.step

    def stepping(game, next_batch):
        seen = step(game, next_batch)
        counted.append(sum(per_batch))
        return seen

    one.step = stepping
    one.fit(iterations=23)
    history = one.history.as_dict()
    per_epoch = math.ceil(math.ceil(n / 16) / n_dis)
    assert one.iterations_per_epoch == per_epoch
    assert history["iteration"].tolist() == list(range(1, 24))
    assert np.allclose(history["epoch"], np.arange(1, 24) / per_epoch)
    assert history["images"].tolist() == counted
    assert (np.diff(history["seconds"]) >= 0).all()
    assert history["seconds"][0] > 0
    assert one.images_seen == counted[-1]


def test_rows_hold_the_scalars_of_their_own_iteration():
    one = trainer()
    rounds = []
    step = one.step

    def stepping(game, next_batch):
        rounds.append(step(game, next_batch))
        return rounds[-1]

    one.step = stepping
    one.fit(iterations=230)
    history = one.history.as_dict()
    for key in ("d_loss", "g_loss"):
        assert history[key].tolist() == [r[key].item() for r in rounds]
    expected = [torch.sigmoid(r["real_logits"]).mean().item() for r in rounds]
    assert np.allclose(history["d_real"], expected, atol=1e-6)
    assert one.latest["g_loss"] == rounds[-1]["g_loss"].item()


def test_learning_rates_follow_their_schedules():
    plans = {
        "step": ["{kind: step, factor: 0.5, every: 2}", lambda i: 0.5 ** (i // 8)],
        "later": [
            "{kind: step, factor: 0.5, every: 1, delay: 1.5}",
            lambda i: 1 if i < 10 else 0.5 if i < 14 else 0.25 if i < 18 else 0.125,
        ],
        "linear": ["{kind: linear}", lambda i: 1 - i / 20],
        "cosine": ["{kind: cosine}", lambda i: 0.5 * (1 + math.cos(math.pi * i / 20))],
        "triangle": ["{kind: triangle}", lambda i: (i + 1) / 4 if i < 4 else (20 - i) / 16],
    }
    for text, factor in plans.values():
        one = trainer(f"g_optimizer.schedule={text}", "train.epochs=5")
        for i in range(1, 21):
            one.fit(iterations=i)
            assert one.game.g_optimizer.param_groups[0]["lr"] == pytest.approx(
                2e-3 * factor(i), abs=1e-12
            )
            assert one.game.d_optimizer.param_groups[0]["lr"] == 2e-3


@pytest.mark.parametrize("epochs", [1, 3])
def test_a_rate_never_exceeds_the_one_that_was_given(epochs):
    one = trainer("g_optimizer.schedule={kind: triangle}", f"train.epochs={epochs}", n=16)
    for i in range(1, epochs + 1):
        assert one.game.g_optimizer.param_groups[0]["lr"] <= 2e-3
        one.fit(iterations=i)


@pytest.mark.parametrize("n_dis", [2, 3])
def test_a_learning_rate_ends_with_the_budget_however_often_d_moves(n_dis):
    # 70 images make 5 batches, so an epoch has 3 rounds of two turns, or 2 of three.
    one = trainer(
        "g_optimizer.schedule={kind: linear}",
        "d_optimizer.schedule={kind: step, factor: 0.5, every: 1}",
        f"step.n_dis={n_dis}",
        "train.epochs=4",
        n=70,
    )
    for epoch in (1, 2, 3, 4):
        one.fit(epochs=epoch)
        g, d = (o.param_groups[0]["lr"] for o in one.game.optimizers.values())
        assert g == pytest.approx(2e-3 * (1 - epoch / 4), abs=1e-12)
        assert d == pytest.approx(2e-3 * 0.5**epoch)


def test_an_optimiser_has_the_numbers_of_its_section_and_decays_weights_decoupled():
    """With a gradient of 0, AdamW takes lr * weight_decay of a weight; Adam would take lr."""
    changed = ["lr=0.1", "beta1=0.3", "beta2=0.7", "eps=0.01", "weight_decay=0.5"]
    section = recipe(*(f"g_optimizer.{change}" for change in changed)).g_optimizer
    layer = torch.nn.Linear(3, 2)
    before = layer.weight.detach().clone()
    made = build.optimizer(section, layer)
    group = made.param_groups[0]
    assert (group["lr"], group["betas"], group["eps"]) == (0.1, (0.3, 0.7), 0.01)
    for p in layer.parameters():
        p.grad = torch.zeros_like(p)
    made.step()
    assert torch.allclose(layer.weight, before * (1 - 0.1 * 0.5))


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_networks_run_in_the_precision_that_the_recipe_says_and_losses_in_float32(precision):
    one = trainer(f"train.precision={precision}")
    seen = {}
    for name, network in one.game.modules.items():
        network.net[0].register_forward_hook(
            lambda module, inputs, out, name=name: seen.setdefault(name, set()).add(out.dtype)
        )
    rounds = one.step(one.game, one.batches.next)
    expected = torch.float32 if precision == "float32" else torch.bfloat16
    assert seen == {"generator": {expected}, "discriminator": {expected}}
    assert {value.dtype for value in rounds.values()} == {torch.float32}


def test_a_classifier_is_trained_as_its_recipe_says():
    says = {"shift": 1, "rotate": 7.0, "crop": 2, "flip": True, "label_smoothing": 0.25}
    overrides = [f"{key}={str(value).lower()}" for key, value in says.items()]
    chosen = recipes.load("classifier-mnist", [*overrides, "train.batch_size=4"])
    game = build.trainer(chosen, device="cpu", images=images(8, labels=True)).game
    assert {key: getattr(game, key) for key in says} == says


# --- losses that are no longer numbers -----------------------------------------------------------


def test_a_loss_that_is_no_number_stops_the_run_and_leaves_the_checkpoint(tmp_path):
    settings = ["log.checkpoint_seconds=0", "train.epochs=30"]
    one = trainer(*settings, run_dir=tmp_path).fit(epochs=1)
    good = (tmp_path / "checkpoint.pt").read_bytes()
    for group in one.game.d_optimizer.param_groups:
        group["lr"] = 1e30
    with pytest.raises(TrainingError) as caught:
        one.fit(epochs=30)
    message = str(caught.value)
    assert message.startswith("A loss is no longer a finite number at iteration 5 (epoch 1.25);")
    assert message.endswith("Try a smaller learning rate.")
    assert (tmp_path / "checkpoint.pt").read_bytes() == good
    assert not list(tmp_path.glob("*.part"))
    resumed = trainer(*settings, run_dir=tmp_path).load()
    assert resumed.iteration == 4
    assert_equal(everything(resumed.fit(epochs=2)), everything(trainer(*settings).fit(epochs=2)))


@pytest.mark.parametrize("player", ["generator", "discriminator"])
def test_weights_that_are_no_numbers_never_reach_a_checkpoint(player, tmp_path):
    one = trainer(run_dir=tmp_path).fit(iterations=3)
    good = (tmp_path / "checkpoint.pt").read_bytes()
    with torch.no_grad():
        one.game.modules[player].net[0].weight[0, 0] = math.nan
    with pytest.raises(TrainingError, match="A weight is no longer a finite number at iteration 3"):
        one.save()
    assert (tmp_path / "checkpoint.pt").read_bytes() == good


# --- runs of one's own ---------------------------------------------------------------------------


def test_a_batch_of_a_single_image_and_batch_normalisation_do_not_go_together():
    with pytest.raises(InputError, match="33 images in batches of 16 leave one of a single image"):
        trainer("generator.batchnorm=true", n=33)
    trainer(n=33).fit(epochs=1)
    trainer("train.batch_size=1", n=5).fit(epochs=1)
    with pytest.raises(InputError, match=r"step\.g_batch must be at least 2, not 1"):
        trainer("generator.batchnorm=true", "step.g_batch=1")
    trainer("step.g_batch=1").fit(iterations=1)


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    with pytest.raises(InputError, match="There is no device 'gpu'; use auto, cpu, or cuda"):
        build.device_of("gpu")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert build.device_of() == torch.device("cpu")
    with pytest.raises(InputError, match="torch cannot use the device 'cuda:99' on this machine"):
        build.device_of("cuda:99")
    for name in ("meta", "hpu"):  # one without numbers, and one whose module is not installed
        with pytest.raises(InputError, match=f"torch cannot use the device '{name}'|no device"):
            build.device_of(name)


def test_a_classifier_refuses_images_that_it_cannot_learn():
    chosen = recipes.load("classifier-mnist", ["train.batch_size=4"])
    with pytest.raises(InputError, match="learns grey 28 x 28 images of 10 classes, with labels"):
        build.trainer(chosen, device="cpu", images=images(8))


def test_two_trainings_in_one_folder_do_not_mix(tmp_path):
    chosen = recipe("train.epochs=1", "data.limit=32")

    def second(trainer):
        with pytest.raises(DataError, match="Another process is training in"):
            runs.train(chosen, tmp_path, "cpu")
        started.append(True)

    started = []
    (tmp_path / "checkpoint.pt.123.part").write_bytes(b"left by a killed run")
    runs.train(chosen, tmp_path, "cpu", on_start=second)
    assert started == [True]
    assert not list(tmp_path.glob("**/*.part"))


def test_an_own_loss_step_and_network_go_into_the_trainer():
    """The trainer knows no particular game: a player of one number each is enough."""

    class Number(torch.nn.Module):
        image_shape = (1, 28, 28)

        def __init__(self):
            super().__init__()
            self.value = torch.nn.Parameter(torch.zeros(()))

        def sample_z(self, n, generator=None, device=None):
            return torch.zeros(n)

        def forward(self, z, labels=None):
            return (self.value + z).reshape(-1, 1, 1, 1).expand(-1, 1, 28, 28)

    class Critic(Number):
        def forward(self, images, labels=None):
            return self.value * images.mean((1, 2, 3))

    class Difference:
        def discriminator(self, real, fake):
            return fake.mean() - real.mean()

        def generator(self, fake, real=None):
            return -fake.mean()

    from gantut.data import Batches
    from gantut.steps import Game, simultaneous

    g, d = Number(), Critic()
    with torch.no_grad():
        d.value.fill_(1.0)
    game = Game(
        g,
        d,
        torch.optim.SGD(g.parameters(), 0.1),
        torch.optim.SGD(d.parameters(), 0.1),
        Difference(),
    )
    batches = Batches(images(32), 32, shuffle=False)
    real = batches.image_set.images.double().mean().item() / 127.5 - 1
    Trainer(game, batches, simultaneous).fit(iterations=2)
    value, slope = 0.0, 1.0
    for _ in range(2):
        value, slope = value + 0.1 * slope, slope + 0.1 * (real - value)
    assert g.value.item() == pytest.approx(value, abs=1e-5)
    assert d.value.item() == pytest.approx(slope, abs=1e-5)
