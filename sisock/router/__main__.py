"""Start the router: ``python -m sisock.router``."""

from sisock.router.launch import main

main()
