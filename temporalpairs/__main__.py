"""``python -m temporalpairs`` is ``temporal-pairs``."""

import sys

from temporalpairs.cli.main import main

sys.exit(main())
