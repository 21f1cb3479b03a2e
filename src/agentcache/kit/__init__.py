"""Small things without a domain: clock, ids, money, crypto, egress, errors."""
