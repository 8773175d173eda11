"""Which exact run: every value of the published recipes, and every mistake named."""

import json

import pytest

from gantut import recipes
from gantut.errors import RecipeError
from gantut.recipes import schema
from gantut.recipes.schema import ClassifierRecipe, GANRecipe, RealRecipe

PUBLISHED = {
    "name": "mlp-mnist-published",
    "seed": 0,
    "data.name": "mnist",
    "data.split": "train",
    "data.limit": None,
    "data.mean": 0.5,
    "data.std": 0.5,
    "data.shuffle": False,
    "generator.latent_dim": 100,
    "generator.hidden": [32, 64, 128],
    "generator.slope": 0.2,
    "generator.dropout": 0.3,
    "generator.batchnorm": False,
    "generator.output": "tanh",
    "generator.latent": "uniform",
    "discriminator.hidden": [128, 64, 32],
    "discriminator.slope": 0.2,
    "discriminator.dropout": 0.3,
    "loss.name": "non-saturating",
    "loss.real_label": 0.9,
    "loss.smoothing": 0.0,
    "loss.reduction": "sum",
    "g_optimizer.lr": 2e-3,
    "g_optimizer.beta1": 0.9,
    "g_optimizer.beta2": 0.999,
    "g_optimizer.eps": 1e-8,
    "g_optimizer.weight_decay": 0.0,
    "g_optimizer.schedule": None,
    "d_optimizer.lr": 2e-3,
    "d_optimizer.beta1": 0.9,
    "d_optimizer.beta2": 0.999,
    "d_optimizer.eps": 1e-8,
    "d_optimizer.weight_decay": 0.0,
    "d_optimizer.schedule": None,
    "step.order": "alternating",
    "step.n_dis": 1,
    "step.reuse_fakes": False,
    "step.stack": False,
    "train.epochs": 100,
    "train.batch_size": 20,
    "train.precision": "float32",
    "train.ema_half_life": None,
    "reproduce.seeds": [0, 1, 2],
}
MINIMAL = PUBLISHED | {
    "name": "mlp-minimal-mnist-published",
    "data.shuffle": True,
    "generator.latent_dim": 64,
    "generator.hidden": [256],
    "generator.slope": 0.1,
    "generator.dropout": 0.0,
    "generator.latent": "normal",
    "discriminator.hidden": [128],
    "discriminator.slope": 0.1,
    "discriminator.dropout": 0.0,
    "loss.real_label": 1.0,
    "loss.reduction": "mean",
    "g_optimizer.lr": 3e-4,
    "d_optimizer.lr": 3e-4,
    "step.reuse_fakes": True,
    "train.batch_size": 32,
}
MISNORMALISED = MINIMAL | {
    "name": "mlp-minimal-mnist-misnormalised",
    "data.mean": 0.1307,
    "data.std": 0.3081,
    "train.epochs": 50,
}
# The three conditional systems, key by key of both players.
OF_BOTH = {"embed_dim": 50, "norm": "after", "norm_eps": 1e-3, "norm_momentum": 0.01}
OF_BOTH |= {"init": "glorot", "label_norm": True, "spectral": None, "spectral_layers": None}
MLP_ONLY = ("generator.hidden", "generator.dropout", "generator.batchnorm")
CONDITIONAL = {
    **{k: v for k, v in PUBLISHED.items() if k not in MLP_ONLY},
    **{f"{player}.{k}": v for player in ("generator", "discriminator") for k, v in OF_BOTH.items()},
    "name": "cgan-mnist-published",
    "data.shuffle": True,
    "data.replacement": False,
    "generator.side": 7,
    "generator.widths": [128, 128, 128],
    "generator.kernels": [4, 4],
    "generator.strides": [2, 2],
    "generator.paddings": None,
    "generator.last_kernel": 5,
    "generator.slope": 0.0,
    "generator.label_slope": None,
    "generator.latent": "normal",
    "discriminator.widths": [128, 128],
    "discriminator.kernels": [3, 3],
    "discriminator.strides": [2, 2],
    "discriminator.padding": "same",
    "discriminator.pool": None,
    "discriminator.hidden": [],
    "discriminator.first_norm": True,
    "discriminator.label_slope": 0.2,
    "discriminator.dropout": 0.4,
    "discriminator.spatial_dropout": 0.0,
    "discriminator.spectral_label": True,
    "loss.real_label": 1.0,
    "g_optimizer.lr": 1e-3,
    "g_optimizer.eps": 1e-7,
    "d_optimizer.lr": 1e-3,
    "d_optimizer.eps": 1e-7,
    "step.order": "simultaneous",
    "step.fake_labels": "real",
    "step.mismatched": 0.0,
    "step.g_batch": None,
    "step.frozen_norm": False,
    "step.settled_fakes": False,
    "train.epochs": 50,
    "train.batch_size": 128,
}
CONDITIONAL_CIFAR10 = CONDITIONAL | {
    "name": "cgan-cifar10-published",
    "data.name": "cifar10",
    "generator.side": 4,
    "generator.widths": [256, 256, 128, 128],
    "generator.kernels": [7, 7, 7],
    "generator.strides": [2, 2, 2],
    "generator.last_kernel": 7,
    "discriminator.widths": [64, 128, 128, 256],
    "discriminator.kernels": [5, 5, 5, 5],
    "discriminator.strides": [1, 2, 2, 2],
    "discriminator.slope": 0.01,
    "discriminator.label_slope": 0.01,
    "g_optimizer.lr": 1e-4,
    "d_optimizer.lr": 1e-4,
    "train.epochs": 100,
    "reproduce.seeds": [0],
}
# As it really ran.  Its 100 epochs had 234 rounds each, half of the images; rates that fall after 11
# of them, and then after every ten, fall after 5.5 of these, and then after every five.
DECAY = {
    "schedule.kind": "step",
    "schedule.factor": 0.8,
    "schedule.every": 5,
    "schedule.delay": 0.5,
}
SPECTRAL = {k: v for k, v in CONDITIONAL.items() if not k.endswith(".schedule")} | {
    **{f"{player}_optimizer.{k}": v for player in "gd" for k, v in DECAY.items()},
    "name": "sn-cgan-mnist-published",
    "data.mean": 0.0,
    "data.std": 1.0,
    "data.replacement": True,
    "data.drop_last": True,
    "generator.side": 3,
    "generator.widths": [128] * 4,
    "generator.kernels": [4, 4, 5],
    "generator.strides": [1, 2, 2],
    "generator.paddings": ["valid", "valid", "same"],
    "generator.last_kernel": 10,
    "generator.slope": 0.2,
    "generator.label_slope": 0.2,
    "generator.output": "sigmoid",
    "generator.spectral": "renormalise",
    "discriminator.widths": [128] * 3,
    "discriminator.kernels": [3, 3, 3],
    "discriminator.strides": [1, 1, 1],
    "discriminator.padding": "valid",
    "discriminator.pool": [0, 2],
    "discriminator.hidden": [600, 400, 200, 20],
    "discriminator.label_slope": None,
    "discriminator.label_norm": False,
    "discriminator.dropout": 0.5,
    "discriminator.spatial_dropout": 0.5,
    "discriminator.spectral": "renormalise",
    "discriminator.spectral_label": False,
    "loss.smoothing": 0.1,
    "loss.reduction": "mean",
    "g_optimizer.beta1": 0.5,
    "d_optimizer.beta1": 0.5,
    "step.order": "alternating",
    "step.stack": True,
    "step.fake_labels": "uniform",
    "step.g_batch": 256,
    "step.frozen_norm": True,
    "step.settled_fakes": True,
    "reproduce.seeds": [0],
}
AS_CONFIGURED = SPECTRAL | {
    "name": "sn-cgan-mnist",
    "generator.spectral": "reparametrise",
    "discriminator.spectral": "reparametrise",
    "g_optimizer.lr": 2e-4,
    "d_optimizer.lr": 1e-4,
    "g_optimizer.schedule.delay": 0.0,
    "d_optimizer.schedule.delay": 0.0,
}
SYSTEMS = [PUBLISHED, MINIMAL, MISNORMALISED]
SYSTEMS += [CONDITIONAL, CONDITIONAL_CIFAR10, SPECTRAL, AS_CONFIGURED]


