"""Every speed claim has its script here."""
