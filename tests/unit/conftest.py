"""How Hypothesis runs here: the same examples each time, and no time limit that a busy machine could exceed."""

from hypothesis import settings

settings.register_profile("snapkeep", deadline=None, derandomize=True, database=None)
settings.load_profile("snapkeep")
