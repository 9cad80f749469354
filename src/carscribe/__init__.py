"""Writes what an automotive designer needs to know about each photograph of a car."""
