"""Cars drawn from a record of attributes, and what is true of them in words."""
