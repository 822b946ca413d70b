"""The commands, one file each: parse, call the study, print."""
