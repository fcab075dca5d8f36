"""Contract, hashes and verification of the ground-truth bundle."""
