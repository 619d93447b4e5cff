"""What the released code of a system computes, one release a file, where it differs from the paper."""
