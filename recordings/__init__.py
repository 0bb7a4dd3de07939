"""The domain: what a recording is, how one becomes small, and how that is proved. Never imports Prefect."""
