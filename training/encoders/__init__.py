"""Fine-tuning of text encoders, and the fusion of several, on pairs of texts that belong together.

``examples``           gathers answered questions and training links of a corpus
``task``               fine-tunes a model on batches of pairs: ``contrast`` is its loss, ``layers`` what it trains,
                       ``tuned`` runs it on Ray Train
``finetune``           on the training links of a run: ``linked`` makes batches of them, with near misses of ``mining``
``matryoshka``         so that vectors can be cut short: ``pairs`` makes batches, ``matryoshka_judge`` measures it,
                       ``matryoshka_driver`` is its stage
``fusion``             learns the attention of an ensemble; ``fuse`` gathers what it learns from
``seen``               which pairs an encoder was fine-tuned on, so that it is not evaluated on them
"""
