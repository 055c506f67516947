"""End-to-end tests that see the project as a person does: the UI in a real browser, and plain `dagster dev`."""
