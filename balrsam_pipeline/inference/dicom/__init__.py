"""Prediction of DICOM series as they come from a scanner, and label maps as DICOM-SEG and RTSTRUCT."""
