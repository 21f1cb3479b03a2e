"""What was invalidated, whoever asked for it: written down once, told to webhooks, and found again."""
