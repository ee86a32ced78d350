"""Tables, sources, encoders, embedding, indexes and graphs: everything between a corpus and the models on top of it.

Follow a document through these modules in this order:

``schema``      the Arrow tables every corpus is turned into
``sources``     one reader a format; a reader yields good rows and rejected ones
``ingest``      runs the readers on Ray Data; ``resolve`` looks at ids and links over all of a corpus
``steps``       steps of the user's own, ``document_steps`` runs them on documents
``chunking``    documents to passages; ``chunkers`` has the ways to cut
``encoders``    passages to vectors; ``batching`` cuts the batches, ``vectors`` is the table they are
                written to, ``vector_store`` how it is read
``embed``       runs it on Ray Data: ``embed_pool`` of actors, ``embed_actor`` what each does, ``embed_metrics`` and
                ``embed_progress`` what they tell
``sampling``    some passages of a table, for what is fitted or measured on a sample
``reduce``      vectors in fewer dimensions (``reduction``) or fewer bytes (``quantise``)
``late``        passages to the vectors of their tokens; ``maxsim`` scores them
``words``       text to words, by UAX 29; ``lexical`` makes terms and BM25 weights of them
``index``       vectors and weights to a searchable index; ``retrieval`` asks it; ``coalescing`` joins askers
``tfidf``       documents as the rare words they hold
``graph``       links to a graph and its splits; ``pair_features`` describes a pair of documents by its neighbourhood
``cache``       vectors that were computed before: in process, in Redis, in earlier artifacts
``artifacts``   where every stage keeps its output; ``errors`` how a user's mistake is told;
                ``locks`` keeps two processes off one file; ``imports`` finds and identifies code of the user's own;
                ``labels`` says what a document is called where people read of it
"""
