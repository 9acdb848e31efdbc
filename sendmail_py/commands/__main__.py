"""Where a launcher continues under the interpreter with dependencies: `python -I __main__.py NAME ...`."""

import sys

if __name__ == "__main__":
    root = __file__.rsplit("/", 3)[0]
    sys.path.insert(0, root)
    from sendmail_py.commands.mailctl.main import main

    main(sys.argv[2:], root, sys.argv[1])
