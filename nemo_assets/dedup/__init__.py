"""Who duplicates whom, and which row stays.

Belongs here: what is compared, how candidates are found and verified, the choice of the survivor. Does not: files and
manifests (`stages`), what a row is (`records`).
"""
