"""A training run: averages, checkpoints, the run's folder, its reports, what memory it needs, how it stops.

`session` joins them; both stages' scripts build one. May import `runtime`, and nothing else of the project.
"""
