"""Export of models to other frameworks and hardware."""
