"""Many files: chosen from an index, planned, done by workers, each with a row of its own, and compacted to a catalogue."""
