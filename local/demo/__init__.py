"""`make demo`: Snapkeep protects real files on the local stack, and every byte of the backups is checked."""
