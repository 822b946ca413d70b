"""Label files as they are published: whatever their form, a table of path, label, group, split.

`rows` reads a file as text, `columns` takes from it what the study file names, `places` finds the
images, `listing` is all three; `propose` is what ``tuner init`` makes of a file that it has never
seen. Nothing but `propose` guesses.
"""
