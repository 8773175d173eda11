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

    name: Literal["mnist", "cifar10"] = Field("mnist", description="the data set")
    path: str | None = Field(None, description="a folder of images of your own, instead of name")
    image_size: Positive | None = Field(None, description="resize a folder's images to this square")
    channels: Literal[1, 3] | None = Field(
        None, description="make a folder's images grey or colour"
    )
    split: Literal["train", "test"] = Field("train", description="which part of the images")
    limit: Positive | None = Field(None, description="use only the first so many images")
    mean: float = Field(0.5, description="0.5, and 0.5 as std, make images in [-1, 1]")
    std: Annotated[float, Field(gt=0)] = Field(0.5, description="see mean")
    shuffle: bool = Field(True, description="a new random order in each epoch")
    replacement: bool = Field(False, description="draw each image by chance from all of them")
    drop_last: bool = Field(False, description="leave out images that do not fill a last batch")

    @model_validator(mode="after")
    def _possible(self):
        if self.replacement and not self.shuffle:
            raise ValueError("replacement needs shuffle")
        return self

    @property
    def source(self) -> str:
        return self.path or self.name


# --- networks: what keys of several families mean ---------------------------------------------------

LatentDim = Annotated[Positive, Field(description="coordinates of a latent vector z")]
Latent = Annotated[
    Literal["normal", "uniform"], Field(description="where z is from: N(0, 1) or U(-1, 1)")
]
Output = Annotated[
    Literal["tanh", "sigmoid", "identity"],
    Field(description="last activation, for images in [-1, 1], in [0, 1] or without limits"),
]
Slope = Annotated[Share, Field(description="of the leaky ReLUs; 0: plain ReLUs")]
Widths = Annotated[list[Positive], Field(min_length=1)]
Padding = Literal["same", "valid"]
EmbedDim = Annotated[Positive, Field(description="coordinates of a label's embedding")]
Norm = Annotated[
    Literal["after", "before", "none"],
    Field(description="batch normalisation after each activation, before it, or nowhere"),
]
NormEps = Annotated[float, Field(gt=0, description="of batch normalisation: added to the variance")]
NormMomentum = Annotated[
    float, Field(gt=0, le=1, description="of batch normalisation: weight of a new batch")
]
LabelSlope = Annotated[
    Share | None, Field(description="of the label's map; null: no activation there")
]
LabelNorm = Annotated[bool, Field(description="batch normalisation of the label's map")]
Spectral = Annotated[
    Literal["reparametrise", "renormalise"] | None,
    Field(description="spectral normalisation, done as in torch or as in Keras; null: none"),
]
SpectralLayers = Annotated[
    list[Annotated[int, Field(ge=0)]] | None,
    Field(description="of these layers only, counted from 0; null: of all"),
]
Init = Annotated[
    Literal["glorot", "normal"], Field(description="first weights: Keras's or the DCGAN's")
]


class MLPGenerator(Section):
    """See :class:`gantut.models.mlp.Generator`."""

    family: Literal["mlp"] = Field(description="dense layers")
    latent_dim: LatentDim = 100
    hidden: list[Positive] = Field([32, 64, 128], description="widths of the layers, from z on")
    slope: Slope = 0.2
    dropout: Share = Field(0.0, description="share zeroed after every hidden layer")
    batchnorm: bool = Field(False, description="before every hidden activation")
    output: Output = "tanh"
    latent: Latent = "normal"


class MLPDiscriminator(Section):
    """See :class:`gantut.models.mlp.Discriminator`."""

    family: Literal["mlp"] = Field(description="dense layers")
    hidden: list[Positive] = Field([128, 64, 32], description="widths, from the image on")
    slope: Slope = 0.2
    dropout: Share = Field(0.0, description="share zeroed after every hidden layer")


class DCGANGenerator(Section):
    """See :class:`gantut.models.dcgan.Generator`."""

    family: Literal["dcgan"] = Field(description="transposed convolutions")
    latent_dim: LatentDim = 100
    widths: Widths = Field([128, 64], description="channels of the maps; each doubles the side")
    kernel_size: Annotated[int, Field(ge=2)] = Field(4, description="of these convolutions")
    batchnorm: bool = Field(True, description="before every activation but the last")
    slope: Slope = 0.0
    output: Output = "tanh"
    latent: Latent = "normal"


class DCGANDiscriminator(Section):
    """See :class:`gantut.models.dcgan.Discriminator`."""

    family: Literal["dcgan"] = Field(description="strided convolutions")
    widths: Widths = Field([64, 128], description="channels of the maps; each halves the side")
    kernel_size: Annotated[int, Field(ge=2)] = Field(4, description="of these convolutions")
    batchnorm: bool = Field(True, description="before every activation but the first")
    slope: Slope = 0.2
    dropout: Share = Field(0.0, description="share of whole maps zeroed after every activation")


