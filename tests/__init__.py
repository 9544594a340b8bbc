"""The tests of Corten: unit, contract, integration, e2e, fuzz, vm, and what they share in ``support``."""
