"""Other projects' test suites against a Docker socket: dockerd's and Corten's, side by side.

``make interop`` downloads the suites from PyPI and from the Go module proxy, in pinned versions, into ``.cache``, runs
each against Debian's dockerd and against Corten, and prints what the one passes and the other does not. It needs root,
a network, and Go; it is no part of ``make test``.

A side lives in network and mount namespaces of its own, with its engine, the suite and whatever that starts, so that
neither sees the other nor the machine's own networks. No side reaches a hub: the images that suites expect are made
here (:mod:`tests.interop.images`) under their names.
"""
