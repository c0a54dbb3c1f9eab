"""A network as data: files and graphs of other libraries."""
