"""Benchmarks: Snapkeep beside its peers, each comparison alternating in one run on this machine.

docs/performance.md says what is measured, how, and how to read it.
"""
