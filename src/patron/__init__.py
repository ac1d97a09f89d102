"""patron: customer lifetime value on the purchase graph."""

__version__ = "0.1.0"
