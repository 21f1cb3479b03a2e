"""The pages of accounts: coming in and going out, passwords, factors, everything else of one's own."""
