"""Pictures and their labels, as data sets and modules."""
