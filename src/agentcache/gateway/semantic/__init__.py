"""Near questions on their way through the gateway: looked up after an exact miss, judged, served, compared, reported."""
