"""How good it is: ranking metrics, link metrics, baselines, significance, calibration and the report.

``retrieval`` asks the corpus's own questions, ``ranking`` judges the answers against qrels by ``metrics``, and
``losses`` says which questions a pipeline loses; ``link_questions`` draws what every scorer of links is asked,
``links`` ranks held-out links among all documents, ``link_figures`` gathers the figures, ``triples`` does both for
typed links, and ``baselines`` are what the link model is compared with; ``significance`` tests what is chance,
``calibration`` turns scores into probabilities, and ``report`` with ``charts``, their ``svg`` and ``page`` writes it
down for people. Nothing here needs Ray or a GPU.
"""
