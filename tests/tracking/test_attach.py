"""A text kept with the study's own run."""

from __future__ import annotations


def test_an_attached_text_is_an_artifact_of_the_studys_own_run(study, make_recorder, kept):
    """A later text of the same name takes its place, and no run is added."""
    recorder = make_recorder()
    study.add(number=3)
    recorder.open_study(study.folder)
    for text in ("<p>old</p>", "<p>neu: é 猫</p>"):
        recorder.attach(study.folder, "report.html", text)
    assert "report.html" in kept().artifacts(kept().parent)
    assert kept().text(kept().parent, "report.html") == "<p>neu: é 猫</p>"
