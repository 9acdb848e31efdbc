"""mailctl, the command of the administrator: one file per verb group."""
