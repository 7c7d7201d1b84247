"""One field of one map entry changed in place: compare-and-swap by the kernel, or the best that is left."""
