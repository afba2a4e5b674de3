"""What learns: losses, modules and callbacks of GANs, scorers and filters."""
