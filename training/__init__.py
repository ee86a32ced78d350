"""What is learned, and what all training shares.

``workers``     runs a training on Ray Train        ``checkpoint``  the state it resumes from
``schedule``    the learning rate                   ``tracking``    reports to MLflow

``links``       the link model: features, sampler, batches, loop, and the trained model as a scorer of pairs
``typed``       typed links: decoders over tables and texts, as for knowledge graphs
``encoders``    fine-tuning of text encoders, and the fusion of several
"""
