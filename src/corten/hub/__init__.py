"""A registry of this engine's images: the OCI distribution protocol, in a process of its own.

It asks the engine, over its socket, which images there are, and reads their blobs from the engine's files. What is
pushed to it is kept in a directory of its own until the engine has taken it; what the engine cannot take, such as
signatures, stays there.
"""
