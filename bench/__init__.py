"""How fast Corten is beside its peers: ``python -m bench``. A table of ratios; no test, fails nothing."""
