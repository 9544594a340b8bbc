"""The only home of ctypes and ioctl: one typed wrapper a system call."""
