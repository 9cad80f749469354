"""What a person sees. Standard error, save for tables and what was asked for, which are standard output.

Text that came from a crawl or a model is shown as plain text: no markup, no control characters.
"""
