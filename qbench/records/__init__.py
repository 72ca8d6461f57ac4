"""Results: records, where a run and an archive keep them, and what may be said of them."""
