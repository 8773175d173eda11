"""How fast the trainer is beside the loops that learners copy, and beside none at all."""
