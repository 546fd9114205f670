"""QEMU's MMU, through unicorn, in the place of the model of an MMU."""
