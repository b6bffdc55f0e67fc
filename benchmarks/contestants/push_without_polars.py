"""`kore-campaign` as it is where polars is not installed."""

from __future__ import annotations

import sys

# An import of it fails from here on.
sys.modules["polars"] = None  # type: ignore[assignment]

from kore_campaign_async.cli.main import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
