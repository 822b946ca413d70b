"""The best configuration, in a file, and how it is trained to a model."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner import text
from tuner.errors import ExportError, UsageError
from tuner.home import Home
from tuner.home.listener import Listener
from tuner.home.records import Record
from tuner.home.study_folder import StudyFolder
from tuner.model import export as exports
from tuner.model.export_file import load_export as read_export
from tuner.model.formats.forms import SAVED_MODEL, Form, check_forms
from tuner.study.model import Model, SealedTest
from tuner.study.places import Auto, find_home, listener_of

if TYPE_CHECKING:
    from tuner.ground import Ground
    from tuner.model.train import FinalTraining

_LARGEST_TAU = 10


@dataclass(frozen=True)
class Export:
    """An exported configuration, and where it is trained.

    Attributes:
        content: The configuration.
        path: The file that holds it; None where it was not written.
        home: Where features and the seal lie.
        listener: Told what happens.
        tracking_uri: MLflow's server; None for the environment or the home.
    """

    content: exports.Export
    path: Path | None
    home: Home
    listener: Listener
    tracking_uri: str | None = None

    @property
    def params(self) -> dict[str, Any]:
        """The hyperparameters by name."""
        return self.content.params.as_dict()

    def __repr__(self) -> str:
        """Study, setting and file."""
        written = "" if self.path is None else f" in {self.path}"
        return f"<Export of '{self.content.config.name}': {self.content.params}{written}>"

    def train(
        self,
        path: str | Path | None = None,
        *,
        data: str | None = None,
        live: bool | None = None,
        fine_tune: str | None = None,
        open_test: bool = False,
        formats: Sequence[str] = ("keras",),
        precisions: Sequence[str] = (),
        register: str | None = None,
        command: str = "Export.train(open_test=True)",
    ) -> Model:
        """Train the configuration again, check it against the record, and write the model.

        Args:
            path: Where to write, a ``.keras`` file; beside the export by default.
            data: Other images than the export's.
            live: On images or on cached views; None for what the study did.
            fine_tune: First stage of ResNet50 to train, too, after the head: "conv5", "conv4", …
            open_test: Whether to score the sealed test, which is recorded.
            formats: What to write beside the ``.keras`` file: "saved_model", "onnx",
                "openvino", "litert".
            precisions: "fp16" and "int8" for smaller files of the last three, too.
            register: Name in MLflow's registry, as whose champion the model is entered.
            command: What the user wrote, for the seal.

        Raises:
            UsageError: If something else is asked for than there is.
            DataError: If the images cannot be used.
            ExportError: If the model cannot be written, or does not agree with the head.
        """
        from tuner.model.train import open_test as score_test
        from tuner.model.train import train_again, with_images, with_mode
        from tuner.study.verbs.formats import write_saved

        target = self._target(path)
        forms = check_forms(formats, precisions)
        content = with_mode(with_images(self.content, data), live)
        _check_target(target)
        unlike = _unlike(self.content, content)
        training = train_again(content, self.home, self.listener, unlike=unlike, stage=fine_tune)
        self._write(content, training, target)
        if SAVED_MODEL in formats:
            write_saved(target, self.listener)
        if forms:
            self._write_formats(target, forms, training.ground, precisions)
        if register:
            self._register(target, register, training.ground)
        if not open_test:
            return Model(target)
        matrix, times = score_test(content, training, command=command)
        names = tuple(training.ground.table.class_names)
        return Model(target, SealedTest(matrix, names, times))

    def _write(self, content: exports.Export, training: FinalTraining, target: Path) -> None:
        from tuner.model.files import write_model

        say = self.listener.result
        with self.listener.status("writing the model and reading it back"):
            worst = write_model(content, training.model, training.ground, target)
        say(f"model written to {target}")
        say(f"  read back; on real files its probabilities differ by at most {worst:.4f}")
        say(f"model card written to {target.with_suffix('.md')}")

    def _write_formats(
        self, target: Path, forms: Sequence[Form], ground: Ground, precisions: Sequence[str]
    ) -> None:
        from tuner.study.verbs.formats import of_ground, read_some, write_beside

        files = [file.path for file in ground.files(ground.table.search)]
        rule, image_px = ground.table.rule, ground.config.data.image_px
        pictures = read_some(files, image_px=image_px, rule=rule)
        write_beside(target, forms, pictures, self.listener, of_ground(ground, precisions))

    def _register(self, target: Path, name: str, ground: Ground) -> None:
        from tuner.model.files import register

        uri, artifacts = self.home.resolve_tracking_uri(self.tracking_uri), self.home.artifacts
        with self.listener.status("registering the model"):
            version = register(target, name, ground, tracking_uri=uri, artifacts=artifacts)
        self.listener.result(f"registered as '{name}', version {version}, alias champion")

    def _target(self, path: str | Path | None) -> Path:
        if path is not None:
            return Path(path)
        return (self.path or Path(f"{self.content.config.name}.yaml")).with_suffix(".keras")


def load_export(
    path: str | Path,
    *,
    home: str | Path | Home | None = None,
    listener: Listener | Auto | None = "auto",
    tracking_uri: str | None = None,
) -> Export:
    """Read an exported file.

    Args:
        path: What `Study.export` wrote.
        home: Where features and the seal lie; by default as for a study.
        listener: Told what happens; as for a study.
        tracking_uri: MLflow's server; as for a study.

    Raises:
        UsageError: If there is no such file, or it is the name of a study.
        ExportError: If it is no export, is damaged or from another version.
    """
    file, at = Path(path), home if isinstance(home, Home) else find_home(home)
    if not file.exists() and StudyFolder(at.studies / str(file)).exists:
        do = f"export it first: {text.command('tuner', 'export', file, '-o', f'{file}.yaml')}"
        raise UsageError(f"'{file}' is a study, not an exported file", do=do)
    content = read_export(file)
    return Export(
        content=content,
        path=file,
        home=at,
        listener=listener_of(listener),
        tracking_uri=tracking_uri,
    )


def strength_of(tau: str | float | None, folder: StudyFolder, record: Record) -> float | None:
    """The strength of a logit adjustment: a number, "tuned" for the record's best, or none.

    Raises:
        UsageError: If it is neither.
        StudyError: If the best is asked for and the record has no predictions.
    """
    if tau is None:
        return None
    if tau == "tuned":
        from tuner.training.adjusted import tau_of

        return tau_of(folder, record)
    try:
        strength = float(tau)
    except ValueError:
        strength = float("nan")
    if not 0 <= strength <= _LARGEST_TAU:
        do = f"write a number from 0 to {_LARGEST_TAU}, 1 for instance, or 'tuned'"
        raise UsageError(f"--tau '{tau}' is not a strength of logit adjustment", do=do)
    return strength


def _unlike(recorded: exports.Export, wanted: exports.Export) -> str:
    """In what a training is other than the study's, in words; empty when in nothing."""
    mode = recorded.config.training.mode
    is_other = wanted.config.training.mode != mode
    return f"trained otherwise than the study ({mode})" if is_other else ""


def _check_target(path: Path) -> None:
    """Refuse before the training what could not be written after it."""
    if path.suffix != ".keras":
        raise UsageError(f"'{path}' does not end in .keras", do="name the model FILE.keras")
    if path.is_dir():
        do = f"name a file in it: -o {text.command(path / 'model.keras')}"
        raise UsageError(f"'{path}' is a folder", do=do)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        what = f"the model cannot be written there: {error.strerror or error}"
        do = "choose another place with -o"
        raise ExportError(what, where=str(path), do=do) from error