def value(recipe, key: str):
    for part in key.split("."):
        recipe = getattr(recipe, part)
    return recipe


@pytest.mark.parametrize("facts", SYSTEMS, ids=lambda f: f["name"])
def test_published_recipes_are_those_of_their_systems(facts):
    recipe = recipes.load(facts["name"])
    assert {key: value(recipe, key) for key in facts} == facts


def test_the_minimal_run_can_be_looked_at_after_50_and_100_epochs():
    assert recipes.load("mlp-minimal-mnist-published").log.snapshots == [50, 100]


def test_the_misnormalised_run_differs_in_the_normalisation_and_its_length_only():
    a, b = map(recipes.load, ("mlp-minimal-mnist-published", "mlp-minimal-mnist-misnormalised"))
    differences = recipes.differences(a, b)
    assert differences == {
        "data.mean": (0.5, 0.1307),
        "data.std": (0.5, 0.3081),
        "train.epochs": (100, 50),
    } | {k: v for k, v in differences.items() if k.startswith("log.")}


def test_the_course_s_own_net_is_built_from_what_the_chapter_teaches():
    recipe = recipes.load("mlp-mnist")
    assert recipe.generator.batchnorm
    assert recipe.generator.output == "tanh"
    assert (recipe.generator.dropout, recipe.discriminator.dropout) == (0.0, 0.3)
    assert recipe.data.shuffle
    assert recipe.loss.real_label == 0.9
    assert (recipe.g_optimizer.beta1, recipe.d_optimizer.beta1) == (0.5, 0.5)
    assert recipe.train.ema_half_life is not None
    assert recipe.reproduce.seeds == [0, 1, 2]


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_loads_says_what_it_is_and_survives_its_own_yaml(name, tmp_path):
    recipe = recipes.load(name)
    assert recipe.name == name
    assert len(recipe.about) > 40
    kinds = {"classifier": ClassifierRecipe, "real": RealRecipe}
    assert isinstance(recipe, kinds.get(name.split("-")[0], GANRecipe))
    file = tmp_path / "copy.yaml"
    file.write_text(recipes.to_yaml(recipe), encoding="utf-8")
    assert recipes.load(file) == recipe
    assert recipes.fingerprint(recipes.load(file)) == recipes.fingerprint(recipe)


