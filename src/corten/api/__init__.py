"""The Docker Engine API: routes, JSON shapes, errors to statuses."""
