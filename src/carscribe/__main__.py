"""`python -m carscribe`."""

from carscribe.cli import main

main()
