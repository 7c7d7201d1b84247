"""bpf-atlas: the live eBPF maps of a Linux host, in a browser."""

__version__ = "0.1.0"
