"""What the rules of all claims share: ledger, evidence, results, words."""
