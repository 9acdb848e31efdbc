"""What `mailctl check` looks at: one file an area, whose check() yields what is wrong there."""
