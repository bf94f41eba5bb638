"""The names of what `generator.sample` writes into a folder, for whoever reads it."""

SAMPLES = "samples.safetensors"
"""`videos n t h w c` (uint8), `structure`, `dynamics` and `labels`."""
SETTINGS = "samples.json"
