"""Pages of HTML that need nothing beside themselves: stored results, and the verdicts of a gate."""
