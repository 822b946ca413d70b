"""The study's images as an MLflow dataset."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from tuner.home.study_folder import StudyFolder

_DIGEST_LENGTH = 32  # MLflow takes 36; a tag holds the whole fingerprint


def dataset_input(folder: StudyFolder) -> Any:
    """MLflow's `DatasetInput` of the images: source, columns, number, and our own digest.

    MLflow's digest would cover the first 10,000 rows of a table; ours covers every byte.
    """
    import mlflow.data
    from mlflow.data.sources import LocalArtifactDatasetSource
    from mlflow.entities import Dataset, DatasetInput, InputTag

    images = folder.images
    frame = pd.DataFrame(
        {
            "path": list(images.paths),
            "class": [folder.class_names[k] for k in images.labels],
            "fold": np.where(images.is_test, "test", images.fold.astype(str)),
        }
    )
    dataset = mlflow.data.from_pandas(
        frame,
        source=LocalArtifactDatasetSource(folder.config.data.source),
        targets="class",
        name=folder.name,
        digest=str(folder.about["data_fingerprint"])[:_DIGEST_LENGTH],
    )
    entity = Dataset(**dataset.to_dict())
    return DatasetInput(dataset=entity, tags=[InputTag("mlflow.data.context", "search")])
