"""What the HTML pages have in common: the frame with its style, and pieces of text and tables.

A page is `page.html`, what stands between <body> and </body>, and `page.css`, what only it needs, in the package that
writes it. One file each, without scripts, and nothing is loaded from elsewhere.
"""
