"""The page that shows what the receipts of a zoo prove."""
