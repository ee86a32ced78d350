"""Search: the index and its engines, how it is filled, and the steps from a question to an answer.

``index``      the protocol of an engine, queries and hits   ``engines``      Qdrant in process and on a server
``build``      makes the index of a run                      ``open``         opens one
``fill``       fills it, in the place of the one before      ``indexed_passages``  passages as it takes them
``query``      a question to an index                        ``hits``         documents that were found
``search``     questions to documents                        ``question_encoders``  questions to vectors
``maxsim``     scores by vectors of tokens                   ``rescoring``    orders hits by the full vectors
``filters``    conditions as a user writes them              ``clauses``      conditions as an engine takes them
``filter_keys``  keys of metadata with their types           ``live``         an index with a part that changes
``terms``      what each word weighs                         ``steps``        of pipelines, as a run file has them
``pipelines``  searching by a list of steps                  ``user_steps``   steps that are a user's own code
``pairs``      question and document read together           ``packed``       the same in bf16 without padding
``cross_encoder``  a model that does, from its folder        ``blend``        scores and probabilities of its logits
``reranking``  documents scored by a cross-encoder           ``boosted``      and by trees over features of all steps
``features``   of what was found for a question              ``facts``        of documents: links and age
"""
