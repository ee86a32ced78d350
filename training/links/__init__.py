"""The link model, from training links to a scorer of pairs.

``model``     GATv2 over text vectors, the scorer of pairs, the head for the relation
``features``  a pair of documents described by its neighbourhoods
``sampler``   neighbour sampling on a CSR graph; ``batches`` makes training batches with it
``losses``    contrastive and binary; ``loop`` is the training loop, from top to bottom
``driver``    runs the loop on Ray Train
``scoring``   a trained model ready to score, for evaluation and discovery
"""
