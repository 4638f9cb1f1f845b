"""An experiment: what is asked, how it is run, and what may be concluded."""
