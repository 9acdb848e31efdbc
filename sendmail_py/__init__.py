"""sendmail-py: a drop-in sendmail with a queue, a local delivery agent and an SMTP relay."""

__version__ = "0.1.0"
