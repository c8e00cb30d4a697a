"""Published files: fetched from Zenodo, checked, and kept as stores in a cache folder."""
