"""Networks, and files of weights: ours, shipped ones and other people's."""
