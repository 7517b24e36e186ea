"""Counting and measuring label maps fast: confusion counts, bit masks, nearest surfaces, distance
transforms."""
