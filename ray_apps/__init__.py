"""What people start: one module per command, run as ``python -m ray_apps.NAME RUN.yaml``, by ``ray job submit`` or by ``catena``.

``cli`` parses commands, ``config`` is the run file, ``stages`` says which stage needs which, ``cluster`` starts Ray. Every
other module wires one command: it fetches the artifacts that its stage needs, calls the package that does the work, and
returns the stage's artifact.
"""
