"""What a plan allows, what is used, and the orderly stop."""
