"""Rows of typed links from what a run ends with."""

from benchmarks.typed import rows_of


def test_rows_hold_the_models_figure_and_what_texts_add() -> None:
    links = {"model": {"mrr": 0.6}, "decoder_alone": {"mrr": 0.5}, "relation_frequency": {"mrr": 0.1}}
    figure, ratio = rows_of("wn18rr", {"links": links}, 7.25)
    assert (figure.value, figure.at_least, figure.reach, figure.met) == (0.6, 0.48, 0.55, True)
    assert "relation_frequency 0.1000" in figure.peer and "7.2 minutes" in figure.peer
    assert ratio.value == 1.2 and ratio.met
