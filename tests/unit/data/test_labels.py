"""What a document is called where people read of it."""

from data.labels import Labels, label


def test_a_title_an_id_or_both() -> None:
    assert label("d1", "Moon") == "Moon"
    assert label("d1", "Moon", alike=True) == "Moon [d1]"
    assert label("d1", " \t") == label("d1", "", alike=True) == "d1"


def test_titles_that_name_several_documents_are_shown_with_ids() -> None:
    labels = Labels(["a", "b", "c", "d", "e"], ["Moon", " moon", "", "Sun", "C"])
    assert [labels.of(n) for n in range(5)] == ["Moon [a]", " moon [b]", "c", "Sun", "C [e]"]
