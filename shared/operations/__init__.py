"""The four operations: each gathers through adapters, has a decision made, and carries it out."""
