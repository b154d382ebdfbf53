"""What `predict` tells of its images: a line each, or CSV as they are done, or one answer in JSON; in the end the totals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segzoo.cli.terminal.answer import problem, show_json
from segzoo.cli.terminal.failure import show_error
from segzoo.cli.terminal.show import counted, put, show, tell
from segzoo.datasets.inputs import Inputs
from segzoo.errors import SegzooError
from segzoo.evaluation.prediction import Prediction
from segzoo.publishing.totals import ALL, HEADER, Totals, as_csv, rows

_FIRST = 5  # classes in a line


class Told:
    """Tells of each image when it is done or has failed. `assumed` lists the assumptions about each model, for --json."""

    def __init__(self, totals: Totals, assumed: Mapping[str, Sequence[str]], json: bool, csv: bool):
        self.totals, self.assumed, self.json, self.csv = totals, assumed, json, csv
        self.records: list[dict[str, Any]] = []
        self.errors: list[SegzooError] = []
        self.images = 0
        if csv:
            put(*as_csv([HEADER]))

    def failed(self, path: Path, error: SegzooError) -> None:
        """Tell of an image that was not segmented."""
        self.images += 1
        self.records.append({"image": str(path), "error": problem(error)})
        self._fault(error)

    def saved(self, path: Path, found: Sequence[Prediction], facts: Mapping[str, Any], error: SegzooError | None) -> None:
        """An image that is segmented. `error` says why a picture of it was not made."""
        self.images += 1
        self.totals.add(found)
        record = {"image": str(path), **facts, "assumed": self.assumed}
        if error:
            record["error"] = problem(error)
            self._fault(error)
        self.records.append(record)
        if "drawn_at" in facts:
            tell(f"{path.name}: {facts['width']}x{facts['height']} pixels: its picture is drawn at {facts['drawn_at']} of that")
        if self.csv:
            put(*as_csv(rows(str(path), self.totals.models, [one.pixels for one in found])))
        elif not self.json:
            show(f"{path.name}: {_in_words(facts)}")

    def _fault(self, error: SegzooError) -> None:
        self.errors.append(error)
        show_error(error)

    def end(self, found: Inputs, output: Path) -> None:
        """The totals, what was passed over, and how many images were done. Raises SystemExit if one failed."""
        totals = self.totals
        if totals.images > 1:
            shares = dict(totals.shares)
            pixels = int(totals.pixels[0].sum())
            self.records.append({"images": totals.images, "pixels": pixels, "shares": shares if len(totals.models) > 1 else totals.shares[0][1]})
            if self.csv:
                put(*as_csv(rows(ALL, totals.models, totals.pixels)))
            elif not self.json:
                for name, of in totals.shares:
                    show(f"{ALL}{f' by {name}' if len(totals.models) > 1 else ''}: {_largest(of)}")
        if found.skipped:
            self.records.append({"skipped": dict(found.skipped)})
            tell(found.skipped_in_words())
            if found.hint:
                tell(f"hint: {found.hint}")
        if self.json:
            show_json(self.records, *self.errors)
        place = f"; pictures in {output}{'' if str(output).endswith('/') else '/'}"
        if self.errors:
            tell(f"{totals.images} of {counted(self.images, 'image')} done{place if totals.images else ''}")
            raise SystemExit(min(error.exit_code for error in self.errors))
        if not self.json:
            tell(f"{counted(self.images, 'image')} segmented{place}")


def _in_words(facts: Mapping[str, Any]) -> str:
    """The facts of an image in one line."""
    return f"they differ in {facts['differ_percent']:.2f} %" if "differ_percent" in facts else _largest(facts["shares"])


def _largest(shares: Mapping[str, float]) -> str:
    first = ", ".join(f"{name} {share:.1f} %" for name, share in list(shares.items())[:_FIRST])
    return first + (f", and {len(shares) - _FIRST} more" if len(shares) > _FIRST else "")
