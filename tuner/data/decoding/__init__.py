"""Pictures from bytes: the pixel rules that every reader of files shares."""
