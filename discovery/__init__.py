"""Links that are missing: which pairs are worth a look, how likely each is, and why.

``candidates`` finds pairs without ever comparing all with all; ``discover`` scores them, turns scores into
probabilities and keeps the best; ``proposals`` is the table they are written to, with a reason a person can read.
"""
