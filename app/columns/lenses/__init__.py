"""What numbers mean to people: choose names a lens for each field, show turns one value into text through it.

A lens changes what is displayed, never the bytes. Two exceptions are useful and documented in docs: where the lens of a
field reads its bytes in network order ("port_be", "be", "ipv4"), filters compare and sorting orders the number shown.
"""
