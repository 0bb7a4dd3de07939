"""The domain: what a recording is, how one becomes small, and how that is proved. Never imports Prefect.

Read in this order:

- what travels and what was asked for: ``recording``, ``request``, ``run``, ``plan``
- what becomes of one recording: ``decision``, ``resample``, ``carry``
- the conversion: ``audio``, ``wav``, ``pcm``, ``alaw``, ``ffmpeg``; ``judge``
- proof and commit: ``verify``, ``tag``, ``audit``, ``provenance``
- is a bucket safe to work on: ``preflight``, ``finding``, ``places``, ``lifecycle``, ``conditional``, ``canary``
- S3: ``s3`` (``session``, ``errors``, ``objects``, ``store``)
- the audit table: ``manifest``, ``files``, ``history``, ``evidence``, ``schema``
- many days at once: ``backfill``, ``standing``; afterwards: ``operation``, ``selection``, ``left``, ``intents``,
  ``restore``, ``release``, ``settlement``, ``reconcile``, ``outcome``, ``operation_report``
- what it came to, said to people: ``summary``, ``reporting``, ``glossary``; what it costs and saves:
  ``pricing``, ``gate``, ``choice``, ``savings``, ``scenarios``, ``estimate``; the report: ``figures``, ``charts``,
  ``page``, ``excel``
- how: ``accounting``, ``patience``, ``pool``, ``settings``, ``errors``
"""

__version__ = "0.1.0"
