"""How good it is: ranking metrics, link metrics, baselines, significance, calibration and the report.

``ranking`` judges search against qrels; ``links`` ranks held-out links among all documents and ``baselines`` are what
the link model is held against; ``significance`` says what is chance, ``calibration`` turns scores into probabilities,
and ``report`` with ``charts`` writes it down for people. Nothing here needs Ray or a GPU.
"""
