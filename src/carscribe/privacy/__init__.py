"""Images made anew for an export, without faces, number plates and what a file says of who took it, where and when.

`masking.Masking` is the way in: it takes boxes that detectors find and boxes that a person listed. Knows nothing of
formats, captions or workspaces; what is written in those (names, text, file names) is not looked at.
"""
