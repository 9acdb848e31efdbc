"""Floor 1: SMTP and LMTP without sockets. Pure."""
