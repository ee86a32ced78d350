"""The ways to cut a text: each takes a text and gives half-open spans of characters, in order.

``recursive``  at the best boundary within the allowed size: paragraph, sentence, line, word
``fixed``      windows of as many tokens, or words where there is no tokenizer
``semantic``   where adjacent sentences differ most; ``chunk_semantic`` does it for a corpus
``chunk``      cuts a corpus in any other way; ``writer`` writes passages and their parents to partitions
"""

Span = tuple[int, int]
Cut = tuple[Span, Span | None]
"""A passage's span, and that of the parent which search answers with, where it has one."""
