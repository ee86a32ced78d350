"""The link model: what it is, how it learns, how it runs on Ray Train.

``model``     GATv2 over text vectors, the pair scorer, the relation head
``sampler``   neighbour sampling on a CSR graph; ``batches`` makes training batches with it
``losses``    contrastive and binary; ``loop`` is the training loop, from top to bottom
``driver``    runs the loop on Ray Train; ``workers`` is Ray's side of it, ``checkpoint`` keeps its state, ``tracking``
              reports to MLflow
``scoring``   a trained model ready to score, for evaluation, discovery and serving

The text encoder beside it: ``matryoshka`` fine-tunes it on ``pairs``, ``matryoshka_judge`` measures it,
``matryoshka_driver`` runs it on Ray Train.
"""
