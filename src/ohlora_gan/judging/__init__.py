"""Testing directions and scorers: numbers with their intervals, no pages."""
