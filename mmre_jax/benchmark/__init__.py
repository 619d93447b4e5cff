"""How fast this library is against another: PyTorch's, or itself at another commit; each in a process of its own, in turns."""
