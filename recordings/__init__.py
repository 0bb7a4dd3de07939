"""The domain: what a recording is, how one becomes small, and how that is proved. Never imports Prefect.

Read the modules of this folder in this order:

- what travels and what was asked for: ``recording``, ``request``, ``run``, ``plan``
- what becomes of one recording: ``profiles``, ``decision``, ``resample``, ``carry``
- proof and commit: ``verify``, ``tag``, ``audit``, ``provenance``, ``history``
- many days at once: ``backfill``, ``standing``
- the result, said to people: ``summary``, ``reporting``, ``glossary``, ``formatting``
- what it costs: ``pricing``, ``retention``, ``gate``, ``choice``, ``estimate``
- support for all of these: ``outcomes``, ``retrying``, ``pool``, ``settings``, ``errors``, ``finding``

The modules above use three folders, which use each other in this order:

- ``conversion``, converting audio: ``wav``, ``pcm``, ``alaw``, ``flac``, ``judge``, ``opus``, ``ogg``, ``opus_judge``,
  ``spool``; all used by ``audio``
- ``s3``: ``session``, ``errors``, ``objects``, ``store``
- ``table``, the audit table: ``rows``, ``files``, ``records``, ``parquet``, ``reading``, ``evidence``, ``schema``

Three other folders use the modules above, and none of the three uses another:

- ``preflight``, whether a bucket is safe to work on: ``places``, ``lifecycle``, ``conditional``, all used by
  ``checks``; ``canary``
- ``jobs``, after archiving: ``job``, ``selection``, ``left``, ``intents``, ``restore``, ``release``, ``settlement``,
  ``reconcile``, ``result``, ``report``
- ``savings``, what archiving saved: ``sums``, ``figures``, ``charts``, ``page``, ``excel``, ``files``;
  ``scenarios``, ``cost_chart``
"""

__version__ = "0.1.0"
