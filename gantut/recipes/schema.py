"""The shape of a recipe: every key, its type, its default and its limits."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
# It names a folder, so it must not lead out of the one that it is put in.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class Section(BaseModel):
    """Base of all sections: unknown keys and wrong types are errors, never guesses."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Data(Section):
    """Which images, and how their bytes become numbers: (byte / 255 - mean) / std."""

    name: Literal["mnist", "cifar10"] = "mnist"
    path: str | None = Field(None, description="a folder of images of your own, instead of name")
    image_size: Positive | None = Field(None, description="resize a folder's images to this square")
    channels: Literal[1, 3] | None = Field(
        None, description="make a folder's images grey or colour"
    )
    split: Literal["train", "test"] = "train"
    limit: Positive | None = Field(None, description="use only the first so many images")
    mean: float = 0.5
    std: Annotated[float, Field(gt=0)] = 0.5
    shuffle: bool = True
    replacement: bool = Field(False, description="draw each image by chance from all of them")

    @model_validator(mode="after")
    def _possible(self):
        if self.replacement and not self.shuffle:
            raise ValueError("replacement needs shuffle")
        return self

    @property
    def source(self) -> str:
        return self.path or self.name


class MLPGenerator(Section):
    family: Literal["mlp"]
    latent_dim: Positive = 100
    hidden: list[Positive] = [32, 64, 128]
    slope: Share = 0.2
    dropout: Share = 0.0
    batchnorm: bool = False
    output: Literal["tanh", "sigmoid", "identity"] = "tanh"
    latent: Literal["normal", "uniform"] = "normal"


class MLPDiscriminator(Section):
    family: Literal["mlp"]
    hidden: list[Positive] = [128, 64, 32]
    slope: Share = 0.2
    dropout: Share = 0.0


class DCGANGenerator(Section):
    """See :class:`gantut.models.dcgan.Generator`."""

    family: Literal["dcgan"]
    latent_dim: Positive = 100
    widths: Annotated[list[Positive], Field(min_length=1)] = [128, 64]
    kernel_size: Annotated[int, Field(ge=2)] = 4
    batchnorm: bool = True
    slope: Share = 0.0
    output: Literal["tanh", "sigmoid", "identity"] = "tanh"
    latent: Literal["normal", "uniform"] = "normal"


class DCGANDiscriminator(Section):
    """See :class:`gantut.models.dcgan.Discriminator`."""

    family: Literal["dcgan"]
    widths: Annotated[list[Positive], Field(min_length=1)] = [64, 128]
    kernel_size: Annotated[int, Field(ge=2)] = 4
    batchnorm: bool = True
    slope: Share = 0.2
    dropout: Share = 0.0


Padding = Literal["same", "valid"]


class CGANGenerator(Section):
    """See :class:`gantut.models.cgan.Generator`."""

    family: Literal["cgan"]
    latent_dim: Positive = 100
    embed_dim: Positive = 50
    side: Positive = 7
    widths: Annotated[list[Positive], Field(min_length=1)] = [128, 128, 128]
    kernels: list[Positive] = [4, 4]
    strides: list[Positive] = [2, 2]
    paddings: list[Padding] | None = None
    last_kernel: Positive = 5
    slope: Share = 0.0
    norm: Literal["after", "before", "none"] = "after"
    norm_eps: Annotated[float, Field(gt=0)] = 1e-5
    norm_momentum: Annotated[float, Field(gt=0, le=1)] = 0.1
    label_slope: Share | None = None
    label_norm: bool = True
    spectral: Literal["reparametrise", "renormalise"] | None = None
    init: Literal["glorot", "normal"] = "glorot"
    output: Literal["tanh", "sigmoid", "identity"] = "tanh"
    latent: Literal["normal", "uniform"] = "normal"


