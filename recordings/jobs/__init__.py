"""The jobs that follow archiving: restore, release, reconcile."""
