"""What is learned, and what all training shares.

``workers``     runs a training on Ray Train        ``checkpoint``  the state it resumes from
``schedule``    the learning rate                   ``tracking``    reports to MLflow

``links``       the link model: states of documents, negatives, and the scorer of pairs
``encoders``    fine-tuning of text encoders, and the fusion of several
"""
