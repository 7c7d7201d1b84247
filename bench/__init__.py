"""Benchmarks: ratios of whole operations to the kernel's own cost, measured side by side in one run."""
