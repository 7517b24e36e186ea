"""From a pair of label maps to numbers: counts, borders, distances, surface elements, lesions."""
