"""Benchmarks: ratios against plain loops, measured side by side in one run on the local storage emulator."""
