"""Checkpoints behind a web page and its HTTP API. What needs no Gradio: answers.py; the page: page.py."""
