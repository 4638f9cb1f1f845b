"""Which model should each prompt go to: routers, their training and their measures."""
