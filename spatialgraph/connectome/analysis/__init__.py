"""Analysis: measures of network neuroscience, null models and outliers."""
