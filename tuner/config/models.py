"""What a study holds: one typed, frozen, complete model with a rule for every field."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from tuner.config.validation import Rule
from tuner.config.yaml_text import to_flow
from tuner.errors import StudyFileError

_Number = TypeVar("_Number", int, float)


def _broken(message: str) -> PydanticCustomError:
    # The message goes in as a value: braces in it are the user's, not placeholders.
    return PydanticCustomError("study", "{message}", {"message": message})


def _rising(limits: tuple[_Number, _Number]) -> tuple[_Number, _Number]:
    low, high = limits
    if low > high:
        raise _broken(f"{to_flow(limits)} runs downwards; write {to_flow((high, low))}")
    return limits


def _distinct(items: tuple[str, ...]) -> tuple[str, ...]:
    twice = sorted({item for item in items if items.count(item) > 1})
    if twice:
        raise _broken(f"{to_flow(twice[0])} is listed more than once in {to_flow(items)}")
    return items


def _not_empty(items: tuple[str, ...]) -> tuple[str, ...]:
    if not items:
        raise _broken("the list is empty; name at least one, for example [none]")
    return items


# YAML gives lists where the models keep tuples; items stay strict.
_from_list = Field(strict=False)
_Gamma = Annotated[float, Field(ge=0, le=5)]
_Share = Annotated[float, Field(ge=0, le=1)]
_Multiplier = Annotated[int, Field(ge=0, le=8)]
_Zoom = Annotated[float, Field(gt=0)]
_Ordered = AfterValidator(_rising)
_Text = Annotated[str, Field(pattern=r"^[^\x00]+$"), Rule("text that is not empty")]
_Name = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}$"),
    Rule("1 to 100 letters, digits, '.', '_' or '-', the first not '.'"),
]
ClassWeightMode = Literal["none", "sqrt", "balanced", "effective_number"]
Metric = Literal["macro_recall", "macro_f1", "g_mean", "mcc", "accuracy"]
Sampler = Literal["tpe", "random", "qmc", "gp"]


class _Block(BaseModel):
    """Unknown keys, loose types and numbers that are not finite are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class DataConfig(_Block):
    """Which images, and which of them belong together."""

    source: _Text = Field(
        description="folder per class | manifest .csv (path,label[,group][,split]) | digits",
        examples=["data/steel"],
    )
    root: _Text | None = Field(
        default=None, description="folder that a manifest's paths are relative to"
    )
    image_px: int = Field(
        default=224, ge=32, le=1024, description="side of the square images, in pixels"
    )
    group_by: _Text | None = Field(
        default=None,
        description="manifest column | near_duplicates: kept on one side of each split",
    )
    include: Annotated[tuple[_Text, ...], _from_list, AfterValidator(_distinct)] = Field(
        default=(), description='only files like these, for example "*.jpg"; empty: all'
    )
    exclude: Annotated[tuple[_Text, ...], _from_list, AfterValidator(_distinct)] = Field(
        default=(), description='leave out files like these, for example "*_mask.png"'
    )


class SplitConfig(_Block):
    """Sealed test and validation folds."""

    test_fraction: float = Field(
        default=0.2, gt=0, le=0.5, description="sealed before anything else"
    )
    folds: int = Field(
        default=3, ge=2, le=20, description="validation folds, trained in lock-step"
    )


class BackboneConfig(_Block):
    """Frozen ResNet50."""

    weights: _Text = Field(default="imagenet", description="imagenet | path to .h5 | random")
    precision: Literal["float32", "bfloat16"] = Field(default="float32", description="or bfloat16")


class SearchConfig(_Block):
    """The four hyperparameters and how they are searched."""

    trials: int = Field(default=60, ge=1, description="finished trials in all, complete or pruned")
    sampler: Sampler = Field(default="tpe", description="tpe | random | qmc | gp")
    pruner: Literal["median", "none"] = Field(default="median", description="median | none")
    retries: int = Field(default=3, ge=0, description="of a trial whose process died")
    batch: int | None = Field(
        default=None,
        ge=1,
        description="trials asked and trained together; null: 1 on a CPU, 8 on a GPU",
    )
    gamma: Annotated[tuple[_Gamma, _Gamma], _from_list, _Ordered] = Field(
        default=(0.0, 5.0), description="focusing of the focal loss; 0 is cross-entropy"
    )
    alpha: Annotated[tuple[_Share, _Share], _from_list, _Ordered] | None = Field(
        default=None, description="balance of the focal loss; null: 0.05 to 1.0, two classes 0.95"
    )
    augmentation_multiplier: Annotated[tuple[_Multiplier, _Multiplier], _from_list, _Ordered] = (
        Field(default=(0, 8), description="views added for each image of a rare class")
    )
    class_weight_mode: Annotated[
        tuple[ClassWeightMode, ...],
        _from_list,
        AfterValidator(_distinct),
        AfterValidator(_not_empty),
    ] = Field(
        default=("none", "sqrt", "balanced", "effective_number"), description="any of these four"
    )


