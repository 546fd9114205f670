"""QEMU's MMU, reached through the wheel `unicorn`, beside the machine."""
