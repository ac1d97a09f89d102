"""How fast patron is, how much memory it takes, and what others take for the same."""
