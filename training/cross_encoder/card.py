"""The description of a trained cross-encoder, in its own folder: for people, as model hubs show it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

CARD = """---
library_name: sentence-transformers
pipeline_tag: text-ranking
tags: [cross-encoder, reranker]
base_model: {base}
---

# A cross-encoder trained by Catena

It reads a question with a document and says how well the document answers: the more, the higher its one output. It was
trained on {training_questions:,} questions ({learned_from}) with documents that {depth}-deep hybrid search finds for
them, {list_documents} a question, by a listwise softmax, from the weights of `{base}`; pairs of up to {max_length}
tokens, seed {seed}, epoch {best_epoch} of {epochs}. {valid_questions:,} questions were held out of the training:

| order | nDCG@10 of held-out questions |
|---|---|
| as found | {first:.4f} |
| by the cross-encoder alone | {alone:.4f} |
| by both | {reranked:.4f} |

{sentence}

```python
from sentence_transformers import CrossEncoder

scores = CrossEncoder("this-folder").predict([("a question", "a document")])
```

`ranking.json` has these figures, the weight of the first stage's ranks ({weight:.4f} times ln(rank) is taken off a
logit) and the curves that turn scores into probabilities; Catena's service reads it. `seen_pairs.npy` knows what it was
trained on: `catena evaluate` does not judge it by that.
"""


def write_card(folder: Path, about: Mapping[str, Any]) -> None:
    """Write ``README.md`` into the folder of a model.

    Args:
        folder: of the model.
        about: values of all places of the text.
    """
    (folder / "README.md").write_text(CARD.format(**about), encoding="utf-8")
