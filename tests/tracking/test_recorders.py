"""What every recorder must bear, whatever it keeps."""

import pytest

from tuner.home.recorder import NoRecorder
from tuner.tracking.background import BackgroundRecorder


@pytest.fixture(params=["none", "mlflow", "background"])
def recorder(request, make_recorder, troubles):
    """Each implementation of `Recorder` in turn."""
    if request.param == "none":
        return NoRecorder()
    if request.param == "mlflow":
        return make_recorder()
    return BackgroundRecorder(make_recorder(), on_trouble=troubles.append)


def files(folder):
    """Every file of a study but its locks, with its content."""
    return {
        path.relative_to(folder.path): path.read_bytes()
        for path in folder.path.rglob("*")
        if path.is_file() and path.suffix != ".lock" and path.name != ".lock"
    }


def test_a_study_from_open_to_close(recorder, study, troubles):
    """Records of every kind and state are taken, and the study's folder stays as it is."""
    records = [
        study.add("baseline", None, name="baseline-balanced"),
        *(study.add(number=k, state=s) for k, s in enumerate(["complete", "pruned", "failed"])),
        study.add("confirm", None, name="confirm-0"),
    ]
    before = files(study.folder)
    recorder.open_study(study.folder)
    for record in records:
        recorder.record(study.folder, record)
    recorder.close_study(study.folder, is_finished=True)
    assert files(study.folder) == before
    assert troubles == []


def test_a_record_may_come_twice_and_without_an_open_study(recorder, study, troubles):
    """The search hands over every record on disk whenever it goes on."""
    record = study.add()
    recorder.record(study.folder, record)
    recorder.record(study.folder, record)
    recorder.close_study(study.folder, is_finished=False)
    assert troubles == []


def test_a_study_without_records_may_be_closed(recorder, study, troubles):
    """A search may be interrupted before its first trial."""
    recorder.open_study(study.folder)
    recorder.close_study(study.folder, is_finished=False)
    recorder.open_study(study.folder)
    recorder.close_study(study.folder, is_finished=False)
    assert troubles == []


def test_two_studies_at_once(recorder, new_study, kept, troubles):
    """What belongs to one study does not go to the other."""
    first, second = new_study("first"), new_study("second")
    for study in (first, second):
        recorder.open_study(study.folder)
    for number in range(2):
        for study in (first, second):
            recorder.record(study.folder, study.add(number=number))
    for study in (first, second):
        recorder.close_study(study.folder, is_finished=True)
    assert troubles == []
    if not isinstance(recorder, NoRecorder):
        for name in ("first", "second"):
            assert list(kept(name).children) == ["trial-00000", "trial-00001"]
            assert kept(name).parent.info.status == "FINISHED"
