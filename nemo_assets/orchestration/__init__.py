"""The Dagster face of the stages; the only package that imports dagster.

Belongs here: partitions, assets, checks, automation, sensors, resources, launching runs. Does not: any work on data,
which the stages do.
"""
