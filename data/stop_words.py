"""Words that are too common to search by, language by language.

English is the list of Lucene's analyser: few enough that a query of content words keeps them all. Hebrew is a list of
our own: pronouns, prepositions, conjunctions, forms of "to be", and the particles where they stand alone. Every other
language has the list that comes with ``bm25s``, Snowball's as NLTK publishes it.
"""

from functools import cache

from data.words import words

ENGLISH = frozenset(
    "a an and are as at be but by for if in into is it no not of on or such that the their then there these they this "
    "to was will with".split()
)
HEBREW = frozenset(
    "של את על אל עם מן אצל בין לפי כדי בגלל עבור הוא היא הם הן אני אנחנו אתה אתם אתן אנו זה זו זאת אלה אלו אותו "
    "אותה אותם אותן שלו שלה שלהם שלהן שלי שלנו לו לה להם להן לי לנו בו בה בהם בהן ממנו ממנה ידי היה היתה הייתה היו "
    "יהיה תהיה יהיו להיות הינו הינה אינו אינה אין יש לא או גם אם כי אך אבל אלא אז כאשר כמו כן כך רק עוד עד אשר מאוד "
    "כל ואת ועל ושל ואל ועם וגם ולא והוא והיא והם שהוא שהיא שהם ו ה ב כ ל מ ש".split()
)


@cache
def stop_words(language: str) -> frozenset[str]:
    """Stop-words of a language as ``data.words`` writes them; empty where there is no list.

    Args:
        language: as of ``data.lexical.Tokenizer``.
    """
    if language == "english":
        return ENGLISH
    if language == "hebrew":
        return HEBREW
    if language == "none":
        return frozenset()
    from bm25s import stopwords

    listed = getattr(stopwords, f"STOPWORDS_{language.upper()}", ())
    return frozenset(word for entry in listed for word in words(entry, language == "turkish"))
