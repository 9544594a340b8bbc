"""Which system calls a container may make: Docker's default profile, users' profiles, and their compilation."""
