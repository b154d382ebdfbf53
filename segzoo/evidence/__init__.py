"""The ladder of evidence: its rungs, how it is climbed, and the receipts of what was found."""
