"""`qbench reproduce`: a paper redone, and what of it holds."""