class CGANGenerator(Section):
    """See :class:`gantut.models.cgan.Generator`."""

    family: Literal["cgan"] = Field(description="convolutions that are told a label")
    latent_dim: LatentDim = 100
    embed_dim: EmbedDim = 50
    side: Positive = Field(7, description="of the first maps")
    widths: Widths = Field(
        [128, 128, 128], description="channels of the first maps, then of each layer"
    )
    kernels: list[Positive] = Field([4, 4], description="of the layers, one fewer than widths")
    strides: list[Positive] = Field([2, 2], description="of the same layers")
    paddings: list[Padding] | None = Field(None, description="of the same layers; null: same")
    last_kernel: Positive = Field(5, description="of the convolution that makes the image")
    slope: Slope = 0.0
    norm: Norm = "after"
    norm_eps: NormEps = 1e-5
    norm_momentum: NormMomentum = 0.1
    label_slope: LabelSlope = None
    label_norm: LabelNorm = True
    spectral: Spectral = None
    spectral_layers: SpectralLayers = None
    init: Init = "glorot"
    output: Output = "tanh"
    latent: Latent = "normal"


class CGANDiscriminator(Section):
    """See :class:`gantut.models.cgan.Discriminator`."""

    family: Literal["cgan"] = Field(description="convolutions that are told a label")
    embed_dim: EmbedDim = 50
    widths: Widths = Field([128, 128], description="channels of each convolution")
    kernels: list[Positive] = Field([3, 3], description="of each convolution")
    strides: list[Positive] = Field([2, 2], description="of each convolution")
    padding: Padding = Field("same", description="of all of them")
    pool: list[Annotated[int, Field(ge=0)]] | None = Field(
        None, description="convolutions, counted from 0, with a max pooling after; null: none"
    )
    hidden: list[Positive] = Field([], description="widths of dense layers before the logit")
    slope: Slope = 0.2
    norm: Norm = "after"
    norm_eps: NormEps = 1e-5
    norm_momentum: NormMomentum = 0.1
    first_norm: bool = Field(True, description="normalise the first convolution, too")
    label_slope: LabelSlope = 0.2
    label_norm: LabelNorm = True
    dropout: Share = Field(
        0.4, description="share zeroed before the last layer and after dense ones"
    )
    spatial_dropout: Share = Field(0.0, description="share of whole maps zeroed after each block")
    spectral: Spectral = None
    spectral_layers: SpectralLayers = None
    spectral_label: bool = Field(True, description="also of the label's dense layer")
    init: Init = "glorot"

    @model_validator(mode="after")
    def _pooling_after_its_own_layers(self):
        last = len(self.widths) - 1
        if self.pool is not None and not (self.pool and max(self.pool) <= last):
            raise ValueError(
                f"pool names convolutions by numbers from 0 to {last}, not {self.pool}"
            )
        return self


# --- the game -----------------------------------------------------------------------------------------


class Loss(Section):
    """See :mod:`gantut.losses`."""

    name: Literal["non-saturating", "minimax"] = Field(
        "non-saturating", description="G minimises -log D(G(z)), or log(1 - D(G(z)))"
    )
    real_label: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="D's target for real images; below 1: one-sided smoothing"
    )
    smoothing: Annotated[float, Field(ge=0, lt=0.5)] = Field(
        0.0, description="D's targets are drawn from so far below 1, so far above 0"
    )
    reduction: Literal["sum", "mean"] = Field(
        "sum", description="of D's losses on real and on fake images"
    )

    @model_validator(mode="after")
    def _one_kind_of_smoothing(self):
        if self.smoothing and self.real_label != 1:
            raise ValueError("give real_label (one-sided) or smoothing (two-sided), not both")
        return self


class Schedule(Section):
    """How a learning rate changes: ``step`` multiplies it by ``factor`` every ``every`` epochs;
    ``linear`` and ``cosine`` take it to 0 over the whole budget; ``triangle`` takes it from 0 up in
    the first fifth of the budget, then down to 0."""

    kind: Literal["step", "linear", "cosine", "triangle"] = Field(description="see above")
    factor: Annotated[float, Field(gt=0, le=1)] = Field(0.8, description="of step only")
    every: Positive = Field(10, description="of step only, epochs")
    delay: Annotated[float, Field(ge=0)] = Field(
        0.0, description="of step only, epochs before the first of these begins"
    )


class Adam(Section):
    """Kingma & Ba 2015.  ``weight_decay`` is decoupled (AdamW) where it is not 0."""

    lr: Annotated[float, Field(gt=0)] = Field(2e-4, description="the learning rate")
    beta1: Share = Field(0.9, description="share of the old mean of gradients that stays")
    beta2: Share = Field(0.999, description="the same of the mean of their squares")
    eps: Annotated[float, Field(gt=0)] = Field(1e-8, description="added to what is divided by")
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.0, description="see above")
    schedule: Schedule | None = Field(None, description="how lr changes; null: it does not")


