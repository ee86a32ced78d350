"""Lone surrogates: halves of a character that JSON escapes and undecodable bytes can put into a string.

UTF-8 cannot hold them, so files, indexes, tokenizers and servers refuse them.
"""

import re

_SURROGATE = re.compile(r"[\ud800-\udfff]")


def valid_unicode(text: str) -> bool:
    """Whether a string can be written as UTF-8."""
    return text.isascii() or _SURROGATE.search(text) is None


def replace_surrogates(text: str) -> str:
    """The text with U+FFFD in the place of each lone surrogate: one character for one, so offsets hold."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)
