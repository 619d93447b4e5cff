"""Readers: one published format a file, each giving a list of `Record`."""
