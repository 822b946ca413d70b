"""What views of a study's images look like: to eyes, to a linear probe, and in a mirror."""

from __future__ import annotations

from dataclasses import dataclass
from math import degrees
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tuner.arrays import Int64
from tuner.config import AugmentationConfig, StudyConfig
from tuner.data.image_table import ImageTable
from tuner.data.mirrored import Mirrored, changed_by_mirror
from tuner.imbalance.rows import view_order
from tuner.text import minus, some

if TYPE_CHECKING:
    from tuner.features.source import FeatureSource
    from tuner.features.views import ViewParameters
    from tuner.training.view_probe import Told

TOO_WELL = 0.95  # told from images by a probe: views leave traces that nothing else has

_IMAGES = 600  # that are looked at, of all classes together
_LEAST_OF_CLASS = 5
_CLASSES_SHOWN, _VIEWS_SHOWN = 6, 5


@dataclass(frozen=True)
class ViewsLook:
    """What was seen of views.

    Attributes:
        sheet: Picture of views of each rare class.
        told: How well a probe tells views from images; None where features say nothing of images.
        mirrored: Classes whose mirrored images are nearest to another class.
        class_names: In the order of their numbers.
        augmentation: What the views were made with.
    """

    sheet: Path
    told: Told | None
    mirrored: tuple[Mirrored, ...]
    class_names: tuple[str, ...]
    augmentation: AugmentationConfig

    @property
    def warnings(self) -> list[str]:
        """What should be set otherwise, in sentences."""
        found = []
        if self.told is not None and self.told.accuracy > TOO_WELL:
            found.append(
                f"views are unlike images: a linear probe tells them apart with "
                f"{self.told.accuracy:.0%} accuracy; weaker ones leave fewer traces "
                "(augmentation.strength: 0.5)"
            )
        if self.mirrored and self.augmentation.flip:
            names = self.class_names
            pairs = [
                f"{m.n_mirrored} of {m.n_images} images of {names[m.label]} are nearest to "
                f"{names[m.other]}"
                for m in self.mirrored
            ]
            found.append(f"mirrored, {some(pairs)}; set augmentation.flip: false")
        return found

    @property
    def words(self) -> str:
        """How well views are told from images, in words; empty where nobody can say."""
        if self.told is None:
            return ""
        is_shared = self.augmentation.policy == "shared"
        so = "every class has its share of them" if is_shared else "only rare classes have them"
        return f"told from images with {self.told.accuracy:.0%} accuracy by a probe; {so}"

    def facts(self) -> dict[str, Any]:
        """The same as plain values."""
        return {
            "contact_sheet": str(self.sheet),
            "told_from_images": None if self.told is None else self.told.accuracy,
            "mirrored": [
                {
                    "class": self.class_names[m.label],
                    "nearest_to": self.class_names[m.other],
                    "images": m.n_mirrored,
                    "of": m.n_images,
                }
                for m in self.mirrored
            ],
        }


def look_at_views(
    config: StudyConfig, table: ImageTable, source: FeatureSource, sheet: Path
) -> ViewsLook:
    """Draw views of the rare classes, and ask a probe and a mirror; the sealed test stays out.

    Args:
        config: The study.
        table: Its images, in folds.
        source: Where their features are, or are put.
        sheet: Where to draw.

    Raises:
        DataError: If an image cannot be read any more.
    """
    _draw(config, table, sheet)
    told: Told | None = None
    mirrored: list[Mirrored] = []
    if source.weights.kind != "random":
        told, mirrored = _ask(config, table, source)
    return ViewsLook(
        sheet=sheet,
        told=told,
        mirrored=tuple(mirrored),
        class_names=tuple(table.class_names),
        augmentation=config.augmentation,
    )


def _ask(
    config: StudyConfig, table: ImageTable, source: FeatureSource
) -> tuple[Told, list[Mirrored]]:
    from tuner.features.shown_views import mirrored_features
    from tuner.features.wanted import of_table
    from tuner.training.view_probe import tell_views

    chosen = some_of_each_class(table, view_seed=config.augmentation.view_seed)
    rows = of_table(table, np.tile(chosen, 2), np.repeat([0, 1], len(chosen)))
    source.fill(rows)
    images, views = np.split(source.bank.read(rows.names(config.augmentation)), 2)
    turned = mirrored_features(source, rows[: len(chosen)])
    return tell_views(images, views), changed_by_mirror(images, turned, table.labels[chosen])


def some_of_each_class(table: ImageTable, *, view_seed: int) -> Int64:
    """Images outside the test, as many of each class as there is room for, in order of views."""
    search = table.search
    rank = view_order(table.sha256.take(search), view_seed=view_seed)
    room = max(_LEAST_OF_CLASS, _IMAGES // table.n_classes)
    ordered = search[np.argsort(rank)]
    parts = [ordered[table.labels[ordered] == k][:room] for k in range(table.n_classes)]
    return np.concatenate(parts)


def _draw(config: StudyConfig, table: ImageTable, sheet: Path) -> None:
    from tuner.features.shown_views import drawn_for, pictures_of
    from tuner.features.wanted import of_table
    from tuner.report.figures.view_sheet import ShownViews, save_views

    augmentation, rows = config.augmentation, []
    rarest = np.argsort(table.search_counts, kind="stable")[:_CLASSES_SHOWN]
    chosen = some_of_each_class(table, view_seed=augmentation.view_seed)
    for k in rarest:
        image = int(chosen[table.labels[chosen] == k][0])
        shown = np.arange(_VIEWS_SHOWN + 1)
        files = of_table(table, np.full_like(shown, image), shown)
        rows.append(
            ShownViews(
                f"{table.class_names[k]}: {table.paths[image]}",
                pictures_of(files, image_px=config.data.image_px, augmentation=augmentation),
                ["itself", *(caption_of(drawn_for(f, augmentation)) for f in files[1:])],
            )
        )
    title = f"Views of the rarest classes at strength {augmentation.strength:g}"
    save_views(rows, sheet, title=title)


def caption_of(drawn: ViewParameters) -> str:
    """The parameters of a view, in three lines that are no wider than its picture.

    Example:
        >>> from tuner.features.views import ViewParameters
        >>> print(caption_of(ViewParameters(0.1, 0.05, -0.2, 0.9, 1.1, is_flipped=True)))
        turned 6°, mirrored
        shifted 5 %, −20 %
        zoom 0.90 × 1.10
    """
    flip = ", mirrored" if drawn.is_flipped else ""
    shift = f"shifted {100 * drawn.shift_y:z.0f} %, {100 * drawn.shift_x:z.0f} %"
    zoom = f"zoom {drawn.zoom_y:.2f} × {drawn.zoom_x:.2f}"
    return minus(f"turned {degrees(drawn.rotation):z.0f}°{flip}\n{shift}\n{zoom}")
