"""What a training run needs: the DeepSpeed engine, averages, checkpoints, the run's folder, its reports, how it stops.

`session` joins them; both stages' scripts build one. May import `runtime`, and nothing else of the project.
"""
