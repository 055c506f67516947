"""One module an asset: a plain function, inputs and settings in, manifest out.

Belongs here: the work of each stage and its gates. Does not: Dagster, the environment, how a row is made.
"""
