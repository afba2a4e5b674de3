"""From settings to results: what programs and commands are made of."""
