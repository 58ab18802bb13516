"""How long `client.judge` takes: publish, judge, read the verdict. Prints JSON."""
