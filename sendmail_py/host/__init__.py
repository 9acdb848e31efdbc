"""Floor 2: the machine: users, processes, sockets, DNS, log."""
