"""Answers to questions that were asked before in other words: found by vectors, judged by a verifier, served on proof."""