def test_the_recipes_of_the_first_part_are_there():
    assert {
        "classifier-mnist",
        "mlp-minimal-mnist-misnormalised",
        "mlp-minimal-mnist-published",
        "mlp-mnist",
        "mlp-mnist-published",
    } <= set(recipes.names())
    assert recipes.names() == sorted(recipes.names())


# --- overrides, bases, YAML ---------------------------------------------------------------------


def test_overrides_change_one_value_each_and_the_last_one_wins():
    changed = recipes.load(
        "mlp-mnist",
        ["train.epochs=3", "g_optimizer.lr=1e-2", "generator.hidden=[5, 6]", "train.epochs=4"],
    )
    assert recipes.differences(recipes.load("mlp-mnist"), changed) == {
        "train.epochs": (20, 4),
        "g_optimizer.lr": (1e-3, 1e-2),
        "generator.hidden": ([256, 512], [5, 6]),
    }
    assert recipes.load("mlp-mnist") == recipes.load("mlp-mnist")


def test_differences_list_what_only_one_of_the_two_has():
    mlp, dcgan = recipes.load("mlp-mnist"), recipes.load("dcgan-mnist")
    there, back = recipes.differences(mlp, dcgan), recipes.differences(dcgan, mlp)
    assert there["generator.family"] == ("mlp", "dcgan")
    assert there["generator.widths"] == (None, dcgan.generator.widths)
    assert there["generator.hidden"] == (mlp.generator.hidden, None)
    assert {key: pair[::-1] for key, pair in back.items()} == there


def test_an_override_can_fill_a_section_that_is_empty():
    recipe = recipes.load("mlp-mnist-published", ["g_optimizer.schedule.kind=linear"])
    assert recipe.g_optimizer.schedule.kind == "linear"
    assert recipes.load("mlp-mnist", ["train.ema_half_life=null"]).train.ema_half_life is None


