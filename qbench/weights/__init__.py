"""Trained weights: safetensors files with what they came from, and folders of them (zoos)."""
