"""Every figure in the README and the docs has its script here; each can be run by anyone."""
