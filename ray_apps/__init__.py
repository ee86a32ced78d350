"""What people start, one module per command: ``catena NAME RUN.yaml``, ``python -m ray_apps.NAME``, ``ray job submit``.

``cli`` runs a command: ``usage`` parses its words, ``tables`` prints its result, ``failures`` finds what a mistake was;
``config`` is the run file and ``findings`` says what is wrong in one; ``stages`` says which stage needs which;
``cluster`` starts Ray; ``report`` gathers what the stages measured. Every other module wires one command: it fetches
the artifacts that its stage needs, calls the package that does the work, and returns the stage's artifact.
"""
