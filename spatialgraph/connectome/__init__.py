"""Networks as data: files, graphs of other libraries, measures and activity."""
