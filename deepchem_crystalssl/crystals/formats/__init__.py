"""Formats: how crystals stand in files, archives, tables, databases and objects of other libraries."""
