"""The explorer: a network as one interactive page that needs no network connection."""
