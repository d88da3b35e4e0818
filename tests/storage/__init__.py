"""Tests of the stores: one contract for each seam, run on every backend, and what only files can suffer."""
