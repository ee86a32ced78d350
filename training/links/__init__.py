"""The link model, from training links to a scorer of pairs.

``inputs``       documents and links as tensors; ``build`` an untrained model for a corpus
``nodes``        states of documents: inputs, learned vectors, what passes along links
``subgraph``     the part of a large graph that a batch needs; ``states`` of all documents, block by block
``propagation``  a step over the links, without those of the batch; sums of words
``negatives``    what a link is compared with, told from training links alone
``contrast``     losses against shared negatives, a block of sources at a time
``task``         batches, loss and judging, for the frame of all trainings
``features``     features of pairs, for the pairs wanted
``shortlist``    the documents of a source that are worth a look
``scorer``       small networks over a pair's features, fitted on lists
``stacking``     lists of links that the states have not seen; the choice of the scorer
``scoring``      the trained model: rows for evaluation, pairs for discovery
``driver``       all of it on Ray
"""
