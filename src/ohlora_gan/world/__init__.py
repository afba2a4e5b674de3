"""The embedded world: rendered faces whose attributes are known."""
