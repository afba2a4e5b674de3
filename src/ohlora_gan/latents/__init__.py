"""A generator seen as a function of its latents: codes, pictures, scores, derivatives; what is kept of them."""
