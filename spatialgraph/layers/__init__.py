"""Parts for other people's models, which know no SpatialGraph."""
