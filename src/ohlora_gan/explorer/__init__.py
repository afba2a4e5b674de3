"""The explorer: a page on which faces are chosen, edited by sliders, and saved (``ohlora explore``)."""