class ObjectiveConfig(_Block):
    """What the search makes large."""

    metric: Metric = Field(
        default="macro_recall", description="macro_recall | macro_f1 | g_mean | mcc | accuracy"
    )
    recall_floor: float | None = Field(
        default=None, ge=0, le=1, description="lowest recall allowed for the worst class"
    )


class AugmentationConfig(_Block):
    """Views of an image and how many rows they may add."""

    view_seed: int = Field(
        default=0, ge=0, lt=2**31, description="a change needs a new feature bank"
    )
    rotation_deg: float = Field(
        default=20.0, ge=0, le=180, description="up to this to either side"
    )
    shift: float = Field(
        default=0.2, ge=0, le=1, description="up to this share of the side, each axis"
    )
    zoom: Annotated[tuple[_Zoom, _Zoom], _from_list, _Ordered] = Field(
        default=(0.8, 1.2), description="each axis"
    )
    flip: bool = Field(default=True, description="left to right, half of the views")
    cap: Annotated[
        Literal["largest", "none"], BeforeValidator(lambda cap: "none" if cap is None else cap)
    ] = Field(default="largest", description="no class rises above the largest | none")


class TrainingConfig(_Block):
    """The fixed recipe of every head."""

    mode: Literal["bank", "live"] = Field(
        default="bank",
        description="bank: cached views | live: images, other views each time, far slower",
    )
    hidden_units: int = Field(default=512, ge=1, description="of the dense layer")
    dropout: float = Field(default=0.3, ge=0, lt=1, description="share of units left out")
    learning_rate: float = Field(default=1e-4, gt=0, description="of Adam, at the start")
    batch_size: int = Field(default=32, ge=1, description="rows in each step")
    epochs: int = Field(default=50, ge=1, description="at most")
    patience: int = Field(
        default=5, ge=1, description="epochs without improvement before the stop"
    )
    lr_factor: float = Field(default=0.2, gt=0, lt=1, description="learning rate times this …")
    lr_patience: int = Field(
        default=3, ge=1, description="… after as many epochs without improvement"
    )
    min_learning_rate: float = Field(default=1e-6, ge=0, description="floor of the learning rate")
    effective_number_beta: float = Field(
        default=0.999, ge=0, lt=1, description="of class_weight_mode effective_number"
    )


class StudyConfig(_Block):
    """One study: a question, its data, and everything that changes its numbers."""

    name: _Name = Field(
        description="of the folder and of the MLflow experiment", examples=["steel"]
    )
    seed: int = Field(
        default=0, ge=0, lt=2**31, description="of split, initial weights, rows, sampler"
    )
    data: DataConfig = Field(description="The images.")
    split: SplitConfig = Field(
        default=SplitConfig(),
        description="Images that the search never sees, and folds of the others.",
    )
    backbone: BackboneConfig = Field(
        default=BackboneConfig(),
        description="ResNet50 without its top, frozen; runs once per image.",
    )
    search: SearchConfig = Field(
        default=SearchConfig(),
        description="What is searched: [low, high] each, equal for a fixed value.",
    )
    objective: ObjectiveConfig = Field(
        default=ObjectiveConfig(), description="Computed from the pooled out-of-fold predictions."
    )
    augmentation: AugmentationConfig = Field(
        default=AugmentationConfig(), description="Fixed: the views that the multiplier adds."
    )
    training: TrainingConfig = Field(
        default=TrainingConfig(), description="Fixed: the recipe is the same in every trial."
    )


def resolve_alpha(config: StudyConfig, n_classes: int) -> tuple[float, float]:
    """Limits of `alpha` for this many classes.

    With two classes alpha weighs the rarer one and ``1 - alpha`` the other, so neither 0 nor 1
    leaves both in the loss; the default is [0.05, 0.95] instead of [0.05, 1.0].

    Raises:
        StudyFileError: If the study sets 0 or 1 for two classes.
        ValueError: If there are fewer than two classes.
    """
    if n_classes < 2:
        raise ValueError(f"n_classes must be at least 2, not {n_classes}")
    limits = config.search.alpha
    if limits is None:
        return (0.05, 0.95) if n_classes == 2 else (0.05, 1.0)
    if n_classes == 2 and (limits[0] <= 0 or limits[1] >= 1):
        raise StudyFileError(
            f"search.alpha: {to_flow(limits)} must lie above 0 and below 1 with two classes",
            where="there alpha weighs the rarer class and 1 - alpha the other",
            do="write 'alpha: [0.05, 0.95]' or leave it out",
        )
    return limits
