"""QEMU's MMU in the place of the model of one, through unicorn."""
