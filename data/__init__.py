"""Tables, sources, encoders, embedding and graphs: everything between a corpus and the models on top of it.

Folders, in the order in which a document passes through them:

``sources/``    readers, one per format, and ``ingest``, which writes the tables
``passages/``   custom steps on documents, and chunking of documents to passages
``encoders/``   texts to vectors
``cache/``      vectors that were computed before: in process, in Redis, in earlier artifacts
``embedding/``  passages to vectors on many workers; then fewer dimensions or bytes, and vectors of tokens
``vectors/``    the table of vectors: written, read, quantised, projected
``graph/``      links to a graph and its splits, with words and vectors of the documents

Modules that all folders use and that import none of them:

``schema``      Arrow schemas of the tables; ``partitions`` finds, reads and writes their files
``artifacts``   where every stage keeps its output
``files``       writes files and folders that are complete or absent; ``locks`` excludes other processes
``spread``      shares work on many items among workers, on Ray or in this process
``errors``      errors that the user can correct; ``failures`` finds them behind exceptions of Ray
``progress``    how far a stage is; ``measuring`` keeps a failure to report from ending the work
``words``       text to words, by UAX 29; ``lexical`` makes terms and BM25 weights of them
``batching``    batches of texts by padded area; ``matrices`` unit rows and orthonormal matrices
``imports``     finds and identifies user code by its import path
``labels``      names of documents for people; ``metadata``, ``missing`` and ``surrogates`` are about single values
"""
