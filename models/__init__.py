"""The networks and their weights. Knows nothing of streams."""
