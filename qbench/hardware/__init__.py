"""Runs on devices that take jobs: what is asked of such an engine, and a ledger of every job.

`interface` is what engines implement and needs nothing else of this package. `ledger` and `desk`
submit and collect jobs so that a crash loses none and pays for none twice; `plan`, `run` and
`results` turn a selection into jobs, and their counts into records.
"""
