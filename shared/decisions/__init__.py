"""What to do, decided from plain values: no I/O, no clock, nothing of Azure."""
