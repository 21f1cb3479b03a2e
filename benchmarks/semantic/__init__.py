"""`make bench-semantic`: how many questions share an answer rightly, and how many wrongly, beside a plain cosine."""
