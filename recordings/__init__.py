"""The domain: what a recording is, how one becomes small, and how that is proved. Never imports Prefect.

Read the modules of this folder in this order:

- what travels and what was asked for: ``keys``, ``recording``, ``request``, ``run``, ``plan``
- what becomes of one recording: ``profiles``, ``decision``, ``observed``, ``resample``, ``carry``
- proof and commit: ``marks``, ``holds``, ``versions``, ``verify``, ``tag``, ``ledger``, ``provenance``, ``dead_runs``,
  ``checksums``
- the result, and the words for it: ``summary``, ``glossary``, ``formatting``
- what it costs: ``pricing``, ``retention_rules``, ``lifecycle_rules``, ``retention``, ``gate``, ``keeping``,
  ``estimate``
- support for all of these: ``outcomes``, ``retrying``, ``pool``, ``waves``, ``settings``, ``errors``, ``finding``,
  ``places``, ``build``

The modules above use three folders, which in turn use some of these modules. Of the three, only ``table`` uses another,
``s3``:

- ``conversion``, converting audio: ``wav``, ``pcm``, ``alaw``, ``flac``, ``judge``, ``opus``, ``ogg``,
  ``opus_decoders``, ``opus_judge``, ``spool``; all used by ``audio``; ``expand``
- ``s3``: ``session``, ``errors``, ``objects``, ``store``, ``deleting``
- ``table``, the audit table: ``rows``, ``files``, ``records``, ``parquet``, ``reading``, ``evidence``, ``schema``

Four other folders use the modules above, and none of the four uses another:

- ``preflight``, whether a bucket is safe to work on: ``lifecycle`` and ``conditional``, both used by ``checks``;
  ``canary``
- ``backfill``, many days at once: ``portions``, ``finished``, ``weeks``, ``records``, ``standing``, ``summary``
- ``jobs``, what follows archiving: ``restore``, ``release``, ``expire`` with ``expiring_day``, ``erase``, ``hold``,
  ``reconcile`` with ``comparison`` and ``drifts``, ``fixity``. The code that they share is in ``jobs/engine``. A job,
  its outcome and its course: ``job``, ``kinds``, ``work``, ``due``, ``result``, ``summary``, ``course``. The search for
  recordings, in the table, by their provenance or in a listing: ``selection``, ``vain``, ``left``, ``search``,
  ``by_provenance``, ``object_search``. Changes to the bucket, each of which gets a row even after a crash: ``intents``,
  ``traces``, ``settlement``, ``cases``, ``meanwhile``, ``deletion``
- ``handover``, evidence to hand over: ``export``, ``item``, ``choose``, ``beside``, ``bag``, all used by
  ``hand_over``

Two folders say to people what came of all this; the second uses the first:

- ``reports``, pages, tables and names of runs: ``run``, ``cost``, ``failures``, ``findings``, ``markdown``;
  ``backfill``; ``job``, ``originals``, ``endings``, ``differences``, ``export``; ``forecast``, ``keeping``; ``names``
- ``savings``, what archiving saved: ``sums``, ``figures``, ``charts``, ``page``, ``excel``, ``files``,
  ``estate``; ``scenarios``, ``cost_chart``
"""

__version__ = "0.1.0"
