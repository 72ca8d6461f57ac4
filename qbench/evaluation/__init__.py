"""Measuring: one file a kind of measurement, and beside them the planner and the scheduler.

`task` says what every kind has in common, `training`, `attack`, `transfer`, `lipschitz`, `radii`
and `checks` hold one kind each: its fields, its identity, its cost and how it is run. `crafting`
and `scoring` are what they share, `planner`, with `planned_training` and
`planned_certificates`, turns a `selection` into tasks, and `scheduler` runs them on one of the
`executors`.
"""
