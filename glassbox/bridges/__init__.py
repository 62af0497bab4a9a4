"""Bridges to other ecosystems; each module needs the library that it is named after."""
