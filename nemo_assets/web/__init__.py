"""Pages that answer where a row came from, to be read beside the Dagster UI or alone.

Belongs here: routes, templates, how values are shown, what a browser may do with them. Does not: any answer
(`lineage`).
"""
