"""All cases, in the order in which they are run. A new subject is a module with a `CASE`, and a line here."""

from __future__ import annotations

from bench import draining, inventory, listing, new_blobs, single_calls, transactions, unchanged

CASES = {
    case.name: case
    for case in (
        listing.CASE,
        single_calls.CASE,
        draining.CASE,
        unchanged.CASE,
        new_blobs.CASE,
        inventory.CASE,
        transactions.CASE,
    )
}
