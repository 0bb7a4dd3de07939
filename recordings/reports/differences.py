"""The differences between the audit table and the bucket, as a reconciliation finds them: by code, losses first."""

from collections.abc import Iterator, Mapping, Sequence

from recordings.formatting import plural
from recordings.glossary import DIFFERENCES
from recordings.jobs.drifts import LOSSES, Drift

_MAX_FILES = 20  # files named on a page


def differences_table(drifts: Mapping[str, int]) -> str:
    """How many there are of each code, what that means and what to do; empty if there are none."""
    if not drifts:
        return ""
    lines = [
        f"| {code} | {count:,} | {DIFFERENCES[code].meaning} | {DIFFERENCES[code].way_out} |"
        for code, count in sorted(drifts.items(), key=lambda item: (item[0] not in LOSSES, item[0]))
    ]
    return "\n".join(["| difference | recordings | what it means | what to do |", "|---|--:|---|---|", *lines])


def differences_report(examples: Mapping[str, Sequence[Drift]], counts: Mapping[str, int], files: Sequence[str]) -> str:
    """The differences by code: how many, the first keys of each and the finding, and where all are listed."""
    codes = sorted(counts, key=lambda code: (code not in LOSSES, code))
    sections = [
        "\n".join(
            [f"## {code}: {counts[code]:,}", "", DIFFERENCES[code].meaning, "", *_keys(examples[code], counts[code])]
        )
        for code in codes
    ]
    named = [f"`{name}`" for name in files[:_MAX_FILES]]
    more = [f"and {plural(len(files) - len(named), 'more file')} of this run"] if len(files) > len(named) else []
    all_of_them = f"All of them: {', '.join([*named, *more])}, in the folder of the audit table."
    title = f"# {plural(sum(counts.values()), 'difference')} between table and bucket"
    return "\n\n".join([title, *sections, all_of_them])


def _keys(examples: Sequence[Drift], count: int) -> Iterator[str]:
    yield from (f"- {drift.sentence}: `{drift.key}`" for drift in examples)
    if count > len(examples):
        yield f"- and {count - len(examples):,} more"
