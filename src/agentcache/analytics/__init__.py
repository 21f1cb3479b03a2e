"""What happened: usage events, and the figures made from them."""
