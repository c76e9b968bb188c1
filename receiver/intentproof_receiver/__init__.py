"""The service: the only room that knows a network."""