@pytest.mark.parametrize("text", ["2e-4", "2E-4", "2.0e-4", "0.0002", "+2e-4", ".2e-3"])
def test_numbers_are_read_as_people_write_them(text):
    assert recipes.load("mlp-mnist", [f"g_optimizer.lr={text}"]).g_optimizer.lr == 2e-4


def test_one_override_needs_no_list():
    assert recipes.load("mlp-mnist", "train.epochs=5").train.epochs == 5


def test_a_file_may_start_from_another_and_list_only_what_differs(tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "base: mlp-mnist\nname: mine\ngenerator: {hidden: [7]}\n", encoding="utf-8"
    )
    mine = recipes.load(tmp_path / "mine.yaml")
    assert mine.name == "mine"
    assert recipes.differences(recipes.load("mlp-mnist"), mine) == {
        "generator.hidden": ([256, 512], [7])
    }
    (tmp_path / "third.yaml").write_text(
        f"base: {tmp_path}/mine.yaml\nname: third\nseed: 5\n", encoding="utf-8"
    )
    assert recipes.differences(mine, recipes.load(tmp_path / "third.yaml")) == {"seed": (0, 5)}


def test_a_recipe_cannot_be_changed_in_place():
    recipe = recipes.load("mlp-mnist")
    with pytest.raises(ValueError, match="frozen"):
        recipe.seed = 3


# --- the fingerprint that a checkpoint must agree in ----------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        *("seed=1", "data.limit=100", "data.mean=0", "data.shuffle=false", "generator.dropout=0.1"),
        *("discriminator.slope=0.1", "loss.real_label=1", "g_optimizer.lr=5e-4", "step.stack=true"),
        *("d_optimizer.beta1=0.4", "train.batch_size=48", "train.ema_half_life=null"),
    ],
)
def test_whatever_changes_the_numbers_changes_the_fingerprint(change):
    plain = recipes.fingerprint(recipes.load("mlp-mnist"))
    assert recipes.fingerprint(recipes.load("mlp-mnist", [change])) != plain


@pytest.mark.parametrize(
    "change",
    ["name=other", "about=other", "log.samples=9", "reproduce.seeds=[4]", "train.epochs=99"],
)
def test_what_changes_no_number_leaves_the_fingerprint(change):
    plain = recipes.fingerprint(recipes.load("mlp-mnist-published"))
    assert recipes.fingerprint(recipes.load("mlp-mnist-published", [change])) == plain


def test_the_length_counts_where_a_learning_rate_falls_to_its_end():
    for kind, same in (
        ("step", True),
        ("linear", False),
        ("cosine", False),
        ("triangle", False),
    ):
        plan = f"d_optimizer.schedule={{kind: {kind}}}"
        a, b = (recipes.load("mlp-mnist-published", [plan, f"train.epochs={n}"]) for n in (5, 6))
        assert (recipes.fingerprint(a) == recipes.fingerprint(b)) is same


# --- mistakes -------------------------------------------------------------------------------------

