"""What is wrong with a set of photos before a model sees it: `carscribe check`.

find -> read ahead -> measure -> faults of single photos ─┐
                   └> sketch  -> groups of duplicates ────┼-> report -> screen, JSON, page
                      metadata -> names and kinds ────────┘
"""
