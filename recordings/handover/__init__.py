"""Evidence to hand over: recordings of a case with their rows and figures, as one BagIt bag (RFC 8493)."""
