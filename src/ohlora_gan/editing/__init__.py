"""Moving codes: along directions and by feedback, with strengths in sigmas of the score."""
