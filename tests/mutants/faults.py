"""The faults: what is changed in which file, and which tests have to notice."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """One mistake that somebody could make.

    Args:
        name: what is wrong.
        file: below ``gantut/``.
        edits: (old, new) texts; each old one stands exactly once in the file.
        tests: what pytest is given; at least one of these tests must fail.
    """

    name: str
    file: str
    edits: tuple[tuple[str, str], ...]
    tests: tuple[str, ...]


def fault(name: str, file: str, old: str, new: str, *tests: str) -> Fault:
    return Fault(name, file, ((old, new),), tuple(f"tests/{test}" for test in tests))


LOSSES = "test_losses.py"
STEPS = "test_steps.py"
ROUND = "test_models.py::test_one_full_update_of_both_players_by_hand"
DCGAN = "test_dcgan.py"
SAMPLES = "test_metrics_samples.py::"
INCEPTION = "test_metrics_inception.py::"
RESUME = "test_trainer.py::test_a_run_resumed_from_a_file_equals_the_one_never_stopped"

FAULTS = [
    # --- losses
    fault(
        "targets swapped in the discriminator's loss",
        "losses.py",
        "return torch.full_like(real_logits, self.real_label), torch.zeros_like(fake_logits)",
        "return torch.zeros_like(real_logits), torch.full_like(fake_logits, self.real_label)",
        LOSSES,
    ),
    fault(
        "generator's loss with the wrong sign",
        "losses.py",
        "return F.binary_cross_entropy_with_logits(fake_logits, torch.ones_like(fake_logits))",
        "return -F.binary_cross_entropy_with_logits(fake_logits, torch.ones_like(fake_logits))",
        LOSSES,
    ),
    fault(
        "smoothing applied to fakes as well",
        "losses.py",
        "self.real_label), torch.zeros_like(fake_logits)",
        "self.real_label), torch.full_like(fake_logits, 1 - self.real_label)",
        LOSSES,
    ),
    fault(
        "smoothing applied to the generator's targets",
        "losses.py",
        "(fake_logits, torch.ones_like(fake_logits))",
        "(fake_logits, torch.full_like(fake_logits, self.real_label))",
        LOSSES,
    ),
    fault(
        "the discriminator's loss halved",
        "losses.py",
        "return self.weight * (on_real + on_fake)",
        "return 0.5 * self.weight * (on_real + on_fake)",
        LOSSES,
    ),
    fault(
        "a loss that should be halved is not",
        "losses.py",
        'self.weight = 1.0 if reduction == "sum" else 0.5',
        "self.weight = 1.0",
        LOSSES,
    ),
    fault(
        "minimax is the non-saturating loss",
        "losses.py",
        "return -F.softplus(fake_logits).mean()",
        "return F.softplus(-fake_logits).mean()",
        LOSSES,
    ),
    fault(
        "two-sided targets of real images near 0",
        "losses.py",
        "return 1 - noise[0], noise[1]",
        "return noise[0], noise[1]",
        LOSSES,
    ),
    # --- steps
    fault(
        "reused fakes not detached",
        "steps.py",
        "game.judge(real, fake.detach(), labels)",
        "game.judge(real, fake, labels)",
        STEPS,
    ),
    Fault(
        "fresh fakes not detached",
        "steps.py",
        (
            ("            with torch.no_grad():\n", "            with nullcontext():\n"),
            ("game.judge(real, fake.detach(), labels)", "game.judge(real, fake, labels)"),
        ),
        (f"tests/{STEPS}",),
    ),
    fault(
        "the generator's turn leaves gradients in the discriminator",
        "steps.py",
        "g_loss.backward(inputs=self.g_parameters)",
        "g_loss.backward()",
        STEPS,
    ),
    fault(
        "n_dis ignored",
        "steps.py",
        "for _ in range(game.n_dis):",
        "for _ in range(1):",
        STEPS,
    ),
    fault(
        "fakes always reused",
        "steps.py",
        "    if not game.reuse_fakes:\n",
        "    if False:\n",
        STEPS,
    ),
    fault(
        "real and fake halves of a stacked pass swapped",
        "steps.py",
        "return logits[: len(real)], logits[len(real) :]",
        "return logits[len(real) :], logits[: len(real)]",
        STEPS,
    ),
    fault(
        "the discriminator's accuracy on fakes counts its mistakes",
        "steps.py",
        "(logits < 0).float()",
        "(logits > 0).float()",
        STEPS,
    ),
    fault(
        "the generator's optimiser holds the discriminator's parameters",
        "build.py",
        "optimizer(recipe.g_optimizer, g),",
        "optimizer(recipe.g_optimizer, d),",
        ROUND,
    ),
    fault(
        "beta1 and beta2 swapped",
        "build.py",
        "betas = (section.beta1, section.beta2)",
        "betas = (section.beta2, section.beta1)",
        ROUND,
    ),
    # --- data
    fault(
        "pixels scaled to [0, 1]",
        "data.py",
        "return torch.sub(images, self._zero).mul_(self._factor), labels",
        "return images.float().div_(255), labels",
        ROUND,
    ),
    fault(
        "a label shifted",
        "data.py",
        'labels = torch.from_numpy(arrays[f"{split}_labels"]).long()',
        'labels = (torch.from_numpy(arrays[f"{split}_labels"]).long() + 1) % 10',
        "test_zoo.py::test_the_judge_tells_digits_from_one_another",
    ),
    fault(
        "labels of a batch out of step with its images",
        "data.py",
        "labels = None if labels is None else labels.index_select(0, chosen)",
        "labels = None if labels is None else labels.index_select(0, chosen.roll(1))",
        "test_data.py",
    ),
    fault(
        "shuffle ignored",
        "data.py",
        "        if self.shuffle:\n            if start == 0:",
        "        if False:\n            if start == 0:",
        "test_data.py",
    ),
    fault(
        "bytes truncated instead of rounded",
        "data.py",
        ".mul_(127.5).round_().clamp_(0, 255)",
        ".mul_(127.5).clamp_(0, 255)",
        "test_callbacks.py",
    ),
    fault(
        "the seed of the order ignored",
        "data.py",
        "self._generator = torch.Generator().manual_seed(seed)",
        "self._generator = torch.Generator().manual_seed(0)",
        "test_trainer.py::test_every_random_part_of_a_run_follows_its_seed",
    ),
    # --- networks
    fault(
        "tanh removed",
        "models/blocks.py",
        'OUTPUTS = {"tanh": nn.Tanh,',
        'OUTPUTS = {"tanh": nn.Identity,',
        "test_models.py::test_the_range_that_an_output_can_reach",
    ),
    fault(
        "the slope of the leaky ReLU ignored",
        "models/mlp.py",
        "nn.LeakyReLU(slope)",
        "nn.LeakyReLU()",
        ROUND,
    ),
    fault(
        "uniform z on one side only",
        "models/blocks.py",
        "z.uniform_(-1, 1, generator=generator)",
        "z.uniform_(0, 1, generator=generator)",
        "test_models.py::test_uniform_z_fills_minus_one_to_one_evenly",
    ),
    fault(
        "z not drawn from the given source",
        "models/blocks.py",
        "return z.normal_(generator=generator)",
        "return z.normal_()",
        "test_models.py::test_z_comes_from_the_generator_of_random_numbers_that_it_is_given",
    ),
    # --- sampling
    fault(
        "dropout left on when sampling",
        "sampling.py",
        "    module.eval()\n",
        "    module.train()\n",
        "test_trainer.py::test_samples_are_fixed_without_dropout_and_leave_training_mode_as_it_was",
    ),
    fault(
        "the fixed noise not fixed",
        "sampling.py",
        "    rng = torch.Generator().manual_seed(seed)\n",
        "    rng = torch.Generator()\n    rng.seed()\n",
        "test_trainer.py::test_samples_are_fixed_without_dropout_and_leave_training_mode_as_it_was",
    ),
    fault(
        "the seed of samples ignored",
        "sampling.py",
        "torch.Generator().manual_seed(seed)",
        "torch.Generator().manual_seed(0)",
        "test_trainer.py::test_samples_are_fixed_without_dropout_and_leave_training_mode_as_it_was",
    ),
    fault(
        "samples in the range of the run instead of the common one",
        "sampling.py",
        ".mul(std).add(mean).clamp(0, 1)",
        ".mul(0.5).add(0.5).clamp(0, 1)",
        "test_trainer.py::test_samples_are_given_in_the_common_range_whatever_the_run_s_own",
    ),
    # --- trainer
    fault(
        "the seed ignored",
        "build.py",
        "np.random.SeedSequence(seed)",
        "np.random.SeedSequence(0)",
        "test_trainer.py::test_every_random_part_of_a_run_follows_its_seed",
    ),
    fault(
        "the seed of dropout ignored",
        "trainer.py",
        "            torch.manual_seed(seed)\n",
        "            torch.manual_seed(0)\n",
        "test_trainer.py::test_every_random_part_of_a_run_follows_its_seed",
    ),
    fault(
        "the checkpoint without the optimiser",
        "trainer.py",
        '                optimizer.load_state_dict(state["optimizers"][name])\n',
        "                pass\n",
        RESUME,
    ),
    fault(
        "the checkpoint without the averaged weights",
        "trainer.py",
        '                self.ema.load_state_dict(state["ema"])\n',
        "                pass\n",
        RESUME,
    ),
    fault(
        "the checkpoint without the random state of dropout",
        "trainer.py",
        'self._random = {k: v.cpu() for k, v in state["random"].items()}',
        "pass",
        RESUME,
    ),
    fault(
        "the checkpoint without the random state of z",
        "trainer.py",
        '                rng.set_state(state["game_random"][name].cpu())\n',
        "                pass\n",
        RESUME,
    ),
    fault(
        "a checkpoint of another recipe accepted",
        "trainer.py",
        'if state["fingerprint"] != self.fingerprint:',
        "if False:",
        "test_trainer.py::test_a_checkpoint_of_another_recipe_is_refused",
    ),
    fault(
        "a flipped bit in a checkpoint passed over",
        "trainer.py",
        "broken = archive.testzip()",
        "broken = None",
        "test_trainer.py::test_a_damaged_checkpoint_is_never_used",
    ),
    fault(
        "the checkpoint written over the old one",
        "files.py",
        "        yield aside\n        aside.replace(path)\n",
        "        yield path\n",
        "test_trainer.py::test_a_checkpoint_that_cannot_be_written_leaves_the_old_one",
    ),
    fault(
        "the average not used when sampling",
        "trainer.py",
        "return self.game.generator if self.ema is None else self.ema",
        "return self.game.generator",
        "test_trainer.py::test_samples_come_from_the_average_where_there_is_one",
    ),
    fault(
        "the average begins too slowly",
        "trainer.py",
        "decay = min(self.ema_decay, (1 + self.iteration) / (10 + self.iteration))",
        "decay = self.ema_decay",
        "test_trainer.py::test_the_averaged_generator_follows_its_formula",
    ),
    fault(
        "a loss that is no number goes unnoticed",
        "trainer.py",
        "        if not finite.all():\n",
        "        if False:\n",
        "test_trainer.py::test_a_loss_that_is_no_number_stops_the_run_and_leaves_the_checkpoint",
    ),
    fault(
        "the caller's random numbers disturbed",
        "trainer.py",
        "            _set_default_random_state(outside)\n",
        "            pass\n",
        "test_trainer.py::test_the_caller_s_random_numbers_are_left_alone",
    ),
    fault(
        "the learning rate never changes",
        "trainer.py",
        "            schedule.step()\n",
        "            pass\n",
        "test_trainer.py::test_learning_rates_follow_their_schedules",
    ),
    # --- what is written down
    fault(
        "the maximum of an interval lost",
        "callbacks.py",
        "merged[:, 6::3] = pairs[:, :, 6::3].max(1)",
        "merged[:, 6::3] = pairs[:, :, 6::3].mean(1)",
        "test_callbacks.py",
    ),
    fault(
        "a published recipe without its smoothing",
        "recipes/mlp-mnist-published.yaml",
        "real_label: 0.9",
        "real_label: 1.0",
        "test_recipes.py",
    ),
    fault(
        "unknown keys of a recipe passed over",
        "recipes/schema.py",
        'extra="forbid"',
        'extra="ignore"',
        "test_recipes.py",
    ),
    # --- metrics
    fault(
        "entropy in nats",
        "metrics/classes.py",
        "share.log2()",
        "share.log()",
        "test_metrics.py",
    ),
    fault(
        "a confident sample counted at any confidence",
        "metrics/classes.py",
        ".values > threshold)",
        ".values > 0)",
        "test_metrics.py",
    ),
    fault(
        "the Fréchet distance without its cross term",
        "metrics/frechet.py",
        " - 2 * trace_of_root",
        "",
        "test_metrics.py",
    ),
    fault(
        "the Fréchet distance of too few samples",
        "metrics/frechet.py",
        "if len(features) <= features.shape[1]:",
        "if False:",
        "test_metrics.py",
    ),
    fault(
        "the judge takes images in [0, 1]",
        "metrics/features.py",
        "if images.min() >= 0:",
        "if False:",
        "test_metrics.py",
    ),
    fault(
        "the classifier learns the label of the next image",
        "classify.py",
        "loss = F.cross_entropy(logits, labels, label_smoothing",
        "loss = F.cross_entropy(logits, labels.roll(1), label_smoothing",
        "test_models.py::test_the_classifier_s_step_by_hand",
    ),
    # --- convolutions
    fault(
        "kernels of another size than the recipe's",
        "models/dcgan.py",
        '"stride": 2, "kernel_size": kernel_size}',
        '"stride": 2, "kernel_size": kernel_size | 2}',
        DCGAN,
    ),
    fault(
        "no batch normalisation in a generator that should have it",
        "models/dcgan.py",
        "norm = [nn.BatchNorm2d(channels)] if batchnorm else []",
        "norm = []",
        DCGAN,
    ),
    fault(
        "batch normalisation in the discriminator's first layer",
        "models/dcgan.py",
        "normalised = batchnorm and i > 0",
        "normalised = batchnorm",
        DCGAN,
    ),
    fault(
        "torch's initial weights instead of the paper's",
        "models/dcgan.py",
        "self.net = initialise(nn.Sequential(*layers))\n\n    def forward(self, z",
        "self.net = nn.Sequential(*layers)\n\n    def forward(self, z",
        DCGAN,
    ),
    fault(
        "the activation before the batch normalisation",
        "models/dcgan.py",
        "return [*norm, nn.LeakyReLU(slope) if slope else nn.ReLU()]",
        "return [nn.LeakyReLU(slope) if slope else nn.ReLU(), *norm]",
        DCGAN,
    ),
    fault(
        "z depends on how many are drawn with it",
        "sampling.py",
        "generator.sample_z(-(-n // 16) * 16, generator=rng)[:n]",
        "generator.sample_z(n, generator=rng)",
        "test_dcgan.py::test_a_sample_does_not_depend_on_how_many_are_drawn_with_it",
    ),
    fault(
        "one batch statistic kept in training mode when sampling",
        "sampling.py",
        "    modes = [(m, m.training) for m in module.modules()]\n    module.eval()\n",
        "    modes = [(m, m.training) for m in module.modules()]\n    for m in module.modules():\n"
        "        m.training = isinstance(m, nn.BatchNorm2d)\n",
        "test_dcgan.py::test_a_sample_does_not_depend_on_how_many_are_drawn_with_it",
    ),
    fault(
        "dropout of single pixels instead of maps",
        "models/dcgan.py",
        "nn.Dropout2d(dropout)",
        "nn.Dropout(dropout)",
        DCGAN,
    ),
    fault(
        "the whitening keeps the patches' correlations",
        "models/classifier.py",
        "rows = (vectors / (values + eps).sqrt()).T",
        "rows = (vectors / (values + eps).sqrt())",
        "test_models.py::test_the_classifier_of_objects_whitens_first_and_adds_a_residual_path",
    ),
    fault(
        "all images of a batch cropped alike",
        "classify.py",
        "torch.randint(2 * pixels + 1, (2, n, 1), device=images.device)",
        "torch.randint(2 * pixels + 1, (2, 1, 1), device=images.device).expand(2, n, 1)",
        "test_models.py::test_crops_are_whole_shifts_mirrored_at_the_edge_and_flips_mirror_images",
    ),
    # --- metrics
    fault(
        "the cross term dropped from the Fréchet distance",
        "metrics/frechet.py",
        " + np.trace(cov_b) - 2 * trace_of_root",
        " + np.trace(cov_b)",
        "test_metrics.py::test_frechet_agrees_with_the_matrix_root_of_scipy",
    ),
    fault(
        "the matrix root taken in float32",
        "metrics/frechet.py",
        "scipy.linalg.eigh(cov_a)",
        "scipy.linalg.eigh(cov_a.astype(np.float32))",
        "test_metrics.py::test_frechet_of_diagonal_gaussians_has_a_closed_form",
        "test_metrics.py::test_frechet_agrees_with_the_matrix_root_of_scipy",
    ),
    fault(
        "the kernel of each sample with itself counted in the kernel distance",
        "metrics/kernel.py",
        "(kernel.sum() - kernel.diagonal().sum()) / (len(x) * (len(x) - 1))",
        "kernel.mean()",
        SAMPLES + "test_the_mmd_is_that_of_its_definition",
    ),
    fault(
        "the spread of one subset given for the error of their mean",
        "metrics/kernel.py",
        "np.std(values, ddof=1) / len(values) ** 0.5",
        "np.std(values, ddof=1)",
        SAMPLES + "test_the_kernel_distance_has_no_bias_and_states_its_error",
    ),
    Fault(
        "precision and recall exchanged",
        "metrics/neighbours.py",
        (
            ("precision=_inside(g, r,", "recall=_inside(g, r,"),
            ("recall=_inside(r, g,", "precision=_inside(r, g,"),
        ),
        (f"tests/{SAMPLES}test_good_samples_of_one_mode_are_precise_and_recall_little",),
    ),
    fault(
        "each point counted as its own nearest neighbour",
        "metrics/neighbours.py",
        "        d[rows, start + rows] = torch.inf\n",
        "",
        SAMPLES + "test_precision_recall_density_and_coverage_are_those_of_their_definitions",
    ),
    fault(
        "density not divided by k",
        "metrics/neighbours.py",
        "count / (k * len(g))",
        "count / len(g)",
        SAMPLES + "test_precision_recall_density_and_coverage_are_those_of_their_definitions",
    ),
    fault(
        "half-pixel resizing for the Inception network",
        "metrics/features.py",
        "place = torch.arange(m, dtype=torch.float64) * n / m",
        "place = ((torch.arange(m, dtype=torch.float64) + 0.5) * n / m - 0.5).clamp(0, n - 1)",
        INCEPTION + "test_resizing_is_tensorflow_1_s_by_hand",
    ),
    fault(
        "resizing with aligned corners for the Inception network",
        "metrics/features.py",
        "place = torch.arange(m, dtype=torch.float64) * n / m",
        "place = torch.arange(m, dtype=torch.float64) * (n - 1) / (m - 1)",
        INCEPTION + "test_resizing_is_tensorflow_1_s_by_hand",
    ),
    fault(
        "the Inception network fed images in [0, 1]",
        "metrics/features.py",
        "(resize_as_tensorflow_1(pixels, (size, size)) - 128) / 128",
        "resize_as_tensorflow_1(pixels, (size, size)) / 255",
        INCEPTION + "test_what_the_network_is_fed_ends_at_minus_1_and_127_128ths",
    ),
    fault(
        "the judge fed real images in [0, 1]",
        "metrics/features.py",
        "return self._look(self._features, scale(images))",
        "return self._look(self._features, scale(images, 0.0, 1.0))",
        INCEPTION + "test_a_reference_is_computed_once_and_a_larger_one_goes_on",
    ),
    fault(
        "a judge that takes images in [0, 1] without a word",
        "metrics/features.py",
        "        if images.min() >= 0:\n",
        "        if False:\n",
        INCEPTION + "test_the_eyes_take_grey_and_colour_in_batches_and_refuse_what_is_no_image",
    ),
    fault(
        "weights put there by hand read without their checksum",
        "sources.py",
        "if path.is_file() and _sha256(path.read_bytes()) != sha256:",
        "if False:",
        INCEPTION + "test_weights_with_a_wrong_checksum_are_never_read",
    ),
    fault(
        "numbers against another reference set side by side",
        "evaluate.py",
        'for key in ("samples", "network", "reference", "estimator"):',
        'for key in ("samples", "network", "estimator"):',
        "test_evaluate.py::test_a_column_never_mixes_what_cannot_be_compared",
    ),
]
