"""How a team wants answers kept: its policies, their versions, and what they would have done to past traffic."""
