"""How good a workspace's answers are: against labels, against each other, and as texts.

A tool above the stages, like `doctor`: it may use them, none of them knows it. Nothing here loads a model.
"""
