"""The network helper: one process an engine, which outlives it. It answers containers' questions for names, and
carries what the kernel's rules cannot.
"""
