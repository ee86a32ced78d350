"""The ways to cut a text: each takes a text and gives half-open spans of characters, in order.

``recursive``  at the best boundary in reach: paragraph, sentence, line, word
``fixed``      windows of as many tokens, or words where there is no tokenizer
``tokens``     where the tokens of a text begin, by the encoder's own tokenizer, or its words
``semantic``   where adjacent sentences part; ``sentences`` does it for a corpus
``tables``     passages and their parents to partitions
"""

Span = tuple[int, int]
Cut = tuple[Span, Span | None]
"""A passage's span, and that of the parent which search answers with, where it has one."""
