"""The loss as a tape of NumPy operations, and its backward pass with any rule replaced."""
