"""Fine-tuning of text encoders, and the fusion of several, on pairs of texts that belong together.

``examples``           gathers answered questions and training links of a corpus; ``pairs`` makes batches of them
``matryoshka``         fine-tunes a model so that its vectors can be cut short; ``matryoshka_judge`` measures it,
                       ``matryoshka_driver`` runs it on Ray Train
``fusion``             learns the attention of an ensemble; ``fuse`` gathers what it learns from
``seen``               which pairs an encoder was fine-tuned on, so that it is not evaluated on them
"""
