"""What ``ohlora COMMAND`` can do: a function each."""
