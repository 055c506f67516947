"""Records and rows: the canonical schema, identity, and how each source's records become rows.

Belongs here: parsing one record, one adapter module a source shape, assembling a row. Does not: files, work units,
rendering rules (`harmony`).
"""
