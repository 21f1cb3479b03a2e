"""Predictions: jobs that are created, then polled, and whose output files outlive the provider's copy here."""

from agentcache.gateway.predictions.files import serve_file, serves_file
from agentcache.gateway.predictions.route import answer_prediction, serves_prediction_path

__all__ = ["answer_prediction", "serve_file", "serves_file", "serves_prediction_path"]
