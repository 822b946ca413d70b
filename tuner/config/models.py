"""What a study holds: one typed, frozen, complete model with a rule for every field."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    create_model,
)
from pydantic_core import PydanticCustomError

from tuner.config.validation import Rule
from tuner.config.yaml_text import to_flow
from tuner.evaluation.metrics import METRICS
from tuner.imbalance.rows import Policy
from tuner.setting import HYPERPARAMETERS, Hyperparameter

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


def _value_range(value: Any) -> str | tuple[float, float]:
    if value in ("auto", "full"):
        return str(value)
    if isinstance(value, list | tuple) and len(value) == 2:
        is_number = [isinstance(v, int | float) and not isinstance(v, bool) for v in value]
        if all(is_number) and all(map(math.isfinite, value)) and value[0] < value[1]:
            return float(value[0]), float(value[1])
    raise _broken(
        f"must be auto, full, or the values that become black and white, such as [0, 4095], "
        f"not {to_flow(value)}"
    )


def _column(value: Any) -> str | int:
    if isinstance(value, str) and value and "\0" not in value:
        return value
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    raise _broken(
        f"must be the name of a column, or its number from 1 in a file without a header, "
        f"not {to_flow(value)}"
    )


def _label_columns(value: Any) -> str | int | tuple[str | int, ...]:
    if not isinstance(value, list | tuple):
        return _column(value)
    columns = tuple(_column(item) for item in value)
    if len(columns) < 2 or len(set(columns)) < len(columns):
        raise _broken(f"must be one column, or two and more different ones, not {to_flow(value)}")
    return columns


def _class_names(value: Any) -> str | tuple[str, ...] | dict[str, str] | None:
    if value is None:
        return None
    if isinstance(value, str) and value and "\0" not in value:
        return value
    if isinstance(value, list | tuple) and value and all(isinstance(v, str) for v in value):
        return tuple(value)
    if isinstance(value, dict) and value and all(isinstance(v, str) for v in value.values()):
        return {str(key): name for key, name in value.items()}
    raise _broken(
        "must be names in the order of the numbers from 0, such as [none, mild], a block such as "
        f"{{3: crack}}, or a file of them, not {to_flow(value)}"
    )


# YAML gives lists where the models keep tuples; items stay strict.
_from_list = Field(strict=False)
_Zoom = Annotated[float, Field(gt=0)]
_Ordered, _Distinct = AfterValidator(_rising), AfterValidator(_distinct)
_NotEmpty = AfterValidator(_not_empty)
_Text = Annotated[str, Field(pattern=r"^[^\x00]+$"), Rule("text that is not empty")]
_Name = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}$"),
    Rule("1 to 100 letters, digits, '.', '_' or '-', the first not '.'"),
]
if TYPE_CHECKING:  # a checker cannot know the names in a table
    Metric = str
else:
    Metric = Literal[*METRICS]
Sampler = Literal["tpe", "random", "qmc", "gp"]


class _Block(BaseModel):
    """Unknown keys, loose types and numbers that are not finite are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


_Column = Annotated[str | int, BeforeValidator(_column)]


class ColumnsConfig(_Block):
    """The columns of a label file by name; in a file without a header by number, from 1."""

    path: _Column = Field(description="names the file of each image", examples=["image_id"])
    label: Annotated[str | int | tuple[str | int, ...], BeforeValidator(_label_columns)] = Field(
        description="its class; several columns, one a class: [MEL, NV]", examples=["dx"]
    )
    group: _Column | None = Field(default=None, description="images that belong together")
    split: _Column | None = Field(default=None, description="train, val or test; null: drawn")


AUTO, NONE, NEAR_DUPLICATES = "auto", "none", "near_duplicates"  # of `data.group_by`


class GroupPattern(_Block):
    """Groups that stand in the paths: images whose paths have the same in its brackets are one."""

    pattern: str = Field(description="regular expression", examples=["(\\d{5})_"])


def _group_by(value: Any) -> str | GroupPattern | None:
    if value is None or isinstance(value, GroupPattern):
        return value
    if isinstance(value, str) and value and "\0" not in value:
        return value
    pattern = value.get("pattern") if isinstance(value, dict) and len(value) == 1 else None
    if not isinstance(pattern, str):
        raise _broken(
            f"must be auto, none, a column or {{pattern: '(\\d{{5}})_'}}, not {to_flow(value)}"
        )
    try:
        re.compile(pattern)
    except re.error as error:
        raise _broken(f"{to_flow(pattern)} is no regular expression: {error}") from error
    return GroupPattern(pattern=pattern)


class SampleConfig(_Block):
    """A part of the images of frequent classes, all of the others."""

    per_class: int = Field(ge=1, description="most images of a class", examples=[20000])