class CGANDiscriminator(Section):
    """See :class:`gantut.models.cgan.Discriminator`."""

    family: Literal["cgan"]
    embed_dim: Positive = 50
    widths: Annotated[list[Positive], Field(min_length=1)] = [128, 128]
    kernels: list[Positive] = [3, 3]
    strides: list[Positive] = [2, 2]
    padding: Padding = "same"
    pool: list[Annotated[int, Field(ge=0)]] | None = None
    hidden: list[Positive] = []
    slope: Share = 0.2
    norm: Literal["after", "before", "none"] = "after"
    norm_eps: Annotated[float, Field(gt=0)] = 1e-5
    norm_momentum: Annotated[float, Field(gt=0, le=1)] = 0.1
    first_norm: bool = True
    label_slope: Share | None = 0.2
    label_norm: bool = True
    dropout: Share = 0.4
    spatial_dropout: Share = 0.0
    spectral: Literal["reparametrise", "renormalise"] | None = None
    spectral_label: bool = True
    init: Literal["glorot", "normal"] = "glorot"


class Loss(Section):
    """See :mod:`gantut.losses`."""

    name: Literal["non-saturating", "minimax"] = "non-saturating"
    real_label: Annotated[float, Field(gt=0, le=1)] = 1.0
    smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    reduction: Literal["sum", "mean"] = "sum"

    @model_validator(mode="after")
    def _one_kind_of_smoothing(self):
        if self.smoothing and self.real_label != 1:
            raise ValueError("give real_label (one-sided) or smoothing (two-sided), not both")
        return self


class Schedule(Section):
    """How a learning rate changes: ``step`` multiplies it by ``factor`` every ``every`` epochs;
    ``linear`` and ``cosine`` take it to 0 over the whole budget; ``triangle`` takes it from 0 up in
    the first fifth of the budget, then down to 0."""

    kind: Literal["step", "linear", "cosine", "triangle"]
    factor: Annotated[float, Field(gt=0, le=1)] = 0.8
    every: Positive = 10


class Adam(Section):
    """Kingma & Ba 2015.  ``weight_decay`` is decoupled (AdamW) where it is not 0."""

    lr: Annotated[float, Field(gt=0)] = 2e-4
    beta1: Share = 0.9
    beta2: Share = 0.999
    eps: Annotated[float, Field(gt=0)] = 1e-8
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    schedule: Schedule | None = None


class Step(Section):
    """See :mod:`gantut.steps`."""

    order: Literal["alternating", "simultaneous"] = "alternating"
    n_dis: Positive = 1
    reuse_fakes: bool = False
    stack: bool = False
    fake_labels: Literal["real", "uniform"] = "real"
    mismatched: Share = Field(
        0.0, description="share of D's loss on fakes that goes to real images under wrong labels"
    )
    g_batch: Positive | None = Field(
        None, description="fakes in the generator's turn; as many as real images if null"
    )
    frozen_norm: bool = Field(
        False, description="D's batch statistics are the stored ones in the generator's turn"
    )
    settled_fakes: bool = Field(
        False, description="fakes for D's turn come from the generator in evaluation mode"
    )

    @model_validator(mode="after")
    def _possible(self):
        plain = self.g_batch is None and not self.frozen_norm and not self.settled_fakes
        if not plain and (self.order == "simultaneous" or self.reuse_fakes):
            raise ValueError(
                "g_batch, frozen_norm and settled_fakes need order: alternating and "
                "reuse_fakes: false"
            )
        if self.n_dis > 1 and (self.order == "simultaneous" or self.reuse_fakes):
            raise ValueError("n_dis above 1 needs order: alternating and reuse_fakes: false")
        return self


class Train(Section):
    """The budget and how it is spent."""

    epochs: Positive = 1
    batch_size: Positive = 64
    precision: Literal["float32", "bf16"] = "float32"
    ema_half_life: Annotated[float, Field(gt=0)] | None = Field(
        None, description="images after which an old weight counts half in the averaged generator"
    )
    threads: Positive | None = Field(None, description="CPU threads; torch's choice if null")


class Log(Section):
    """What is written down, and how often."""

    checkpoint_seconds: Annotated[float, Field(ge=0)] = 30.0
    samples: Positive = Field(64, description="images in each sample grid, from a fixed z")
    snapshots: list[Positive] = Field([], description="epochs after which weights are kept")
    tensorboard: bool = False


# The Inception network has 2,048 features, and a covariance of them needs more images than that.
Enough = Annotated[int, Field(gt=2048)]


