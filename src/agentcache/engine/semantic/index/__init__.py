"""Where questions and their vectors are kept, and found again by nearness."""
