"""Code that runs on Modal. Thin shells: what they do is in `nemo_assets`."""