class InceptionPlan(Section):
    """What ``gantut reproduce`` has the Inception network look at, which takes a processor hours."""

    seeds: list[Seed] = [0]
    reference: Literal["train", "test"] = "train"
    samples: Enough = 10_000
    samples_on_gpu: Enough = 50_000
    fewer: list[Annotated[int, Field(ge=3000, multiple_of=1000)]] = Field(
        [], description="smaller numbers of samples, to show what they do to the metrics"
    )

    @model_validator(mode="after")
    def _fewer(self):
        if self.fewer and max(self.fewer) >= min(self.samples, self.samples_on_gpu):
            raise ValueError("fewer holds smaller numbers than samples")
        return self

    def samples_on(self, device: str) -> int:
        return self.samples if device == "cpu" else self.samples_on_gpu


class Reproduce(Section):
    """What ``gantut reproduce`` does with the recipe."""

    seeds: list[Seed] = Field([0], description="empty: no finished run is kept")
    samples: Positive = Field(10_000, description="measured by the classifier of the data")
    inception: InceptionPlan | None = None
    keep_best: bool = Field(
        False, description="keep the weights of the snapshot of least Fréchet distance as well"
    )
    publish_weights: bool = Field(True, description="false: only their samples are kept")
    progress: bool = Field(True, description="false: no sheet of samples over time is kept")
    history_rows: Annotated[int, Field(ge=2)] = Field(
        250, description="at most, of the history that is published"
    )
    sheet: Positive = Field(100, description="samples on the sheet of the first seed")
    other_sheets: Positive = Field(
        100, description="samples on the sheets of all seeds but the first"
    )


class BaseRecipe(Section):
    name: Name
    about: str = Field(description="one or two sentences: what this run is, and after whom")
    seed: Seed = 0
    data: Data = Data()
    train: Train = Train()
    log: Log = Log()
    reproduce: Reproduce = Reproduce()


class GANRecipe(BaseRecipe):
    """A generator against a discriminator."""

    kind: Literal["gan"] = "gan"
    generator: MLPGenerator | DCGANGenerator | CGANGenerator = Field(discriminator="family")
    discriminator: MLPDiscriminator | DCGANDiscriminator | CGANDiscriminator = Field(
        discriminator="family"
    )
    loss: Loss = Loss()
    g_optimizer: Adam = Adam()
    d_optimizer: Adam = Adam()
    step: Step = Step()

    @model_validator(mode="after")
    def _players_that_can_play(self):
        if (self.generator.family == "cgan") != (self.discriminator.family == "cgan"):
            raise ValueError(
                "a conditional generator needs a conditional discriminator, and the other way round"
            )
        if getattr(self.discriminator, "spectral", None) == "renormalise" and not self.step.stack:
            raise ValueError(
                "discriminator.spectral: renormalise changes weights in each pass, so real and fake "
                "images must go through in one: it needs step.stack: true"
            )
        return self


class RealRecipe(BaseRecipe):
    """Real images, measured as though a generator had made them: what the best one would score.

    Nothing is trained; there is a finished run, whose samples are the first of the split.
    """

    kind: Literal["real"]


class DigitClassifier(Section):
    family: Literal["digit-cnn"]
    width: Positive = 32
    dropout: Share = 0.3


class ObjectClassifier(Section):
    family: Literal["object-cnn"]
    widths: Annotated[list[Positive], Field(min_length=1)] = [64, 256, 256]


class ClassifierOptimizer(Adam):
    """Adam, or ``kind: sgd`` with Nesterov's momentum, which then takes no betas."""

    kind: Literal["adam", "sgd"] = "adam"
    momentum: Share = 0.9


class ClassifierRecipe(BaseRecipe):
    """A classifier trained on real images: an independent judge of generated ones."""

    kind: Literal["classifier"]
    classifier: DigitClassifier | ObjectClassifier = Field(discriminator="family")
    optimizer: ClassifierOptimizer = ClassifierOptimizer()
    label_smoothing: Share = 0.0
    shift: Annotated[int, Field(ge=0, le=4)] = Field(0, description="random shifts, pixels")
    rotate: Annotated[float, Field(ge=0, le=45)] = Field(0.0, description="random turns, degrees")
    crop: Annotated[int, Field(ge=0, le=8)] = Field(
        0, description="random whole shifts, pixels; what comes in is mirrored at the edge"
    )
    flip: bool = Field(False, description="turn every other image round, left to right, by chance")
