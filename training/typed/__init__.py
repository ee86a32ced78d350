"""Typed links: which document stands in which relation to which, as in a knowledge graph.

``decoders``   DistMult, ComplEx, RotatE               ``model``      entities, relations with reciprocals, a decoder
``questions``  training batches, shared negatives      ``losses``     softmax and self-adversarial
``task``       what the frame trains                   ``driver``     runs it on Ray Train
``cases``      votes of triples with like heads        ``stack``      weighs them with the decoder's answers
``scoring``    a trained model, ready to score         ``judging``    the model beside its baselines
``relations``  names the relation of a link whose ends are known
"""
