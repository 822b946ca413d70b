"""Labels that are short, distinct and drawable."""

from hypothesis import given
from hypothesis import strategies as st

from tuner.report.figures.labels import drawable, font_families, short_labels


@given(
    names=st.lists(st.text(), min_size=1, max_size=20, unique=True),
    longest=st.integers(3, 30),
)
def test_labels_are_distinct_short_and_on_one_line(names, longest):
    """Any class names give as many different labels, not much longer than asked."""
    labels = short_labels(names, longest=longest)
    assert len(set(labels)) == len(names)
    place = len("19: ")
    assert max(map(len, labels)) <= longest + place
    assert all(label == " ".join(label.split(" ")) and "\n" not in label for label in labels)


def test_long_names_that_share_their_ends_are_told_apart_by_the_middle():
    """Words that all names share are left out before anything else is."""
    names = [f"Speed limit of {speed} km per hour" for speed in (20, 30, 100)]
    assert short_labels(names, longest=14) == ["…20…", "…30…", "…100…"]


def test_what_no_font_has_is_a_box_with_the_place_of_the_class():
    """A private-use character cannot be drawn; the reader still knows which class it is."""
    assert drawable("a\ue123b\nc") == "a▯b c"
    assert short_labels([drawable("fine"), drawable("\ue123")], longest=10) == ["fine", "1: ▯"]


def test_latin_text_needs_no_other_font():
    """Fallback fonts are loaded only for texts that need them."""
    assert font_families(["defect", "γ1.80 ×3", "café"]) == ["DejaVu Sans"]
