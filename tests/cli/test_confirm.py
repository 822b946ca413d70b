from __future__ import annotations

import json

from tests.report.made_study import confirm, make_study


def test_a_confirmation_is_printed_as_it_lies_on_disk(tuner, tmp_path):
    """With --json a look at what was confirmed is the file: same keys, order and digits."""
    folder = make_study(tmp_path / "home", ["a", "b", "<c>"], trials=3)
    folder.open_seal(command="tuner confirm made")
    values = confirm(folder) | {"n_search_settings": len(folder.records())}
    text = json.dumps(values, indent=1)
    (folder.path / "confirmation.json").write_text(text, "utf-8")

    done = tuner("confirm", "made", "--json", "--home", tmp_path / "home")

    assert done.code == 0, done.err
    assert done.out == text + "\n"
