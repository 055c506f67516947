"""The Hugging Face Hub, or a directory laid out like it: reading sources and publishing releases.

Belongs here: listing and pinning a source repo, fetching its files, committing a release, writing its card.
Does not: which splits exist (`catalog`), what a release contains (`stages`), where the pipeline keeps its own data
(`storage`).
"""
