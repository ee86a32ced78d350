"""Features of entities as they are served: tables that are checked, and stores that answer for them on-line.

``table``   names, values and time of a view
``check``   what is wrong with one
``store``   what keeps them, in versions that end: ``sqlite`` in the workspace, ``redis`` on a server
"""
