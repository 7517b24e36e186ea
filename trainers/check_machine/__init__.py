"""`balrsam check_machine`: what a machine can do, tried on a planned network before hours are spent."""
