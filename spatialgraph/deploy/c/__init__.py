"""Networks in C: whole numbers defined to the bit in Python, and the source that computes the same."""
