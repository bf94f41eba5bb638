"""What any script needs: processes and devices, configuration, files, random numbers, progress, how it starts and ends.

`runtime.training` holds what only a training run needs. Everything may import this package; it imports nothing of the
project but itself, and outside `runtime.training` nothing of that.
"""
