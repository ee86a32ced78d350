"""Typed links: which document stands in which relation to which, as in a knowledge graph.

``decoders``   DistMult, ComplEx, RotatE      ``entities``   learned vectors, maps of text vectors, or both
``model``      entities, relations and their reciprocals, a decoder
``losses``     softmax and self-adversarial    ``questions``  training batches and their shared negatives
``task``       what the frame trains           ``driver``     runs it on Ray Train
``cases``      votes of triples with alike heads  ``stack`` weighs them with the model's answers
``scoring``    a trained model, ready to score ``relations``  names the relation of a link whose ends are known
"""
