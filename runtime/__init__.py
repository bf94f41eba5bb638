"""What any script needs: processes and devices, configuration, files, random numbers, progress, how it starts and ends.

`runtime.engine` computes a training step, `runtime.training` makes a run of them. Everything may import this package;
it imports nothing of the project but itself, and outside of these two nothing of them.
"""
