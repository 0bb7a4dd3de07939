"""The jobs that follow archiving: restore, release, check, reconcile, expire, erase, hold."""
