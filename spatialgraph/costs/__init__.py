"""What a network costs: bytes, multiply-adds, spikes."""
