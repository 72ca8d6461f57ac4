"""Circuits and the engines that simulate them."""
