"""How the verifier of the semantic tier is made: word lists, pairs of prompts, the fit. Nothing here runs in the server."""
