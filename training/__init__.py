"""What is learned, and what all training shares.

``task``        what a training shows to the frame  ``frame``       the one loop of all trainings
``config``      optimiser, spread, tracking         ``schedule``    the learning rate
``workers``     runs a training on Ray Train        ``checkpoint``  the state it resumes from
``tracking``    reports to MLflow                   ``registry``    versions of models, who is champion
``tune``        searches for better values

``links``       the link model: states of documents, negatives, and the scorer of pairs
``typed``       typed links: decoders over tables and texts, as for knowledge graphs
``structure``   node2vec
``encoders``    fine-tuning of text encoders, and the fusion of several
``cross_encoder``  training of a cross-encoder on what search finds
"""
