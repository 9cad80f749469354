"""Find photos and their metadata, and read each into tiles. Knows nothing of questions, engines or outputs."""
