"""Address pools, bridges, firewall and links."""
