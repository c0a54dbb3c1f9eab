"""The streamed engine: all pairs, of which few exist at a time."""

BATCH, SOURCES, TARGETS = 4, 7, 5
