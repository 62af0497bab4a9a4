"""Models, checkpoints and records: files that are data, whole or absent, never code."""
