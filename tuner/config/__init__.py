"""The study file: one typed, frozen, complete model, refused early and with every problem.

`load_study` reads a file, `dump_study` writes one that reads back as the same study, and
`study_template` writes the commented one that `tuner init` begins with.
"""

from tuner.config.changes import incomparable_changes
from tuner.config.models import (
    AugmentationConfig,
    BackboneConfig,
    ColumnsConfig,
    DataConfig,
    ObjectiveConfig,
    RecordsConfig,
    Sampler,
    SearchConfig,
    SplitConfig,
    StudyConfig,
    TrainingConfig,
)
from tuner.config.ranges import resolve_alpha, searched
from tuner.config.study_file import (
    dump_study,
    load_stored,
    load_study,
    parse_stored,
    parse_study,
)
from tuner.config.template import safe_study_name, study_template

__all__ = [
    "AugmentationConfig",
    "BackboneConfig",
    "ColumnsConfig",
    "DataConfig",
    "ObjectiveConfig",
    "RecordsConfig",
    "Sampler",
    "SearchConfig",
    "SplitConfig",
    "StudyConfig",
    "TrainingConfig",
    "dump_study",
    "incomparable_changes",
    "load_stored",
    "load_study",
    "parse_stored",
    "parse_study",
    "resolve_alpha",
    "safe_study_name",
    "searched",
    "study_template",
]
