"""What people start, one module a command: ``catena NAME RUN.yaml``, ``python -m ray_apps.NAME``, ``ray job submit``.

``cli``       reads the words and runs a command; ``usage`` has the help texts
``command``   what a command is; ``commands`` is the table of all
``config``    the run file; ``config_checks`` and ``findings`` report what is wrong in one, ``config_help`` lists keys
``plan``      what a stage is, and the plan of a command; ``stages`` is the table of all stages
``cluster``   starts Ray or joins it
``terminal``  messages, progress bars and logs; ``tables`` prints results
``report``    gathers what the stages measured into the report; ``summary`` for the terminal

Every other module declares a stage, a command or both, and calls the package that does the work on the artifacts
that the plan hands to it. ``encoder`` has the
commands of ``catena encoder``.
"""