TRAIN_KEYS = "epochs, batch_size, precision, ema_half_life, threads"


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (
            ["train.epoch=5"],
            f"recipe mlp-mnist: unknown key train.epoch: did you mean train.epochs? "
            f"Allowed here: {TRAIN_KEYS}.",
        ),
        (
            ["train.qqq=5"],
            f"recipe mlp-mnist: unknown key train.qqq. Allowed here: {TRAIN_KEYS}.",
        ),
        (
            ["train.epochs=five"],
            "recipe mlp-mnist: train.epochs must be a whole number, not 'five'.",
        ),
        (["train.epochs=2.5"], "recipe mlp-mnist: train.epochs must be a whole number, not 2.5."),
        (["train.epochs=true"], "recipe mlp-mnist: train.epochs must be a whole number, not True."),
        (
            ["train.batch_size="],
            "recipe mlp-mnist: train.batch_size must be a whole number, not None.",
        ),
        (
            ["train.epochs=0"],
            "recipe mlp-mnist: train.epochs must be greater than or equal to 1, not 0.",
        ),
        (["seed=-1"], "recipe mlp-mnist: seed must be greater than or equal to 0, not -1."),
        (
            ["seed=4294967296"],
            "recipe mlp-mnist: seed must be less than 4294967296, not 4294967296.",
        ),
        (["g_optimizer.lr=0"], "recipe mlp-mnist: g_optimizer.lr must be greater than 0, not 0."),
        (
            ["g_optimizer.lr=.inf"],
            "recipe mlp-mnist: g_optimizer.lr must be a finite number, not inf.",
        ),
        (["g_optimizer.lr=fast"], "recipe mlp-mnist: g_optimizer.lr must be a number, not 'fast'."),
        (["data.mean=.nan"], "recipe mlp-mnist: data.mean must be a finite number, not nan."),
        (["data.shuffle=1"], "recipe mlp-mnist: data.shuffle must be true or false, not 1."),
        (
            ["data.name=imagenet"],
            "recipe mlp-mnist: data.name must be 'mnist' or 'cifar10', not 'imagenet'.",
        ),
        (
            ["generator=5"],
            "recipe mlp-mnist: generator must be a section with keys of its own, not 5.",
        ),
        (
            ["generator.hidden=5"],
            "recipe mlp-mnist: generator.hidden must be a list, such as [64, 128], not 5.",
        ),
        (
            ["generator.hidden=[5,0]"],
            "recipe mlp-mnist: generator.hidden.1 must be greater than or equal to 1, not 0.",
        ),
        (
            ["generator.output=relu"],
            "recipe mlp-mnist: generator.output must be 'tanh', 'sigmoid' or 'identity', not 'relu'.",
        ),
        (
            ["loss.smoothing=0.1"],
            "recipe mlp-mnist: loss: give real_label (one-sided) or smoothing (two-sided), not both.",
        ),
        (
            ["step.n_dis=2", "step.reuse_fakes=true"],
            "recipe mlp-mnist: step: n_dis above 1 needs order: alternating and reuse_fakes: false.",
        ),
        (
            ["step.n_dis=2", "step.order=simultaneous"],
            "recipe mlp-mnist: step: n_dis above 1 needs order: alternating and reuse_fakes: false.",
        ),
        (["kind=vae"], "recipe mlp-mnist: kind must be one of gan, classifier, real, not 'vae'."),
        (
            ["name=../up"],
            "recipe mlp-mnist: name must be made of letters, digits, '.', '_' and '-' only, not '../up'.",
        ),
        (
            ["train.epochs"],
            "An override is written key=value, such as train.epochs=5, not 'train.epochs'.",
        ),
        (["=5"], "An override is written key=value, such as train.epochs=5, not '=5'."),
        (["generator.hidden=[1"], "The value in 'generator.hidden=[1' is not valid YAML."),
        (["train.epochs.x=5"], "train.epochs.x: epochs has no keys of its own."),
    ],
)
def test_a_wrong_override_is_one_sentence(overrides, sentence):
    with pytest.raises(RecipeError) as caught:
        recipes.load("mlp-mnist", overrides)
    assert str(caught.value) == sentence
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("pool", ["[3]", "[0, 7]", "[]"])
def test_pooling_after_a_layer_that_is_not_there_is_one_sentence(pool):
    with pytest.raises(RecipeError) as caught:
        recipes.load("sn-cgan-mnist-published", [f"discriminator.pool={pool}"])
    assert str(caught.value) == (
        "recipe sn-cgan-mnist-published: discriminator: pool names convolutions by numbers from 0 to "
        f"2, not {pool}."
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "FILE must be a mapping of keys to values."),
        ("- a\n", "FILE must be a mapping of keys to values."),
        ("a: 1\nb: [\n", "FILE is not valid YAML, line 3."),
        (
            "base: mlp-mnist\nseed: 1\nseed: 2\n",
            "FILE is not valid YAML, line 3: the key seed is written twice.",
        ),
        ("base: mlp-mnist\nname: x\n1: 2\n", "FILE: keys must be text, not 1."),
        ("name: x\nabout: y\n", "FILE: the key generator is missing."),
        ("about: y\n", "FILE: the key name is missing."),
        (
            "name: x\nabout: y\ngenerator: {latent_dim: 3}\n",
            "FILE: the key generator.family is missing.",
        ),
        (
            "base: mlp-mnist\nname: x\ndata:\n",
            "FILE: data must be a section with keys of its own, not None.",
        ),
        ("base: 5\n", "FILE: base must be the name of a recipe, not 5."),
        ("base: FILE\n", "FILE: base 'FILE' leads back to itself."),
        ("kind: [1]\n", "FILE: kind must be one of gan, classifier, real, not [1]."),
        (
            "base: classifier-mnist\nname: x\nkind: gan\n",
            "FILE: the key generator is missing.",
        ),
        (
            "base: mlp-mnist\nabout: its runs would pass for those of mlp-mnist\n",
            "FILE: a recipe with a base needs a name of its own, for its runs to lie under.",
        ),
    ],
)
def test_a_wrong_file_is_one_sentence_that_names_it(text, sentence, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(text.replace("FILE", str(file)), encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        recipes.load(file)
    assert str(caught.value) == sentence.replace("FILE", str(file))


def test_a_base_lies_beside_the_recipe_that_names_it(tmp_path, monkeypatch):
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "parent.yaml").write_text("base: mlp-mnist\nname: parent\nseed: 7")
    (tmp_path / "recipes" / "child.yaml").write_text("base: parent.yaml\nname: child")
    monkeypatch.chdir(tmp_path)
    assert recipes.load("recipes/child.yaml").seed == 7


def test_plans_that_could_only_fail_after_the_training():
    for override, sentence in (
        ("reproduce.history_rows=1", "history_rows must be greater than or equal to 2, not 1"),
        ("reproduce.inception={samples: 2048}", "samples must be greater than 2048"),
        ("reproduce.inception={fewer: [2000]}", "must be greater than or equal to 3000, not 2000"),
        ("reproduce.inception={fewer: [10000]}", "fewer holds smaller numbers than samples"),
    ):
        with pytest.raises(RecipeError, match=sentence):
            recipes.load("mlp-mnist", [override])


def test_files_that_are_no_text_and_files_that_are_not_there(tmp_path):
    (tmp_path / "picture.yaml").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(RecipeError, match=r"picture\.yaml is not valid YAML\."):
        recipes.load(tmp_path / "picture.yaml")
    with pytest.raises(RecipeError, match=r"There is no recipe file .*nothing\.yaml\."):
        recipes.load(tmp_path / "nothing.yaml")


def test_unknown_recipes_get_the_nearest_names():
    with pytest.raises(RecipeError) as caught:
        recipes.load("mlp-minst")
    near = str(caught.value)
    assert near.startswith("There is no recipe 'mlp-minst'; did you mean mlp-mnist or ")
    assert near.endswith("? 'gantut recipes' shows them all.")
    with pytest.raises(RecipeError, match=r"no recipe 'zzz'\. 'gantut recipes' shows them all\.$"):
        recipes.load("zzz")


@pytest.mark.parametrize(
    ("given", "file", "end"),
    [
        ("mine", "mine.yaml", ".yaml; did you mean mine.yaml?"),
        ("mine", "mine.yml", ".yaml; did you mean mine.yml?"),
        ("folder/mine", "folder/mine.yaml", ".yaml; did you mean folder/mine.yaml?"),
        ("mine.txt", "mine.txt", ".yaml."),
    ],
)
def test_a_file_without_its_ending_gets_a_hint(given, file, end, tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    (tmp_path / file).write_text("base: mlp-mnist\nname: mine\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError) as caught:
        recipes.load(given)
    start = f"There is no recipe {given!r}: a recipe of your own is a file that ends in "
    assert str(caught.value) == start + end


def test_every_key_says_what_it_means():
    sections = [s for s in vars(schema).values() if isinstance(s, type)]
    sections = [s for s in sections if issubclass(s, schema.Section)]
    assert len(sections) > 15
    for section in sections:
        for key, field in section.model_fields.items():
            assert field.description, (section.__name__, key)
            assert "\n" not in field.description


def test_a_recipe_is_data_and_nothing_else():
    recipe = recipes.load("mlp-mnist")
    assert json.loads(recipe.model_dump_json()) == recipe.model_dump()
    with pytest.raises(RecipeError, match="not valid YAML"):
        recipes.load("mlp-mnist", ["name=!!python/object/apply:print [x]"])
