"""Chat datasets from the Hub to Harmony-rendered, deduplicated, published and scored candidate pools."""

__version__ = "0.1.0"
