"""Serve housekeeping archives of `.g3` files, as OCS writes them; needs so3g."""
