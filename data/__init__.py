"""Tables, sources, encoders, embedding, indexes and graphs: everything between a corpus and the models on top of it.

Follow a document through these modules in this order:

``schema``      the Arrow tables every corpus is turned into
``sources``     one reader a format; a reader yields good rows and rejected ones
``ingest``      runs the readers on Ray Data; ``resolve`` looks at ids and links over all of a corpus
``chunking``    documents to passages
``encoders``    passages to vectors; ``batching`` cuts the batches, ``embed`` runs it on Ray Data, ``vectors``
                is the table they are written to
``late``        passages to the vectors of their tokens; ``maxsim`` scores them
``lexical``     passages to BM25 weights
``index``       vectors and weights to a searchable index; ``retrieval`` asks it; ``coalescing`` joins askers
``tfidf``       documents as the rare words they hold
``graph``       links to a graph and its splits; ``pair_features`` describes a pair of documents by its neighbourhood
``artifacts``   where every stage keeps its output; ``errors`` how a user's mistake is told
"""
