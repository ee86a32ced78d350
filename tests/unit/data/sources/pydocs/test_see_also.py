"""See Also sections: read, cut out, resolved."""

from data.sources.pydocs.see_also import Names, cut_see_also, names_in

DOC = """Sort an array.

Parameters
----------
a : array

See Also
--------
ndarray.sort : Method to sort in place.
lexsort, searchsorted : Indirect sort; see
    also this, that.
:func:`~numpy.partition` : Partial sort.
- `argsort`
two words are prose

Notes
-----
The order matters.
"""


def test_the_section_is_cut_and_its_names_are_read() -> None:
    text, names = cut_see_also(DOC)
    assert names == ["ndarray.sort", "lexsort", "searchsorted", "numpy.partition", "argsort"]
    assert text == "Sort an array.\n\nParameters\n----------\na : array\n\nNotes\n-----\nThe order matters."


def test_a_section_at_the_end_and_a_directive() -> None:
    assert cut_see_also("Text.\n\nSee Also\n--------\nother : it") == ("Text.", ["other"])
    assert cut_see_also("Text.\n\nSee also\n--------") == ("Text.", [])
    text, names = cut_see_also("Text.\n\n.. seealso::\n\n   :class:`pkg.Thing`\n   a sentence about things\n\nMore.")
    assert names == ["pkg.Thing"]
    assert text == "Text.\n\nMore."


def test_a_mention_in_prose_stays() -> None:
    assert cut_see_also("See also Newman [2]_ for more.") == ("See also Newman [2]_ for more.", [])


def test_a_list_goes_on_over_lines() -> None:
    assert names_in("a, b,\n  c\nd") == ["a", "b", "c", "d"]


def names() -> Names:
    return Names(
        {
            "pkg.sort": ["pkg.sort", "pkg.core.sort"],
            "pkg.Array": ["pkg.Array"],
            "pkg.Array.sort": ["pkg.Array.sort"],
            "pkg.Array.take": ["pkg.Array.take"],
            "pkg.sub.only": ["pkg.sub.only"],
            "pkg.sub.a.twice": ["pkg.sub.a.twice"],
            "pkg.sub.b.twice": ["pkg.sub.b.twice"],
            "numpy.sort": ["numpy.sort"],
        }
    )


def test_names_are_looked_up_from_the_innermost_scope() -> None:
    table = names()
    assert table.resolve("sort", "pkg.Array.take") == "pkg.Array.sort"
    assert table.resolve("sort", "pkg.Array") == "pkg.sort"
    assert table.resolve("Array.take", "pkg.sort") == "pkg.Array.take"


def test_aliases_short_names_and_moved_classes_resolve() -> None:
    table = names()
    assert table.resolve("pkg.core.sort", "numpy.sort") == "pkg.sort"
    assert table.resolve("np.sort", "pkg.sort") == "numpy.sort"
    assert table.resolve("core.arrays.Array.take", "pkg.sort") == "pkg.Array.take"


def test_an_ending_has_to_be_unique() -> None:
    table = names()
    assert table.resolve("only", "pkg.sort") == "pkg.sub.only"
    assert table.resolve("twice", "pkg.sort") is None
    assert table.resolve("twice", "pkg.sub.a.other") == "pkg.sub.a.twice"
    assert table.resolve("only", "numpy.sort") is None
