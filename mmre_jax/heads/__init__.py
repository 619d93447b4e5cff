"""What turns a system's token states into predictions, with the loss that trains it."""
