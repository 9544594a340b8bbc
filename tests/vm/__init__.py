"""A virtual machine for what this machine's kernel cannot show: cgroup v2 with real controllers.

``python -m tests.vm [pytest arguments]`` boots Debian's cloud kernel under qemu's own CPU emulation (no KVM
needed), on a disk image of this machine's Python, this project and a few tools, and runs the tests there.
"""
