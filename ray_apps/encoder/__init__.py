"""What `catena encoder` does: one module an action."""
