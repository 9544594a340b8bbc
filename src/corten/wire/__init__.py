"""Bytes to values and back, with no I/O: HTTP/1.1, attach frames, netlink messages, BPF, tar headers; and where the
other side is (:mod:`.places`)."""
