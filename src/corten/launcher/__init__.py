"""What an ordinary user's engine does before anything else: become root of a user namespace of its own."""
