"""The commands, a file each: it parses, calls and prints."""
