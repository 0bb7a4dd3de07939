"""What follows archiving: restore, release, reconcile."""
