"""The parameters by what they are for; params.py is the table of all."""
