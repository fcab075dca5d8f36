"""Parity: fingerprints of every stage boundary, and where two environments first part."""
