"""Activity: what neurons do, and how much they contribute to an output."""
