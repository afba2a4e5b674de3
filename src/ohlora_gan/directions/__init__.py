"""Finding directions along which one score changes: arrays in, unit vectors out."""
