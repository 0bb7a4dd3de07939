"""The domain: what a recording is, how one becomes small, and how that is proved. Never imports Prefect.

Read the modules of this folder in this order:

- what travels and what was asked for: ``recording``, ``request``, ``run``, ``plan``
- what becomes of one recording: ``profiles``, ``decision``, ``resample``, ``carry``
- proof and commit: ``verify``, ``tag``, ``audit``, ``provenance``, ``history``
- many days at once: ``backfill``, ``standing``
- what it came to, said to people: ``summary``, ``reporting``, ``glossary``, ``formatting``
- what it costs: ``pricing``, ``retention``, ``gate``, ``choice``, ``estimate``
- how: ``outcomes``, ``retrying``, ``pool``, ``settings``, ``errors``, ``finding``

They stand on three folders, and on each other in this order:

- ``conversion``, from samples to samples and back: ``wav``, ``pcm``, ``alaw``, ``ffmpeg``, ``judge``; all in ``audio``
- ``s3``: ``session``, ``errors``, ``objects``, ``store``
- ``table``, the audit table: ``rows``, ``files``, ``records``, ``parquet``, ``reading``, ``evidence``, ``schema``

Three others stand on them, and none of them knows another:

- ``preflight``, is a bucket safe to work on: ``places``, ``lifecycle``, ``conditional``, all in ``checks``; ``canary``
- ``jobs``, after archiving: ``job``, ``selection``, ``left``, ``intents``, ``restore``, ``release``, ``settlement``,
  ``reconcile``, ``result``, ``report``
- ``savings``, what it saved: ``sums``, ``figures``, ``charts``, ``page``, ``excel``, ``files``;
  ``scenarios``, ``cost_chart``
"""

__version__ = "0.1.0"
