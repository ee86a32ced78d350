"""Search beside the plain way and beside exact search: `catena bench retrieval`."""
