"""Crystals as physics, without learning: NumPy arrays in, NumPy arrays out."""
