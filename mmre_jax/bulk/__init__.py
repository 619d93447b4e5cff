"""Extraction from many posts to files: their lines, what is written of them, and how a program that was stopped goes on."""
