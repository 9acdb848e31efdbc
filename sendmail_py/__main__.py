"""`python -m sendmail_py VERB ...` is mailctl: for `setup` after `pip install`, when no program is in place yet."""

import os
import sys

if __name__ == "__main__":
    from sendmail_py.commands.mailctl.main import main

    main(sys.argv[1:], os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
