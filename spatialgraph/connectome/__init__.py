"""Networks as data: files, and graphs of other libraries."""
