"""Where master starts a service: `python -I services/__main__.py NAME FD`."""

import os
import sys

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    from sendmail_py.services.service import main

    main(sys.argv[1], int(sys.argv[2]))
