"""Search and links over HTTP, on Ray Serve.

A search enters at ``app`` (the application and its routes), is checked by ``schemas``, turned to a vector by the
``embedder`` deployment, and answered by the index, which has a process of its own (``serving.index``). ``links``
looks up a document's links. Every error is answered by one of the bodies in ``errors``. ``config`` is the run file's
section.
"""
