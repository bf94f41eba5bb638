"""How a step is computed: DeepSpeed's engine, its optimizers, precision, compilation and learning rate.

`config` and `optimizer` read what a configuration says, and need nothing of DeepSpeed; `engine` and `zero` alone know
it. May import `runtime`, but nothing of `runtime.training`, which imports this.
"""
