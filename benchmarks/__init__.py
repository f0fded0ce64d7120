"""Benchmarks: one script per question, common clients and targets, ratios from alternating rounds."""