class Step(Section):
    """See :mod:`gantut.steps`."""

    order: Literal["alternating", "simultaneous"] = Field(
        "alternating", description="G moves against the new D, or both move at once"
    )
    n_dis: Positive = Field(1, description="moves of D in each round")
    reuse_fakes: bool = Field(False, description="G's turn takes the fakes that D has just seen")
    stack: bool = Field(False, description="D sees real and fake images as one batch")
    fake_labels: Literal["real", "uniform"] = Field(
        "real", description="of fakes: those of the real batch, or drawn by chance"
    )
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

    epochs: Positive = Field(1, description="passes through the images")
    batch_size: Positive = Field(64, description="real images in a batch")
    precision: Literal["float32", "bf16"] = Field("float32", description="of the forward passes")
    ema_half_life: Annotated[float, Field(gt=0)] | None = Field(
        None, description="images after which an old weight counts half in the averaged generator"
    )
    threads: Positive | None = Field(None, description="CPU threads; torch's choice if null")


class Log(Section):
    """What is written down, and how often."""

    checkpoint_seconds: Annotated[float, Field(ge=0)] = Field(
        30.0, description="least time between two checkpoints"
    )
    samples: Positive = Field(64, description="images in each sample grid, from a fixed z")
    snapshots: list[Positive] = Field([], description="epochs after which weights are kept")
    tensorboard: bool = Field(False, description="write the curves for TensorBoard, too")


# The Inception network has 2,048 features, and a covariance of them needs more images than that.
Enough = Annotated[int, Field(gt=2048)]


class InceptionPlan(Section):
    """What ``gantut reproduce`` has the Inception network look at, which takes a processor hours."""

    seeds: list[Seed] = Field([0], description="of reproduce.seeds, those that it looks at")
    reference: Literal["train", "test"] = Field("train", description="which real images")
    samples: Enough = Field(10_000, description="generated images, on a processor")
    samples_on_gpu: Enough = Field(50_000, description="generated images, on a GPU")
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

    seeds: list[Seed] = Field([0], description="all of them are trained; empty: none")
    samples: Positive = Field(10_000, description="measured by the classifier of the data")
    inception: InceptionPlan | None = Field(None, description="null: it does not look")
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
    """The keys of every recipe."""

    name: Name = Field(description="under which its runs are kept")
    about: str = Field(description="one or two sentences: what this run is, and after whom")
    seed: Seed = Field(0, description="of all that is left to chance")
    data: Data = Field(Data(), description="which images")
    train: Train = Field(Train(), description="for how long")
    log: Log = Field(Log(), description="what is written down")
    reproduce: Reproduce = Field(Reproduce(), description="for gantut reproduce only")


class GANRecipe(BaseRecipe):
    """A generator against a discriminator."""

    kind: Literal["gan"] = Field("gan", description="what is trained")
    generator: MLPGenerator | DCGANGenerator | CGANGenerator = Field(
        discriminator="family", description="its layers"
    )
    discriminator: MLPDiscriminator | DCGANDiscriminator | CGANDiscriminator = Field(
        discriminator="family", description="its layers"
    )
    loss: Loss = Field(Loss(), description="what they play for")
    g_optimizer: Adam = Field(Adam(), description="how the generator learns")
    d_optimizer: Adam = Field(Adam(), description="how the discriminator learns")
    step: Step = Field(Step(), description="how they take turns")

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

    kind: Literal["real"] = Field(description="nothing is trained")


class DigitClassifier(Section):
    """See :class:`gantut.models.classifier.DigitClassifier`."""

    family: Literal["digit-cnn"] = Field(description="for grey digits, 28 x 28")
    width: Positive = Field(32, description="channels of the first convolution; then twice as many")
    dropout: Share = Field(0.3, description="share zeroed before each dense layer")


class ObjectClassifier(Section):
    """See :class:`gantut.models.classifier.ObjectClassifier`."""

    family: Literal["object-cnn"] = Field(description="for photographs in colour, 32 x 32")
    widths: Widths = Field([64, 256, 256], description="channels of the three blocks")


class ClassifierOptimizer(Adam):
    """Adam, or ``kind: sgd`` with Nesterov's momentum, which then takes no betas."""

    kind: Literal["adam", "sgd"] = Field("adam", description="see above")
    momentum: Share = Field(0.9, description="of sgd only")


class ClassifierRecipe(BaseRecipe):
    """A classifier trained on real images: an independent judge of generated ones."""

    kind: Literal["classifier"] = Field(description="what is trained")
    classifier: DigitClassifier | ObjectClassifier = Field(
        discriminator="family", description="its layers"
    )
    optimizer: ClassifierOptimizer = Field(ClassifierOptimizer(), description="how it learns")
    label_smoothing: Share = Field(
        0.0, description="share of the target that is spread over all classes"
    )
    shift: Annotated[int, Field(ge=0, le=4)] = Field(0, description="random shifts, pixels")
    rotate: Annotated[float, Field(ge=0, le=45)] = Field(0.0, description="random turns, degrees")
    crop: Annotated[int, Field(ge=0, le=8)] = Field(
        0, description="random whole shifts, pixels; what comes in is mirrored at the edge"
    )
    flip: bool = Field(False, description="turn every other image round, left to right, by chance")