class DataConfig(_Block):
    """Which images, and which of them belong together."""

    source: _Text = Field(
        description="folder per class | label file or pattern of several | digits",
        examples=["data/steel"],
    )
    root: _Text | None = Field(
        default=None, description="folder that a label file's paths are relative to"
    )
    images: Annotated[tuple[_Text, ...], _from_list, _Distinct] = Field(
        default=(), description="folders in which a label file's images are found by name"
    )
    columns: ColumnsConfig | None = Field(
        default=None, description="of a label file; null: path, label and, if there, split"
    )
    class_names: Annotated[
        str | tuple[str, ...] | dict[str, str] | None, BeforeValidator(_class_names)
    ] = Field(default=None, description="of labels that are numbers: list, block or file")
    image_px: int = Field(
        default=224, ge=32, le=1024, description="side of the square images, in pixels"
    )
    group_by: Annotated[str | GroupPattern | None, BeforeValidator(_group_by)] = Field(
        default=AUTO,
        description="kept on one side: auto (twins, group column) | column | {pattern: …} | none",
    )
    range: Annotated[
        Literal["auto", "full"] | tuple[float, float], BeforeValidator(_value_range)
    ] = Field(default="full", description="of gray beyond 8 bits: auto | full | [black, white]")
    include: Annotated[tuple[_Text, ...], _from_list, _Distinct] = Field(
        default=(), description='only files like these, for example "*.jpg"; empty: all'
    )
    exclude: Annotated[tuple[_Text, ...], _from_list, _Distinct] = Field(
        default=(), description='leave out files like these, for example "*_mask.png"'
    )
    follow_links: bool = Field(
        default=False, description="whether links may lead out of the data folder"
    )
    min_images: int = Field(
        default=1, ge=1, description="classes of fewer images are left out, or join data.rest"
    )
    rest: _Text | None = Field(
        default=None, description="class that those join, for example other; null: left out"
    )
    sample: SampleConfig | None = Field(
        default=None, description="{per_class: 20000}: so many are drawn of larger classes"
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
    """The frozen network that images become features by."""

    weights: _Text = Field(default="imagenet", description="imagenet | path to .h5 | random")
    precision: Literal["float32", "bfloat16"] = Field(default="float32", description="or bfloat16")
    engine: Literal["auto", "keras", "openvino"] | None = Field(
        default="auto",
        description="auto | keras | openvino; null: as it was before there were engines",
    )
    model: _Text | None = Field(
        default=None, description="a .keras file of your own instead of ResNet50, or null"
    )


class _Search(_Block):
    """How the search goes."""

    trials: int = Field(default=60, ge=1, description="finished trials in all, complete or pruned")
    sampler: Sampler = Field(
        default="tpe", description="tpe | random | qmc | gp, with pruner: none"
    )
    pruner: Literal["median", "none"] = Field(default="median", description="median | none")
    retries: int = Field(default=3, ge=0, description="of a trial whose process died")
    batch: int | None = Field(
        default=None,
        ge=1,
        description="trials asked and trained together; null: 1 on a CPU, 8 on a GPU",
    )


def _searched_field(h: Hyperparameter) -> tuple[Any, Any]:
    """Rule and default of a hyperparameter's key: its limits, or its choices."""
    rule: Any
    if h.kind == "choice":
        item: Any = Literal[*h.default]
        rule = Annotated[tuple[item, ...], _from_list, _Distinct, _NotEmpty]
    else:
        (low, high), number = h.bounds, float if h.kind == "real" else int
        limit: Any = Annotated[number, Field(ge=low, le=high)]
        rule = Annotated[tuple[limit, limit], _from_list, _Ordered]
    if h.default_two_classes is None:
        return rule, Field(default=h.default, description=h.meaning)
    return rule | None, Field(default=None, description=h.meaning)


_fields: dict[str, Any] = {name: _searched_field(h) for name, h in HYPERPARAMETERS.items()}
_Searched: Any = create_model("_Searched", __base__=_Search, **_fields)


class SearchConfig(_Searched, _Search):  # type: ignore[misc]  # its keys are those of a table
    """The hyperparameters, a key each as their table has them, and how they are searched."""


class ObjectiveConfig(_Block):
    """What the search makes large."""

    metric: Metric = Field(default="macro_recall", description=" | ".join(METRICS))
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
    strength: float = Field(
        default=1.0, ge=0, le=2, description="of all four: 0.5 halves angles, shifts, zooms, flips"
    )
    fill: Literal["nearest", "reflect"] = Field(
        default="nearest", description="beyond the border: nearest repeats it | reflect mirrors"
    )
    cap: Annotated[
        Literal["largest", "none"], BeforeValidator(lambda cap: "none" if cap is None else cap)
    ] = Field(default="largest", description="no class rises above the largest | none")
    policy: Policy = Field(
        default="minority",
        description="views of rare classes: minority | in all alike: shared",
    )


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


class RecordsConfig(_Block):
    """What is kept of the predictions for each image."""

    predictions: Literal["auto", "all", "best", "none"] = Field(
        default="auto",
        description="of trials: all | best | none; auto: all, in large studies best",
    )
    best: int = Field(default=5, ge=1, description="trials that keep them where best is asked")


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
        description="ResNet50 without its top, or a model; frozen, runs once per image.",
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
    records: RecordsConfig = Field(
        default=RecordsConfig(), description="What is kept; baselines and confirm runs keep all."
    )
